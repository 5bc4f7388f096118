//! Where the vault's key is: as the flags say, else as every program of this crate finds it. A place that was named is the
//! only one that is asked.

use std::path::{Path, PathBuf};

use tower_credentials::settings::KeySource;
use tower_credentials::setup::KeyPlace;
use tower_credentials::vault::key::{KeptKey, KeyId, VaultKey};

use crate::failure::{Exit, Failure};
use crate::options::Global;
use crate::output;
use crate::shell::quoted;

/// What the program needs to know about a place of the key.
pub(crate) trait KeyPlaceExt {
    /// Stores this key there, and returns the keys that it replaced, which are kept.
    async fn put(&self, key: &VaultKey) -> Result<Vec<KeptKey>, Failure>;

    /// Returns the failure that the program can't store a key there.
    fn is_read_only(&self) -> Failure;

    /// Returns the file of a key that this place had before, if it is kept.
    fn kept_file(&self, id: KeyId) -> Option<PathBuf>;

    /// Returns the type of the place, for scripts.
    fn kind(&self) -> &'static str;

    /// Returns the name of the variable, the file, the program or the keyring entry.
    fn name(&self) -> String;
}

impl KeyPlaceExt for KeyPlace {
    async fn put(&self, key: &VaultKey) -> Result<Vec<KeptKey>, Failure> {
        self.replace(key).await?.ok_or_else(|| self.is_read_only())
    }

    fn is_read_only(&self) -> Failure {
        Failure::usage(format!("the key comes from {self}, where this program can't store one"))
    }

    fn kept_file(&self, id: KeyId) -> Option<PathBuf> {
        let mut name = self.file()?.as_os_str().to_owned();
        name.push(format!(".{id}"));
        Some(PathBuf::from(name)).filter(|path| path.exists())
    }

    fn kind(&self) -> &'static str {
        match self.source() {
            KeySource::Variable => "variable",
            KeySource::File(_) => "file",
            KeySource::Command(_) => "command",
            _ => "keyring",
        }
    }

    fn name(&self) -> String {
        match self.source() {
            KeySource::Variable => VaultKey::VARIABLE.to_owned(),
            KeySource::Command(words) => words[0].clone(),
            _ => self.to_string(),
        }
    }
}

/// Returns the place that the flags name.
pub(crate) fn from_flags(global: &Global) -> Result<Option<KeySource>, Failure> {
    let mut named = Vec::new();
    if let Some(path) = &global.key_file {
        named.push(KeySource::File(path.clone()));
    }
    if let Some(text) = &global.key_command {
        let words = shell_words::split(text).unwrap_or_default();
        if words.first().is_none_or(String::is_empty) {
            let message = "--key-command names no command, or has a quote that is not closed";
            return Err(Failure::usage(message));
        }
        named.push(KeySource::Command(words));
    }
    if global.keyring {
        named.push(KeySource::Keyring);
    }
    match named.len() {
        0 | 1 => Ok(named.pop()),
        _ => Err(Failure::usage("--key-file, --key-command and --keyring each name a place of the key")
            .way_out("keep one of them")),
    }
}

/// Reads a key from a file.
pub(crate) fn key_in(path: &Path) -> Result<VaultKey, Failure> {
    use std::io::Read;
    let failed = |error: std::io::Error| {
        let exit = match error.kind() {
            std::io::ErrorKind::NotFound => Exit::NotFound,
            _ => Exit::Failed,
        };
        Failure::new(exit, format!("could not read {}", path.display())).because(error)
    };
    let mut text = zeroize::Zeroizing::new(String::with_capacity(MOST as usize));
    let file = std::fs::File::open(path).map_err(failed)?;
    #[cfg(unix)]
    if std::os::unix::fs::MetadataExt::mode(&file.metadata().map_err(failed)?) & 0o077 != 0 {
        output::warn(format_args!(
            "other users may read {}; to prevent that: chmod 600 {}",
            output::path(path),
            quoted(path.display())
        ));
    }
    file.take(MOST).read_to_string(&mut text).map_err(failed)?;
    VaultKey::from_base64(&text).map_err(|_| no_key(&path.display().to_string()))
}

/// The most bytes that a key and white space take.
const MOST: u64 = 4096;

pub(crate) fn no_key(what: &str) -> Failure {
    Failure::usage(format!(
        "{what} is not a key: a key is 32 bytes in base64, as `credentials vault export` writes it"
    ))
}
