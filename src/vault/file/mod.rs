//! A sealed vault in a directory.
//!
//! ```text
//! records/<id>.json                  a credential: its metadata in plain text, its secret sealed
//! pools/<provider>+<namespace>.log   a pool: a log of its order, cooldowns and health
//! key.json                           which key seals the vault, and how many seals it has made
//! history/                           what has happened to the accounts, if it is recorded
//! lock, pools/….lock, leases/….lock  locked around changes, and while a credential is refreshed
//! ```
//!
//! `specs/vault-format.md` has each of them byte by byte.
//!
//! Directories have mode 0700, files 0600. A record is replaced whole: the new one is written beside the old one, synced and
//! renamed, and the directory is synced, before the response. So after a crash, a full disk or a power cut either the old
//! record is there or the new one, and it is the new one if there was a response. A cooldown is appended to its pool's log
//! and not synced: it outlives a killed process, but not always a power cut.
//!
//! Any number of processes and threads may use one vault. The locks are the operating system's (`flock`), which drops them
//! when a process dies; lock files are never removed. Waiting for a lock has a bound; the error then names the
//! process that holds the lock, if the system knows. On Linux a long wait takes one thread for each lock, which is not a tokio thread; other systems poll.
//!
//! A file that can't be read is reported by its name and left as it is; the others are not affected. Damaged lines of a log
//! are skipped. A file in a log's place that is not a log is kept under another name before something is appended.
//!
//! If root makes a file in another user's directory, it gives the file to that user.
//!
//! All file work runs on tokio's threads for blocking work.

mod attempt;
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
mod queue;
mod record;
mod records;
mod resealing;
mod ring;
mod shares;
mod store;
#[cfg(test)]
mod tests;
mod vault;

pub use super::UnfinishedRefresh;
pub use builder::FileVaultBuilder;
pub use check::{Check, Finding, FindingKind, Report, SealedWith, Severity};
pub use future::FileFuture;
pub use loaded::Loaded;
#[cfg(feature = "discovery")]
pub(crate) use name::pool_file;
pub use resealing::Resealing;
pub use vault::FileVault;
