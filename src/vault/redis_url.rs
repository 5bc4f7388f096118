//! The address of an engine, as a URL.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::percent::{decoded, encoded};
use crate::secret::SecretString;

/// The schemes: of Redis and of Valkey, without and with TLS. Each may have `+sentinel` after it.
const SCHEMES: [(&str, bool); 4] =
    [("redis", false), ("rediss", true), ("valkey", false), ("valkeys", true)];

/// The port of an engine that names none.
const PORT: u16 = 6379;

/// The port of a Sentinel that names none.
const SENTINEL_PORT: u16 = 26379;

/// The text is not the URL of an engine. It is not repeated here, since a password may be in it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InvalidRedisUrl {
    reason: &'static str,
}

impl InvalidRedisUrl {
    fn new(reason: &'static str) -> Self {
        Self { reason }
    }
}

impl fmt::Display for InvalidRedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the engine's URL can't be used: {}", self.reason)
    }
}

impl std::error::Error for InvalidRedisUrl {}

/// The [URL](crate::vault::redis#urls) of a Redis or Valkey that keeps a vault.
///
/// `Display` and `Debug` show it without name and password. What `Display` shows is a URL again.
///
/// ```
/// use tower_credentials::vault::RedisUrl;
///
/// let url: RedisUrl = "rediss://vault:password@redis.example.com/1?prefix=team".parse()?;
/// assert!(url.has_password());
/// assert_eq!(url.to_string(), "rediss://redis.example.com:6379/1?prefix=team");
/// # Ok::<(), tower_credentials::vault::InvalidRedisUrl>(())
/// ```
#[derive(Clone)]
pub struct RedisUrl(pub(in crate::vault) Arc<Target>);

impl RedisUrl {
    /// Returns whether a password is in it: the engine's, or that of its Sentinels.
    pub fn has_password(&self) -> bool {
        self.has_own_password() || self.has_sentinel_password()
    }

    pub(crate) fn has_own_password(&self) -> bool {
        self.0.login.password.is_some()
    }

    pub(crate) fn has_sentinel_password(&self) -> bool {
        self.0.sentinel_login.password.is_some()
    }

    /// Returns what the names of all keys begin with, if the URL says it.
    pub fn prefix(&self) -> Option<&str> {
        self.0.prefix.as_deref()
    }

    /// Sets the prefix, unless the URL has one.
    #[cfg(feature = "setup")]
    pub(crate) fn with_prefix(mut self, prefix: Option<&str>) -> Self {
        if self.0.prefix.is_none() {
            Arc::make_mut(&mut self.0).prefix = prefix.map(str::to_owned);
        }
        self
    }

    /// Returns whether both lead to the same engine and database, whatever their names, passwords and prefixes are.
    #[cfg(feature = "setup")]
    pub(crate) fn is_same_engine(&self, other: &Self) -> bool {
        let place = |url: &Self| (url.0.topology.clone(), url.0.tls, url.0.database);
        place(self) == place(other)
    }
}

impl FromStr for RedisUrl {
    type Err = InvalidRedisUrl;

    fn from_str(text: &str) -> Result<Self, InvalidRedisUrl> {
        Target::parse(text).map(|target| Self(Arc::new(target)))
    }
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisUrl({})", self.0)
    }
}

/// Two are equal if they show the same: their names and passwords do not count.
impl PartialEq for RedisUrl {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

impl Eq for RedisUrl {}

/// A host and a port.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(in crate::vault) struct Address {
    pub(in crate::vault) host: Arc<str>,
    pub(in crate::vault) port: u16,
}

impl Address {
    pub(in crate::vault) fn new(host: impl Into<Arc<str>>, port: u16) -> Self {
        Self { host: host.into(), port }
    }

    /// Reads `host`, `host:port`, `[::1]` or `[::1]:port`.
    fn parse(text: &str, default: u16) -> Result<Self, InvalidRedisUrl> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest
                    .split_once(']')
                    .ok_or_else(|| InvalidRedisUrl::new("an IPv6 address has no closing bracket"))?;
                (host, port.strip_prefix(':'))
            }
            None => match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        if host.is_empty() {
            return Err(InvalidRedisUrl::new("it names no host"));
        }
        let port = match port {
            None | Some("") => default,
            Some(port) => port
                .parse()
                .map_err(|_| InvalidRedisUrl::new("a port is not a number from 1 to 65535"))?,
        };
        Ok(Self::new(host, port))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How the engine is set up, and where it is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::vault) enum Topology {
    /// One primary, with or without replicas.
    Alone(Address),
    /// Sentinels, which know the primary of a service.
    Sentinel { sentinels: Vec<Address>, service: Arc<str> },
    /// Some nodes of a cluster.
    Cluster(Vec<Address>),
}

