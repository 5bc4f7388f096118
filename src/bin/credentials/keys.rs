//! Where the vault's key is: as the flags, the environment or the settings say, or in the key file. A place that was
//! named is the only one that is asked.

use std::fmt;
use std::path::{Path, PathBuf};
use std::task::{Context, Poll};

use tower::Service;
use tower_credentials::settings::{KeySource, VaultSettings};
use tower_credentials::vault::VaultError;
#[cfg(feature = "keyring")]
use tower_credentials::vault::key::KeyringKey;
use tower_credentials::vault::key::{
    CommandKey, EnvKey, FileKey, KeptKey, KeyFuture, KeyId, KeyRequest, KeyServiceExt, Keys, Rotation,
    VaultKey,
};

use crate::args::Global;
use crate::failure::{Exit, Failure};
use crate::output;
use crate::places::Places;

/// The place of the vault's key.
#[derive(Clone)]
pub(crate) struct KeyPlace {
    kind: Kind,
    /// Whether nobody has named it.
    is_default: bool,
}

#[derive(Clone)]
enum Kind {
    Variable,
    File(FileKey),
    Command(Vec<String>),
    #[cfg(feature = "keyring")]
    Keyring(KeyringKey),
}

impl KeyPlace {
    /// What the flags name, else the environment, else the settings, else the key file.
    pub(crate) fn new(
        global: &Global,
        places: &Places,
        settings: &VaultSettings,
    ) -> Result<Self, Failure> {
        let named = match from_flags(global)? {
            None => KeySource::from_environment(std::env::vars_os())?.or_else(|| settings.key.clone()),
            flag => flag,
        };
        let is_default = named.is_none();
        let kind = match named.unwrap_or_else(|| KeySource::File(places.key.clone())) {
            KeySource::Variable => Kind::Variable,
            KeySource::File(path) => Kind::File(FileKey::new(path)),
            KeySource::Command(words) => Kind::Command(words),
            KeySource::Keyring => keyring(places)?,
            other => return Err(Failure::usage(format!("a key can't come from {other:?} here"))),
        };
        Ok(Self { kind, is_default })
    }

    /// The keys of this vault, which must be there: another one would open nothing of it.
    pub(crate) async fn of_vault(&self, vault: &Path) -> Result<Keys, Failure> {
        if let Some(keys) = self.load_keys().await? {
            return Ok(keys);
        }
        let because = match self.is_default {
            true => format!("neither is {} set, nor is there {}", VaultKey::VARIABLE, self.name()),
            false => format!("there is none in {self}"),
        };
        let message = format!("the key of the vault {} is missing", vault.display());
        Err(Failure::new(Exit::Vault, message).because(because).way_out("credentials vault import"))
    }

    /// Puts this key there. What was there is kept, and told.
    pub(crate) async fn replace(&self, key: &VaultKey) -> Result<Vec<KeptKey>, Failure> {
        match &self.kind {
            Kind::File(file) => Ok(file.replace(key).await?),
            #[cfg(feature = "keyring")]
            Kind::Keyring(keyring) => Ok(keyring.replace(key).await?),
            Kind::Variable | Kind::Command(_) => Err(self.is_read_only()),
        }
    }

    /// Puts a new key there, or goes on with what was begun.
    pub(crate) async fn rotate(&self) -> Result<Rotation, Failure> {
        match &self.kind {
            Kind::File(file) => Ok(file.rotate().await?),
            #[cfg(feature = "keyring")]
            Kind::Keyring(keyring) => Ok(keyring.rotate().await?),
            Kind::Variable | Kind::Command(_) => Err(self.is_read_only()),
        }
    }

    /// Whether the program can put a key there.
    pub(crate) fn can_keep(&self) -> bool {
        !matches!(self.kind, Kind::Variable | Kind::Command(_))
    }

    pub(crate) fn is_read_only(&self) -> Failure {
        Failure::usage(format!("the key comes from {self}, where this program can't put one"))
    }

    pub(crate) fn file(&self) -> Option<&Path> {
        match &self.kind {
            Kind::File(file) => Some(file.path()),
            _ => None,
        }
    }

