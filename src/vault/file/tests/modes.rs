//! A file system without modes: nothing new is kept there, and existing files go on working.
#![cfg(unix)]

use super::fault::without_modes;
use super::*;
use crate::vault::key::{FileKey, Slot, Slots};

#[test]
fn no_key_is_kept_where_others_could_read_it() {
    let place = place();
    let path = place.path().join("vault.key");
    let key = VaultKey::generate();
    let error = without_modes(|| FileKey::new(&path).store(Slot::Current, &key)).unwrap_err();
    let said = format!("{error}: {}", std::error::Error::source(&error).unwrap());
    assert!(said.contains("keeps no modes") && said.contains("/mnt"), "{said}");
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0, "nothing is left");
}

#[test]
fn no_vault_is_made_there_and_one_that_is_there_opens() {
    let place = place();
    let root = place.path().join("vault");
    let keys = signers(&[VaultKey::generate()]);
    for _ in 0..2 {
        let opened = without_modes(|| Store::new(root.clone()).open(&keys, false));
        let Err(Stopped::Failed(error)) = opened else { panic!("it was made") };
        assert!(std::error::Error::source(&error).unwrap().to_string().contains("keeps no modes"));
        assert!(!root.exists());
    }
    Store::new(root.clone()).open(&keys, false).unwrap();
    assert!(without_modes(|| Store::new(root.clone()).open(&keys, false)).is_ok());
}
