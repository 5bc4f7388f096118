//! What tools are told so that they send their requests to the gateway: environment variables that SDKs and programs read.

use tower_credentials::SecretString;

/// An environment variable.
#[derive(Clone, Debug)]
pub(crate) struct Variable {
    pub(crate) name: String,
    pub(crate) value: Value,
}

/// A variable's value.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// The gateway's address, with a path.
    Url(String),
    /// The client's token.
    Token(SecretString),
}

/// What the variables of a provider's tools are.
struct Tools {
    provider: &'static str,
    /// Each with what follows the route.
    urls: &'static [(&'static str, &'static str)],
    keys: &'static [&'static str],
}

/// From the documentation of the SDKs and tools. Each reads some of them.
const TOOLS: [Tools; 4] = [
    Tools {
        provider: "openai",
        urls: &[("OPENAI_BASE_URL", "/v1"), ("OPENAI_API_BASE", "/v1")],
        keys: &["OPENAI_API_KEY"],
    },
    Tools {
        provider: "anthropic",
        urls: &[("ANTHROPIC_BASE_URL", ""), ("ANTHROPIC_API_URL", "")],
        keys: &["ANTHROPIC_API_KEY"],
    },
    Tools {
        provider: "google",
        urls: &[("GOOGLE_GEMINI_BASE_URL", ""), ("GEMINI_API_BASE", "/v1beta")],
        keys: &["GEMINI_API_KEY", "GOOGLE_API_KEY"],
    },
    Tools {
        provider: "qwen",
        urls: &[("DASHSCOPE_HTTP_BASE_URL", "/api/v1")],
        keys: &["DASHSCOPE_API_KEY"],
    },
];

/// Returns the variables for the tools of a provider. `base` is the address of its route, and `prefix` the path that the
/// route puts before that of requests. A provider that is not known here gets variables of its own name.
pub(crate) fn variables(
    provider: &str,
    base: &str,
    prefix: &str,
    token: &SecretString,
) -> Vec<Variable> {
    let url = |name: String, end: &str| {
        let end = if !end.is_empty() && prefix.ends_with(end) { "" } else { end };
        Variable { name, value: Value::Url(format!("{base}{end}")) }
    };
    let key = |name: String| Variable { name, value: Value::Token(token.clone()) };
    match TOOLS.iter().find(|tools| tools.provider == provider) {
        Some(tools) => {
            let urls = tools.urls.iter().map(|(name, end)| url((*name).to_owned(), end));
            urls.chain(tools.keys.iter().map(|name| key((*name).to_owned()))).collect()
        }
        None => {
            let start: String = provider
                .chars()
                .map(|char| if char.is_ascii_alphanumeric() { char.to_ascii_uppercase() } else { '_' })
                .collect();
            vec![url(format!("{start}_BASE_URL"), ""), key(format!("{start}_API_KEY"))]
        }
    }
}
