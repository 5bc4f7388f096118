//! `vault export`: writes the key, for a backup or for another machine.

use std::path::PathBuf;

use clap::{Args, ValueHint};
use tower_credentials::vault::key::KeyServiceExt;
use zeroize::Zeroizing;

use super::look::{look, opens, opens_engine};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::shell::quoted;
use crate::{files, output};

/// Write the vault's key, in base64
///
/// Anyone who has the key and the vault's files can read every account: keep the two apart. The key alone is no backup of
/// the accounts: for that, copy the vault's directory as well, or use `credentials backup`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  credentials vault export --output /media/stick/vault.key
  credentials vault export | ssh other credentials vault import --key-stdin")]
pub(crate) struct Export {
    /// Write it to this file, which only you may read, instead of standard output
    #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath)]
    output: Option<PathBuf>,
    /// Overwrite the file
    #[arg(long, requires = "output")]
    force: bool,
}

impl Export {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let Some(keys) = context.keys.load_keys().await? else {
            return Err(Failure::not_found(format!("there is no key in {}", context.keys)).way_out(
                "credentials vault import --file FILE, or credentials vault init for a new one",
            ));
        };
        match &keys.previous {
            Some(previous) => output::warn(format_args!(
                "the key {} is being replaced by {}, which is the one written here; finish that first: \
                 credentials vault rotate-key",
                previous.id(),
                keys.current.id()
            )),
            // A wrong key in a backup would be noticed only when it is needed.
            None => {
                look(context).await?.map_or(Ok(()), |report| opens(context, &report, &keys.current))?;
                opens_engine(context, keys.current.id()).await?;
            }
        }
        let text = keys.current.to_base64();
        match &self.output {
            Some(path) => {
                files::is_elsewhere(path, &context.places.own, "the key opens", "--output FILE")?;
                let line = Zeroizing::new(format!("{}\n", text.expose()));
                files::write(path, line.as_bytes(), self.force)?;
                #[cfg(unix)]
                files::give_to_owner(path, &context.places.own);
                output::say(format_args!(
                    "Wrote the key {} to {}",
                    keys.current.id(),
                    output::path(path)
                ));
                let copy = context
                    .places
                    .vault
                    .directory()
                    .map(|directory| format!("copy {} as well, or ", quoted(directory.display())));
                output::say(format_args!(
                    "This is only the key: {}write all accounts to one file: credentials backup FILE",
                    copy.unwrap_or_default()
                ));
            }
            None => {
                if output::is_for_a_person() {
                    output::warn(
                        "this is the key that opens every account; clear the screen afterwards",
                    );
                }
                output::print_exactly(text.expose())?;
            }
        }
        Ok(Exit::Done)
    }
}
