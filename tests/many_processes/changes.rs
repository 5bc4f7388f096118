//! Outcomes and new secrets of several processes at once.

use tower_credentials::vault::{Replaced, Vault, VaultExt};
use tower_credentials::{CredentialId, Generation, Secret};

use super::id;
use crate::children::{Child, hear, say, setting};
use crate::shared::{self, Shared};
use crate::vault_contract::{PLANTED, account, cooled, pool, token};

const COOLERS: u64 = 4;
const COOLDOWNS: u64 = 60;
const SWAPS: u64 = 25;

pub(super) async fn cooler() {
    let (vault, id) = (shared::opened().await, id());
    let number: u64 = setting("NUMBER").unwrap().parse().unwrap();
    say("ready");
    hear();
    for at in 0..COOLDOWNS {
        // The longest is somewhere in the middle, and not the last.
        let until = 1_000 + (at * 7 % COOLDOWNS) * COOLERS + number;
        vault.record(pool(), vec![cooled(id, until, 1, at % 2 == 0)]).await.unwrap();
    }
}

pub(super) async fn swapper() {
    let (vault, id) = (shared::opened().await, id());
    say("ready");
    hear();
    for generation in 1..=SWAPS {
        let secret = Secret::api_key(format!("rotated {}", generation + 1));
        let replaced =
            vault.replace_secret(&pool(), id, Generation::new(generation), secret).await.unwrap();
        assert!(matches!(replaced, Replaced::Swapped(_)), "nobody else swaps: {replaced:?}");
        // It reads its own write, whatever else is written beside it.
        assert_eq!(token(&vault, id).await, format!("rotated {}", generation + 1));
    }
}

/// Lets them start at once, and waits until all have succeeded.
fn race(mut children: Vec<Child>) {
    children.iter_mut().for_each(|child| child.wait_for("ready"));
    children.iter_mut().for_each(|child| child.tell("go"));
    children.into_iter().for_each(|child| drop(child.succeed()));
}

fn coolers(shared: &Shared, id: CredentialId) -> Vec<Child> {
    let job = |number: u64| shared.job("cooler").set("NUMBER", number.to_string());
    (0..COOLERS).map(|number| job(number).set("ID", id.to_string()).start()).collect()
}

async fn assert_cooled(vault: &impl Vault, id: CredentialId) {
    let standing = &vault.load_pool(pool()).await.unwrap().standings.credentials[&id];
    assert_eq!(u64::from(standing.failures), COOLERS * COOLDOWNS);
    let longest = 1_000 + COOLERS * COOLDOWNS - 1;
    assert_eq!(standing.cooldown(None).unwrap().until.as_millis(), longest);
}

#[tokio::test]
async fn outcomes_of_several_processes_merge_and_change_no_secret() {
    let Some(shared) = Shared::new() else { return };
    let vault = shared.open().await;
    let ids = [vault.put(account("a")).await.unwrap().id, vault.put(account("b")).await.unwrap().id];
    let before = shared.record(&pool(), ids[0]);
    race(coolers(&shared, ids[0]));
    assert_cooled(&vault, ids[0]).await;
    assert_eq!(shared.record(&pool(), ids[0]), before);
    assert_eq!(token(&vault, ids[1]).await, format!("{PLANTED}-b"));
}

#[tokio::test]
async fn a_flood_of_cooldowns_never_loses_a_rotated_secret() {
    let Some(shared) = Shared::new() else { return };
    let vault = shared.open().await;
    let id = vault.put(account("a")).await.unwrap().id;
    let mut children = coolers(&shared, id);
    children.push(shared.job("swapper").set("ID", id.to_string()).start());
    race(children);
    assert_cooled(&vault, id).await;
    assert_eq!(token(&vault, id).await, format!("rotated {}", SWAPS + 1));
    assert_eq!(vault.get(&pool(), id).await.unwrap().metadata.generation, Generation::new(SWAPS + 1));
}

pub(super) async fn contender() {
    let (vault, id) = (shared::opened().await, id());
    say("ready");
    loop {
        let generation: u64 = hear().parse().unwrap();
        let secret = format!("{generation} by {}", std::process::id());
        let expected = Generation::new(generation);
        match vault.replace_secret(&pool(), id, expected, Secret::api_key(secret.clone())).await.unwrap()
        {
            Replaced::Swapped(next) => {
                assert_eq!(next, expected.next());
                say(format_args!("won {secret}"));
            }
            Replaced::Conflict(stored) => {
                assert_eq!(stored.metadata.generation, expected.next());
                say(format_args!("lost to {}", stored.secret.token().expose()));
            }
        }
    }
}

#[tokio::test]
async fn of_many_processes_that_replace_one_generation_exactly_one_wins() {
    let Some(shared) = Shared::new() else { return };
    let vault = shared.open().await;
    let id = vault.put(account("a")).await.unwrap().id;
    let job = || shared.job("contender").set("ID", id.to_string());
    let mut children: Vec<_> = (0..6).map(|_| job().start()).collect();
    children.iter_mut().for_each(|child| child.wait_for("ready"));
    for generation in 1..=20 {
        children.iter_mut().for_each(|child| child.tell(&generation.to_string()));
        let said: Vec<_> = children.iter_mut().map(|child| child.next().unwrap()).collect();
        let mut winners = said.iter().filter_map(|said| said.strip_prefix("won "));
        let winner = winners.next().expect("one wins");
        assert_eq!(winners.next(), None, "two have won: {said:?}");
        let lost = said.iter().filter(|said| **said == format!("lost to {winner}")).count();
        assert_eq!(lost, children.len() - 1, "the others are told who has won: {said:?}");
        assert_eq!(token(&vault, id).await, winner);
    }
}
