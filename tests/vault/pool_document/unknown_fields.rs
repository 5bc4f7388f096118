//! Fields of a document that a newer version has written: this one keeps them.

use std::time::Duration;

use serde_json::{Value, json};
use tower_credentials::standing::{Change, Cooldown, Health, Outcome, Reason, Scope};
use tower_credentials::vault::{BatchId, FailedRefresh, PoolDocument, VaultRequest};
use tower_credentials::{CredentialId, Generation, Secret, Timestamp};

use super::{apply, put, read, stored, value};
use crate::vault_contract::{account, cooled, pool};

/// Where a credential may have fields that are unknown.
const PLACES: [&str; 9] = [
    "",
    "/record",
    "/record/metadata",
    "/record/secret",
    "/standing",
    "/standing/health",
    "/standing/cooldowns/0",
    "/refresh",
    "/refresh/failed",
];

const NEW: &str = "from_a_later_version";

fn at<'a>(value: &'a mut Value, id: CredentialId, place: &str) -> &'a mut Value {
    let credential = value["credentials"].get_mut(id.to_string()).expect("it is there");
    credential.pointer_mut(place).unwrap_or_else(|| panic!("no {place}"))
}

fn outcome(id: CredentialId, change: Change) -> VaultRequest {
    let outcomes = vec![Outcome { id, change }];
    VaultRequest::Record { pool: pool(), outcomes, batch: BatchId::unique() }
}

fn cooldown(id: CredentialId, until: u64) -> VaultRequest {
    let outcomes = vec![cooled(id, until, 1, false)];
    VaultRequest::Record { pool: pool(), outcomes, batch: BatchId::unique() }
}

fn begin(id: CredentialId, generation: u64) -> VaultRequest {
    VaultRequest::BeginRefresh { pool: pool(), id, expected: Generation::new(generation) }
}

fn fail(id: CredentialId, generation: u64, in_a_row: u32) -> VaultRequest {
    let failed = FailedRefresh { wait: Duration::ZERO, in_a_row, reason: "503".into() };
    VaultRequest::RefreshFailed { pool: pool(), id, expected: Generation::new(generation), failed }
}

fn replace(id: CredentialId) -> VaultRequest {
    let (expected, secret) = (Generation::FIRST, Secret::api_key("new"));
    VaultRequest::ReplaceSecret { pool: pool(), id, expected, secret, attributes: None }
}

fn reseal(id: CredentialId) -> VaultRequest {
    let (expected, secret) = (Generation::FIRST, Secret::api_key("the same"));
    VaultRequest::Reseal { pool: pool(), id, expected, secret }
}

/// Returns a document of which each part is there and has a field that is unknown, and what is stored of it.
fn from_a_later_version() -> (PoolDocument, [CredentialId; 2], Value) {
    let mut document = PoolDocument::new(pool());
    let ids = ["a", "b"].map(|label| put(&mut document, label));
    for id in ids {
        for request in [cooldown(id, 5_000), fail(id, 1, 1), begin(id, 1)] {
            assert!(apply(&mut document, request).unwrap().is_changed);
        }
    }
    let mut later = value(&document);
    later[NEW] = json!({ "deep": [1, null, "text"] });
    for id in ids {
        for (number, place) in PLACES.iter().enumerate() {
            at(&mut later, id, place)[NEW] = json!({ "number": number });
        }
    }
    (read(later.clone()), ids, later)
}

/// Applies a request, stores the document, reads it again, and returns what is stored.
fn after(document: &mut PoolDocument, request: VaultRequest) -> Value {
    let name = request.name();
    assert!(apply(document, request).unwrap().is_changed, "{name}");
    *document = stored(document);
    value(document)
}

#[test]
fn a_document_that_has_not_changed_is_stored_as_it_was_read() {
    let (document, _, later) = from_a_later_version();
    assert_eq!(value(&document), later);
    assert_eq!(value(&stored(&document)), later);
}

#[test]
fn each_change_of_an_account_leaves_the_unknown_fields_of_the_document_and_of_the_others() {
    let (mut document, [a, b], later) = from_a_later_version();
    for request in [
        VaultRequest::Put(account("c")),
        cooldown(a, 6_000),
        VaultRequest::Relabel { pool: pool(), id: a, label: "new".into() },
        VaultRequest::Move { pool: pool(), id: a, place: 1 },
        reseal(a),
        begin(a, 1),
        fail(a, 1, 2),
        replace(a),
        outcome(a, Change::Reset),
        VaultRequest::Remove { pool: pool(), id: a },
    ] {
        let name = request.name();
        let after = after(&mut document, request);
        assert_eq!(after[NEW], later[NEW], "{name}");
        assert_eq!(after["credentials"][b.to_string()], later["credentials"][b.to_string()], "{name}");
    }
    assert!(value(&document)["credentials"].get(a.to_string()).is_none());
}

