//! Several handles to one vault: clones of a vault in memory, and openings of a directory.

use std::path::PathBuf;

use tower_credentials::conformance::{Hosts, every_promise_of_hosts};
use tower_credentials::vault::MemoryVault;

mod clones {
    use super::*;

    struct Clones(MemoryVault);

    impl Hosts for Clones {
        type Vault = MemoryVault;

        async fn open(&self) -> MemoryVault {
            self.0.clone()
        }
    }

    async fn new() -> (Clones, ()) {
        (Clones(MemoryVault::new()), ())
    }

    every_promise_of_hosts!(new);
}

#[cfg(feature = "file")]
mod openings {
    use tempfile::TempDir;
    use tower_credentials::vault::file::FileVault;
    use tower_credentials::vault::key::VaultKey;

    use super::*;

    struct Openings(PathBuf, VaultKey);

    impl Hosts for Openings {
        type Vault = FileVault;

        async fn open(&self) -> FileVault {
            FileVault::open(&self.0, &self.1).await.unwrap()
        }
    }

    async fn new() -> (Openings, TempDir) {
        let place = TempDir::new().unwrap();
        (Openings(place.path().join("vault"), VaultKey::generate()), place)
    }

    // Without the batch that another host sends again: it comes from the process that has sent it, and the vault that it has
    // opened knows it.
    every_promise_of_hosts!(new;
        what_one_host_writes_another_reads,
        of_two_hosts_that_put_one_label_each_gets_its_own,
        outcomes_of_two_hosts_are_all_kept,
        of_two_hosts_that_replace_one_generation_one_wins,
        a_lease_of_one_host_keeps_another_out_until_it_is_dropped,
        a_host_that_crashes_with_a_lease_lets_another_in,
        changes_by_one_host_lead_another_to_what_a_load_shows,
        a_watch_tells_of_what_another_host_changes_if_there_is_one,
        what_a_watch_has_told_of_is_in_the_changes_if_there_is_one,
    );
}
