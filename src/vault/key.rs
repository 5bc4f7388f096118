//! The key that seals a vault: 32 random bytes from the environment, a private file, a command that prints it, the system's
//! keyring, or a service of yours.

mod change;
mod command;
mod env;
mod file;
mod future;
#[cfg(feature = "keyring")]
mod keyring;
mod printed;
mod service;
#[cfg(any(feature = "file", feature = "redis"))]
mod signer;
mod vault_key;

#[cfg(all(test, feature = "file"))]
pub(super) use change::{Slot, Slots, replace_now};
#[cfg(feature = "file")]
pub(super) use file::load;
#[cfg(all(test, feature = "file"))]
pub(super) use file::load_or_create;
#[cfg(all(feature = "redis", feature = "setup"))]
pub(crate) use printed::password;
#[cfg(feature = "file")]
pub(super) use service::{KeyPlace, Place};
#[cfg(any(feature = "file", feature = "redis"))]
pub(super) use signer::Signer;

pub use change::{KeptKey, Keys, Rotation};
pub use command::CommandKey;
pub use env::EnvKey;
pub use file::FileKey;
pub use future::KeyFuture;
#[cfg(feature = "keyring")]
#[cfg_attr(docsrs, doc(cfg(feature = "keyring")))]
pub use keyring::KeyringKey;
#[cfg(feature = "setup")]
pub(crate) use service::key_service;
pub use service::{KeyRequest, KeyService, KeyServiceExt, Or, OrFuture};
pub use vault_key::{InvalidKeyId, KeyId, VaultKey};
