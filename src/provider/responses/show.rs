//! Rules in words.

use std::fmt;

use super::{LimitOf, Means, Place, ResponseRule, Test};

impl ResponseRule {
    /// Returns the statuses that the rule is for.
    pub fn statuses(&self) -> &[u16] {
        &self.statuses
    }

    /// Returns what a response must have besides its status, in words; empty if the status alone is enough.
    pub fn conditions(&self) -> String {
        self.tests.iter().map(Test::to_string).collect::<Vec<_>>().join(", ")
    }

    /// Returns the rule's meaning in the words of the settings: `limit`, `spent`, `dead`, `stopped`, `not-the-account`,
    /// `this-request`, `insufficient-scope` or `refused`.
    pub fn means_word(&self) -> &'static str {
        let is_own = |(_, means): &&(_, Means)| *means == self.means;
        Means::WORDS.iter().find(is_own).map_or("", |(word, _)| word)
    }

    /// Returns what a person has to do, if the rule says.
    pub fn what_to_do(&self) -> Option<&str> {
        Some(&*self.reason).filter(|reason| !reason.is_empty())
    }

    /// Returns how long the rule's effect lasts and what it applies to, in words.
    pub fn effect(&self) -> String {
        let names_time = self.tests.iter().flat_map(|test| &test.patterns);
        let names_time = names_time.map(|pattern| pattern.as_str()).any(|text| text.contains("{time}"));
        let mut words = Vec::new();
        words.extend(match self.limit_of {
            Some(LimitOf::Account) => Some("of the account".to_owned()),
            Some(LimitOf::Scope) => Some("of the model".to_owned()),
            Some(LimitOf::Concurrency) => Some("of requests at once".to_owned()),
            None => None,
        });
        words.extend(self.until.iter().map(|place| format!("until {place}")));
        words.extend(names_time.then(|| "until {time}".to_owned()));
        words.extend(self.wait.map(|wait| format!("else {} s", wait.as_secs())));
        words.join(", ")
    }
}

/// Writes the rule on one line.
impl fmt::Display for ResponseRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let statuses: Vec<_> = self.statuses.iter().map(u16::to_string).collect();
        write!(f, "{}", statuses.join(" "))?;
        let (conditions, effect) = (self.conditions(), self.effect());
        if !conditions.is_empty() {
            write!(f, " with {conditions}")?;
        }
        write!(f, ": {}", self.means_word())?;
        if !effect.is_empty() {
            write!(f, " ({effect})")?;
        }
        match self.what_to_do() {
            Some(what_to_do) => write!(f, ", {what_to_do}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let patterns: Vec<_> =
            self.patterns.iter().map(|pattern| format!("{:?}", pattern.as_str())).collect();
        write!(f, "{} = {}", self.place, patterns.join(" or "))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => write!(f, "header {name}"),
            Self::Field(path) => f.write_str(path),
            Self::Text => f.write_str("body"),
        }
    }
}
