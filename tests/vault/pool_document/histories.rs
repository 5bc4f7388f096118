//! Generated histories of requests: a document that is stored and read again after each one responds as one that is kept in
//! memory does, and as a vault in memory does.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::Value;
use tokio::runtime::Builder;
use tokio::time::Instant;
use tower::ServiceExt;
use tower_credentials::standing::{Change, Health, Outcome};
use tower_credentials::vault::{
    Applied, BatchId, BatchOrigin, Changes, FailedRefresh, MemoryVault, PoolDocument, Replaced,
    Revision, StoredPool, VaultError, VaultRequest, VaultResponse,
};
use tower_credentials::{Credential, CredentialId, Generation, OAuthTokens, Secret};

use super::{NOW, stored, value};
use crate::vault_contract::{account, cooled, pool};

/// A step of a history. Accounts are named by numbers, and revisions by their places among those that were seen.
#[derive(Clone, Debug)]
enum Step {
    Put { id: u8, label: &'static str },
    Relabel { id: u8, label: &'static str },
    Move { id: u8, place: usize },
    Remove { id: u8 },
    Get { id: u8 },
    Replace { id: u8, expected: u64, key: u8, attributes: Option<u8> },
    OfAnotherKind { id: u8 },
    Reseal { id: u8, expected: u64, key: u8 },
    Record { changes: Vec<(u8, What)>, origin: u8, number: u64 },
    Begin { id: u8, expected: u64 },
    Failed { id: u8, expected: u64, wait: u64 },
    Changes { since: usize },
    Load,
    Revision,
    Wait { seconds: u64 },
}

#[derive(Clone, Debug)]
enum What {
    CooledDown { until: u64, to_back: bool },
    Refused { generation: u64 },
    Paused,
    Reset,
}

fn label() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["a", "b", "a-2", ""])
}

fn step() -> impl Strategy<Value = Step> {
    let (id, expected) = (|| 0..4_u8, || 1..4_u64);
    let what = prop_oneof![
        (1..9_u64, any::<bool>()).prop_map(|(until, to_back)| What::CooledDown { until, to_back }),
        expected().prop_map(|generation| What::Refused { generation }),
        Just(What::Paused),
        Just(What::Reset),
    ];
    let attributes = prop::option::of(any::<u8>());
    let of_records = prop_oneof![
        4 => (id(), label()).prop_map(|(id, label)| Step::Put { id, label }),
        1 => (id(), label()).prop_map(|(id, label)| Step::Relabel { id, label }),
        2 => (id(), 0..5_usize).prop_map(|(id, place)| Step::Move { id, place }),
        1 => id().prop_map(|id| Step::Remove { id }),
        2 => (id(), expected(), any::<u8>(), attributes).prop_map(|(id, expected, key, attributes)| {
            Step::Replace { id, expected, key, attributes }
        }),
        1 => id().prop_map(|id| Step::OfAnotherKind { id }),
        1 => (id(), expected(), any::<u8>())
            .prop_map(|(id, expected, key)| Step::Reseal { id, expected, key }),
    ];
    let of_standings_and_refreshes = prop_oneof![
        4 => (prop::collection::vec((id(), what), 0..4), 0..2_u8, 1..6_u64)
            .prop_map(|(changes, origin, number)| Step::Record { changes, origin, number }),
        3 => (id(), expected()).prop_map(|(id, expected)| Step::Begin { id, expected }),
        2 => (id(), expected(), 0..20_u64)
            .prop_map(|(id, expected, wait)| Step::Failed { id, expected, wait }),
        1 => (0..20_u64).prop_map(|seconds| Step::Wait { seconds }),
    ];
    let reading = prop_oneof![
        3 => (0..64_usize).prop_map(|since| Step::Changes { since }),
        1 => id().prop_map(|id| Step::Get { id }),
        1 => Just(Step::Load),
        1 => Just(Step::Revision),
    ];
    prop_oneof![2 => of_records, 2 => of_standings_and_refreshes, 1 => reading]
}

fn id(number: u8) -> CredentialId {
    CredentialId::from_bytes([number; 16])
}

fn key(number: u8) -> Secret {
    Secret::api_key(format!("key-{number}"))
}

impl Step {
    /// Returns its request, if it is one. These are the revisions that were seen.
    fn request(&self, seen: &[Revision]) -> Option<VaultRequest> {
        let (pool, number) = (pool(), |number: &u64| Generation::new(*number));
        Some(match self.clone() {
            Step::Put { id: of, label } => {
                let mut account = account("new");
                (account.metadata.id, account.metadata.label) = (id(of), label.into());
                account.metadata.created_at = NOW;
                account.metadata.updated_at = NOW;
                VaultRequest::Put(account)
            }
            Step::Relabel { id: of, label } => {
                VaultRequest::Relabel { pool, id: id(of), label: label.into() }
            }
            Step::Move { id: of, place } => VaultRequest::Move { pool, id: id(of), place },
            Step::Remove { id: of } => VaultRequest::Remove { pool, id: id(of) },
            Step::Get { id: of } => VaultRequest::Get { pool, id: id(of) },
            Step::Replace { id: of, expected, key: new, attributes } => VaultRequest::ReplaceSecret {
                pool,
                id: id(of),
                expected: number(&expected),
                secret: key(new),
                attributes: attributes.map(|plan| BTreeMap::from([("plan".into(), plan.to_string())])),
            },
            Step::OfAnotherKind { id: of } => VaultRequest::ReplaceSecret {
                pool,
                id: id(of),
                expected: Generation::FIRST,
                secret: OAuthTokens::new("token").into(),
                attributes: None,
            },
            Step::Reseal { id: of, expected, key: new } => {
                VaultRequest::Reseal { pool, id: id(of), expected: number(&expected), secret: key(new) }
            }
            Step::Record { changes, origin, number } => {
                let origin: BatchOrigin = format!("{origin:016x}").parse().unwrap();
                let outcomes = changes.iter().map(|(of, what)| what.outcome(id(*of))).collect();
                VaultRequest::Record { pool, outcomes, batch: BatchId { origin, number } }
            }
            Step::Begin { id: of, expected } => {
                VaultRequest::BeginRefresh { pool, id: id(of), expected: number(&expected) }
            }
            Step::Failed { id: of, expected, wait } => {
                let wait = Duration::from_secs(wait);
                let failed = FailedRefresh { wait, in_a_row: 1, reason: "503".into() };
                VaultRequest::RefreshFailed { pool, id: id(of), expected: number(&expected), failed }
            }
            Step::Changes { since } => {
                let since = seen[seen.len() - 1 - since % seen.len()];
                VaultRequest::Changes { pool, since, told: false }
            }
            Step::Load => VaultRequest::Load(pool),
            Step::Revision => VaultRequest::Revision(pool),
            Step::Wait { .. } => return None,
        })
    }
}

