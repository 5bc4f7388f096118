//! Where credentials may go, as tables: origins, endpoints, vendors' own endpoints, and which targets of requests and
//! redirects a vendor's adapter trusts. Each case has its expected result.

#![cfg(feature = "providers")]

mod accounts;
mod redirects;
mod targets;
mod texts;

use tower_credentials::provider::{Anthropic, Copilot, Cursor, Google, OpenAi, Provider, Qwen};

use accounts::{COPILOT, QWEN};
use redirects::REDIRECTS;
use targets::TARGETS;
use texts::{ENDPOINTS, ORIGINS};

/// Fails with all cases whose result is not the expected one.
#[track_caller]
fn as_expected<T: PartialEq + std::fmt::Debug>(cases: impl IntoIterator<Item = (String, T, T)>) {
    let wrong: Vec<_> = cases.into_iter().filter(|(_, actual, expected)| actual != expected).collect();
    assert!(wrong.is_empty(), "(case, actual, expected): {wrong:#?}");
}

/// The adapters, with their own hosts.
fn vendors() -> Vec<(Box<dyn Provider>, &'static [&'static str])> {
    vec![
        (Box::new(Anthropic::new()), &["api.anthropic.com"]),
        (Box::new(OpenAi::new()), &["api.openai.com", "chatgpt.com"]),
        (
            Box::new(Google::new()),
            &[
                "generativelanguage.googleapis.com",
                "cloudcode-pa.googleapis.com",
                "aiplatform.googleapis.com",
            ],
        ),
        (
            Box::new(Copilot::new()),
            &[
                "api.githubcopilot.com",
                "api.individual.githubcopilot.com",
                "api.business.githubcopilot.com",
                "api.enterprise.githubcopilot.com",
            ],
        ),
        (
            Box::new(Qwen::new()),
            &[
                "portal.qwen.ai",
                "dashscope.aliyuncs.com",
                "dashscope-intl.aliyuncs.com",
                "dashscope-us.aliyuncs.com",
            ],
        ),
        (Box::new(Cursor::new()), &["api2.cursor.sh"]),
    ]
}

#[test]
fn there_are_at_least_five_hundred_cases() {
    let hosts: usize = vendors().iter().map(|(_, hosts)| hosts.len()).sum();
    let tables = ORIGINS.len() + ENDPOINTS.len() + COPILOT.len() + QWEN.len() + REDIRECTS.len();
    // Each vendor's hosts were also tried with every other vendor.
    let cases = tables + hosts * TARGETS.len() + hosts * vendors().len();
    assert!(cases >= 500 && tables >= 250 && TARGETS.len() >= 70, "{cases}, {tables}");
}
