//! The table `[serve]` of the settings file.

use std::fmt;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use http::Method;
use serde::{Deserialize, Deserializer};
use tower_credentials::PoolKey;
use tower_credentials::provider::Endpoint;

use super::guard::AllowedOrigin;
use super::proxy::Others;
use super::route::HttpVersion;
use crate::failure::Failure;
use crate::{numbers, output};

/// The settings of the gateway. A flag takes precedence.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ServeSettings {
    #[serde(default, deserialize_with = "address")]
    pub(crate) listen: Option<SocketAddr>,
    pub(crate) tls_cert: Option<PathBuf>,
    pub(crate) tls_key: Option<PathBuf>,
    #[serde(default)]
    pub(crate) allow_hosts: Vec<String>,
    #[serde(default, deserialize_with = "all_parsed")]
    pub(crate) allow_origins: Vec<AllowedOrigin>,
    /// Whether tunnels to the providers' own hosts are taken, too.
    #[serde(default)]
    pub(crate) proxy: bool,
    /// Where else tunnels may lead.
    pub(crate) proxy_others: Option<Others>,
    /// What upstreams are spoken to by, for routes that say nothing else.
    pub(crate) upstream_http_version: Option<HttpVersion>,
    /// Routes beside those of each provider.
    #[serde(default, rename = "route")]
    pub(crate) routes: Vec<RouteSettings>,
}

/// A route: which requests it takes, and where they go.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RouteSettings {
    /// The beginning of the path, which is taken off.
    #[serde(deserialize_with = "parsed")]
    pub(crate) path: PathPrefix,
    /// The provider whose accounts its requests get.
    pub(crate) provider: String,
    #[serde(default)]
    pub(crate) namespace: Option<String>,
    /// Where they go. Defaults to the provider's first origin.
    #[serde(default, deserialize_with = "maybe_parsed")]
    pub(crate) upstream: Option<Endpoint>,
    /// What that is spoken to by.
    #[serde(default)]
    pub(super) upstream_http_version: Option<HttpVersion>,
    /// Only requests for this host.
    #[serde(default)]
    host: Option<String>,
    /// Only requests for a model that matches this pattern.
    #[serde(default, deserialize_with = "maybe_parsed")]
    model: Option<Pattern>,
    /// The methods that are allowed; all if it is empty.
    #[serde(default, deserialize_with = "all_parsed")]
    methods: Vec<Method>,
    /// The patterns of the paths that are allowed, without the beginning; all if it is empty.
    #[serde(default, deserialize_with = "all_parsed")]
    paths: Vec<Pattern>,
}

impl RouteSettings {
    /// The route of a pool. `name` is the only segment of its path.
    pub(super) fn of_pool(pool: &PoolKey, name: &str) -> Self {
        Self {
            path: PathPrefix(format!("/{name}")),
            provider: pool.provider().to_owned(),
            namespace: Some(pool.namespace().to_owned()),
            upstream: None,
            upstream_http_version: None,
            host: None,
            model: None,
            methods: Vec::new(),
            paths: Vec::new(),
        }
    }

    /// The host that it is for, if it is for one only.
    pub(super) fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    /// Whether the route is for this host.
    pub(super) fn takes_host(&self, host: &str) -> bool {
        let Some(ours) = &self.host else { return true };
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        host.eq_ignore_ascii_case(ours) || name.eq_ignore_ascii_case(ours)
    }

    /// Whether the route is for one kind of models only.
    pub(super) fn depends_on_model(&self) -> bool {
        self.model.is_some()
    }

    /// Whether the route is for this model.
    pub(super) fn takes_model(&self, model: Option<&str>) -> bool {
        self.model.as_ref().is_none_or(|pattern| model.is_some_and(|model| pattern.matches(model)))
    }

    /// Whether a request may be sent on. `path` is without the route's own.
    pub(super) fn allows(&self, method: &Method, path: &str) -> bool {
        (self.methods.is_empty() || self.methods.contains(method))
            && (self.paths.is_empty() || self.paths.iter().any(|pattern| pattern.matches(path)))
    }

