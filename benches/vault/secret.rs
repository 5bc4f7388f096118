//! Secrets through the sealing layer, beside AES-256-GCM alone.

use std::hint::black_box;

use aes_gcm::Nonce;
use aes_gcm::aead::AeadInOut;
use tower_credentials::vault::seal::{Seal, Sealed};
use tower_credentials::vault::{MemoryVault, VaultExt};
use tower_credentials::{Credential, Secret};

use crate::place::{aes, vault_key};
use crate::support::{at_once, key};
use crate::table::Table;
use crate::timing::timed;

const ONE_KIB: usize = 1024;

pub(crate) fn table() -> Table {
    let text = "x".repeat(ONE_KIB);
    let mut table = Table::new("secret of 1 KiB", 201, 100);
    table.beside("encrypted by AES-256-GCM", {
        let (aes, text) = (aes(), text.clone());
        move |times| {
            let mut nonce = [0; 12];
            timed(|| {
                for _ in 0..times {
                    getrandom::fill(&mut nonce).expect("random numbers");
                    let mut buffer = Vec::with_capacity(text.len() + 16);
                    buffer.extend_from_slice(text.as_bytes());
                    aes.encrypt_in_place(&Nonce::from(nonce), b"data", &mut buffer).expect("room");
                    black_box(buffer);
                }
            })
        }
    });
    table.case("put through Seal<MemoryVault>", {
        let text = text.clone();
        move |times| {
            let vault = Seal::new(MemoryVault::<Sealed>::new(), &vault_key());
            let new = |number| Credential::new(key(), format!("{number}"), Secret::api_key(&*text));
            let credentials: Vec<_> = (0..times).map(new).collect();
            timed(|| {
                for credential in credentials {
                    at_once(vault.put(credential)).expect("a vault that stores");
                }
            })
        }
    });
    table.beside("decrypted by AES-256-GCM", {
        let (aes, nonce, mut buffer) = (aes(), [1; 12], text.clone().into_bytes());
        aes.encrypt_in_place(&Nonce::from(nonce), b"data", &mut buffer).expect("room");
        move |times| {
            timed(|| {
                for _ in 0..times {
                    let mut buffer = buffer.clone();
                    aes.decrypt_in_place(&Nonce::from(nonce), b"data", &mut buffer).expect("a text");
                    black_box(buffer);
                }
            })
        }
    });
    let vault = Seal::new(MemoryVault::<Sealed>::new(), &vault_key());
    let stored = at_once(vault.put(Credential::new(key(), "account", Secret::api_key(text))));
    let stored = stored.expect("a vault that stores");
    table.case("get through Seal<MemoryVault>", move |times| {
        timed(|| {
            for _ in 0..times {
                black_box(at_once(vault.get(&stored.pool, stored.id)).expect("a credential"));
            }
        })
    });
    table
}
