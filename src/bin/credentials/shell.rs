//! Text that a person can paste into a shell.

use std::fmt::Display;

/// Returns a word as a shell takes it, in POSIX's single quotes unless it needs none. A shell with a history, or with
/// braces, treats more characters specially than the standard says.
pub(crate) fn quoted(word: impl Display) -> String {
    let word = word.to_string();
    let is_plain = |char: char| char.is_ascii_alphanumeric() || "_-+:,./@%".contains(char);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word,
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

/// Returns a flag and its value, which may begin like a flag.
pub(crate) fn option(flag: &str, value: impl Display) -> String {
    let value = quoted(value);
    let between = if value.trim_start_matches('\'').starts_with('-') { '=' } else { ' ' };
    format!("{flag}{between}{value}")
}

/// The program's name, as commands that are shown begin with it.
const PROGRAM: &str = "credentials ";

/// Adds flags to each command of this program that a text suggests: at the beginning of a line, or after a colon. `commands`
/// tells a command from a text about credentials, which a vendor may have written.
pub(crate) fn with_flags(text: &str, flags: &str, commands: &[String]) -> String {
    let is_command = |rest: &str| {
        let word = rest.split([' ', '\n']).next().unwrap_or_default();
        commands.iter().any(|command| command == word)
    };
    let mut flagged = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(PROGRAM) {
        let (before, after) = (&rest[..start], &rest[start + PROGRAM.len()..]);
        flagged.push_str(before);
        flagged.push_str(PROGRAM);
        let line = flagged[..flagged.len() - PROGRAM.len()].rsplit('\n').next().unwrap_or_default();
        if is_command(after) && (line.trim().is_empty() || line.ends_with(": ")) {
            flagged.push_str(flags);
            flagged.push(' ');
        }
        rest = after;
    }
    flagged.push_str(rest);
    flagged
}

/// Splits a suggestion that begins with a command into that command and a remark about it, such as `to use it now`.
pub(crate) fn command_and_remark(text: &str) -> (&str, Option<&str>) {
    if !text.starts_with(PROGRAM) {
        return (text, None);
    }
    let (mut is_quoted, mut chars) = (false, text.char_indices());
    while let Some((at, char)) = chars.next() {
        match char {
            '\'' => is_quoted = !is_quoted,
            '\\' if !is_quoted => drop(chars.next()),
            ',' | ';' if !is_quoted => {
                if let Some(remark) = text[at + 1..].strip_prefix(' ') {
                    return (&text[..at], Some(remark));
                }
            }
            _ => {}
        }
    }
    (text, None)
}

#[cfg(test)]
mod tests {
    use super::{command_and_remark, option, quoted, with_flags};

    #[test]
    fn a_command_is_apart_from_the_remark_about_it_whatever_its_names() {
        for (text, command, remark) in [
            ("credentials reset a, to use it now", "credentials reset a", Some("to use it now")),
            ("credentials reset 'a, b', now; x", "credentials reset 'a, b'", Some("now; x")),
            (r"credentials reset 'a'\'', b'; x", r"credentials reset 'a'\'', b'", Some("x")),
            ("credentials reset a,b", "credentials reset a,b", None),
            ("credentials list", "credentials list", None),
            ("set `origins`, or add --url URL", "set `origins`, or add --url URL", None),
        ] {
            assert_eq!(command_and_remark(text), (command, remark));
        }
    }

    #[test]
    fn a_command_that_is_suggested_has_the_flags_and_nothing_else_has() {
        for (text, expected) in [
            ("credentials list", "credentials --vault v list"),
            (
                "credentials login a\n       credentials login b",
                "credentials --vault v login a\n       credentials --vault v login b",
            ),
            ("to add one: credentials login X", "to add one: credentials --vault v login X"),
            ("your credentials are here", "your credentials are here"),
            ("refused: credentials expired", "refused: credentials expired"),
            ("credentials --vault v list", "credentials --vault v list"),
        ] {
            assert_eq!(
                with_flags(text, "--vault v", &["list".to_owned(), "login".to_owned()]),
                expected
            );
        }
    }

    #[test]
    fn whatever_a_shell_would_obey_is_quoted() {
        for plain in ["acme/work", "a-b_c.d@e", "/home/me/vault.key", "50%"] {
            assert_eq!(quoted(plain), plain);
        }
        for (word, expected) in [
            ("", "''"),
            ("my key", "'my key'"),
            ("$HOME", "'$HOME'"),
            ("it's", r"'it'\''s'"),
            ("a!b", "'a!b'"),
            ("{a,b}", "'{a,b}'"),
            ("~", "'~'"),
            ("a\nb", "'a\nb'"),
            ("schlüssel", "'schlüssel'"),
        ] {
            assert_eq!(quoted(word), expected);
        }
        assert_eq!(option("--label", "work"), "--label work");
        assert_eq!(option("--label", "-x y"), "--label='-x y'");
    }
}
