//! An engine that has forgotten everything costs no account, also if others put accounts into it before it is given back.

use tower_credentials::standing::{Change, Outcome};
use tower_credentials::vault::redis::RedisBackend;
use tower_credentials::vault::seal::Seal;

use super::*;
use crate::vault_contract::account;

const EPOCH: &str = "tower-credentials:{example/default}:epoch";

/// The labels in alphabetical order.
async fn labels(vault: &impl Vault) -> Vec<String> {
    let mut labels = order(vault).await;
    labels.sort();
    labels
}

fn paused(id: CredentialId) -> Vec<Outcome> {
    vec![Outcome { id, change: Change::Paused }]
}

async fn restored(server: &Server) {
    server.builder().build().unwrap().restored().await.unwrap();
}

/// Two accounts, of which the second one is paused and the first one has a new secret, and a host that knows that.
async fn put_two(host: &Seal<RedisBackend>) -> [CredentialId; 2] {
    let ids @ [a, b] = put_all(host, ["a", "b"]).await;
    renew(host, a, "newest").await;
    host.record(pool(), paused(b)).await.unwrap();
    host.load_pool(pool()).await.unwrap();
    ids
}

#[tokio::test]
async fn an_account_that_a_new_host_puts_first_costs_none_of_the_others() {
    let Some(server) = Server::start(&[]) else { return };
    let [one, new] = hosts(&server).await;
    let [a, b] = put_two(&one).await;
    server.tell::<()>(&["FLUSHALL"]);
    put_all(&new, ["c"]).await;
    assert_eq!(labels(&one).await, ["a", "b", "c"]);
    assert_eq!(order(&new).await, order(&one).await);
    for host in [&one, &new] {
        assert_eq!(token(host, a).await, "newest");
        let standings = standings(host).await;
        assert!(standings.credentials[&b].paused, "{standings:?}");
    }
}

#[tokio::test]
async fn the_same_is_true_after_a_restore_on_purpose() {
    let Some(server) = Server::start(&[]) else { return };
    let [one, new] = hosts(&server).await;
    let [a, b] = put_two(&one).await;
    restored(&server).await;
    assert_eq!(order(&one).await, ["a", "b"]);
    for label in ["c", "d"] {
        server.tell::<()>(&["FLUSHALL"]);
        put_all(&new, [label]).await;
        order(&one).await;
    }
    assert_eq!(labels(&new).await, ["a", "b", "c", "d"]);
    assert_eq!(order(&new).await, order(&one).await);
    assert_eq!(token(&new, a).await, "newest");
    assert!(standings(&new).await.credentials[&b].paused);
}

#[tokio::test]
async fn a_label_that_a_new_host_has_given_to_its_own_account_gets_a_number() {
    let Some(server) = Server::start(&[]) else { return };
    let [one, new] = hosts(&server).await;
    let [a, _] = put_two(&one).await;
    server.tell::<()>(&["FLUSHALL"]);
    let [others, second] = put_all(&new, ["a", "a-2"]).await;
    renew(&new, others, "others").await;
    assert_eq!(labels(&one).await, ["a", "a-2", "a-3", "b"]);
    for host in [&one, &new] {
        assert_eq!(host.get(&pool(), a).await.unwrap().metadata.label.as_ref(), "a-3");
        assert_eq!(token(host, a).await, "newest");
        assert_eq!(token(host, others).await, "others");
        assert!(host.get(&pool(), second).await.is_ok());
    }
}

#[tokio::test]
async fn two_new_hosts_that_put_at_once_keep_their_accounts_and_get_the_others() {
    let Some(server) = Server::start(&[]) else { return };
    let [one, new, newer] = hosts(&server).await;
    put_two(&one).await;
    server.tell::<()>(&["FLUSHALL"]);
    let (first, second) = tokio::join!(new.put(account("c")), newer.put(account("d")));
    first.and(second).unwrap();
    for host in [&newer, &one, &new] {
        order(host).await;
    }
    for host in [&one, &new, &newer] {
        assert_eq!(labels(host).await, ["a", "b", "c", "d"]);
    }
}

