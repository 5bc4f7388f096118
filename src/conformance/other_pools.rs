//! Requests that name a credential of another pool.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::vault::call;
use crate::vault::{FailedRefresh, Vault, VaultError, VaultExt, VaultRequest};
use crate::{Credential, Generation, PoolKey, Secret};

use super::fixtures::{PLANTED, cooled, order, pool, put_all, token};

/// A request that names a credential of another pool is `NotFound` and changes nothing in either pool.
pub async fn a_credential_of_another_pool_is_not_found_and_stays_as_it_is(vault: impl Vault) {
    let [id, _] = put_all(&vault, ["work", "spare"]).await;
    let before = vault.record(pool(), vec![cooled(id, 5_000, 1, false)]).await.unwrap();
    let known = vault.get(&pool(), id).await.unwrap().metadata;
    let (first, key) = (Generation::FIRST, || Secret::api_key("new"));
    // Another provider, another namespace, and one that nothing was ever put into.
    let [other, team, empty] =
        [PoolKey::new("other"), PoolKey::with_namespace("example", "team"), PoolKey::new("empty")];
    for with_one in [&other, &team] {
        vault.put(Credential::new(with_one.clone(), "one", Secret::api_key("one"))).await.unwrap();
    }
    for of in [&other, &team, &empty] {
        let there = vault.load_pool(of.clone()).await.unwrap();
        let failed = FailedRefresh { wait: Duration::from_secs(9), in_a_row: 1, reason: "503".into() };
        let reseal = VaultRequest::Reseal { pool: of.clone(), id, expected: first, secret: key() };
        let resealed = call(vault.clone(), reseal).await;
        let refusals = [
            ("get", vault.get(of, id).await.map(drop)),
            ("relabel", vault.relabel(of, id, "new").await.map(drop)),
            ("move", vault.move_to(of, id, 1).await),
            ("replace secret", vault.replace_secret(of, id, first, key()).await.map(drop)),
            ("replace", vault.replace(of, id, first, key(), BTreeMap::new()).await.map(drop)),
            ("an old one", vault.replace_secret(of, id, first.next(), key()).await.map(drop)),
            ("reseal", resealed.map(drop)),
            ("lease refresh", vault.lease_refresh(of, id).await.map(drop)),
            ("begin refresh", vault.begin_refresh(of, id, first).await.map(drop)),
            ("refresh failed", vault.refresh_failed(of, id, first, failed).await),
            ("remove", vault.remove(of, id).await),
        ];
        for (request, refused) in refusals {
            let is_refused = matches!(refused, Err(VaultError::NotFound(missing)) if missing == id);
            assert!(is_refused, "{request} in {of}: {refused:?}");
        }
        let still = vault.load_pool(of.clone()).await.unwrap();
        assert_eq!((still.revision, &still.standings), (there.revision, &there.standings), "{of}");
        assert_eq!(still.credentials.len(), there.credentials.len(), "{of}");
    }
    assert_eq!(vault.revision(pool()).await.unwrap(), before);
    assert_eq!(order(&vault).await, ["work", "spare"]);
    assert_eq!(vault.get(&pool(), id).await.unwrap().metadata, known);
    assert_eq!(token(&vault, id).await, format!("{PLANTED}-work"));
    // Neither note was made, and nobody holds the lease.
    drop(vault.lease_refresh(&pool(), id).await.unwrap());
    let begun = vault.begin_refresh(&pool(), id, first).await.unwrap();
    assert_eq!((begun.unfinished, begun.failed), (None, None));
}
