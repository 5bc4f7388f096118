//! A pool whose tokens can be renewed, and that nobody has given a refresher, says so once.

use tower_credentials::vault::MemoryVault;
use tower_credentials::vault::VaultExt;
use tower_credentials::*;

use crate::log;
use crate::support::*;

async fn pool_of(label: &str, tokens: OAuthTokens) -> Pool {
    let vault = MemoryVault::new();
    vault.put(Credential::new(key(), label, tokens)).await.unwrap();
    builder(vault).open().await.unwrap()
}

fn refused(token: &str) -> Upstream {
    Upstream::new().answers(token, vec![Canned::status(401); 8])
}

#[tokio::test]
async fn a_refused_token_that_nothing_renews_is_warned_of_once() {
    let log = log();
    let lines = |label: &str| {
        let account = format!("account={label:?}");
        let is_it = |line: &&str| line.contains("has no refresher") && line.contains(&account);
        log.text().lines().filter(is_it).map(str::to_owned).collect::<Vec<_>>()
    };
    let renewable = OAuthTokens::new("unrenewed-1").refresh("r");
    let pool = pool_of("unrenewed", renewable.clone()).await;
    let service = stack(CredentialsLayer::new(pool.clone()), refused("unrenewed-1"));
    for _ in 0..3 {
        ask(&service, post()).await;
        pool.reset(pool.status()[0].credential.id).await.unwrap();
    }
    let said = lines("unrenewed");
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(
        said[0].starts_with(" WARN ") && said[0].contains(" tower_credentials::refresher: "),
        "{said:?}"
    );
    assert!(said[0].contains("`PoolBuilder::refresher`"), "{said:?}");

    // Nothing is missing if there is a refresher, whoever has it, or no refresh token.
    let pool = pool_of("renewed", OAuthTokens::new("renewed-1").refresh("r")).await;
    let failing = Refresher::new(|_| async { Err::<Secret, _>(RefreshError::Failed("503".into())) });
    let layers = (RefreshOn401Layer::new(pool.clone(), failing.clone()), AuthHeaderLayer::new(pool));
    ask(&stack(layers, refused("renewed-1")), post()).await;
    let pool = pool_of("no refresh token", OAuthTokens::new("plain-1")).await;
    ask(&stack(CredentialsLayer::new(pool), refused("plain-1")), post()).await;
    assert_eq!(lines("renewed").len() + lines("no refresh token").len(), 0);
}
