//! What a user would write by hand: files replaced, and records decrypted.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes256Gcm, Nonce};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use tower_credentials::vault::seal::VaultId;
use tower_credentials::{CredentialId, Secret};

pub(crate) fn create(path: &Path) -> File {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600).open(path).expect("a new file")
}

/// Replaces a file by hand, with or without syncing it and its directory.
pub(crate) fn replace(path: &Path, bytes: &[u8], syncs_file: bool, syncs_names: bool) {
    let temporary = path.with_extension("tmp");
    let mut file = create(&temporary);
    file.write_all(bytes).expect("a file that can be written");
    if syncs_file {
        file.sync_all().expect("a disk");
    }
    fs::rename(&temporary, path).expect("a file that can be renamed");
    if syncs_names {
        let directory = path.parent().expect("a directory");
        File::open(directory).and_then(|directory| directory.sync_all()).expect("a disk");
    }
}

/// The parts of a record's file that are needed to decrypt its secret.
#[derive(Deserialize)]
struct Stored<'a> {
    #[serde(borrow)]
    metadata: Bound<'a>,
    #[serde(borrow)]
    secret: Encrypted<'a>,
}

#[derive(Deserialize)]
struct Bound<'a> {
    id: &'a str,
    #[serde(borrow)]
    pool: Names<'a>,
    kind: &'a str,
    generation: u64,
}

#[derive(Deserialize)]
struct Names<'a> {
    provider: &'a str,
    namespace: &'a str,
}

#[derive(Deserialize)]
struct Encrypted<'a> {
    version: u32,
    vault: &'a str,
    nonce: &'a str,
    ciphertext: &'a str,
}

/// Decrypts what is in a record's file by hand.
pub(crate) fn decrypt(aes: &Aes256Gcm, bytes: &[u8]) -> Secret {
    let Stored { metadata, secret } = serde_json::from_slice(bytes).expect("a record in JSON");
    let id: CredentialId = metadata.id.parse().expect("an id");
    let mut nonce = [0; 12];
    STANDARD.decode_slice(secret.nonce, &mut nonce).expect("a nonce");
    let mut buffer = STANDARD.decode(secret.ciphertext).expect("a ciphertext");
    let mut data = Vec::with_capacity(256);
    let mut bind = |field: &[u8]| {
        data.extend_from_slice(&(field.len() as u64).to_be_bytes());
        data.extend_from_slice(field);
    };
    bind(b"tower-credentials sealed secret");
    bind(&secret.version.to_be_bytes());
    bind(&secret.vault.parse::<VaultId>().expect("an id").to_bytes());
    bind(id.as_bytes());
    bind(metadata.pool.provider.as_bytes());
    bind(metadata.pool.namespace.as_bytes());
    bind(metadata.kind.as_bytes());
    bind(&metadata.generation.to_be_bytes());
    aes.decrypt_in_place(&Nonce::from(nonce), &data, &mut buffer).expect("a secret");
    serde_json::from_slice(&buffer).expect("a secret in JSON")
}
