//! Rules for responses, from a settings file.

use http::HeaderName;

use super::raw::{Raw, header_name, word};
use crate::provider::{LimitOf, Means, ResponseRule};

const KEYS: [&str; 9] =
    ["status", "header", "body", "text", "means", "until", "lasts", "of", "what_to_do"];

/// Reads the rules in a list of tables.
pub(super) fn rules(raw: &Raw<'_>) -> Result<Vec<ResponseRule>, String> {
    let Raw::List(items) = raw else {
        return Err("must be tables in a file, each as [[providers.NAME.responses]]".to_owned());
    };
    let rule = |(index, item): (usize, &Raw<'_>)| {
        rule(item).map_err(|reason| format!("is of no use in its entry {}: {reason}", index + 1))
    };
    items.iter().enumerate().map(rule).collect()
}

fn rule(raw: &Raw<'_>) -> Result<ResponseRule, String> {
    let Raw::Table(entries) = raw else { return Err("must be a table".to_owned()) };
    if let Some((unknown, _)) = entries.iter().find(|(key, _)| !KEYS.contains(key)) {
        let nearest = super::nearest(unknown, KEYS);
        let hint = nearest.map_or_else(
            || format!("must be one of {}", KEYS.map(|key| format!("`{key}`")).join(", ")),
            |nearest| format!("is `{nearest}` meant?"),
        );
        return Err(format!("`{unknown}` is not known: {hint}"));
    }
    let get = |key: &str| entries.iter().find(|(known, _)| *known == key).map(|(_, raw)| raw);
    let of = |key: &'static str| move |reason: String| format!("`{key}` {reason}");
    let needed = |key: &'static str| get(key).ok_or_else(|| format!("it has no `{key}`"));
    let mut rule = ResponseRule::on(statuses(needed("status")?).map_err(of("status"))?);
    for (name, value) in table(get("header")).map_err(of("header"))? {
        let name: HeaderName = header_name(name).map_err(of("header"))?;
        rule = rule.header(name, texts(value).map_err(of("header"))?);
    }
    for (path, value) in table(get("body")).map_err(of("body"))? {
        if path.split(['.', '|']).any(str::is_empty) {
            return Err(format!("`body` has a path with an empty name: {path:?}"));
        }
        rule = rule.body((*path).to_owned(), texts(value).map_err(of("body"))?);
    }
    if let Some(raw) = get("text") {
        rule = rule.text(texts(raw).map_err(of("text"))?);
    }
    let means = needed("means")?.one_of(&Means::WORDS).map_err(of("means"))?;
    let is_limit = means == Means::Limited;
    for (key, is_right) in
        [("until", is_limit || means == Means::Spent), ("lasts", is_limit), ("of", is_limit)]
    {
        if get(key).is_some() && !is_right {
            return Err(format!("`{key}` is for limits, and `until` also for what is spent"));
        }
    }
    let what_to_do = get("what_to_do").map(Raw::text).transpose().map_err(of("what_to_do"))?;
    // The text is shown only with these.
    let is_shown = matches!(means, Means::Spent | Means::Dead | Means::Stopped);
    if what_to_do.is_some() && !is_shown {
        return Err("`what_to_do` is for what is `spent`, `dead` or `stopped`".to_owned());
    }
    let usual = if is_shown { "see to the account" } else { "" };
    rule = rule.meaning(means, what_to_do.unwrap_or(usual).to_owned());
    for path in get("until").map(texts).transpose().map_err(of("until"))?.unwrap_or_default() {
        rule = rule.until(path);
    }
    if let Some(wait) = get("lasts").map(Raw::duration).transpose().map_err(of("lasts"))? {
        rule = rule.lasts(wait);
    }
    if let Some(raw) = get("of") {
        let words = [
            ("account", LimitOf::Account),
            ("model", LimitOf::Scope),
            ("concurrency", LimitOf::Concurrency),
        ];
        rule = rule.of(raw.text().and_then(|text| word(text, &words)).map_err(of("of"))?);
    }
    Ok(rule)
}

/// Reads one status or several, all from 400 to 599.
fn statuses(raw: &Raw<'_>) -> Result<Vec<u16>, String> {
    let one = |raw: &Raw<'_>| match raw {
        Raw::Integer(number) => u16::try_from(*number).ok().filter(|status| (400..600).contains(status)),
        _ => None,
    };
    let statuses = match raw {
        Raw::List(items) => items.iter().map(one).collect::<Option<Vec<_>>>(),
        one_alone => one(one_alone).map(|status| vec![status]),
    };
    let statuses = statuses.filter(|statuses| !statuses.is_empty());
    statuses.ok_or_else(|| "must be an error's status, from 400 to 599, or a list of them".to_owned())
}

fn table<'t, 'r>(raw: Option<&'t Raw<'r>>) -> Result<&'t [(&'r str, Raw<'r>)], String> {
    match raw {
        None => Ok(&[]),
        Some(Raw::Table(entries)) => Ok(entries),
        Some(_) => Err("must be a table, as in { \"error.code\" = \"quota\" }".to_owned()),
    }
}

/// Reads one text or several.
fn texts(raw: &Raw<'_>) -> Result<Vec<String>, String> {
    let texts = match raw {
        Raw::List(_) => raw.list()?,
        one => vec![one.text()?],
    };
    if texts.is_empty() {
        return Err("must not be an empty list".to_owned());
    }
    Ok(texts.into_iter().map(str::to_owned).collect())
}
