//! Refreshes that have stored nothing are found at a price that grows with their number, not with its square.

use std::collections::HashMap;

use tower_credentials::CredentialId;
use tower_credentials::vault::VaultExt;
use tower_credentials::vault::key::VaultKey;
use tower_credentials::vault::redis::RedisBackend;

use crate::server::{Server, sealed};
use crate::vault_contract::account;

fn key(part: &str) -> String {
    format!("tower-credentials:{{example/default}}:{part}")
}

/// What the engine has counted since it was told to count anew.
#[derive(Debug)]
struct Cost {
    /// How often each command was done, by its name in lower case; those of scripts too.
    commands: HashMap<String, u64>,
    /// How many bytes it has read and sent.
    bytes: u64,
}

impl Cost {
    fn of(server: &Server) -> Self {
        let info = server.tell::<String>(&["INFO", "commandstats"])
            + &server.tell::<String>(&["INFO", "stats"]);
        let mut cost = Self { commands: HashMap::new(), bytes: 0 };
        for (name, value) in info.lines().filter_map(|line| line.trim().split_once(':')) {
            if let Some(command) = name.strip_prefix("cmdstat_") {
                let calls = value.split(',').find_map(|field| field.strip_prefix("calls="));
                cost.commands.insert(command.to_owned(), calls.unwrap().parse().unwrap());
            } else if ["total_net_input_bytes", "total_net_output_bytes"].contains(&name) {
                cost.bytes += value.parse::<u64>().unwrap();
            }
        }
        cost
    }

    fn calls(&self, command: &str) -> u64 {
        self.commands.get(command).copied().unwrap_or(0)
    }
}

/// A backend, and a record as the engine stores it.
async fn with_a_record(server: &Server) -> (RedisBackend, String) {
    let backend = server.builder().build().unwrap();
    let vault = sealed(backend.clone(), &VaultKey::generate());
    let id = vault.put(account("a")).await.unwrap().id.to_string();
    (backend, server.tell(&["HGET", &key("records"), &id]))
}

/// Returns the ids of the unfinished refreshes, in order, and why each has failed, if that is known.
async fn unfinished(backend: &RedisBackend) -> Vec<(String, Option<String>)> {
    let told = backend.unfinished_refreshes().await.unwrap();
    let mut told: Vec<_> = told.into_iter().map(|one| (one.id.to_string(), one.failure)).collect();
    told.sort();
    told
}

/// Returns a command that sets each of these fields to the value.
fn fields<'a>(command: &[&'a str], ids: &'a [String], value: &'a str) -> Vec<&'a str> {
    let all = ids.iter().flat_map(|id| [id.as_str(), value]);
    command.iter().copied().chain(all).collect()
}

#[tokio::test]
async fn a_thousand_unfinished_refreshes_are_told_by_commands_and_bytes_for_each_of_them_once() {
    let Some(server) = Server::start(&[]) else { return };
    let (backend, record) = with_a_record(&server).await;
    let (records, notes, failures) = (key("records"), key("notes"), key("failures"));
    let why = "503 ".repeat(50);
    let failure = format!("1:1:1:{why}");
    let mut costs = Vec::new();
    for count in [500, 1_000] {
        server.tell::<u64>(&["DEL", &records, &notes, &failures]);
        let ids: Vec<_> = (0..count).map(|_| CredentialId::random().to_string()).collect();
        server.tell::<u64>(&fields(&["HSET", &records], &ids, &record));
        let (begun, failed) = ids.split_at(count / 2);
        server.tell::<u64>(&fields(&["HSET", &notes], begun, "1:2:::"));
        // Of one that is known to have failed before another one has begun, the end is not known.
        server.tell::<u64>(&fields(&["HSET", &failures], &ids[count / 2 - 10..], &failure));
        // So the engine knows the script.
        backend.unfinished_refreshes().await.unwrap();
        server.tell::<()>(&["CONFIG", "RESETSTAT"]);
        let told = unfinished(&backend).await;
        costs.push(Cost::of(&server));

        let mut expected: Vec<_> = begun.iter().map(|id| (id.clone(), None)).collect();
        expected.extend(failed.iter().map(|id| (id.clone(), Some(why.clone()))));
        expected.sort();
        assert_eq!(told, expected);
    }
    let [half, whole] = &costs[..] else { unreachable!() };
    assert_eq!((half.calls("evalsha"), whole.calls("evalsha")), (3, 5), "200 are looked at at a time");
    for command in ["hget", "get"] {
        let calls = [half, whole].map(|cost| cost.calls(command));
        assert!(calls[0] > 0 && calls[1] == 2 * calls[0], "{command}: {costs:?}");
    }
    assert_eq!(half.commands.get("hkeys"), whole.commands.get("hkeys"));
    assert!(whole.bytes <= 2 * half.bytes, "{costs:?}");
}

#[tokio::test]
async fn a_refresh_whose_lease_is_held_is_not_told_among_many() {
    let Some(server) = Server::start(&[]) else { return };
    let (backend, record) = with_a_record(&server).await;
    let ids: Vec<_> = (0..450).map(|_| CredentialId::random().to_string()).collect();
    server.tell::<u64>(&fields(&["HSET", &key("records")], &ids, &record));
    server.tell::<u64>(&fields(&["HSET", &key("notes")], &ids, "1:2:::"));
    let (held, free) = ids.split_at(225);
    for id in held {
        server.tell::<()>(&["SET", &key(&format!("lease:{id}")), "holder", "PX", "60000"]);
    }
    // One of another generation than the record's, one of no account, and what is no id.
    server.tell::<u64>(&["HSET", &key("notes"), &free[0], "2:2:::"]);
    let none = CredentialId::random().to_string();
    server.tell::<u64>(&["HSET", &key("notes"), &none, "1:2:::", "else", "1:2:::"]);
    let mut expected: Vec<_> = free[1..].iter().map(|id| (id.clone(), None)).collect();
    expected.sort();
    assert_eq!(unfinished(&backend).await, expected);
}
