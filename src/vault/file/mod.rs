//! The vault in a directory, sealed.
//!
//! ```text
//! records/<id>.json                  a credential: its metadata in clear, its secret sealed
//! pools/<provider>+<namespace>.log   a pool: its order, cooldowns and health, by what was appended
//! key.json                           which key seals the vault, and how many seals it has made
//! lock, pools/….lock, leases/….lock  locked around changes, and while a credential is refreshed
//! ```
//!
//! `specs/vault-format.md` has each of them byte by byte.
//!
//! Directories have mode 0700, files 0600. A record is replaced whole: written beside the old one, synced,
//! renamed, and the directory synced, before the vault answers. So whatever happens, a crash, a full disk or
//! a power cut, either the old record is there or the new one, and the new one once the vault has answered. A
//! cooldown is appended to its pool's log and not synced: it outlives a killed process, but not always a power
//! cut.
//!
//! Any number of processes and threads may use one vault. The locks are the operating system's (`flock`), which
//! a process that dies drops by itself; lock files are never removed. Waiting for one takes no thread and has a
//! bound, and the error then names the process that holds it, where the system tells.
//!
//! What can't be read is reported by its file's name and left as it is, and stops nothing else. A log with
//! damaged lines counts without them. A log that is none is kept under another name once something is to be
//! appended.
//!
//! As root, what is made in another user's directory is given to that user.
//!
//! All file work runs on tokio's threads for blocking work.

mod begun;
mod builder;
mod busy;
mod check;
mod claim;
mod damage;
mod directory;
mod future;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;
mod identity;
mod keys;
mod loaded;
mod lock;
mod log;
mod marker;
mod name;
mod opening;
mod pool;
mod record;
mod records;
mod resealing;
mod ring;
mod shares;
mod store;
#[cfg(test)]
mod tests;
mod vault;

pub use builder::FileVaultBuilder;
pub use check::{Check, Finding, FindingKind, Report, SealedWith, Severity};
pub use future::FileFuture;
pub use loaded::Loaded;
#[cfg(feature = "discovery")]
pub(crate) use name::pool_file;
pub use resealing::Resealing;
pub use vault::FileVault;