    /// The file of a key that gave way to this one, where it is kept.
    pub(crate) fn kept_file(&self, id: KeyId) -> Option<PathBuf> {
        let mut name = self.file()?.as_os_str().to_owned();
        name.push(format!(".{id}"));
        Some(PathBuf::from(name)).filter(|path| path.exists())
    }

    /// Whether nobody has named it: then it is the key of every vault of which nobody says otherwise.
    pub(crate) fn is_default(&self) -> bool {
        self.is_default
    }

    /// What sort of place it is, for scripts.
    pub(crate) fn kind(&self) -> &'static str {
        match self.kind {
            Kind::Variable => "variable",
            Kind::File(_) => "file",
            Kind::Command(_) => "command",
            #[cfg(feature = "keyring")]
            Kind::Keyring(_) => "keyring",
        }
    }

    /// The variable, the path, the program or the entry.
    pub(crate) fn name(&self) -> String {
        match &self.kind {
            Kind::Variable => VaultKey::VARIABLE.to_owned(),
            Kind::File(file) => file.path().display().to_string(),
            Kind::Command(words) => words[0].clone(),
            #[cfg(feature = "keyring")]
            Kind::Keyring(keyring) => keyring.to_string(),
        }
    }
}

impl Service<KeyRequest> for KeyPlace {
    type Response = Option<VaultKey>;
    type Error = VaultError;
    type Future = KeyFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), VaultError>> {
        // So are all of them.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: KeyRequest) -> KeyFuture {
        match &mut self.kind {
            Kind::Variable => EnvKey::default().call(request),
            Kind::File(file) => file.call(request),
            Kind::Command(words) => command(words).call(request),
            #[cfg(feature = "keyring")]
            Kind::Keyring(keyring) => keyring.call(request),
        }
    }
}

impl fmt::Display for KeyPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = output::plain(&self.name());
        match &self.kind {
            Kind::Variable => write!(f, "the variable {name}"),
            Kind::Command(_) => write!(f, "the command {name}"),
            _ => f.write_str(&name),
        }
    }
}

fn from_flags(global: &Global) -> Result<Option<KeySource>, Failure> {
    let mut named = Vec::new();
    if let Some(path) = &global.key_file {
        named.push(KeySource::File(path.clone()));
    }
    if let Some(text) = &global.key_command {
        let words = shell_words::split(text).unwrap_or_default();
        if words.first().is_none_or(String::is_empty) {
            let message = "--key-command names no command, or has a quote that is not ended";
            return Err(Failure::usage(message));
        }
        named.push(KeySource::Command(words));
    }
    if global.keyring {
        named.push(KeySource::Keyring);
    }
    match named.len() {
        0 | 1 => Ok(named.pop()),
        _ => Err(Failure::usage("--key-file, --key-command and --keyring name a place of the key each")
            .way_out("keep one of them")),
    }
}

fn command(words: &[String]) -> CommandKey {
    CommandKey::new(&words[0]).args(&words[1..])
}

#[cfg(feature = "keyring")]
fn keyring(places: &Places) -> Result<Kind, Failure> {
    let keyring = KeyringKey::new("tower-credentials", "vault-key").lock_file(&places.keyring_lock);
    Ok(Kind::Keyring(keyring))
}

#[cfg(not(feature = "keyring"))]
fn keyring(_: &Places) -> Result<Kind, Failure> {
    Err(Failure::usage("this program was built without keyrings")
        .way_out("cargo install tower-credentials --features cli,keyring"))
}

/// Reads a key that somebody has written down.
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
        output::warn(format_args!("others may read {0}; chmod 600 '{0}'", output::path(path)));
    }
    file.take(MOST).read_to_string(&mut text).map_err(failed)?;
    VaultKey::from_base64(&text).map_err(|_| no_key(&path.display().to_string()))
}

/// More than a key and white space take.
const MOST: u64 = 4096;

pub(crate) fn no_key(what: &str) -> Failure {
    Failure::usage(format!(
        "{what} is no key: 32 bytes in base64, as `credentials vault export` writes them"
    ))
}
