//! The file of the clients, beside the vault.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::clients::ClientRecord;
use crate::failure::{Exit, Failure};
use crate::{files, output};

/// The clients of a vault's gateway, in the file `VAULT.clients.json`. It has no token in it.
#[derive(Clone, Debug)]
pub(crate) struct ClientsFile {
    path: PathBuf,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    clients: Vec<ClientRecord>,
}

const VERSION: u32 = 1;

/// Notices when the file has changed.
pub(crate) struct FollowedClients {
    file: ClientsFile,
    /// When it was last read.
    read: Mutex<Stamp>,
}

impl FollowedClients {
    /// Call this before the file is read for the first time.
    pub(crate) fn new(file: ClientsFile) -> Self {
        let read = Mutex::new(Stamp::of(&file.path));
        Self { file, read }
    }

    /// Hands over the clients if the file has changed since it was read. If it is damaged, those that are known stay.
    pub(crate) fn look(&self, take: impl FnOnce(Vec<ClientRecord>)) {
        // Who has to wait for another look finds what that one has handed over.
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = Stamp::of(&self.file.path);
        if std::mem::replace(&mut *read, stamp) != stamp {
            match self.file.read() {
                Ok(clients) => take(clients),
                Err(failure) => output::warn_of(&failure),
            }
        }
    }
}

/// By this one can tell whether the file has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp(Option<(SystemTime, u64, Changes)>);

/// The number of a file, and when its content, its mode or its owner has last changed.
type Changes = (u64, i64, i64);

impl ClientsFile {
    /// The file of the vault in this directory.
    pub(crate) fn of(vault: &Path) -> Self {
        Self { path: files::beside(vault, ".clients.json") }
    }

    /// Returns the clients; none if there is no file.
    pub(crate) fn read(&self) -> Result<Vec<ClientRecord>, Failure> {
        let damaged = |because: String| {
            Failure::new(Exit::Vault, format!("the file of clients {} is damaged", self.path.display()))
                .because(because)
                .way_out("move it away, and add the clients again: credentials client add NAME")
        };
        let text = match fs::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(self.failed("read")(error)),
        };
        let stored: Stored =
            serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?;
        match stored.version {
            VERSION => Ok(stored.clients),
            version => {
                Err(damaged(format!("its version is {version}, and this program knows {VERSION}")))
            }
        }
    }

    /// Changes the clients, while no other process does.
    pub(crate) fn change<T>(
        &self,
        change: impl FnOnce(&mut Vec<ClientRecord>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let _lock = files::lock(&self.path, |what, error| self.failed(what)(error))?;
        let mut clients = self.read()?;
        let changed = change(&mut clients)?;
        let stored = Stored { version: VERSION, clients };
        let text = serde_json::to_vec_pretty(&stored)
            .map_err(|error| Failure::failed("the clients could not be written").because(error))?;
        files::write(&self.path, &text, true)?;
        Ok(changed)
    }

    fn failed(&self, what: &'static str) -> impl Fn(io::Error) -> Failure + '_ {
        move |error| {
            Failure::failed(format!("could not {what} the file of clients {}", self.path.display()))
                .because(error)
        }
    }
}

impl Stamp {
    pub(super) fn of(path: &Path) -> Self {
        let metadata = fs::metadata(path).ok();
        Self(metadata.and_then(|metadata| {
            #[cfg(unix)]
            let changes = {
                use std::os::unix::fs::MetadataExt;
                (metadata.ino(), metadata.ctime(), metadata.ctime_nsec())
            };
            #[cfg(not(unix))]
            let changes = Changes::default();
            Some((metadata.modified().ok()?, metadata.len(), changes))
        }))
    }
}