/// A name and a password.
#[derive(Clone, Debug, Default)]
pub(in crate::vault) struct Login {
    pub(in crate::vault) user: Option<String>,
    pub(in crate::vault) password: Option<SecretString>,
}

/// A URL's parts. `Debug` shows no password.
#[derive(Clone, Debug)]
pub(in crate::vault) struct Target {
    /// As it was written, without `+sentinel`.
    scheme: &'static str,
    pub(in crate::vault) topology: Topology,
    pub(in crate::vault) tls: bool,
    pub(in crate::vault) login: Login,
    pub(in crate::vault) sentinel_login: Login,
    pub(in crate::vault) database: u32,
    /// What the names of all keys begin with.
    pub(in crate::vault) prefix: Option<String>,
}

impl Target {
    /// Reads a URL.
    pub(in crate::vault) fn parse(url: &str) -> Result<Self, InvalidRedisUrl> {
        let (scheme, rest) = url
            .split_once("://")
            .ok_or_else(|| InvalidRedisUrl::new("it has no scheme, such as redis://"))?;
        let scheme = scheme.to_ascii_lowercase();
        let (base, is_sentinel) = match scheme.strip_suffix("+sentinel") {
            Some(base) => (base, true),
            None => (scheme.as_str(), false),
        };
        let (scheme, tls) =
            SCHEMES.into_iter().find(|(known, _)| *known == base).ok_or_else(|| {
                InvalidRedisUrl::new(
                    "its scheme must be redis, rediss, valkey or valkeys, with +sentinel if it names Sentinels",
                )
            })?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        // A password that was not escaped may have a slash in it, but not the hosts after the last `@`.
        let (login, rest) = match rest.rsplit_once('@') {
            Some((login, rest)) => (login_of(login), rest),
            None => (Login::default(), rest),
        };
        let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
        let default_port = if is_sentinel { SENTINEL_PORT } else { PORT };
        let hosts: Vec<_> =
            hosts.split(',').map(|host| Address::parse(host, default_port)).collect::<Result<_, _>>()?;
        let options = Options::parse(query)?;
        let mut parts = path.split('/').filter(|part| !part.is_empty());
        let topology = if is_sentinel {
            let service = parts.next().map(decoded).ok_or_else(|| {
                InvalidRedisUrl::new(
                    "it names no service after the Sentinels, as in redis+sentinel://host/service",
                )
            })?;
            Topology::Sentinel { sentinels: hosts, service: service.into() }
        } else if options.cluster {
            Topology::Cluster(hosts)
        } else {
            let [one] = &hosts[..] else {
                return Err(InvalidRedisUrl::new(
                    "several hosts are a cluster (add ?cluster=true) or Sentinels (redis+sentinel://)",
                ));
            };
            Topology::Alone(one.clone())
        };
        let database = parts.next().map_or(Ok(0), str::parse);
        let database = database.map_err(|_| InvalidRedisUrl::new("its database is not a number"))?;
        if parts.next().is_some() {
            return Err(InvalidRedisUrl::new("its path has too many parts"));
        }
        let Options { sentinel_login, prefix, .. } = options;
        let target = Self { scheme, topology, tls, login, sentinel_login, database, prefix };
        target.check().map(|()| target)
    }

    /// Checks that the parts go together.
    pub(in crate::vault) fn check(&self) -> Result<(), InvalidRedisUrl> {
        match self.topology {
            Topology::Cluster(_) if self.database != 0 => {
                Err(InvalidRedisUrl::new("a cluster has only the database 0"))
            }
            _ => Ok(()),
        }
    }
}

/// Shows the URL without a name and a password.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let escaped =
            |text: &str| encoded(text, |byte| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte));
        let Self { scheme, topology, database, prefix, .. } = self;
        let (kind, addresses) = match topology {
            Topology::Alone(address) => ("", std::slice::from_ref(address)),
            Topology::Sentinel { sentinels, .. } => ("+sentinel", &**sentinels),
            Topology::Cluster(nodes) => ("", &**nodes),
        };
        let addresses: Vec<_> = addresses.iter().map(Address::to_string).collect();
        write!(f, "{scheme}{kind}://{}", addresses.join(","))?;
        if let Topology::Sentinel { service, .. } = topology {
            write!(f, "/{}", escaped(service))?;
        }
        if *database != 0 {
            write!(f, "/{database}")?;
        }
        let is_cluster = matches!(topology, Topology::Cluster(_));
        let cluster = is_cluster.then(|| "cluster=true".to_owned());
        let prefix = prefix.as_deref().map(|prefix| format!("prefix={}", escaped(prefix)));
        for (option, mark) in cluster.into_iter().chain(prefix).zip(["?", "&"]) {
            write!(f, "{mark}{option}")?;
        }
        Ok(())
    }
}

/// The options after the question mark.
#[derive(Default)]
struct Options {
    cluster: bool,
    sentinel_login: Login,
    prefix: Option<String>,
}

