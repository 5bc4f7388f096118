//! Reading a URL.

use super::{Address, InvalidRedisUrl, Login, Target, Topology};
use crate::percent::decoded;
use crate::secret::SecretString;

/// The schemes: of Redis and of Valkey, without and with TLS. Each may have `+sentinel` after it.
const SCHEMES: [(&str, bool); 4] =
    [("redis", false), ("rediss", true), ("valkey", false), ("valkeys", true)];

/// The port of an engine that names none.
const PORT: u16 = 6379;

/// The port of a Sentinel that names none.
const SENTINEL_PORT: u16 = 26379;

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
}