impl What {
    fn outcome(&self, id: CredentialId) -> Outcome {
        let change = match *self {
            Self::CooledDown { until, to_back } => return cooled(id, until, 1, to_back),
            Self::Refused { generation } => Change::Health(Health::NeedsSignIn {
                reason: "revoked".into(),
                generation: Generation::new(generation),
                cause: None,
            }),
            Self::Paused => Change::Paused,
            Self::Reset => Change::Reset,
        };
        Outcome { id, change }
    }
}

/// What a reader sees of a response, whose revision is written as its place among those that were seen. A vault dates a new
/// secret by the system's clock, so that is left out.
fn shown(response: Result<VaultResponse, VaultError>, seen: &mut Vec<Revision>) -> String {
    let mut place = |revision| {
        let known = seen.iter().position(|other| *other == revision);
        known.unwrap_or_else(|| {
            seen.push(revision);
            seen.len() - 1
        })
    };
    let one = |Credential { metadata, secret }: Credential| {
        let (id, label, generation) = (metadata.id, metadata.label, metadata.generation);
        format!("{id} {label} {generation} {:?} {}", metadata.attributes, secret.token().expose())
    };
    match response {
        Ok(VaultResponse::Pool(StoredPool { credentials, standings, revision, damaged })) => {
            let credentials: Vec<_> = credentials.into_iter().map(one).collect();
            let standings = serde_json::to_value(standings).unwrap();
            format!("{credentials:?} {standings} at {}, {damaged:?}", place(revision))
        }
        Ok(VaultResponse::Stored(metadata)) => format!("{} {}", metadata.id, metadata.label),
        Ok(VaultResponse::Credential(record)) => one(record),
        Ok(VaultResponse::Replaced(Replaced::Conflict(record))) => format!("lost: {}", one(record)),
        Ok(VaultResponse::Begun(begun)) => {
            let mut shown = one(begun.record);
            write!(shown, " {} {:?}", begun.unfinished.is_some(), begun.failed).unwrap();
            shown
        }
        Ok(VaultResponse::Revision(revision)) => format!("at {}", place(revision)),
        Ok(VaultResponse::Changes(Some(changes))) => {
            let Changes { revision, credentials, mut removed, mut standings, order, .. } = changes;
            let mut credentials: Vec<_> = credentials.into_iter().map(one).collect();
            credentials.sort();
            removed.sort();
            standings.sort_by_key(|(id, _)| *id);
            let revision = place(revision);
            format!("{credentials:?} {removed:?} {standings:?} {order:?} at {revision}")
        }
        other => format!("{other:?}"),
    }
}

/// Returns what is stored, but for what a new random number is in.
fn contents(document: &PoolDocument) -> Value {
    let mut value = value(document);
    let fields = value.as_object_mut().unwrap();
    for name in ["revision", "recent"] {
        assert!(fields.remove(name).is_some());
    }
    value
}

async fn run(history: &[Step]) {
    let (memory, began) = (MemoryVault::new(), Instant::now());
    let (mut kept, mut again) = (PoolDocument::new(pool()), PoolDocument::new(pool()));
    let mut seen = [(); 3].map(|()| vec![Revision::default()]);
    for step in history {
        if let Step::Wait { seconds } = step {
            tokio::time::advance(Duration::from_secs(*seconds)).await;
            continue;
        }
        let now = NOW.after(began.elapsed());
        let request = |seen: &[Revision]| step.request(seen).expect("it is no wait");
        let of_memory = &mut seen[0];
        let expected = shown(memory.clone().oneshot(request(of_memory)).await, of_memory);
        let revision = memory.clone().oneshot(VaultRequest::Revision(pool())).await;
        let expected = [expected, shown(revision, of_memory)];
        for (document, seen) in [&mut kept, &mut again].into_iter().zip(&mut seen[1..]) {
            let before = value(document);
            let applied = document.apply(request(seen), now);
            if !applied.as_ref().is_ok_and(|applied| applied.is_changed) {
                assert_eq!(value(document), before, "{step:?} says that nothing has changed");
            }
            let response = shown(applied.map(|Applied { response, .. }| response), seen);
            let revision = shown(Ok(VaultResponse::Revision(document.revision())), seen);
            assert_eq!([response, revision], expected, "{step:?}");
        }
        again = stored(&again);
        assert_eq!(contents(&again), contents(&kept), "{step:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 64,
        failure_persistence: None,
        ..Default::default()
    })]

    #[test]
    fn a_document_that_is_stored_after_each_request_responds_as_one_that_is_not(
        history in prop::collection::vec(step(), 0..60),
    ) {
        let paused = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        paused.block_on(run(&history));
    }
}
