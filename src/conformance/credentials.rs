//! Credentials, their labels and their order.

use crate::vault::{Vault, VaultError, VaultExt};
use crate::{Credential, CredentialId, Generation, Kind, OAuthTokens, PoolKey, Secret, Timestamp};

use super::fixtures::{PLANTED, account, cooled, order, pool, put_all, token};

/// `Get`, `Load` and `List` return the metadata and the secret that were put.
pub async fn a_credential_comes_back_as_it_was_put(vault: impl Vault) {
    let put = account("work").attribute("host", "api.example.com");
    let stored = vault.put(put.clone()).await.unwrap();
    assert_eq!(stored, put.metadata);
    assert_eq!(stored.generation, Generation::FIRST);

    let got = vault.get(&stored.pool, stored.id).await.unwrap();
    assert_eq!(got.metadata, put.metadata);
    assert_eq!(got.secret.token().expose(), format!("{PLANTED}-work"));
    let loaded = vault.load_pool(pool()).await.unwrap();
    assert_eq!(loaded.credentials.len(), 1);
    assert_eq!(loaded.credentials[0].metadata, put.metadata);
    assert_eq!(loaded.credentials[0].secret.token().expose(), format!("{PLANTED}-work"));
    assert!(loaded.damaged.is_empty());
    assert_eq!(vault.list().await.unwrap().credentials, [put.metadata]);
}

/// Each kind of secret keeps all its fields, escapes and characters outside ASCII included.
pub async fn every_kind_of_secret_comes_back_whole(vault: impl Vault) {
    let mut tokens = OAuthTokens::new("access \"quoted\" \\u0001 é")
        .refresh("refresh")
        .expires_at(Timestamp::from_millis(1_700_000_000_123));
    tokens.extra.insert("id_token".into(), "extra".into());
    let secrets = [
        Secret::OAuth(tokens.clone()),
        Secret::api_key(""),
        Secret::WellKnown { variable: "TOKEN".into(), token: "known".into() },
        Secret::Mcp(tokens),
    ];
    for secret in secrets {
        let stored = vault.put(Credential::new(pool(), "kind", secret.clone())).await.unwrap();
        assert_eq!(stored.kind, secret.kind());
        let got = vault.get(&stored.pool, stored.id).await.unwrap().secret;
        match (&got, &secret) {
            (Secret::OAuth(got), Secret::OAuth(put)) | (Secret::Mcp(got), Secret::Mcp(put)) => {
                assert_eq!(got.access.expose(), put.access.expose());
                assert_eq!(got.refresh.as_ref().unwrap().expose(), "refresh");
                assert_eq!(got.expires_at, put.expires_at);
                assert_eq!(got.extra["id_token"].expose(), "extra");
            }
            (Secret::Api { key }, Secret::Api { .. }) => assert!(key.is_empty()),
            (Secret::WellKnown { variable, token }, Secret::WellKnown { .. }) => {
                assert_eq!((variable.as_str(), token.expose()), ("TOKEN", "known"));
            }
            _ => panic!("{got:?} came back for {secret:?}"),
        }
    }
}

/// A new credential is the last of its pool.
pub async fn credentials_come_back_in_the_order_they_were_put(vault: impl Vault) {
    put_all(&vault, ["c", "a", "d", "b"]).await;
    assert_eq!(order(&vault).await, ["c", "a", "d", "b"]);
    let listed = vault.list().await.unwrap().credentials;
    assert_eq!(listed.iter().map(|metadata| &*metadata.label).collect::<Vec<_>>(), ["c", "a", "d", "b"]);
}

/// A label that is taken gets `-2`, `-3` and so on.
pub async fn a_taken_label_gets_the_next_free_number(vault: impl Vault) {
    put_all(&vault, ["work", "work", "work", "work-2"]).await;
    assert_eq!(order(&vault).await, ["work", "work-2", "work-3", "work-2-2"]);
}

/// A label that has no room for a number is shortened, between two characters.
pub async fn a_taken_label_of_full_length_still_gets_a_number(vault: impl Vault) {
    let label = "é".repeat(100);
    put_all(&vault, [&label, &label]).await;
    let second = order(&vault).await.remove(1);
    assert!(second.len() <= 200, "{} bytes", second.len());
    assert_eq!(second, format!("{}-2", "é".repeat(99)));
}

/// A label is unique in its pool only, and a list is sorted by pool.
pub async fn a_label_is_free_in_another_pool_and_namespace(vault: impl Vault) {
    for pool in [pool(), PoolKey::new("other"), PoolKey::with_namespace("example", "team")] {
        let stored =
            vault.put(Credential::new(pool.clone(), "work", Secret::api_key("k"))).await.unwrap();
        assert_eq!(&*stored.label, "work");
        assert_eq!(vault.load_pool(pool).await.unwrap().credentials.len(), 1);
    }
    let listed = vault.list().await.unwrap().credentials;
    let pools: Vec<_> = listed.iter().map(|metadata| metadata.pool.to_string()).collect();
    assert_eq!(pools, ["example/default", "example/team", "other/default"]);
}

