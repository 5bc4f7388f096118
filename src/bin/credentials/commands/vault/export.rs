//! `vault export`: the key, for a backup or for another machine.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, ValueHint};
use tower_credentials::SecretString;
use tower_credentials::vault::key::KeyServiceExt;

use super::{look, opens};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::output;

/// Write the vault's key, in base64
///
/// With the key, whoever has the vault's files can read every account in them: keep them apart.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  credentials vault export --output /media/stick/vault.key
  credentials vault export | ssh other credentials vault import --key-stdin")]
pub(crate) struct Export {
    /// Write it to this file, which only you may read, in place of standard output
    #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath)]
    output: Option<PathBuf>,
    /// Overwrite the file
    #[arg(long, requires = "output")]
    force: bool,
}

impl Export {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let Some(keys) = context.keys.load_keys().await? else {
            return Err(Failure::not_found(format!("there is no key in {}", context.keys))
                .way_out("credentials vault import, or credentials vault init for a new one"));
        };
        match &keys.previous {
            Some(previous) => output::warn(format_args!(
                "the key {} is being exchanged for {}, which is the one written here; finish that first: \
                 credentials vault rotate-key",
                previous.id(),
                keys.current.id()
            )),
            // A backup of a key that opens nothing would be found out when it is needed.
            None => look(context).await?.map_or(Ok(()), |report| opens(&report, &keys.current))?,
        }
        let text = keys.current.to_base64();
        match &self.output {
            Some(path) => {
                is_elsewhere(path, &context.places.vault)?;
                write(path, &text, self.force)?;
                #[cfg(unix)]
                give_to_owner(path, &context.places.vault);
                output::say(format_args!(
                    "Wrote the key {} to {}",
                    keys.current.id(),
                    output::path(path)
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

/// Refuses a place within the vault: who copies the vault would have its key with it.
fn is_elsewhere(path: &Path, vault: &Path) -> Result<(), Failure> {
    let directory =
        path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match (fs::canonicalize(directory), fs::canonicalize(vault)) {
        (Ok(directory), Ok(vault)) if directory.starts_with(&vault) => {
            let message = format!("{} is in the vault that the key opens", path.display());
            Err(Failure::usage(message).way_out("--output FILE with a file elsewhere"))
        }
        _ => Ok(()),
    }
}

/// Writes the key to a file that only its owner may read: a new one, or whole in place of another.
fn write(path: &Path, key: &SecretString, overwrite: bool) -> Result<(), Failure> {
    let failed = |error: io::Error| {
        let failure = Failure::failed(format!("could not write {}", path.display())).because(&error);
        match error.kind() {
            io::ErrorKind::AlreadyExists => failure.way_out("another name, or --force to overwrite it"),
            _ => failure,
        }
    };
    if !overwrite {
        return write_new(path, key).map_err(failed);
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let beside = path.with_file_name(name);
    write_new(&beside, key).map_err(failed)?;
    fs::rename(&beside, path).map_err(|error| {
        // It holds the key.
        let _ = fs::remove_file(&beside);
        failed(error)
    })
}

/// As root, in a directory of the vault's owner, gives the file to them: it is for them, and they have the key anyway.
#[cfg(unix)]
fn give_to_owner(path: &Path, vault: &Path) {
    use std::os::unix::fs::{MetadataExt, fchown};
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let directory =
        path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let (Ok(directory), Ok(vault)) = (fs::metadata(directory), fs::metadata(vault)) else { return };
    if directory.uid() != vault.uid() || directory.uid() == 0 {
        return;
    }
    // What has taken the file's name since may lead anywhere.
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC;
    let given = rustix::fs::open(path, flags, rustix::fs::Mode::empty())
        .map_err(io::Error::from)
        .and_then(|file| fchown(file, Some(directory.uid()), Some(directory.gid())));
    if let Err(error) = given {
        let path = path.display();
        output::warn(format_args!(
            "{path} stays root's: it can't be given to the vault's owner ({error})"
        ));
    }
}

fn write_new(path: &Path, key: &SecretString) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    let written = file.write_all(key.expose().as_bytes()).and_then(|()| file.write_all(b"\n"));
    written.and_then(|()| file.sync_all()).inspect_err(|_| {
        let _ = fs::remove_file(path);
    })
}