impl Options {
    fn parse(query: &str) -> Result<Self, InvalidRedisUrl> {
        let mut options = Self::default();
        for option in query.split('&').filter(|option| !option.is_empty()) {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            match name {
                "cluster" => {
                    options.cluster = value
                        .parse()
                        .map_err(|_| InvalidRedisUrl::new("the option cluster is true or false"))?;
                }
                "prefix" if value.is_empty() => {
                    return Err(InvalidRedisUrl::new("its option prefix is empty"));
                }
                "prefix" => options.prefix = Some(decoded(value)),
                "sentinel_username" => options.sentinel_login.user = Some(decoded(value)),
                "sentinel_password" => {
                    options.sentinel_login.password = Some(decoded(value).into());
                }
                _ => {
                    return Err(InvalidRedisUrl::new(
                        "its options are cluster, prefix, sentinel_username and sentinel_password",
                    ));
                }
            }
        }
        Ok(options)
    }
}

fn login_of(text: &str) -> Login {
    let (user, password) = match text.split_once(':') {
        Some((user, password)) => (user, Some(SecretString::from(decoded(password)))),
        None => (text, None),
    };
    Login { user: (!user.is_empty()).then(|| decoded(user)), password }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_where_the_engine_is_and_how_it_is_set_up() {
        let of = |url: &str| Target::parse(url).unwrap();
        let local = |port| Address::new("localhost", port);
        let plain = of("redis://localhost");
        assert_eq!(
            (plain.topology, plain.tls, plain.database),
            (Topology::Alone(local(6379)), false, 0)
        );
        let full = of("valkeys://me:p%40ss@localhost:7000/3");
        assert_eq!((full.topology, full.tls, full.database), (Topology::Alone(local(7000)), true, 3));
        assert_eq!(full.login.user.as_deref(), Some("me"));
        assert_eq!(full.login.password.unwrap().expose(), "p@ss");
        let six = of("redis://:secret@[::1]:7001").topology;
        assert_eq!(six, Topology::Alone(Address::new("::1", 7001)));
        let cluster = of("redis://a:1,b:2?cluster=true").topology;
        assert_eq!(cluster, Topology::Cluster(vec![Address::new("a", 1), Address::new("b", 2)]));
        let sentinel = of("redis+sentinel://:pw@a,b:2/main/4?sentinel_password=other");
        let sentinels = vec![Address::new("a", 26379), Address::new("b", 2)];
        assert_eq!(sentinel.topology, Topology::Sentinel { sentinels, service: "main".into() });
        assert_eq!(sentinel.database, 4);
        assert_eq!(sentinel.sentinel_login.password.unwrap().expose(), "other");
    }

    #[test]
    fn what_is_no_url_of_an_engine_is_refused_without_its_password() {
        for url in [
            "",
            "localhost:6379",
            "http://:hunter2@localhost",
            "redis://:hunter2@",
            "redis://:hunter2@a:port",
            "redis://:hunter2@a,b",
            "redis://:hunter2@a/x",
            "redis://:hunter2@a/1/2",
            "redis://:hunter2@a/1?cluster=true",
            "redis://:hunter2@a?cluster=hunter2",
            "redis://:hunter2@a?hunter2=1",
            "redis://:hunter2@a?prefix=",
            "redis+sentinel://:hunter2@a",
            "redis://:hunter2@[::1",
        ] {
            let error = Target::parse(url).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{url}: {error}");
        }
    }

    #[test]
    fn a_url_is_shown_as_one_that_leads_to_the_same_engine_without_name_and_password() {
        for (url, shown) in [
            ("rediss://me:hunter2@a", "rediss://a:6379"),
            ("VALKEY://:hunter2@[::1]:7/0", "valkey://[::1]:7"),
            ("valkeys://me@a/3?prefix=one%2ftwo", "valkeys://a:6379/3?prefix=one%2ftwo"),
            (
                "redis://me:hunter2@a,b:1?cluster=true&prefix=p",
                "redis://a:6379,b:1?cluster=true&prefix=p",
            ),
            (
                "redis+sentinel://me:hunter2@a,b:1/the%20main/2?sentinel_password=hunter2",
                "redis+sentinel://a:26379,b:1/the%20main/2",
            ),
        ] {
            let target = Target::parse(url).unwrap();
            assert_eq!(target.to_string(), shown);
            let again = Target::parse(shown).unwrap();
            assert_eq!(again.to_string(), shown);
            assert_eq!(
                (again.topology, again.tls, again.database, again.prefix),
                (target.topology.clone(), target.tls, target.database, target.prefix.clone())
            );
            let all = format!("{target} {target:?} {:?}", RedisUrl(Arc::new(target.clone())));
            assert!(!all.contains("hunter2"), "{all}");
        }
    }
}
