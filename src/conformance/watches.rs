//! What a watch of one host tells of another's changes.

use tokio::time::timeout;

use super::fixtures::{cooled, order, pool, put_all, until};
use super::hosts::{Hosts, SOON, two};
use crate::CredentialId;
use crate::standing::Standing;
use crate::vault::{Vault, VaultError, VaultExt, Watch};

/// A watch of one host tells of what another changes. A vault may have no watch.
pub async fn a_watch_tells_of_what_another_host_changes_if_there_is_one(hosts: impl Hosts) {
    let [one, other] = two(&hosts).await;
    let [id, _] = put_all(&one, ["a", "b"]).await;
    let Some(mut watch) = watch_of(&other).await else { return };
    for round in 1..4 {
        one.record(pool(), vec![cooled(id, round, round, true)]).await.unwrap();
        notices_until(&mut watch, async || until(&other, id).await == Some(round)).await;
    }
    one.remove(&pool(), id).await.unwrap();
    notices_until(&mut watch, async || order(&other).await == ["b"]).await;
}

/// What a watch has told of is in the changes without another look. A vault may have no watch.
pub async fn what_a_watch_has_told_of_is_in_the_changes_if_there_is_one(hosts: impl Hosts) {
    let [one, other] = two(&hosts).await;
    let [id] = put_all(&one, ["a"]).await;
    let Some(mut watch) = watch_of(&other).await else { return };
    let mut known = other.load_pool(pool()).await.unwrap().revision;
    for round in 1..4 {
        one.record(pool(), vec![cooled(id, round, round, true)]).await.unwrap();
        let is_told = async {
            loop {
                assert!(watch.changed().await, "the watch has ended");
                let standings = match other.told_changes(pool(), known).await {
                    Ok(Some(changes)) => {
                        known = changes.revision;
                        changes.standings
                    }
                    Ok(None) => {
                        let loaded = other.load_pool(pool()).await.unwrap();
                        known = loaded.revision;
                        loaded.standings.credentials.into_iter().collect()
                    }
                    Err(VaultError::Unsupported { .. }) => return,
                    Err(error) => panic!("{error}"),
                };
                let is_it = |(of, standing): &(CredentialId, Standing)| {
                    *of == id
                        && standing
                            .cooldown(None)
                            .is_some_and(|cooldown| cooldown.until.as_millis() == round)
                };
                if standings.iter().any(is_it) {
                    return;
                }
            }
        };
        timeout(SOON, is_told).await.expect("a notice came without what it tells of");
    }
}

async fn watch_of(vault: &impl Vault) -> Option<Watch> {
    match vault.watch(pool()).await {
        Ok(watch) => watch,
        Err(VaultError::Unsupported { .. }) => None,
        Err(error) => panic!("{error}"),
    }
}

/// Waits for notices until this is so.
async fn notices_until(watch: &mut Watch, is_so: impl AsyncFn() -> bool) {
    let waiting = async {
        while !is_so().await {
            assert!(watch.changed().await, "the watch has ended");
        }
    };
    timeout(SOON, waiting).await.expect("no notice came");
}