#[test]
fn a_change_of_an_account_loses_only_the_unknown_fields_of_values_that_it_replaces() {
    let refused = Change::Health(Health::NeedsSignIn {
        reason: "revoked".into(),
        generation: Generation::FIRST,
        cause: None,
    });
    type Request = Box<dyn Fn(CredentialId) -> VaultRequest>;
    let cases: [(Request, &[&str]); 9] = [
        (Box::new(|id| VaultRequest::Relabel { pool: pool(), id, label: "new".into() }), &[]),
        (Box::new(|id| VaultRequest::Move { pool: pool(), id, place: 1 }), &[]),
        (Box::new(|id| cooldown(id, 6_000)), &["/standing/cooldowns/0"]),
        (Box::new(|id| outcome(id, Change::Paused)), &[]),
        (
            Box::new(move |id| outcome(id, refused.clone())),
            &["/standing/health", "/refresh", "/refresh/failed"],
        ),
        (Box::new(|id| begin(id, 1)), &[]),
        (Box::new(|id| fail(id, 1, 2)), &["/refresh/failed"]),
        (Box::new(reseal), &["/record/secret"]),
        (Box::new(replace), &["/record/secret", "/refresh", "/refresh/failed"]),
    ];
    for (request, lost) in cases {
        let (mut document, [id, _], mut later) = from_a_later_version();
        let request = request(id);
        let name = request.name();
        let after = after(&mut document, request);
        for place in PLACES {
            let before = at(&mut later, id, place)[NEW].clone();
            let kept =
                after["credentials"][id.to_string()].pointer(place).and_then(|part| part.get(NEW));
            let expected = if lost.contains(&place) { None } else { Some(&before) };
            assert_eq!(kept, expected, "{name}: {place:?}");
        }
    }
}

#[test]
fn what_is_known_is_stored_as_it_is_now_beside_what_is_unknown() {
    let (mut document, [id, _], _) = from_a_later_version();
    let relabel = VaultRequest::Relabel { pool: pool(), id, label: "new".into() };
    let mut now = Value::Null;
    for request in
        [relabel, replace(id), cooldown(id, 7_000), outcome(id, Change::Paused), fail(id, 2, 1)]
    {
        now = after(&mut document, request);
    }
    let stored = &now["credentials"][id.to_string()];
    assert_eq!(stored["record"]["metadata"]["label"], "new");
    assert_eq!(stored["record"]["metadata"]["generation"], 2);
    assert_eq!(stored["record"]["secret"]["key"], "new");
    assert_eq!(stored["standing"]["cooldowns"][0]["until"], 7_000);
    assert_eq!(stored["standing"]["paused"], true);
    assert_eq!(stored["refresh"]["generation"], 2);
    after(&mut document, outcome(id, Change::Reset));
    let now = after(&mut document, outcome(id, Change::Resumed));
    let standing = &now["credentials"][id.to_string()]["standing"];
    assert!(standing.get("cooldowns").is_none() && standing.get("paused").is_none(), "{standing}");
}

#[test]
fn a_cooldown_that_has_not_changed_keeps_its_unknown_fields_at_another_place_too() {
    let mut document = PoolDocument::new(pool());
    let id = put(&mut document, "a");
    let of = |scope: &str, until| {
        let cooldown = Cooldown {
            until: Timestamp::from_millis(until),
            set_at: Timestamp::from_millis(1),
            reason: Reason::Limited,
            scope: Some(Scope::new(scope)),
            generation: None,
            cause: None,
        };
        outcome(id, Change::CooledDown { cooldown, failure: false, to_back: false })
    };
    for request in [of("one", 5_000), of("two", 5_000)] {
        assert!(apply(&mut document, request).unwrap().is_changed);
    }
    let mut later = value(&document);
    for number in 0..2 {
        at(&mut later, id, &format!("/standing/cooldowns/{number}"))[NEW] = json!(number);
    }
    let mut document = read(later);
    let success =
        Change::Succeeded { set_until: Timestamp::from_millis(9_000), scope: Some(Scope::new("one")) };
    for request in [outcome(id, success), of("three", 6_000)] {
        after(&mut document, request);
    }
    let now = value(&document);
    let cooldowns = &now["credentials"][id.to_string()]["standing"]["cooldowns"];
    let seen: Vec<_> =
        cooldowns.as_array().unwrap().iter().map(|one| (&one["scope"], &one[NEW])).collect();
    assert_eq!(seen, [(&json!("two"), &json!(1)), (&json!("three"), &Value::Null)]);
}

#[test]
fn a_credential_that_cannot_be_read_keeps_the_unknown_fields_of_its_standing() {
    let (_, [id, _], mut later) = from_a_later_version();
    *at(&mut later, id, "/record/secret") = json!(7);
    let mut document = read(later.clone());
    let now = after(&mut document, outcome(id, Change::Paused));
    let mut expected = later["credentials"][id.to_string()].take();
    expected["standing"]["paused"] = json!(true);
    assert_eq!(now["credentials"][id.to_string()], expected);
}

#[test]
fn an_account_that_is_put_again_has_nothing_of_the_one_that_was_removed() {
    let (mut document, [id, _], _) = from_a_later_version();
    after(&mut document, VaultRequest::Remove { pool: pool(), id });
    let mut again = account("a");
    again.metadata.id = id;
    let now = after(&mut document, VaultRequest::Put(again));
    assert!(!now["credentials"][id.to_string()].to_string().contains(NEW), "{now}");
}
