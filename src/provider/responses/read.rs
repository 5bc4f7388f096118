//! What the rules say of an answer.

use std::time::Duration;

use http::StatusCode;

use super::{Means, Place, ResponseRule, Test, values};
use crate::clock::Timestamp;
use crate::provider::{Assessment, ResponseView, Verdict};
use crate::rate_limit::{self, MAX_SPENT, MAX_STATED};

/// Whether one of these rules has to see the body of an answer with this status.
pub(crate) fn wants_body(rules: &[ResponseRule], status: StatusCode) -> bool {
    rules.iter().any(|rule| rule.asks_for_body() && rule.statuses.contains(&status.as_u16()))
}

/// What the first of these rules that holds makes of an answer, in which the headers say this much; `None` where
/// none holds. Reasons name the vendor by this name.
pub(crate) fn read(
    rules: &[ResponseRule],
    vendor: &str,
    answer: &ResponseView<'_>,
    headers: &Assessment,
) -> Option<Assessment> {
    let rules = || rules.iter().filter(|rule| rule.is_for(answer));
    let mut paths: Vec<&str> = Vec::new();
    for rule in rules() {
        for place in rule.tests.iter().map(|test| &test.place).chain(&rule.until) {
            if let Place::Field(path) = place
                && !paths.contains(&&**path)
            {
                paths.push(path);
            }
        }
    }
    let found = if paths.is_empty() { Vec::new() } else { values(answer.body, &paths) };
    let seen = Seen { answer, paths, found };
    rules().find_map(|rule| seen.judge(rule, vendor, headers))
}

/// What there is to see of an answer.
struct Seen<'a> {
    answer: &'a ResponseView<'a>,
    paths: Vec<&'a str>,
    found: Vec<(usize, String)>,
}

/// What a test came to: the code that it asked for, and the time that the text names in words.
#[derive(Default)]
struct Held<'a> {
    code: Option<&'a str>,
    time: Option<String>,
}

impl Seen<'_> {
    /// The texts that are at a place.
    fn texts(&self, place: &Place) -> Vec<&str> {
        match place {
            Place::Header(name) => {
                let values = self.answer.headers.get_all(name).iter();
                values.filter_map(|value| value.to_str().ok()).collect()
            }
            Place::Field(path) => {
                let number = self.paths.iter().position(|known| known == path);
                let of_path = self.found.iter().filter(|(found, _)| Some(*found) == number);
                of_path.map(|(_, text)| &**text).collect()
            }
            Place::Text => std::str::from_utf8(self.answer.body).into_iter().collect(),
        }
    }

    fn holds<'r>(&self, test: &'r Test) -> Option<Held<'r>> {
        let texts = self.texts(&test.place);
        let matching = |pattern: &'r super::Pattern| {
            let time = texts.iter().find_map(|text| pattern.matches(text))?;
            Some(Held { code: pattern.code(), time: time.map(str::to_owned) })
        };
        test.patterns.iter().find_map(matching)
    }

    fn judge(&self, rule: &ResponseRule, vendor: &str, headers: &Assessment) -> Option<Assessment> {
        let mut all = Held::default();
        for test in &rule.tests {
            let held = self.holds(test)?;
            if !matches!(test.place, Place::Header(_)) {
                all.code = held.code;
            }
            all.time = held.time.or(all.time);
        }
        let reason = || match all.code {
            Some(code) => format!("{vendor} answered {code}: {}", rule.reason),
            None => format!("{vendor}: {}", rule.reason),
        };
        let mut assessment = headers.clone();
        assessment.verdict = Some(match rule.means {
            Means::Limited => return Some(self.limit(rule, all.time.as_deref(), assessment)),
            Means::Spent => {
                let until = self.ends(rule, all.time.as_deref(), MAX_SPENT);
                Verdict::Spent { reason: reason(), until }
            }
            Means::Dead => Verdict::Dead { reason: reason() },
            Means::Stopped => Verdict::Stopped { reason: reason() },
            Means::NotTheAccount => Verdict::NotTheAccount,
            Means::ThisRequest => Verdict::ThisRequest,
            Means::InsufficientScope => Verdict::InsufficientScope,
            // What these statuses say by themselves is no verdict.
            Means::Refused if matches!(self.answer.status.as_u16(), 401 | 403) => {
                return Some(Assessment { verdict: None, ..assessment });
            }
            Means::Refused => Verdict::Refused,
        });
        Some(assessment)
    }

    /// A limit. A rule that asks for nothing but the status only knows where the time is.
    fn limit(&self, rule: &ResponseRule, time: Option<&str>, mut assessment: Assessment) -> Assessment {
        if assessment.verdict.is_none() || !rule.tests.is_empty() {
            // What these statuses say by themselves is no verdict.
            let is_plain = matches!(self.answer.status.as_u16(), 402 | 429);
            assessment.verdict = (!is_plain).then_some(Verdict::Limited);
        }
        // Of several limits that are used up, the longest holds.
        let stated = assessment.retry_at.max(self.ends(rule, time, MAX_STATED));
        assessment.retry_at = stated.or_else(|| Some(self.answer.now.after(rule.wait?)));
        assessment.limit_of = rule.limit_of.or(assessment.limit_of);
        assessment
    }

    /// When what the rule is about ends, by what it knows of: the latest, at most this far ahead.
    fn ends(&self, rule: &ResponseRule, time: Option<&str>, most: Duration) -> Option<Timestamp> {
        let ResponseView { headers, now, .. } = *self.answer;
        let texts = rule.until.iter().flat_map(|place| self.texts(place));
        let resets = texts.filter_map(|text| rate_limit::any_reset(text.trim().as_bytes()));
        let resets = resets.chain(time.and_then(rate_limit::date_and_minute));
        resets.map(|reset| rate_limit::stated(headers, now, reset, most)).max()
    }
}
