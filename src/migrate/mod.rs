//! Migration of accounts and keys into a vault, from the plain-text files of other programs.
//!
//! ```no_run
//! use tower_credentials::migrate::{self, Source};
//! use tower_credentials::registry::Registry;
//! use tower_credentials::vault::MemoryVault;
//!
//! # async fn example() -> Result<(), tower_credentials::BoxError> {
//! let registry = Registry::builder().build()?;
//! let vault = MemoryVault::new();
//! let path = Source::Codex.place("/home/me", |variable| std::env::var_os(variable));
//! let found = migrate::read(Source::Codex, path)?;
//! for skipped in &found.skipped {
//!     eprintln!("{}: {skipped}", found.path.display());
//! }
//! let report = migrate::apply(&vault, &registry, &[found.clone()]).await?;
//! for step in &report.steps {
//!     println!("{}: {} as {}", step.entry, step.action, step.label);
//! }
//! // Only this changes the file.
//! migrate::remove_old(&vault, &registry, &found).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # What becomes of an entry
//!
//! An entry's record is the same as after a sign-in with this crate, so the layers use it and a
//! [`Refresher`](crate::Refresher) renews it. The label of an account is the name of the program that it comes from, that of
//! a key `default`, and that of an account at an MCP server the server's name; a taken label gets `-2`, as everywhere. The
//! record's attributes name its origin: `migrated_from`, `migrated_path`, `migrated_entry` and `migrated_generation`.
//!
//! A second migration adds nothing twice:
//!
//! - An unchanged entry is left alone, also after its record's tokens were renewed, or a person changed its label or its
//!   place in the pool.
//! - A changed entry updates its own record. An older token never replaces a newer one: if the vault has renewed its own
//!   meanwhile, the one that expires later is kept, unless the other program has signed in again or the vault's needs a new
//!   sign-in. The report says what was kept, and why.
//! - An account that the vault has from elsewhere (another program's file, or a sign-in) is updated in its record in the same
//!   way, if the tokens name their account.
//! - If a file has another account than before, that gets a record of its own. Claude Code's file and opencode's entries for
//!   Anthropic and Copilot don't name their account: there, another account is a changed entry. A changed entry without a
//!   refresh token removes its record's, unless both name the same account.
//! - A record that was removed from the vault comes back as long as its entry is in the file: nothing remembers the removal.
//!
//! # Two programs, one sign-in
//!
//! The other program and the vault have the same refresh token. Many vendors accept it once: whoever renews first
//! signs the other out, and some vendors end the whole session. After a migration, use only one of the two, or sign in
//! again with one.

mod apply;
mod aside;
mod decide;
mod error;
mod file;
mod formats;
mod found;
mod json;
mod remove;
mod source;
mod stored;

pub use apply::{Action, Failure, MigrationReport, Step, apply, plan};
pub use error::MigrateError;
pub use file::read;
pub use found::{Entry, Found, Skipped};
pub use remove::remove_old;
pub use source::{Source, UnknownSource};