/// An id is unique in the vault.
pub async fn a_taken_id_is_refused_and_nothing_changes(vault: impl Vault) {
    let [id] = put_all(&vault, ["first"]).await;
    let revision = vault.revision(pool()).await.unwrap();
    let mut second = account("second");
    second.metadata.id = id;
    assert!(matches!(vault.put(second).await, Err(VaultError::Exists(taken)) if taken == id));
    assert_eq!(token(&vault, id).await, format!("{PLANTED}-first"));
    assert_eq!(vault.revision(pool()).await.unwrap(), revision);
}

/// A secret's kind is the credential's kind, on `Put` and on `ReplaceSecret`.
pub async fn a_secret_of_another_kind_is_refused(vault: impl Vault) {
    let [id] = put_all(&vault, ["key"]).await;
    let refused = vault.replace_secret(&pool(), id, Generation::FIRST, OAuthTokens::new("t")).await;
    assert!(matches!(
        refused,
        Err(VaultError::WrongKind { expected: Kind::Api, given: Kind::OAuth, .. })
    ));
    assert_eq!(token(&vault, id).await, format!("{PLANTED}-key"));

    let mut mixed = account("mixed");
    mixed.metadata.kind = Kind::Mcp;
    assert!(matches!(vault.put(mixed).await, Err(VaultError::WrongKind { .. })));
    assert_eq!(order(&vault).await, ["key"]);
}

/// A key with a control character is refused. [`VaultExt`] checks this, so it holds for each backend.
pub async fn a_key_that_no_header_can_carry_is_refused(vault: impl Vault) {
    let [id] = put_all(&vault, ["work"]).await;
    let unusable = || Secret::api_key(format!("{PLANTED}\n"));
    for refused in [
        vault.put(Credential::new(pool(), "other", unusable())).await.map(drop),
        vault.ensure(Credential::new(pool(), "work", unusable())).await.map(drop),
        vault.replace_secret(&pool(), id, Generation::FIRST, unusable()).await.map(drop),
    ] {
        let error = refused.unwrap_err();
        assert!(matches!(error, VaultError::InvalidSecret { field: "API key", .. }), "{error:?}");
        assert!(!error.to_string().contains(PLANTED), "{error}");
    }
    assert_eq!(token(&vault, id).await, format!("{PLANTED}-work"));
    assert_eq!(order(&vault).await, ["work"]);
}

/// `Put` and `Relabel` refuse the names that [`check_name`](crate::vault::check_name) refuses.
pub async fn names_that_cannot_be_stored_are_refused(vault: impl Vault) {
    let long = "x".repeat(201);
    for (provider, namespace, label, field) in [
        ("", "n", "l", "provider"),
        ("p", "a\nb", "l", "namespace"),
        ("p", "n", long.as_str(), "label"),
        ("p", "n", "\0", "label"),
    ] {
        let pool = PoolKey::with_namespace(provider, namespace);
        let refused = vault.put(Credential::new(pool, label, Secret::api_key("k"))).await;
        match refused {
            Err(VaultError::InvalidName { field: named, .. }) => assert_eq!(named, field),
            other => panic!("{other:?}"),
        }
    }
    let [id] = put_all(&vault, ["work"]).await;
    assert!(matches!(
        vault.relabel(&pool(), id, "").await,
        Err(VaultError::InvalidName { field: "label", .. })
    ));
    assert_eq!(vault.list().await.unwrap().credentials.len(), 1);
}

/// `Relabel` refuses the label of another credential, and takes the credential's own.
pub async fn relabel_refuses_a_taken_label(vault: impl Vault) {
    let [one, _] = put_all(&vault, ["one", "two"]).await;
    match vault.relabel(&pool(), one, "two").await {
        Err(VaultError::LabelTaken(label)) => assert_eq!(&*label, "two"),
        other => panic!("{other:?}"),
    }
    assert_eq!(&*vault.relabel(&pool(), one, "one").await.unwrap().label, "one");
    assert_eq!(&*vault.relabel(&pool(), one, "uno").await.unwrap().label, "uno");
    assert_eq!(order(&vault).await, ["uno", "two"]);
    assert_eq!(token(&vault, one).await, format!("{PLANTED}-one"));
}

