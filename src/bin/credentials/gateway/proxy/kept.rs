//! Authorities that stay the same, so that those who trust them need not be told at each start.

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

/// How long one is valid, and how long before its end there is another one.
const LIFETIME: Duration = Duration::from_secs(2 * 365 * 24 * 60 * 60);
const EARLY: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The name in their certificates.
const NAME: &str = "credentials serve";

/// The most of its file that is read.
const MOST: u64 = 1024 * 1024;

/// The authorities of the gateways of a vault: with their keys in `VAULT.proxy.json`, and for clients in `VAULT.proxy.pem`.
pub(crate) struct KeptAuthorities {
    path: PathBuf,
    pub(crate) certificate: PathBuf,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Stored<'a> {
    version: u32,
    #[serde(borrow)]
    authorities: Vec<StoredAuthority<'a>>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct StoredAuthority<'a> {
    /// In seconds since 1970.
    ends_at: u64,
    hosts: BTreeSet<String>,
    certificate: String,
    /// PKCS #8 in base64.
    key: &'a str,
}

const VERSION: u32 = 1;

/// An authority that is kept, and when it ends, in seconds since 1970.
struct Kept {
    authority: Authority,
    ends_at: u64,
}

impl KeptAuthorities {
    /// Those of the vault in this directory.
    pub(crate) fn of(vault: &Path) -> Self {
        Self {
            path: files::beside(vault, ".proxy.json"),
            certificate: files::beside(vault, ".proxy.pem"),
        }
    }

    /// Returns the authorities. If none of them can vouch for one of these hosts for some time to come, another one is made for
    /// it. Those so far stay: programs that trust them go on.
    pub(crate) fn get(&self, hosts: BTreeSet<String>) -> Result<Vec<Authority>, Failure> {
        let _lock = files::lock(&self.path, |what, error| self.failed(what)(error))?;
        let mut kept = self.read()?;
        let is_known = |host: &String| kept.iter().any(|kept| kept.authority.vouches_for(host));
        let new: BTreeSet<_> = hosts.into_iter().filter(|host| !is_known(host)).collect();
        if !new.is_empty() {
            let is_another = !kept.is_empty();
            let named = new.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
            kept.push(make(new)?);
            self.write(&kept)?;
            if is_another {
                output::warn(format_args!(
                    "the proxy has another authority, for {named}: tools that go there must read {} again",
                    output::path(&self.certificate)
                ));
            }
        }
        let certificates: String = kept.iter().map(|kept| kept.authority.certificate()).collect();
        // It is nobody's secret, and whoever is to trust it must be able to read it.
        if fs::read_to_string(&self.certificate).ok().as_deref() != Some(&*certificates) {
            fs::write(&self.certificate, certificates).map_err(|error| {
                Failure::failed(format!("could not write {}", self.certificate.display())).because(error)
            })?;
        }
        Ok(kept.into_iter().map(|kept| kept.authority).collect())
    }

    /// Reads the authorities, without those that end soon. There may be no file.
    fn read(&self) -> Result<Vec<Kept>, Failure> {
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
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(self.failed("read")(error)),
        };
        let metadata = file.metadata().map_err(self.failed("read"))?;
        tls::for_its_owner_alone(&metadata).map_err(|mode| {
            let path = self.path.display();
            Failure::usage(format!("others than its owner may read {path}, whose mode is {mode}"))
                .way_out(format!("chmod 600 {}", crate::shell::quoted(path)))
        })?;
        // Of its full size at once, so that no copy of a key is left behind as it grows.
        let mut text = Zeroizing::new(Vec::with_capacity(metadata.len().min(MOST) as usize + 1));
        file.take(MOST).read_to_end(&mut text).map_err(self.failed("read"))?;
        // What the parser says may quote a key.
        let stored: Stored<'_> =
            serde_json::from_slice(&text).map_err(|_| damaged("its fields can't be read"))?;
        if stored.version != VERSION {
            return Err(damaged("it is of another version of this program"));
        }
        let mut kept = Vec::new();
        for StoredAuthority { ends_at, hosts, certificate, key } in stored.authorities {
            if UNIX_EPOCH + Duration::from_secs(ends_at) < SystemTime::now() + EARLY {
                output::warn(
                    "an authority of the proxy ends soon: clients must trust the new one that is made now",
                );
                continue;
            }
            let unreadable = "a key in it can't be read";
            let key = Zeroizing::new(STANDARD.decode(key).map_err(|_| damaged(unreadable))?);
            let parts = Parts { key: &key, certificate, name: NAME, hosts };
            let authority = Authority::of_parts(parts).map_err(|_| damaged(unreadable))?;
            kept.push(Kept { authority, ends_at });
        }
        Ok(kept)
    }

    fn write(&self, kept: &[Kept]) -> Result<(), Failure> {
        let keys: Vec<_> =
            kept.iter().map(|kept| Zeroizing::new(STANDARD.encode(kept.authority.key()))).collect();
        let stored = kept.iter().zip(&keys).map(|(Kept { authority, ends_at }, key)| StoredAuthority {
            ends_at: *ends_at,
            hosts: authority.hosts().clone(),
            certificate: authority.certificate().to_owned(),
            key,
        });
        let stored = Stored { version: VERSION, authorities: stored.collect() };
        let text = serde_json::to_vec(&stored).map(Zeroizing::new).map_err(|error| {
            Failure::failed("the proxy's authority could not be written").because(error)
        })?;
        files::write(&self.path, &text, true)
    }

    fn failed(&self, what: &'static str) -> impl Fn(io::Error) -> Failure + '_ {
        move |error| {
            let path = self.path.display();
            Failure::failed(format!("could not {what} the proxy's authority {path}")).because(error)
        }
    }
}

fn make(hosts: BTreeSet<String>) -> Result<Kept, Failure> {
    let authority = Authority::new(NAME, hosts, LIFETIME)
        .map_err(|error| Failure::failed("the proxy's authority could not be made").because(error))?;
    let ends_at = (SystemTime::now() + LIFETIME).duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(Kept { authority, ends_at: ends_at.as_secs() })
}