    /// The order in which routes are tried: the most specific first.
    pub(super) fn precedence(&self) -> impl Ord + use<> {
        std::cmp::Reverse((self.path.0.len(), self.host.is_some(), self.model.is_some()))
    }
}

/// The beginning of a path: whole segments, without a slash at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PathPrefix(String);

impl PathPrefix {
    /// Returns what follows this beginning in a path.
    pub(super) fn rest_of<'a>(&self, path: &'a str) -> Option<&'a str> {
        path.strip_prefix(&*self.0).filter(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl fmt::Display for PathPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for PathPrefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_plain = |char: char| char.is_ascii_alphanumeric() || "-._~:@/".contains(char);
        let segments = text.strip_prefix('/').unwrap_or_default().split('/');
        let own = ["", ".", "..", ".gateway", "healthz", "readyz", "metrics"];
        match segments.clone().next() {
            Some(first) if own.contains(&first) => Err(format!(
                "{text:?} is no path of a route: it must begin with a slash and a name that the gateway does not use itself"
            )),
            _ if !text.chars().all(is_plain)
                || segments.clone().any(|part| ["", ".", ".."].contains(&part)) =>
            {
                Err(format!("{text:?} is no path of a route, such as \"/team/openai\""))
            }
            _ => Ok(Self(text.to_owned())),
        }
    }
}

/// A text in which each `*` stands for any characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern(String);

impl Pattern {
    pub(super) fn matches(&self, text: &str) -> bool {
        let mut parts = self.0.split('*');
        let Some(mut rest) = text.strip_prefix(parts.next().unwrap_or_default()) else { return false };
        let mut parts = parts.peekable();
        if parts.peek().is_none() {
            return rest.is_empty();
        }
        while let Some(part) = parts.next() {
            if parts.peek().is_none() {
                return rest.ends_with(part);
            }
            let Some(at) = rest.find(part) else { return false };
            rest = &rest[at + part.len()..];
        }
        false
    }
}

impl FromStr for Pattern {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        if text.is_empty() { Err("a pattern is empty") } else { Ok(Self(text.to_owned())) }
    }
}

/// Reads an address to listen at.
fn address<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SocketAddr>, D::Error> {
    let text = toml::Value::deserialize(from)?;
    let address = numbers::address(text.as_str().unwrap_or_default());
    address.map(Some).map_err(|why| serde::de::Error::custom(format_args!("listen: {why}")))
}

/// Reads a value that is a text.
fn parsed<'de, D: Deserializer<'de>, T: FromStr<Err: fmt::Display>>(from: D) -> Result<T, D::Error> {
    let text = String::deserialize(from)?;
    text.parse().map_err(serde::de::Error::custom)
}

fn maybe_parsed<'de, D: Deserializer<'de>, T: FromStr<Err: fmt::Display>>(
    from: D,
) -> Result<Option<T>, D::Error> {
    parsed(from).map(Some)
}

fn all_parsed<'de, D: Deserializer<'de>, T: FromStr<Err: fmt::Display>>(
    from: D,
) -> Result<Vec<T>, D::Error> {
    let texts = Vec::<String>::deserialize(from)?;
    let parsed = texts.into_iter().map(|text| text.parse().map_err(serde::de::Error::custom));
    parsed.collect()
}

impl ServeSettings {
    /// Reads them from the settings file, which has been checked before; none if there is no file.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        #[derive(Default, Deserialize)]
        struct File {
            #[serde(default)]
            serve: ServeSettings,
        }
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => {
                return Err(Failure::usage(format!("could not read {}", path.display())).because(error));
            }
        };
        let file: File = toml::from_str(&text).map_err(|error| {
            let line =
                |at: usize| 1 + text.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count();
            let place =
                error.span().map(|span| format!(", line {}", line(span.start))).unwrap_or_default();
            // Without the line itself, which may have a secret in it.
            Failure::usage(format!(
                "{}{place}: the table [serve]: {}",
                output::path(path),
                error.message()
            ))
        })?;
        Ok(file.serve)
    }
}
