//! The file of a backup: a JSON object that says what it was sealed with, and contains all accounts as one ciphertext.

use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Nonce};
use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Account, Backup, BackupError, Lock, SealedBy};
use crate::clock::Timestamp;
use crate::secret::SecretString;
use crate::vault::key::KeyId;
use crate::vault::seal::write_json;

const VERSION: u64 = 1;

/// RFC 9106, section 4, the second recommended option: three passes over 64 MiB in four lanes, a salt of 128 bits.
const MEMORY_KIB: u32 = 64 * 1024;
const PASSES: u32 = 3;
const LANES: u32 = 4;
const SALT: usize = 16;

/// The maximum that a file may demand: one that somebody else has made must not use up the machine's memory or time.
const MAX_PARAMETERS: (u32, u32, u32) = (1024 * 1024, 16, 16);

const NONCE: usize = 12;

#[derive(Serialize, Deserialize)]
struct File {
    /// The version. It also distinguishes a backup from any other JSON.
    #[serde(rename = "tower-credentials-backup")]
    version: u64,
    created_at: Timestamp,
    sealed_by: By,
    nonce: String,
    ciphertext: String,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum By {
    /// The key comes from a passphrase, by Argon2id of this version with these parameters.
    Passphrase {
        algorithm: String,
        version: u32,
        memory_kib: u32,
        passes: u32,
        lanes: u32,
        salt: String,
    },
    Key(KeyId),
}

impl By {
    /// Whether this version can make a key in that way, and it demands no more than allowed.
    fn is_known(&self) -> bool {
        match self {
            Self::Key(_) => true,
            Self::Passphrase { algorithm, version, memory_kib, passes, lanes, .. } => {
                let is_ours = algorithm == "argon2id" && *version == u32::from(Version::V0x13);
                is_ours
                    && *memory_kib <= MAX_PARAMETERS.0
                    && *passes <= MAX_PARAMETERS.1
                    && *lanes <= MAX_PARAMETERS.2
            }
        }
    }
}

#[derive(Serialize)]
struct Plain<'a> {
    accounts: &'a [Account],
}

#[derive(Deserialize)]
struct Opened {
    accounts: Vec<Account>,
}

pub(super) fn sealed_by(file: &[u8]) -> Result<SealedBy, BackupError> {
    Ok(match read(file)?.sealed_by {
        By::Passphrase { .. } => SealedBy::Passphrase,
        By::Key(id) => SealedBy::Key(id),
    })
}

pub(super) fn seal(backup: &Backup, lock: &Lock<'_>) -> Result<Vec<u8>, BackupError> {
    let mut random = [0; NONCE + SALT];
    getrandom::fill(&mut random)
        .map_err(|_| BackupError::Failed("the system gives no random numbers"))?;
    let (nonce, salt) = random.split_at(NONCE);
    let by = match lock {
        Lock::Key(key) => By::Key(key.id()),
        Lock::Passphrase(_) => By::Passphrase {
            algorithm: "argon2id".to_owned(),
            version: Version::V0x13.into(),
            memory_kib: MEMORY_KIB,
            passes: PASSES,
            lanes: LANES,
            salt: STANDARD.encode(salt),
        },
    };
    let plain = Plain { accounts: &backup.accounts };
    let mut buffer =
        write_json(&plain).map_err(|_| BackupError::Failed("it can't be written as JSON"))?;
    let data = additional_data(backup.created_at, &by);
    let key = key(&by, lock)?;
    let nonce: [u8; NONCE] =
        nonce.try_into().map_err(|_| BackupError::Failed("a nonce has 12 bytes"))?;
    Aes256Gcm::new((&*key).into())
        .encrypt_in_place(&Nonce::from(nonce), &data, &mut *buffer)
        .map_err(|_| BackupError::Failed("it is too long"))?;
    let file = File {
        version: VERSION,
        created_at: backup.created_at,
        sealed_by: by,
        nonce: STANDARD.encode(nonce),
        ciphertext: STANDARD.encode(&*buffer),
    };
    let mut text = serde_json::to_vec_pretty(&file)
        .map_err(|_| BackupError::Failed("it can't be written as JSON"))?;
    text.push(b'\n');
    Ok(text)
}

