//! Which hosts an account may name for its own requests.

use super::{Credential, Endpoint, InvalidOrigin, Origin, is_oauth};
use crate::credential::Secret;

/// Where a credential's requests go, where that isn't the same for all of a vendor's.
#[derive(Clone, Debug)]
pub(super) enum Endpoints {
    /// Wherever the caller says.
    None,
    /// OAuth accounts' go to this place, if the user has set one.
    OfOAuth(Option<Endpoint>),
    /// Where the token endpoint has said in `extra["endpoint"]`, if that is one of these hosts.
    Named(NamedEndpoints),
}

#[derive(Clone, Debug)]
pub(super) struct NamedEndpoints {
    /// The vendor's domains: any host under them counts, and they themselves do.
    pub(super) domains: &'static [&'static str],
    /// What the user lets through besides.
    pub(super) origins: Vec<Origin>,
    /// What every path there begins with; appended where it isn't there.
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

    /// Lets one more origin through, where accounts may name any.
    pub(super) fn allow(&mut self, origin: Origin) {
        if let Self::Named(named) = self {
            named.origins.push(origin);
        }
    }
}

impl NamedEndpoints {
    /// The endpoint that a text names, if it is on the list. What isn't is as good as none: the caller's
    /// own trusted origin stays.
    fn parse(&self, text: &str) -> Option<Endpoint> {
        let mut text = with_scheme(text.trim()).trim_end_matches('/').to_owned();
        if !text.ends_with(self.suffix) {
            text.push_str(self.suffix);
        }
        let endpoint: Endpoint = text.parse().ok()?;
        let is_vendors = is_https_alone(&endpoint)
            && self.domains.iter().any(|domain| is_under(endpoint.host(), domain));
        (is_vendors || self.origins.contains(endpoint.origin())).then_some(endpoint)
    }
}

/// The origin of a host that may come without a scheme.
pub(super) fn host(text: &str) -> Result<Origin, InvalidOrigin> {
    with_scheme(text).parse()
}

fn with_scheme(text: &str) -> String {
    if text.contains("://") { text.to_owned() } else { format!("https://{text}") }
}

/// Whether it is of HTTPS on its own port.
fn is_https_alone(endpoint: &Endpoint) -> bool {
    endpoint.origin().to_string().strip_prefix("https://") == Some(endpoint.host())
}

/// Whether a host is a domain, or one under it: what is before is whole labels (RFC 1035, section 2.3.1),
/// none of them empty.
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
