//! Applies the rules to a response.

use std::time::Duration;

use http::StatusCode;

use super::{Means, Place, ResponseRule, Test, values};
use crate::provider::{Assessment, ResponseView, Verdict};
use crate::rate_limit::{self, MAX_SPENT, MAX_STATED};
use crate::standing::{Stated, StatedBy};

/// Whether one of these rules needs the body of a response with this status.
pub(crate) fn wants_body(rules: &[ResponseRule], status: StatusCode) -> bool {
    rules.iter().any(|rule| rule.needs_body() && rule.statuses.contains(&status.as_u16()))
}

/// Assesses a response by the first of these rules that matches; `None` if none does. `headers` is the assessment of its
/// headers alone. Reasons name the vendor by this name.
pub(crate) fn read(
    rules: &[ResponseRule],
    vendor: &str,
    view: &ResponseView<'_>,
    headers: &Assessment,
) -> Option<Assessment> {
    let rules = || rules.iter().filter(|rule| rule.is_for(view));
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
    let fields = if paths.is_empty() { Vec::new() } else { values(view.body, &paths) };
    let reader = Reader { view, paths, fields };
    rules().find_map(|rule| reader.apply(rule, vendor, headers))
}

/// A response, with the fields of its body that the rules need.
struct Reader<'a> {
    view: &'a ResponseView<'a>,
    paths: Vec<&'a str>,
    /// Each value, with the index of its path.
    fields: Vec<(usize, String)>,
}

/// A test that has matched.
#[derive(Default)]
struct Match<'a> {
    /// The pattern, if it is an error's code.
    code: Option<&'a str>,
    /// The time that the text names in words, and where.
    time: Option<(String, &'a Place)>,
}

impl Place {
    fn stating(&self) -> StatedBy {
        match self {
            Place::Header(name) => StatedBy::Header(name.as_str().to_owned().into()),
            Place::Field(path) => StatedBy::Field(path.clone()),
            Place::Text => StatedBy::Text,
        }
    }
}

impl Reader<'_> {
    /// The texts at a place.
    fn texts(&self, place: &Place) -> Vec<&str> {
        match place {
            Place::Header(name) => {
                let values = self.view.headers.get_all(name).iter();
                values.filter_map(|value| value.to_str().ok()).collect()
            }
            Place::Field(path) => {
                let index = self.paths.iter().position(|known| known == path);
                let at_path = self.fields.iter().filter(|(field, _)| Some(*field) == index);
                at_path.map(|(_, text)| &**text).collect()
            }
            Place::Text => std::str::from_utf8(self.view.body).into_iter().collect(),
        }
    }

    fn matches<'r>(&self, test: &'r Test) -> Option<Match<'r>> {
        let texts = self.texts(&test.place);
        let matching = |pattern: &'r super::Pattern| {
            let time = texts.iter().find_map(|text| pattern.matches(text))?;
            let time = time.map(|time| (time.to_owned(), &test.place));
            Some(Match { code: pattern.code(), time })
        };
        test.patterns.iter().find_map(matching)
    }

    /// The assessment of a rule, if all of its tests match.
    fn apply(&self, rule: &ResponseRule, vendor: &str, headers: &Assessment) -> Option<Assessment> {
        let mut all = Match::default();
        for test in &rule.tests {
            let matched = self.matches(test)?;
            if !matches!(test.place, Place::Header(_)) {
                all.code = matched.code;
            }
            all.time = matched.time.or(all.time);
        }
        let reason = || match all.code {
            Some(code) => format!("{vendor} answered {code}: {}", rule.reason),
            None => format!("{vendor}: {}", rule.reason),
        };
        let mut assessment = headers.clone();
        assessment.verdict = Some(match rule.means {
            Means::Limited => return Some(self.limit(rule, all.time, assessment)),
            Means::Spent => {
                let until = self.ends(rule, all.time, MAX_SPENT).map(|(until, by)| {
                    assessment = std::mem::take(&mut assessment).stating(until, by);
                    until
                });
                Verdict::Spent { reason: reason(), until }
            }
            Means::Dead => Verdict::Dead { reason: reason() },
            Means::Stopped => Verdict::Stopped { reason: reason() },
            Means::NotTheAccount => Verdict::NotTheAccount,
            Means::ThisRequest => Verdict::ThisRequest,
            Means::InsufficientScope => Verdict::InsufficientScope,
            // These statuses mean this without a verdict.
            Means::Refused if matches!(self.view.status.as_u16(), 401 | 403) => {
                assessment.verdict = None;
                return Some(assessment);
            }
            Means::Refused => Verdict::Refused,
        });
        Some(assessment)
    }

    /// The assessment of a limit. A rule without tests keeps the verdict of the headers, and only adds a time.
    fn limit(
        &self,
        rule: &ResponseRule,
        time: Option<(String, &Place)>,
        mut assessment: Assessment,
    ) -> Assessment {
        if assessment.verdict.is_none() || !rule.tests.is_empty() {
            // These statuses mean this without a verdict.
            let is_implied = matches!(self.view.status.as_u16(), 402 | 429);
            assessment.verdict = (!is_implied).then_some(Verdict::Limited);
        }
        assessment.prolong(self.ends(rule, time, MAX_STATED));
        assessment.limit_of = rule.limit_of.or(assessment.limit_of);
        assessment.or_retry_at(rule.wait.map(|wait| self.view.now.after(wait)))
    }

    /// The latest time at which the rule's fields and headers say that it ends, at most this far ahead.
    fn ends(
        &self,
        rule: &ResponseRule,
        time: Option<(String, &Place)>,
        most: Duration,
    ) -> Option<Stated> {
        let ResponseView { headers, now, .. } = *self.view;
        let at = |place| self.texts(place).into_iter().map(move |text| (text, place));
        let resets =
            rule.until.iter().flat_map(at).filter_map(|(text, place)| {
                Some((rate_limit::any_reset(text.trim().as_bytes())?, place))
            });
        let in_words = time.and_then(|(time, place)| Some((rate_limit::date_and_minute(&time)?, place)));
        let ends = resets
            .chain(in_words)
            .map(|(reset, place)| (rate_limit::stated(headers, now, reset, most), place));
        ends.max_by_key(|(until, _)| *until).map(|(until, place)| (until, place.stating()))
    }
}
