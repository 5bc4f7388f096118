//! Processes that share a vault of files: first runs, modes and permissions, and resealing. What they do with every vault is
//! in `many_processes`.

#![cfg(unix)]

mod first_runs;
mod permissions;
mod resealing;
#[cfg(target_os = "linux")]
mod stopped;

use crate::children::{self, Job};
use crate::many_processes::id;
use crate::place::Place;
use crate::vault_contract::{PLANTED, account, cooled, pool, token};

use first_runs::newcomer;
use permissions::{keeper, latecomer, user};
use resealing::{old_hand, resealer};

impl Place {
    fn job(&self, name: &str) -> Job {
        job(name).vault(&self.root(), &self.key)
    }
}

/// A child of this module.
fn job(name: &str) -> Job {
    Job::new(module_path!(), name)
}

/// The jobs of the other tests' children.
#[test]
fn a_child_does_its_job() {
    let Some(job) = children::job() else { return };
    children::on_two_threads(async {
        match &*job {
            "newcomer" => newcomer().await,
            "resealer" => resealer().await,
            "old hand" => old_hand().await,
            "user" => user().await,
            "keeper" => keeper().await,
            "latecomer" => latecomer().await,
            other => panic!("no such job: {other}"),
        }
    });
}
