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

#[cfg(test)]
mod tests {
    use super::{option, quoted};

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
