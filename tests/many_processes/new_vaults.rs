//! Processes that make one new vault at once.

use std::collections::BTreeSet;

use tower_credentials::vault::key::VaultKey;
use tower_credentials::vault::{VaultError, VaultExt};

use crate::children::{self, Child, hear, say};
use crate::shared::{self, Shared};
use crate::vault_contract::{account, pool};

const NEWCOMERS: usize = 8;

/// Opens one new vault after another with its key, and puts something into it.
pub(super) async fn newcomer() {
    let key = children::key("KEY");
    say("ready");
    loop {
        match shared::open_another(&hear(), &key).await {
            Ok(vault) => {
                let id = vault.put(account("mine")).await.unwrap().id;
                say(format_args!("put {id}"));
            }
            Err(VaultError::Key(reason)) => say(format_args!("refused {reason}")),
            Err(error) => panic!("{error}"),
        }
    }
}

fn start(shared: &Shared, key: &VaultKey) -> Child {
    shared.job("newcomer").key("KEY", key).start()
}

#[tokio::test]
async fn of_two_first_runs_with_two_keys_one_wins_and_the_other_is_refused() {
    let Some(shared) = Shared::new() else { return };
    let keys = [VaultKey::generate(), VaultKey::generate()];
    let [one, two] = &keys;
    let mut children = keys.each_ref().map(|key| start(&shared, key));
    children.iter_mut().for_each(|child| child.wait_for("ready"));
    let mut wins = [0; 2];
    for round in 0..20 {
        let name = format!("vault{round}");
        // The first one to be told has a head start.
        for at in [round % 2, 1 - round % 2] {
            children[at].tell(&name);
        }
        let said = children.each_mut().map(|child| child.next().expect("see stderr"));
        let winner = said.iter().position(|said| said.starts_with("put ")).expect("one wins");
        wins[winner] += 1;
        let refused = said[1 - winner].strip_prefix("refused ").expect("the other is refused");
        for key in [one, two] {
            assert!(refused.contains(&key.id().to_string()), "{refused}");
        }
        let vault = shared.open_another(&name, &keys[winner]).await.unwrap();
        let loaded = vault.load_pool(pool()).await.unwrap();
        let ids: Vec<_> =
            loaded.credentials.iter().map(|stored| stored.metadata.id.to_string()).collect();
        assert_eq!(ids, [said[winner].trim_start_matches("put ")]);
        assert!(loaded.damaged.is_empty(), "{:?}", loaded.damaged);
        assert_eq!(shared.records_of_another(&name, &pool()), 1);
    }
    println!("{wins:?} of 20 first runs were won");
}

#[tokio::test]
async fn first_runs_with_one_key_at_once_make_one_vault_and_keep_what_each_has_put() {
    let Some(shared) = Shared::new() else { return };
    let key = VaultKey::generate();
    let mut children: Vec<_> = (0..NEWCOMERS).map(|_| start(&shared, &key)).collect();
    children.iter_mut().for_each(|child| child.wait_for("ready"));
    for round in 0..20 {
        let name = format!("vault{round}");
        children.iter_mut().for_each(|child| child.tell(&name));
        let put: BTreeSet<_> = children.iter_mut().map(|child| child.wait_for_one_of("put ")).collect();
        let vault = shared.open_another(&name, &key).await.unwrap();
        let loaded = vault.load_pool(pool()).await.unwrap();
        assert!(loaded.damaged.is_empty(), "{:?}", loaded.damaged);
        let stored: BTreeSet<_> =
            loaded.credentials.iter().map(|stored| stored.metadata.id.to_string()).collect();
        assert_eq!(stored, put);
        let labels: BTreeSet<_> =
            loaded.credentials.iter().map(|stored| &stored.metadata.label).collect();
        assert_eq!(labels.len(), NEWCOMERS, "each has a label of its own: {labels:?}");
    }
}
