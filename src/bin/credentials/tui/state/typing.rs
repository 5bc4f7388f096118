//! A line that a person types.

use zeroize::Zeroizing;

use crate::tui::keys::Code;

/// The most bytes of a line. Room for them is made at once, so that growing leaves no copy of a secret behind.
const MOST: usize = 64 * 1024;

/// A line that a person types. It may be a secret.
pub(in crate::tui) struct Line {
    text: Zeroizing<String>,
    /// Before which byte the next character goes.
    at: usize,
}

impl Line {
    pub(in crate::tui) fn new(text: &str) -> Self {
        let mut line = Self { text: Zeroizing::new(String::with_capacity(MOST)), at: 0 };
        line.insert(text);
        line
    }

    pub(in crate::tui) fn text(&self) -> &str {
        &self.text
    }

    /// Returns what is before the cursor.
    pub(in crate::tui) fn before(&self) -> &str {
        &self.text[..self.at]
    }

    /// Inserts a text, as far as there is room. Line ends are left out: they come with what is pasted.
    pub(in crate::tui) fn insert(&mut self, text: &str) {
        for char in text.chars().filter(|char| !char.is_control()) {
            if self.text.len() + char.len_utf8() <= MOST {
                self.text.insert(self.at, char);
                self.at += char.len_utf8();
            }
        }
    }

    pub(in crate::tui) fn clear(&mut self) {
        self.text.clear();
        self.at = 0;
    }

    /// Takes a key that is no command, and returns whether it changed or moved anything.
    pub(in crate::tui) fn key(&mut self, code: Code) -> bool {
        let before = self.text[..self.at].chars().next_back().map_or(0, char::len_utf8);
        let after = self.text[self.at..].chars().next().map_or(0, char::len_utf8);
        match code {
            Code::Char(char) => self.insert(char.encode_utf8(&mut [0; 4])),
            Code::Backspace if before > 0 => {
                self.at -= before;
                self.text.remove(self.at);
            }
            Code::Delete if after > 0 => {
                self.text.remove(self.at);
            }
            Code::Left => self.at -= before,
            Code::Right => self.at += after,
            Code::Home => self.at = 0,
            Code::End => self.at = self.text.len(),
            _ => return false,
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::{Code, Line};

    #[test]
    fn a_line_is_typed_and_mended_by_whole_characters() {
        let mut line = Line::new("schlüssel");
        for code in [Code::Home, Code::Right, Code::Delete, Code::End, Code::Backspace, Code::Char('é')]
        {
            assert!(line.key(code));
        }
        assert_eq!((line.text(), line.before()), ("shlüsseé", "shlüsseé"));
        for _ in 0..20 {
            line.key(Code::Backspace);
        }
        assert_eq!(line.text(), "");
        line.insert("https://a\r\nb\u{1b}");
        assert_eq!(line.text(), "https://ab");
    }
}