/// [`VaultExt::ensure`] puts a key once. It needs the lease of a client.
pub async fn keys_of_a_configuration_are_put_once_and_exchanged_where_they_are(vault: impl Vault) {
    let key = |label: &str, secret: &str| Credential::new(pool(), label, Secret::api_key(secret));
    for _ in 0..2 {
        let both = futures_of(&vault, [key("one", "sk-1"), key("two", "sk-2")]).await;
        assert_eq!(both.iter().map(|known| &*known.label).collect::<Vec<_>>(), ["one", "two"]);
    }
    assert_eq!(order(&vault).await, ["one", "two"]);
    // The same key under another label is the same account.
    assert_eq!(&*vault.ensure(key("uno", "sk-1")).await.unwrap().label, "one");
    let exchanged = vault.ensure(key("two", "sk-3")).await.unwrap();
    assert_eq!(exchanged.generation, Generation::FIRST.next());
    assert_eq!(vault.get(&exchanged.pool, exchanged.id).await.unwrap().secret.token().expose(), "sk-3");
    assert_eq!(order(&vault).await, ["one", "two"]);
    // A sign-in of the same label is another account.
    vault.put(Credential::new(pool(), "three", OAuthTokens::new("token"))).await.unwrap();
    assert_eq!(&*vault.ensure(key("three", "sk-4")).await.unwrap().label, "three-2");
    assert_eq!(order(&vault).await, ["one", "two", "three", "three-2"]);
}

/// Stores all at once, as several processes would.
async fn futures_of<const N: usize>(vault: &impl Vault, keys: [Credential; N]) -> Vec<crate::Metadata> {
    let mut all = Vec::new();
    for task in keys.map(|key| {
        let vault = vault.clone();
        tokio::spawn(async move { vault.ensure(key).await.unwrap() })
    }) {
        all.push(task.await.unwrap());
    }
    all
}

/// `Move` moves to a place, and a place past the end is the last one.
pub async fn move_changes_the_order_and_past_the_end_is_the_back(vault: impl Vault) {
    let [a, _, c] = put_all(&vault, ["a", "b", "c"]).await;
    vault.move_to(&pool(), c, 0).await.unwrap();
    assert_eq!(order(&vault).await, ["c", "a", "b"]);
    vault.move_to(&pool(), c, usize::MAX).await.unwrap();
    assert_eq!(order(&vault).await, ["a", "b", "c"]);
    vault.move_to(&pool(), a, 1).await.unwrap();
    assert_eq!(order(&vault).await, ["b", "a", "c"]);
}

/// `Remove` forgets all of a credential, and nothing of the others.
pub async fn remove_forgets_the_credential_and_its_standing(vault: impl Vault) {
    let [a, b] = put_all(&vault, ["a", "b"]).await;
    vault.record(pool(), vec![cooled(a, 100, 1, false)]).await.unwrap();
    vault.remove(&pool(), a).await.unwrap();
    let loaded = vault.load_pool(pool()).await.unwrap();
    assert_eq!(loaded.standings.order, [b]);
    assert!(loaded.standings.credentials.is_empty());
    assert!(matches!(vault.get(&pool(), a).await, Err(VaultError::NotFound(gone)) if gone == a));
    assert_eq!(order(&vault).await, ["b"]);
}

/// An id that is not in the vault is `NotFound`.
pub async fn what_is_missing_is_not_found(vault: impl Vault) {
    let id = CredentialId::random();
    let secret = Secret::api_key("k");
    let errors = [
        vault.get(&pool(), id).await.unwrap_err(),
        vault.relabel(&pool(), id, "x").await.unwrap_err(),
        vault.move_to(&pool(), id, 0).await.unwrap_err(),
        vault.remove(&pool(), id).await.unwrap_err(),
        vault.replace_secret(&pool(), id, Generation::FIRST, secret).await.unwrap_err(),
        vault.lease_refresh(&pool(), id).await.unwrap_err(),
    ];
    for error in errors {
        assert!(matches!(error, VaultError::NotFound(missing) if missing == id), "{error:?}");
    }
    assert!(vault.load_pool(pool()).await.unwrap().credentials.is_empty());
}

/// `Debug` of the vault, its responses and its leases shows no secret.
pub async fn debug_shows_no_secret(vault: impl Vault + std::fmt::Debug) {
    let [id] = put_all(&vault, ["a"]).await;
    let mut shown = format!("{vault:?} {:?}", vault.get(&pool(), id).await.unwrap());
    shown += &format!("{:?}", vault.load_pool(pool()).await.unwrap());
    let conflict = vault.replace_secret(&pool(), id, Generation::new(9), Secret::api_key(PLANTED)).await;
    shown += &format!("{:?} {:?}", conflict.unwrap(), vault.lease_refresh(&pool(), id).await.unwrap());
    assert!(shown.contains(&id.to_string()), "{shown}");
    assert!(!shown.contains("planted"), "{shown}");
}
