//! A child's side: it writes, and says what it writes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tower_credentials::standing::{Change, Health, Outcome};
use tower_credentials::vault::{Replaced, VaultError, VaultExt};
use tower_credentials::{Credential, CredentialId, Generation, PoolKey, Secret};

use super::{pools, split};
use crate::children::{say, setting};
use crate::shared::{self, Opened};
use crate::vault_contract::cooled;

/// The maximum number of credentials that a writer has of its own.
const OWN: usize = 6;

/// Few, so that they are often taken.
const LABELS: [&str; 3] = ["work", "home", "spare"];

/// Random numbers that a seed reproduces (xorshift).
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len() as u64) as usize]
    }
}

/// A child: writes at random until its parent hangs up. Says before each write what it will write, and afterwards that
/// it was acknowledged.
pub(in super::super) async fn writer() {
    let stop = Arc::new(AtomicBool::new(false));
    std::thread::spawn({
        let stop = stop.clone();
        move || {
            let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
            stop.store(true, Ordering::Relaxed);
        }
    });
    let vault = shared::opened().await;
    say("ready");
    let mut writer = Writer {
        vault,
        random: Random(setting("SEED").unwrap().parse().unwrap()),
        // The parent has put them into the pools by turns.
        shared: pools().into_iter().cycle().zip(split(&setting("SHARED").unwrap())).collect(),
        counters: split(&setting("COUNTERS").unwrap()),
        own: Vec::new(),
        written: 0,
    };
    while !stop.load(Ordering::Relaxed) {
        writer.step().await;
    }
}

struct Writer {
    vault: Opened,
    random: Random,
    shared: Vec<(PoolKey, CredentialId)>,
    counters: Vec<CredentialId>,
    own: Vec<(PoolKey, CredentialId)>,
    written: u64,
}

impl Writer {
    /// A secret that nobody else ever writes.
    fn secret(&mut self, id: CredentialId, generation: Generation) -> String {
        self.written += 1;
        format!("{id}/{generation}/{}/{}", std::process::id(), self.written)
    }

    async fn step(&mut self) {
        match self.random.below(20) {
            0..=2 if self.own.len() < OWN => self.put().await,
            3..=8 => {
                let all: Vec<_> = self.shared.iter().chain(&self.own).cloned().collect();
                let (pool, id) = self.random.one_of(&all);
                self.swap(pool, *id).await;
            }
            9..=14 => self.fail().await,
            15 | 16 => self.relabel().await,
            17 => {
                let (pool, id) = self.random.one_of(&self.shared);
                say(format_args!("begin move {id}"));
                self.vault.move_to(pool, *id, self.random.below(9) as usize).await.unwrap();
                say(format_args!("done move {id}"));
            }
            18 if !self.own.is_empty() => {
                let at = self.random.below(self.own.len() as u64) as usize;
                let (pool, id) = self.own.swap_remove(at);
                say(format_args!("begin remove {id}"));
                self.vault.remove(&pool, id).await.unwrap();
                say(format_args!("done remove {id}"));
            }
            19 => {
                let loaded = self.vault.load_pool(self.random.one_of(&pools()).clone()).await.unwrap();
                assert!(loaded.damaged.is_empty(), "{:?}", loaded.damaged);
            }
            _ => {}
        }
    }

    async fn put(&mut self) {
        let (pool, label) = (self.random.one_of(&pools()).clone(), *self.random.one_of(&LABELS));
        let mut account = Credential::new(pool.clone(), label, Secret::api_key(""));
        let id = account.metadata.id;
        let secret = self.secret(id, Generation::FIRST);
        account.secret = Secret::api_key(secret.clone());
        say(format_args!("begin put {id} {label} {secret}"));
        let stored = self.vault.put(account).await.unwrap();
        say(format_args!("done put {id} {}", stored.label));
        self.own.push((pool, id));
    }

    async fn swap(&mut self, pool: &PoolKey, id: CredentialId) {
        let stored = self.vault.get(pool, id).await.unwrap();
        let expected = stored.metadata.generation;
        // It was sealed for exactly this generation of this credential.
        assert!(stored.secret.token().expose().starts_with(&format!("{id}/{expected}/")));
        let next = expected.next();
        let secret = self.secret(id, next);
        say(format_args!("begin swap {id} {next} {secret}"));
        let secret = Secret::api_key(secret);
        match self.vault.replace_secret(pool, id, expected, secret).await.unwrap() {
            Replaced::Swapped(generation) => say(format_args!("done swap {id} {generation}")),
            Replaced::Conflict(stored) => {
                assert!(stored.metadata.generation > expected);
                say(format_args!("none swap {id}"));
            }
        }
    }

    async fn fail(&mut self) {
        let id = *self.random.one_of(&self.counters);
        let until = self.random.below(1 << 40);
        let cooldown = cooled(id, until, 1, self.random.below(8) == 0);
        // So long that the log is compacted many times.
        let reason = "x".repeat(self.random.below(4000) as usize);
        let health =
            Change::Health(Health::NeedsSignIn { reason, generation: Generation::FIRST, cause: None });
        let padding = Outcome { id, change: health };
        say(format_args!("begin fail {id} {until}"));
        self.vault.record(pools()[0].clone(), vec![padding, cooldown]).await.unwrap();
        say(format_args!("done fail {id}"));
    }

    async fn relabel(&mut self) {
        if self.own.is_empty() {
            return;
        }
        let (pool, id) = self.random.one_of(&self.own);
        let label = *self.random.one_of(&LABELS);
        say(format_args!("begin relabel {id} {label}"));
        match self.vault.relabel(pool, *id, label).await {
            Ok(_) => say(format_args!("done relabel {id}")),
            Err(VaultError::LabelTaken(_)) => say(format_args!("none relabel {id}")),
            Err(error) => panic!("{error}"),
        }
    }
}