pub(super) fn open(file: &[u8], lock: &Lock<'_>) -> Result<Backup, BackupError> {
    let File { created_at, sealed_by: by, nonce, ciphertext, .. } = read(file)?;
    let sealed_by = match &by {
        By::Passphrase { .. } => SealedBy::Passphrase,
        By::Key(id) => SealedBy::Key(*id),
    };
    let is_same = match (lock, sealed_by) {
        (Lock::Passphrase(_), SealedBy::Passphrase) => true,
        (Lock::Key(key), SealedBy::Key(id)) => key.id() == id,
        _ => false,
    };
    if !is_same {
        return Err(BackupError::OtherLock(sealed_by));
    }
    let nonce: [u8; NONCE] = decode(&nonce)?.try_into().map_err(|_| DAMAGED)?;
    let mut buffer = Zeroizing::new(decode(&ciphertext)?);
    let key = key(&by, lock)?;
    Aes256Gcm::new((&*key).into())
        .decrypt_in_place(&Nonce::from(nonce), &additional_data(created_at, &by), &mut *buffer)
        .map_err(|_| BackupError::NotOpened(sealed_by))?;
    // serde's messages may quote a secret.
    let Opened { accounts } = serde_json::from_slice(&buffer).map_err(|_| {
        BackupError::NoBackup(
            "it has accounts of a sort that this version does not know; use a newer one",
        )
    })?;
    Ok(Backup { created_at, accounts, damaged: Vec::new() })
}

const DAMAGED: BackupError = BackupError::NoBackup("a part of it is missing or was changed");

fn read(file: &[u8]) -> Result<File, BackupError> {
    #[derive(Deserialize)]
    struct Versioned {
        #[serde(rename = "tower-credentials-backup")]
        version: u64,
    }
    let Versioned { version } = serde_json::from_slice(file).map_err(|_| {
        BackupError::NoBackup("it is no JSON object with `tower-credentials-backup`, or it is cut off")
    })?;
    if version > VERSION {
        return Err(BackupError::Newer(version));
    }
    let file: File = serde_json::from_slice(file).map_err(|_| DAMAGED)?;
    match file.sealed_by.is_known() {
        true => Ok(file),
        false => Err(BackupError::NoBackup("its passphrase is stretched in a way that is not known")),
    }
}

fn decode(text: &str) -> Result<Vec<u8>, BackupError> {
    STANDARD.decode(text).map_err(|_| DAMAGED)
}

/// Returns the key that seals: the given one, or one made from the passphrase.
fn key(by: &By, lock: &Lock<'_>) -> Result<Zeroizing<[u8; 32]>, BackupError> {
    match (by, lock) {
        (By::Key(_), Lock::Key(key)) => Ok(Zeroizing::new(*key.as_bytes())),
        (By::Passphrase { memory_kib, passes, lanes, salt, .. }, Lock::Passphrase(passphrase)) => {
            stretched(passphrase, &decode(salt)?, (*memory_kib, *passes, *lanes))
        }
        _ => Err(DAMAGED),
    }
}

fn stretched(
    passphrase: &SecretString,
    salt: &[u8],
    (memory_kib, passes, lanes): (u32, u32, u32),
) -> Result<Zeroizing<[u8; 32]>, BackupError> {
    let mut key = Zeroizing::new([0; 32]);
    let params = Params::new(memory_kib, passes, lanes, Some(key.len())).map_err(|_| DAMAGED)?;
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase.expose().as_bytes(), salt, &mut *key)
        .map_err(|_| DAMAGED)?;
    Ok(key)
}

/// Returns the data that is bound along with the accounts: everything in clear. Each field is preceded by its length.
fn additional_data(created_at: Timestamp, by: &By) -> Vec<u8> {
    let mut data = b"tower-credentials backup v1\0".to_vec();
    let mut bind = |field: &[u8]| {
        data.extend_from_slice(&(field.len() as u64).to_be_bytes());
        data.extend_from_slice(field);
    };
    bind(&created_at.as_millis().to_be_bytes());
    match by {
        By::Key(id) => {
            bind(b"key");
            bind(id.to_string().as_bytes());
        }
        By::Passphrase { algorithm, version, memory_kib, passes, lanes, salt } => {
            bind(b"passphrase");
            bind(algorithm.as_bytes());
            for number in [version, memory_kib, passes, lanes] {
                bind(&number.to_be_bytes());
            }
            bind(salt.as_bytes());
        }
    }
    data
}
