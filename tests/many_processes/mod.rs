//! One vault, many processes: real ones, which are really killed.
//!
//! These tests run over a vault of files in `tests/processes`, and over an engine in `tests/fleet`. Each of these crates has a
//! module `shared` for what differs, and the module `vault_contract`.
//!
//! `TOWER_CREDENTIALS_STRESS_SECONDS` and `TOWER_CREDENTIALS_STRESS_KILLS` make the test of many writers
//! longer; the seed that it prints repeats its choices as `TOWER_CREDENTIALS_STRESS_SEED`.

mod changes;
mod flood;
mod leases;
mod new_vaults;
mod shared_quotas;
mod stress;

use tower_credentials::CredentialId;

use crate::children::{self, Job, setting};
use crate::shared::Shared;

pub(crate) use flood::flood;

use changes::{contender, cooler, swapper};
use leases::{follower, holder, waiter};
use new_vaults::newcomer;
use shared_quotas::{asker, namer};

impl Shared {
    /// A child of this module that shares the vault.
    fn job(&self, name: &str) -> Job {
        self.found_by(Job::new(module_path!(), name))
    }
}

/// The id that the parent has set.
pub(crate) fn id() -> CredentialId {
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
            "asker" => asker().await,
            "namer" => namer().await,
            other => panic!("no such job: {other}"),
        }
    });
}
