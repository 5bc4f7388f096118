//! What the writers have said, and what the vault must therefore hold.

use std::collections::{HashMap, HashSet};

use tower_credentials::{Credential, CredentialId};

/// What the writers have said about one credential.
#[derive(Default)]
pub(super) struct Known {
    /// The secrets whose writes began, by generation, and which of them were acknowledged.
    secrets: HashMap<u64, HashSet<String>>,
    acknowledged: HashMap<u64, String>,
    /// The label that was acknowledged last, and one that may have replaced it.
    label: String,
    next_label: Option<String>,
    pub(super) is_put: bool,
    is_removed: bool,
    pub(super) may_be_removed: bool,
    pub(super) failures: [u32; 2],
    pub(super) untils: [HashSet<u64>; 2],
}

pub(super) const BEGUN: usize = 0;
pub(super) const DONE: usize = 1;

/// Everything that the writers have said.
#[derive(Default)]
pub(super) struct Ledger {
    pub(super) credentials: HashMap<CredentialId, Known>,
    pub(super) writes: usize,
    pub(super) in_flight: usize,
}

impl Ledger {
    /// Records what one writer has said, in order: for each write that it began, what it was and whether it was
    /// acknowledged.
    pub(super) fn take_down(&mut self, lines: &[String]) {
        let mut begun: Option<Vec<&str>> = None;
        for line in lines {
            let words: Vec<_> = line.split(' ').collect();
            match words[0] {
                "begin" => {
                    assert!(begun.is_none(), "one at a time: {lines:?}");
                    self.begin(&words[1..]);
                    begun = Some(words[1..].to_vec());
                }
                "done" => {
                    let begun = begun.take().expect("it was begun");
                    assert_eq!(begun[..2], words[1..3]);
                    self.done(&begun, words.get(3).copied());
                    self.writes += 1;
                }
                // Acknowledged, but nothing was written.
                "none" => {
                    let id = begun.take().expect("it was begun")[1].parse().unwrap();
                    self.credentials.entry(id).or_default().next_label = None;
                }
                _ => {}
            }
        }
        self.in_flight += usize::from(begun.is_some());
    }

    fn begin(&mut self, words: &[&str]) {
        let known = self.credentials.entry(words[1].parse().unwrap()).or_default();
        match words[0] {
            "put" => {
                known.secrets.entry(1).or_default().insert(words[3].to_owned());
                known.next_label = Some(words[2].to_owned());
            }
            "swap" => {
                let generation = words[2].parse().unwrap();
                known.secrets.entry(generation).or_default().insert(words[3].to_owned());
            }
            "fail" => {
                known.failures[BEGUN] += 1;
                known.untils[BEGUN].insert(words[2].parse().unwrap());
            }
            "relabel" => known.next_label = Some(words[2].to_owned()),
            "remove" => known.may_be_removed = true,
            _ => {}
        }
    }

    fn done(&mut self, begun: &[&str], result: Option<&str>) {
        let known = self.credentials.entry(begun[1].parse().unwrap()).or_default();
        match begun[0] {
            "put" => {
                known.is_put = true;
                known.acknowledged.insert(1, begun[3].to_owned());
                known.next_label = None;
                known.label = result.unwrap().to_owned();
            }
            "swap" => {
                let generation = result.unwrap();
                assert_eq!(generation, begun[2]);
                let before = known.acknowledged.insert(generation.parse().unwrap(), begun[3].to_owned());
                assert_eq!(before, None, "two have replaced one generation");
            }
            "fail" => {
                known.failures[DONE] += 1;
                known.untils[DONE].insert(begun[2].parse().unwrap());
            }
            "relabel" => known.label = known.next_label.take().unwrap(),
            "remove" => known.is_removed = true,
            _ => {}
        }
    }

    /// Checks that a stored credential is as the writers have said, or as it may be.
    pub(super) fn check(&self, stored: &Credential) {
        let id = stored.metadata.id;
        let known = self.credentials.get(&id).unwrap_or_else(|| panic!("nobody has put {id}"));
        assert!(!known.is_removed, "{id} was removed");
        let generation = stored.metadata.generation.get();
        let token = stored.secret.token().expose();
        let last = known.acknowledged.keys().max().copied().unwrap_or(1);
        assert!(generation >= last, "{id} is at {generation}, and {last} was acknowledged");
        match known.acknowledged.get(&generation) {
            Some(secret) => assert_eq!(token, secret),
            None => assert!(known.secrets[&generation].contains(token), "{token} was never begun"),
        }
        let label = &*stored.metadata.label;
        let may_be = match &known.next_label {
            // A credential that is put under a taken label gets a number.
            Some(next) => label == next || (!known.is_put && label.starts_with(next.as_str())),
            None => false,
        };
        assert!(label == known.label || may_be, "{id} has the label {label}, not {}", known.label);
    }
}
