//! One vault, many processes: real ones, which are really killed.
//!
//! `TOWER_CREDENTIALS_STRESS_SECONDS` and `TOWER_CREDENTIALS_STRESS_KILLS` make the test of many writers
//! longer; the seed that it prints repeats its choices as `TOWER_CREDENTIALS_STRESS_SEED`.

#![cfg(all(unix, feature = "file"))]

mod changes;
mod first_runs;
mod leases;
mod permissions;
mod resealing;
mod shared_quotas;
mod stress;

use tower_credentials::standing::{Change, Cooldown, Outcome, Reason};
use tower_credentials::vault::{Vault, VaultExt};
use tower_credentials::{Credential, CredentialId, PoolKey, Secret, Timestamp};

use crate::children::{self, Job, setting};
use crate::place::Place;

use changes::{contender, cooler, swapper};
use first_runs::{newcomer, stranger};
use leases::{follower, holder, waiter};
use permissions::{keeper, latecomer, user};
use resealing::{old_hand, resealer};
use shared_quotas::{asker, namer};

pub(crate) fn pool() -> PoolKey {
    PoolKey::new("example")
}

fn account(label: &str) -> Credential {
    Credential::new(pool(), label, Secret::api_key(format!("secret of {label}")))
}

pub(crate) fn cooled(id: CredentialId, until: u64, set_at: u64, to_back: bool) -> Outcome {
    let cooldown = Cooldown {
        until: Timestamp::from_millis(until),
        set_at: Timestamp::from_millis(set_at),
        reason: Reason::Limited,
        scope: None,
        generation: None,
        cause: None,
    };
    Outcome { id, change: Change::CooledDown { cooldown, failure: true, to_back } }
}

async fn token(vault: &impl Vault, id: CredentialId) -> String {
    vault.get(&pool(), id).await.unwrap().secret.token().expose().to_owned()
}

impl Place {
    fn job(&self, name: &str) -> Job {
        job(name).vault(&self.root(), &self.key)
    }
}

/// A child of this module.
fn job(name: &str) -> Job {
    Job::new(module_path!(), name)
}

/// The id that the parent has set.
fn id() -> CredentialId {
    setting("ID").unwrap().parse().unwrap()
}

/// The jobs of the other tests' children.
#[test]
fn a_child_does_its_job() {
    let Some(job) = children::job() else { return };
    children::on_two_threads(async {
        match &*job {
            "writer" => stress::writer().await,
            "cooler" => cooler().await,
            "swapper" => swapper().await,
            "contender" => contender().await,
            "holder" => holder().await,
            "waiter" => waiter().await,
            "follower" => follower().await,
            "newcomer" => newcomer().await,
            "stranger" => stranger().await,
            "resealer" => resealer().await,
            "old hand" => old_hand().await,
            "user" => user().await,
            "keeper" => keeper().await,
            "latecomer" => latecomer().await,
            "asker" => asker().await,
            "namer" => namer().await,
            other => panic!("no such job: {other}"),
        }
    });
}
