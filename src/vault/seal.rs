//! Sealing: a layer that turns a backend, which keeps sealed secrets, into a vault.
//!
//! A secret is sealed with AES-256-GCM (NIST SP 800-38D) under a random nonce of 96 bits, new for each seal. SP 800-38D,
//! section 8.3, allows 2^32 seals under one key with such nonces. A vault makes one for each credential added and each
//! secret replaced; a `FileVault` counts them, warns from 2^31 on, and refuses to make more than 2^32.
//!
//! The seal binds the secret to its place. The additional data are the format's version, the credential's id, provider,
//! namespace, kind, generation and attributes, each field preceded by its length, and the id of the vault, if
//! [it has one](SealLayer::vault). So a sealed secret that was moved to another record or vault does not open, nor does an
//! old one under new metadata. The label and the times are not bound, since they do not decide where a secret goes. Seals
//! of version 1, which did not bind the attributes, and of version 2, which did not bind the vault, still open.
//!
//! ```
//! use tower_credentials::vault::key::VaultKey;
//! use tower_credentials::vault::seal::{SealLayer, Sealed};
//! use tower_credentials::vault::{MemoryVault, VaultExt};
//! use tower_credentials::{Credential, PoolKey, Secret};
//! use tower_layer::Layer;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), tower_credentials::vault::VaultError> {
//! let backend = MemoryVault::<Sealed>::new();
//! let vault = SealLayer::new(&VaultKey::generate()).layer(backend);
//! vault.put(Credential::new(PoolKey::new("example"), "work", Secret::api_key("sk-1"))).await?;
//! # Ok(())
//! # }
//! ```

mod blob;
mod cipher;
mod future;
mod opening;
mod reseal;
mod rules;
mod seals;
mod service;

#[cfg(all(test, feature = "file"))]
use super::key::VaultKey;
#[cfg(all(test, feature = "file"))]
use crate::credential::{Credential, Record, Secret};

pub use blob::Sealed;
#[cfg(feature = "backup")]
pub(crate) use cipher::write_json;
#[cfg(feature = "file")]
pub(crate) use cipher::{OTHER_FORMAT, Opener, Shut, other_key, wrong_key};
pub use future::SealFuture;
pub use reseal::Resealed;
#[cfg(feature = "file")]
pub(crate) use rules::{Barred, Rules};
pub use rules::{InvalidVaultId, VaultId};
pub use seals::UnboundAttributes;
#[cfg(feature = "file")]
pub(crate) use seals::{Observed, Seals};
pub use service::{Seal, SealLayer};

/// Seals a secret, for a test that calls a backend directly.
#[cfg(all(test, feature = "file"))]
pub(crate) fn seal(key: &VaultKey, credential: &Credential) -> Sealed {
    cipher::Cipher::new(key).seal(&credential.metadata, &credential.secret).expect("it can be sealed")
}

/// Like [`seal`], for the vault with this id.
#[cfg(all(test, feature = "file"))]
pub(crate) fn seal_in(vault: VaultId, key: &VaultKey, credential: &Credential) -> Sealed {
    let mut cipher = cipher::Cipher::new(key);
    cipher.set_rules(Rules { vault: Some(vault), ..Rules::default() });
    cipher.seal(&credential.metadata, &credential.secret).expect("it can be sealed")
}

/// Opens a backend's record; `None` if it does not open.
#[cfg(all(test, feature = "file"))]
pub(crate) fn open(keys: &[VaultKey], record: Record<Sealed>) -> Option<Secret> {
    let mut cipher = cipher::Cipher::new(keys.first()?);
    keys.iter().for_each(|key| cipher.add_old(key));
    cipher.open(&record.metadata, record.secret).ok()
}
