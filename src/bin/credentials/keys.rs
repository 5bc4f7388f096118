//! Where the vault's key is: as the flags say, else as every program of this crate finds it. A place that was named is the
//! only one that is asked.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use tower_credentials::settings::KeySource;
use tower_credentials::setup::KeyPlace;
use tower_credentials::vault::VaultError;
use tower_credentials::vault::key::{FileKey, KeptKey, KeyId, KeyServiceExt, Keys, VaultKey};

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

    /// The same, if that file really holds this key.
    fn kept_key(&self, id: KeyId) -> Option<PathBuf>;

    /// Returns the key file, if it is there and holds no key.
    async fn damaged_file(&self) -> Option<FileKey>;

    /// Loads the keys. If something else is in the place of the key file, the failure has the command that moves it away.
    async fn known(&self) -> Result<Option<Keys>, Failure>;

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

    fn kept_key(&self, id: KeyId) -> Option<PathBuf> {
        self.kept_file(id)
            .filter(|file| read_key(file).is_ok_and(|key| key.is_ok_and(|key| key.id() == id)))
    }

    async fn damaged_file(&self) -> Option<FileKey> {
        let file = FileKey::new(self.file()?);
        // Other errors are those of loading it.
        file.is_damaged().await.unwrap_or(false).then_some(file)
    }

    async fn known(&self) -> Result<Option<Keys>, Failure> {
        self.load_keys().await.map_err(|error| {
            let failure = Failure::from(error);
            let is_other = |file: &&Path| file.symlink_metadata().is_ok_and(|there| !there.is_file());
            let Some(file) = self.file().filter(is_other) else { return failure };
            let file = file.display();
            failure.way_out(format!("mv {} {}", quoted(&file), quoted(format_args!("{file}.away"))))
        })
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
    let failed = |error: io::Error| {
        let exit = match error.kind() {
            io::ErrorKind::NotFound => Exit::NotFound,
            _ => Exit::Failed,
        };
        Failure::new(exit, format!("could not read {}", path.display())).because(error)
    };
    let key = read_key(path).map_err(failed)?;
    #[cfg(unix)]
    if std::os::unix::fs::MetadataExt::mode(&path.metadata().map_err(failed)?) & 0o077 != 0 {
        output::warn(format_args!(
            "other users may read {}; to prevent that: chmod 600 {}",
            output::path(path),
            quoted(path.display())
        ));
    }
    key.map_err(|_| no_key(&path.display().to_string()))
}

fn read_key(path: &Path) -> io::Result<Result<VaultKey, VaultError>> {
    let mut text = zeroize::Zeroizing::new(String::with_capacity(MOST as usize));
    std::fs::File::open(path)?.take(MOST).read_to_string(&mut text)?;
    Ok(VaultKey::from_base64(&text))
}

/// The most bytes that a key and white space take.
const MOST: u64 = 4096;

pub(crate) fn no_key(what: &str) -> Failure {
    Failure::usage(format!(
        "{what} is not a key: a key is 32 bytes in base64, as `credentials vault export` writes it"
    ))
}
