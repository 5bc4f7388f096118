//! What the example prints, and which promises have held.

use std::fmt::{Debug, Display};

#[derive(Default)]
pub struct Report {
    /// What the example shows now.
    heading: String,
    held: usize,
    broken: Vec<String>,
}

impl Report {
    pub fn heading(&mut self, text: &str) {
        println!("\n{text}");
        self.heading = text.to_owned();
    }

    pub fn line(&self, text: impl Display) {
        println!("  {text}");
    }

    /// Notes whether a promise has held: whether what was found is what is expected.
    pub fn promise<T: PartialEq + Debug>(&mut self, words: &str, found: T, expected: T) {
        if found == expected {
            println!("  ✓ held: {words}");
            self.held += 1;
        } else {
            self.broken(words, format_args!("found {found:?}, expected {expected:?}"));
        }
    }

    /// Notes that a promise is broken.
    pub fn broken(&mut self, words: &str, why: impl Display) {
        println!("  ✗ broken: {words} ({why})");
        self.broken.push(format!("{}: {words}", self.heading));
    }

    /// Prints the summary. Returns whether all promises have held.
    pub fn finish(&self) -> bool {
        println!("\n{} of {} promises held", self.held, self.held + self.broken.len());
        self.broken.iter().for_each(|words| println!("  ✗ broken: {words}"));
        self.broken.is_empty()
    }
}
