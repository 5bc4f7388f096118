//! An authority that stays the same, so that those who trust it need not be told at each start.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::authority::{Authority, Parts};
use crate::failure::{Exit, Failure};
use crate::files;
use crate::gateway::tls;
use crate::output;

/// How long it is valid, and how long before its end there is another one.
const LIFETIME: Duration = Duration::from_secs(2 * 365 * 24 * 60 * 60);
const EARLY: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The name in its certificate.
const NAME: &str = "credentials serve";

/// The most of its file that is read.
const MOST: u64 = 1024 * 1024;

/// The authority of the gateways of a vault: with its key in `VAULT.proxy.json`, and for clients in `VAULT.proxy.pem`.
pub(crate) struct KeptAuthority {
    path: PathBuf,
    pub(crate) certificate: PathBuf,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Stored<'a> {
    version: u32,
    /// In seconds since 1970.
    ends_at: u64,
    hosts: BTreeSet<String>,
    certificate: String,
    /// PKCS #8 in base64.
    key: &'a str,
}

const VERSION: u32 = 1;

impl KeptAuthority {
    /// That of the vault in this directory.
    pub(crate) fn of(vault: &Path) -> Self {
        Self {
            path: files::beside(vault, ".proxy.json"),
            certificate: files::beside(vault, ".proxy.pem"),
        }
    }

    /// Returns the authority. Makes another one unless it can vouch for these hosts for some time to come.
    pub(crate) fn get(&self, hosts: BTreeSet<String>) -> Result<Authority, Failure> {
        let _lock = files::lock(&self.path, |what, error| self.failed(what)(error))?;
        let before = self.read()?;
        let authority = match before {
            Some(kept) if hosts.is_subset(kept.hosts()) => kept,
            before => {
                // Those so far stay, since a gateway for other providers may run beside this one.
                let before = before.map(|kept| kept.hosts().clone());
                let is_other = before.is_some();
                let hosts = before.into_iter().flatten().chain(hosts).collect();
                let made = self.make(hosts)?;
                if is_other {
                    output::warn(
                        "the providers' hosts have changed, so the proxy has another authority: clients must trust that one now",
                    );
                }
                made
            }
        };
        // It is nobody's secret, and whoever is to trust it must be able to read it.
        if fs::read_to_string(&self.certificate).ok().as_deref() != Some(authority.certificate()) {
            fs::write(&self.certificate, authority.certificate()).map_err(|error| {
                Failure::failed(format!("could not write {}", self.certificate.display())).because(error)
            })?;
        }
        Ok(authority)
    }

    /// Reads the authority. Returns `None` if there is no file, or if the authority ends soon.
    fn read(&self) -> Result<Option<Authority>, Failure> {
        let damaged = |because: &str| {
            Failure::new(
                Exit::Vault,
                format!("the file of the proxy's authority {} is damaged", self.path.display()),
            )
            .because(because)
            .way_out("move it away: a new authority is made, which clients must trust then")
        };
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.failed("read")(error)),
        };
        let metadata = file.metadata().map_err(self.failed("read"))?;
        tls::for_its_owner_alone(&metadata).map_err(|mode| {
            let path = self.path.display();
            Failure::usage(format!("others than its owner may read {path}, whose mode is {mode}"))
                .way_out(format!("chmod 600 {}", crate::shell::quoted(path)))
        })?;
        // Of its full size at once, so that no copy of the key is left behind as it grows.
        let mut text = Zeroizing::new(Vec::with_capacity(metadata.len().min(MOST) as usize + 1));
        file.take(MOST).read_to_end(&mut text).map_err(self.failed("read"))?;
        // What the parser says may quote the key.
        let stored: Stored<'_> =
            serde_json::from_slice(&text).map_err(|_| damaged("it is no such file"))?;
        if stored.version != VERSION {
            return Err(damaged("it is of another version of this program"));
        }
        if UNIX_EPOCH + Duration::from_secs(stored.ends_at) < SystemTime::now() + EARLY {
            output::warn(
                "the proxy's authority ends soon: clients must trust the new one that is made now",
            );
            return Ok(None);
        }
        let key = Zeroizing::new(STANDARD.decode(stored.key).map_err(|_| damaged("its key is none"))?);
        let parts =
            Parts { key: &key, certificate: stored.certificate, name: NAME, hosts: stored.hosts };
        Authority::of_parts(parts).map(Some).map_err(|_| damaged("its key is none"))
    }

    fn make(&self, hosts: BTreeSet<String>) -> Result<Authority, Failure> {
        let authority = Authority::new(NAME, hosts, LIFETIME).map_err(|error| {
            Failure::failed("the proxy's authority could not be made").because(error)
        })?;
        let ends_at = (SystemTime::now() + LIFETIME).duration_since(UNIX_EPOCH).unwrap_or_default();
        let key = Zeroizing::new(STANDARD.encode(authority.key()));
        let stored = Stored {
            version: VERSION,
            ends_at: ends_at.as_secs(),
            hosts: authority.hosts().clone(),
            certificate: authority.certificate().to_owned(),
            key: &key,
        };
        let text = serde_json::to_vec(&stored).map(Zeroizing::new).map_err(|error| {
            Failure::failed("the proxy's authority could not be written").because(error)
        })?;
        files::write(&self.path, &text, true)?;
        Ok(authority)
    }

    fn failed(&self, what: &'static str) -> impl Fn(io::Error) -> Failure + '_ {
        move |error| {
            let path = self.path.display();
            Failure::failed(format!("could not {what} the proxy's authority {path}")).because(error)
        }
    }
}
