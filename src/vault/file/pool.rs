//! A pool's file: the order, the cooldowns and the health of its credentials, and its revision.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::record::{VERSION, damaged, read_json, to_json};
use crate::credential::PoolKey;
use crate::standing::Standings;
use crate::vault::{Revision, VaultError, disk};

#[derive(Serialize)]
struct Written<'a> {
    version: u32,
    pool: &'a PoolKey,
    standings: &'a Standings,
}

#[derive(Deserialize)]
struct Read {
    pool: PoolKey,
    standings: Standings,
}

/// Reads how a pool stands; empty where there is no file.
pub(super) fn read(path: &Path, pool: &PoolKey) -> Result<Standings, VaultError> {
    let way_out = "restore it from a backup, or remove it: order and cooldowns then begin anew";
    let Some(read) = read_json::<Read>(path, way_out)? else { return Ok(Standings::default()) };
    if read.pool != *pool {
        return Err(damaged(path, format!("it is the file of the pool {}; {way_out}", read.pool)));
    }
    Ok(read.standings)
}

/// Writes how a pool stands, and makes a new revision of it.
pub(super) fn write(path: &Path, pool: &PoolKey, standings: &Standings) -> Result<Revision, VaultError> {
    let bytes = to_json(path, &Written { version: VERSION, pool, standings })?;
    let modified = after(modified(path)?);
    disk::Temporary::write(path, &bytes, false, Some(modified))?.replace(path)?;
    revision(path)
}

/// Makes a new revision of a pool whose standings are as they were, even if its file is damaged: a secret
/// that was replaced must be seen by others all the same.
pub(super) fn touch(path: &Path, pool: &PoolKey) -> Result<(), VaultError> {
    let file = match File::options().write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return write(path, pool, &Standings::default()).map(drop);
        }
        Err(error) => return Err(disk::failed("open", path)(error)),
    };
    let modified = after(modified(path)?);
    file.set_modified(modified).map_err(disk::failed("set the time of", path))
}

/// The revision is the file's time of change, which takes one look at the directory to learn. Every
/// change makes it grow, by a microsecond at least, whatever the clock says.
pub(super) fn revision(path: &Path) -> Result<Revision, VaultError> {
    let since_epoch = modified(path)?.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(Revision::new(u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX)))
}

fn modified(path: &Path) -> Result<SystemTime, VaultError> {
    match fs::metadata(path).and_then(|metadata| metadata.modified()) {
        Ok(modified) => Ok(modified),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(UNIX_EPOCH),
        Err(error) => Err(disk::failed("read the time of", path)(error)),
    }
}

fn after(previous: SystemTime) -> SystemTime {
    let least = previous.checked_add(Duration::from_micros(1)).unwrap_or(previous);
    least.max(SystemTime::now())
}