#[tokio::test]
async fn a_log_that_is_longer_and_trimmed_is_not_taken_for_the_known_one() {
    let Some(server) = Server::start(&[]) else { return };
    let [one, new] = hosts(&server).await;
    let [a, _] = put_two(&one).await;
    server.tell::<()>(&["FLUSHALL"]);
    let [c] = put_all(&new, ["c"]).await;
    for number in 0..9 {
        new.record(pool(), vec![cooled(c, 5_000 + number, 1, false)]).await.unwrap();
    }
    // As a host does that stores a snapshot: of the log only the last entry stays.
    let key = |part: &str| format!("tower-credentials:{{example/default}}:{part}");
    let last: String = server.tell(&["GET", &key("revision")]);
    let standings = serde_json::to_string(&standings(&new).await).unwrap();
    server.tell::<()>(&["SET", &key("snapshot"), &format!("{last}:{standings}")]);
    server.tell::<u64>(&["XTRIM", &key("log"), "MAXLEN", "1"]);
    assert_eq!(labels(&one).await, ["a", "b", "c"]);
    assert_eq!(token(&new, a).await, "newest");
}

#[tokio::test]
async fn a_host_that_has_only_put_or_changed_an_account_gives_it_back() {
    let Some(server) = Server::start(&[]) else { return };
    let [one, other, new] = hosts(&server).await;
    let [a] = put_all(&one, ["a"]).await;
    let [b] = put_all(&other, ["b"]).await;
    renew(&other, a, "newest").await;
    server.tell::<()>(&["FLUSHALL"]);
    put_all(&new, ["c"]).await;
    assert_eq!(labels(&other).await, ["a", "b", "c"]);
    assert_eq!(token(&new, a).await, "newest");
    assert!(one.get(&pool(), b).await.is_ok());
}

#[tokio::test]
async fn an_older_file_from_before_a_restore_on_purpose_is_no_restore() {
    let Some(server) = Server::start(&[]) else { return };
    let [one, other] = hosts(&server).await;
    let [a] = put_all(&one, ["a"]).await;
    // The engine has seen no restore, then one.
    for round in ["first", "second"] {
        let restore = backup(&server);
        restored(&server).await;
        one.load_pool(pool()).await.unwrap();
        renew(&one, a, round).await;
        put_all(&one, [round]).await;
        one.load_pool(pool()).await.unwrap();
        let epoch: String = server.tell(&["GET", EPOCH]);
        restore();
        let loaded = once_it_is_back(async || one.load_pool(pool()).await).await.unwrap();
        assert!(loaded.credentials.iter().any(|account| *account.metadata.label == *round), "{round}");
        assert_eq!(token(&one, a).await, round);
        assert_eq!(token(&other, a).await, round);
        assert_eq!(server.tell::<String>(&["GET", EPOCH]), epoch);
    }
}

#[tokio::test]
async fn a_later_restore_on_purpose_wins_although_it_is_of_a_file_from_before_the_last_one() {
    let Some(server) = Server::start(&[]) else { return };
    let [one, other] = hosts(&server).await;
    let [a] = put_all(&one, ["a"]).await;
    let old = token(&one, a).await;
    let restore = backup(&server);
    for _ in 0..2 {
        restored(&server).await;
    }
    renew(&one, a, "newest").await;
    put_all(&one, ["b"]).await;
    one.load_pool(pool()).await.unwrap();
    restore();
    once_it_is_back(async || server.builder().build().unwrap().restored().await).await.unwrap();
    for host in [&one, &other] {
        let loaded = once_it_is_back(async || host.load_pool(pool()).await).await.unwrap();
        assert_eq!(loaded.credentials.len(), 1);
        assert_eq!(token(host, a).await, old);
    }
}

#[tokio::test]
async fn a_restore_on_purpose_that_the_engine_has_forgotten_is_not_undone_by_hosts_that_have_not_seen_it()
 {
    let Some(server) = Server::start(&[]) else { return };
    let [one, other] = hosts(&server).await;
    let [a] = put_all(&one, ["a"]).await;
    let old = token(&one, a).await;
    let restore = backup(&server);
    renew(&other, a, "undone").await;
    other.load_pool(pool()).await.unwrap();
    restore();
    once_it_is_back(async || server.builder().build().unwrap().restored().await).await.unwrap();
    once_it_is_back(async || one.load_pool(pool()).await).await.unwrap();
    server.tell::<u8>(&["DEL", EPOCH]);
    assert_eq!(token(&one, a).await, old);
    one.load_pool(pool()).await.unwrap();
    assert_eq!(order(&other).await, ["a"]);
    assert_eq!(token(&other, a).await, old);
}
