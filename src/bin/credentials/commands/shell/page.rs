//! A manual page: clap's sections, a list of the commands that are there, and what comes after the options as sections of
//! their own.

use std::io;

use clap::Command;
use clap_mangen::Man;

/// The page of a command.
pub(super) fn page(command: &Command) -> io::Result<Vec<u8>> {
    let man = Man::new(command.clone());
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    let after = command.get_after_long_help().or_else(|| command.get_after_help());
    let text = commands(command) + &after.map(|after| sections(&after.to_string())).unwrap_or_default();
    page.extend_from_slice(text.as_bytes());
    Ok(page)
}

/// The commands below this one, each of which `credentials man` has a page of: none of them is installed.
fn commands(command: &Command) -> String {
    let below: Vec<_> = command.get_subcommands().filter(|command| !command.is_hide_set()).collect();
    if below.is_empty() {
        return String::new();
    }
    let mut text = ".SH COMMANDS\n".to_owned();
    let path = command.get_bin_name().unwrap_or_default().trim_start_matches("credentials").trim();
    let page = ["credentials man", path, "COMMAND"].map(str::trim).join(" ").replace("  ", " ");
    text.push_str(&format!("{} writes the page of each.\n", line(&page)));
    for command in below {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        text.push_str(&format!(".TP\n\\fB{}\\fR\n{}\n", line(command.get_name()), line(&about)));
    }
    text
}

/// The sections of a text in which each begins with a line that ends in a colon.
fn sections(text: &str) -> String {
    let mut page = String::new();
    let mut heading = "";
    for part in text.lines() {
        if part.is_empty() {
            continue;
        }
        let is_heading = !part.starts_with(' ') && part.ends_with(':');
        if is_heading {
            heading = part.trim_end_matches(':');
            page.push_str(&format!(".SH {}\n", line(&heading.to_uppercase())));
            continue;
        }
        let entry = part.trim_start();
        let indent = part.len() - entry.len();
        match entry.split_once("  ") {
            _ if heading.starts_with("Example") => {
                page.push_str(&format!(".PP\n.nf\n{}\n.fi\n", line(entry)))
            }
            Some((name, text)) if indent == 2 => {
                page.push_str(&format!(".TP\n\\fB{}\\fR\n{}\n", line(name), line(text.trim_start())));
            }
            // A name whose text is on the next line.
            None if indent == 2 && heading == "Environment" => {
                page.push_str(&format!(".TP\n\\fB{}\\fR\n", line(entry)));
            }
            _ => page.push_str(&format!("{}\n", line(entry))),
        }
    }
    page
}

/// A line of text, without what roff would obey.
fn line(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq");
    match text.starts_with('.') {
        true => format!("\\&{text}"),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::sections;

    #[test]
    fn a_table_is_a_list_and_an_example_stays_on_its_line() {
        let text = "Exit codes:\n  0  done\n  1  it could not be\n     done\n\nExamples:\n  a -b 'c'\n\nFiles:\n  They are\n  there.";
        assert_eq!(
            sections(text),
            ".SH EXIT CODES\n.TP\n\\fB0\\fR\ndone\n.TP\n\\fB1\\fR\nit could not be\ndone\n.SH EXAMPLES\n.PP\n.nf\n\
             a \\-b \\(aqc\\(aq\n.fi\n.SH FILES\nThey are\nthere.\n"
        );
    }
}
