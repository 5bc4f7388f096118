//! The hosts that an account may name for its own requests.

use super::{Credential, Endpoint, InvalidOrigin, Origin, is_oauth};
use crate::credential::Secret;

/// The endpoints of credentials that have their own.
#[derive(Clone, Debug)]
pub(super) enum Endpoints {
    /// Requests go wherever the caller says.
    None,
    /// OAuth accounts' requests go to this endpoint, if the user has set one.
    OfOAuth(Option<Endpoint>),
    /// The token endpoint names the endpoint in `extra["endpoint"]`. It counts if it is one of these.
    Named(NamedEndpoints),
}

#[derive(Clone, Debug)]
pub(super) struct NamedEndpoints {
    /// The vendor's domains. Each includes the hosts under it.
    pub(super) domains: &'static [&'static str],
    /// The origins that the user allows in addition.
    pub(super) origins: Vec<Origin>,
    /// The end of every endpoint's path, appended if it is missing.
    pub(super) suffix: &'static str,
}

impl Endpoints {
    pub(super) fn of(&self, credential: &Credential) -> Option<Endpoint> {
        match self {
            Self::None => None,
            Self::OfOAuth(endpoint) => endpoint.clone().filter(|_| is_oauth(credential)),
            Self::Named(named) => {
                let Secret::OAuth(tokens) = &credential.secret else { return None };
                named.parse(tokens.extra.get("endpoint")?.expose())
            }
        }
    }

    /// Allows one more origin, if accounts may name any.
    pub(super) fn allow(&mut self, origin: Origin) {
        if let Self::Named(named) = self {
            named.origins.push(origin);
        }
    }
}

impl NamedEndpoints {
    /// The endpoint that a text names, if it is allowed. Any other is ignored, and the caller's own trusted origin stays.
    fn parse(&self, text: &str) -> Option<Endpoint> {
        let mut text = with_scheme(text.trim()).trim_end_matches('/').to_owned();
        if !text.ends_with(self.suffix) {
            text.push_str(self.suffix);
        }
        let endpoint: Endpoint = text.parse().ok()?;
        let is_vendors = is_default_https(&endpoint)
            && self.domains.iter().any(|domain| is_under(endpoint.host(), domain));
        (is_vendors || self.origins.contains(endpoint.origin())).then_some(endpoint)
    }
}

/// The origin of a host, with or without a scheme.
pub(super) fn host(text: &str) -> Result<Origin, InvalidOrigin> {
    with_scheme(text).parse()
}

fn with_scheme(text: &str) -> String {
    if text.contains("://") { text.to_owned() } else { format!("https://{text}") }
}

/// Whether it is HTTPS on the default port.
fn is_default_https(endpoint: &Endpoint) -> bool {
    endpoint.origin().to_string().strip_prefix("https://") == Some(endpoint.host())
}

/// Whether a host is a domain or under it. The part before the domain must be whole labels (RFC 1035, section 2.3.1), none
/// of them empty.
fn is_under(host: &str, domain: &str) -> bool {
    let Some(before) = host.strip_suffix(domain) else { return false };
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    match before.strip_suffix('.') {
        Some(labels) => labels.split('.').all(is_label),
        None => before.is_empty(),
    }
}
