//! The parts of a URL, and how they are shown.

use std::fmt;
use std::sync::Arc;

use super::{Address, InvalidRedisUrl};
use crate::percent::encoded;
use crate::secret::SecretString;

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
    pub(super) scheme: &'static str,
    pub(in crate::vault) topology: Topology,
    pub(in crate::vault) tls: bool,
    pub(in crate::vault) login: Login,
    pub(in crate::vault) sentinel_login: Login,
    pub(in crate::vault) database: u32,
    /// What the names of all keys begin with.
    pub(in crate::vault) prefix: Option<String>,
}

impl Target {
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

#[cfg(test)]
mod tests {
    use super::super::RedisUrl;
    use super::*;

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
