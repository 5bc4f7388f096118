//! An older vault that was put in place of a newer one gets the newer tokens.

use tower_credentials::vault::{Replaced, VaultExt};
use tower_credentials::*;

use super::refresh_ahead::HOUR;
use crate::support::*;

#[tokio::test(start_paused = true)]
async fn an_older_vault_gets_the_newer_token_and_that_one_is_renewed() {
    let vault = accounts(["a"]).await;
    let events = Journal::new();
    let pool =
        builder(vault.clone()).clock(tokio_clock()).on_event(events.observer()).open().await.unwrap();
    let backup = vault.load_pool(key()).await.unwrap().credentials.remove(0);
    let id = backup.metadata.id;
    let mut generation = backup.metadata.generation;
    for token in ["a-2", "a-3", "a-4"] {
        let tokens = OAuthTokens::new(token).refresh(format!("r-{token}"));
        let replaced = vault.replace_secret(&key(), id, generation, tokens).await;
        let Replaced::Swapped(next) = replaced.unwrap() else { panic!("somebody else's") };
        generation = next;
    }
    pool.sync().await.unwrap();
    vault.remove(&key(), id).await.unwrap();
    vault.put(backup).await.unwrap();

    let presented = Journal::new();
    let noted = presented.clone();
    let refresher = Refresher::new(move |credential: Credential| {
        noted.push(credential.secret.refresh_token().unwrap().expose().to_owned());
        async move { Ok::<_, RefreshError>(renewed(&credential.metadata)) }
    });
    let upstream = Upstream::new().answers("a-4", [Canned::status(401)]);
    let all = CredentialsLayer::new(pool.clone()).refresher(refresher);
    assert_eq!(ask(&stack(all, upstream.clone()), post()).await.0, 200);
    assert_eq!(presented.all(), ["r-a-4"], "never the one of the older vault, which is spent");
    assert_eq!(events.count("OlderVault"), 1);
    // The newer token was put back as the second generation, and renewed as the third.
    assert_eq!(upstream.tokens(), ["a-4", "a-3"]);
    assert_eq!(vault.get(&key(), id).await.unwrap().secret.token().expose(), "a-3");
}

#[tokio::test(start_paused = true)]
async fn an_older_vault_gets_the_newer_token_at_the_next_sync_but_keeps_a_new_sign_in() {
    for signed_in_since in [false, true] {
        let vault = accounts(["a"]).await;
        let pool = builder(vault.clone()).clock(tokio_clock()).open().await.unwrap();
        let mut backup = vault.load_pool(key()).await.unwrap().credentials.remove(0);
        let id = backup.metadata.id;
        let newer = OAuthTokens::new("a-9").refresh("r-9");
        let Replaced::Swapped(second) =
            vault.replace_secret(&key(), id, Generation::FIRST, newer).await.unwrap()
        else {
            panic!("somebody else's")
        };
        vault
            .replace_secret(&key(), id, second, OAuthTokens::new("a-10").refresh("r-10"))
            .await
            .unwrap();
        pool.sync().await.unwrap();
        if signed_in_since {
            backup.metadata.updated_at = backup.metadata.updated_at.after(HOUR);
        }
        vault.remove(&key(), id).await.unwrap();
        vault.put(backup).await.unwrap();
        pool.sync().await.unwrap();
        tokio::time::sleep(seconds(5)).await;
        let stored = vault.get(&key(), id).await.unwrap().secret;
        assert_eq!(stored.token().expose(), if signed_in_since { "a-1" } else { "a-10" });
    }
}
