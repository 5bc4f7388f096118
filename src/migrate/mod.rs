//! The accounts and keys that other programs keep in files of plain text, brought into a vault.
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
//! // The file is as it was, until this is asked for.
//! migrate::remove_old(&vault, &registry, &found).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # What becomes of an entry
//!
//! A record made of an entry is what a sign-in with this crate would have made, so the layers use it and a
//! [`Refresher`](crate::Refresher) renews it. Accounts get the name of the program that they come from as their label, keys `default`, those of MCP
//! servers the server's name; a taken one gets `-2`, as everywhere. A record's attributes say where it came
//! from: `migrated_from`, `migrated_path`, `migrated_entry` and `migrated_generation`.
//!
//! Done again, nothing is added twice:
//!
//! - An entry that is as it was is left alone, also after its record's tokens were renewed, or its label or its
//!   place in the pool were changed by a person.
//! - An entry that has changed updates its own record. A newer token is never replaced by an older one: where
//!   the vault has renewed its own meanwhile, the one that ends later is kept, unless the other program has
//!   signed in anew or the vault's needs a new sign-in. What was kept, and why, is said.
//! - An account that the vault has from elsewhere, another program's file or a sign-in, is updated in its
//!   record the same way, where the tokens tell whose they are.
//! - A file that has another account now than before gets a record of its own for that. Claude Code's file and
//!   opencode's entries for Anthropic and Copilot don't tell whose they are: there, another account is a changed
//!   entry. A changed entry without a refresh token leaves its record none, unless both say that they are of one
//!   account.
//! - A record that was removed from the vault comes back as long as its entry is in the file: nothing remembers
//!   it.
//!
//! # Two programs, one sign-in
//!
//! The other program and the vault hold the same refresh token. Many vendors' work once: whoever renews first
//! signs the other out, some vendors end the whole session. After a migration, use one of the two, or sign in
//! anew with one.

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
