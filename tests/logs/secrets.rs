//! No log, event, error or `Debug` output contains a secret.

use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use http::{Request, Response};
use http_body_util::Full;
use tower::{Layer, ServiceExt};
use tower_credentials::history::History;
use tower_credentials::provider::GenericProvider;
use tower_credentials::vault::file::FileVault;
use tower_credentials::vault::key::{FileKey, KeyRequest, VaultKey};
use tower_credentials::vault::{MemoryVault, VaultExt, VaultRequest};
use tower_credentials::*;

use crate::log;
use crate::support::*;

/// The beginning of every secret here.
const PLANTED: &str = "pLaNtEdSeCrEt";

/// Searches for the secret in clear, in base64 at each alignment, in hex and as a list of bytes.
fn has_secret(text: &str) -> Option<String> {
    let mut forms = vec![PLANTED.to_owned(), PLANTED.to_lowercase(), PLANTED.chars().rev().collect()];
    for skip in 0..3 {
        // Its base64 depends on its position within groups of three bytes.
        let part = &PLANTED.as_bytes()[skip..skip + 9];
        forms.extend([STANDARD_NO_PAD.encode(part), URL_SAFE_NO_PAD.encode(part)]);
    }
    forms.push(PLANTED.bytes().map(|byte| format!("{byte:02x}")).collect());
    forms.push(PLANTED.bytes().map(|byte| byte.to_string()).collect::<Vec<_>>().join(", "));
    forms.into_iter().find(|form| text.contains(form))
}

#[track_caller]
fn is_clean(what: &str, text: &str) {
    assert!(has_secret(text).is_none(), "{what} shows {:?}: {text}", has_secret(text));
}

#[track_caller]
fn debug_is_clean(value: &impl Debug) {
    is_clean("Debug", &format!("{value:?}"));
    is_clean("alternate Debug", &format!("{value:#?}"));
}

#[test]
fn the_search_finds_a_secret_in_each_of_its_forms() {
    let long = format!("x{PLANTED}y");
    for text in [
        format!("Bearer {PLANTED}-1"),
        STANDARD_NO_PAD.encode(&long),
        STANDARD_NO_PAD.encode(format!("x{long}")),
        STANDARD_NO_PAD.encode(format!("xx{long}")),
        format!("{:?}", PLANTED.as_bytes()),
    ] {
        assert!(has_secret(&text).is_some(), "{text}");
    }
    assert!(has_secret("nothing").is_none());
}

fn tokens(label: &str) -> OAuthTokens {
    let mut tokens =
        OAuthTokens::new(format!("{PLANTED}-{label}")).refresh(format!("{PLANTED}-refresh"));
    tokens.extra.insert("id_token".into(), format!("{PLANTED}-id").into());
    tokens
}

async fn planted<const N: usize>(labels: [&str; N]) -> MemoryVault {
    let vault = MemoryVault::new();
    for label in labels {
        vault.put(Credential::new(key(), label, tokens(label))).await.unwrap();
    }
    vault
}

fn planted_token(label: &str) -> String {
    format!("{PLANTED}-{label}")
}

#[tokio::test]
async fn no_path_of_a_request_logs_or_reveals_a_secret() {
    let log = log();
    // The responses: a is limited, b's token is renewed, c's is dead, d's network fails, e is good.
    let upstream = Upstream::new()
        .answers(&planted_token("a"), [Canned::limited(3000)])
        .answers(&planted_token("b"), [Canned::status(401)])
        .answers(&planted_token("renewed"), [Canned::status(403)])
        .answers(&planted_token("c"), [Canned::status(401)])
        .answers(&planted_token("d"), [Canned::status(402)]);
    let server = Server::start(&upstream).await;
    let spy = Planned::new(&planted(["a", "b", "c", "d", "e"]).await, |kind, before| match kind {
        "record" | "replace" if before == 0 => Plan::Fail,
        _ => Plan::Pass,
    });
    let broken = Credential::new(key(), "broken", OAuthTokens::new(format!("{PLANTED}\n")));
    // As an older vault may contain it.
    spy.clone().oneshot(VaultRequest::Put(broken)).await.unwrap();
    let events = Journal::new();
    let pool = server.builder(spy.clone()).on_event(events.observer()).open().await.unwrap();
    let mut stream = pool.events();
    let directory = tempfile::tempdir().unwrap();
    let history = History::of(directory.path());
    let recording = history.record(&pool);
    let refresher = Refresher::new(|credential: Credential| async move {
        match &*credential.metadata.label {
            "b" => Ok(Secret::from(tokens("renewed"))),
            _ => Err(RefreshError::rejected("invalid_grant")),
        }
    });
    let service = stack(four(&pool, &refresher), client());
    let mut request = server.post();
    request.headers_mut().insert("x-api-key", format!("{PLANTED}-callers").parse().unwrap());
    assert_eq!(ask(&service, request).await.0, 200);
    assert_eq!(upstream.tokens().len(), 6);
    assert_eq!(ask(&service, server.post()).await.0, 200);
    for name in [
        "Damaged",
        "CooledDown",
        "Rotated",
        "Refreshed",
        "RefreshFailed",
        "NeedsSignIn",
        "SaveFailed",
        "SecretNotSaved",
    ] {
        assert!(events.count(name) > 0, "{name} has not happened");
    }
    pool.save().await.unwrap();
    for event in events.all() {
        is_clean("an event", &event);
    }
    while let Some(event) = stream.try_next() {
        is_clean("an event as JSON", &serde_json::to_string(&event).unwrap());
        debug_is_clean(&event);
    }
    debug_is_clean(&(&stream, &pool, &history, &recording));
    recording.close().await;
    assert!(history.read().await.unwrap().len() > 8);
    for entry in std::fs::read_dir(directory.path().join("history")).unwrap() {
        is_clean("a file of the history", &std::fs::read_to_string(entry.unwrap().path()).unwrap());
    }
    debug_is_clean(&pool.status());
    let text = log.text();
    assert!(text.contains("cooled down") && text.contains("hyper"), "it does log");
    is_clean("the log", &text);
}

#[tokio::test]
async fn no_error_tells_a_secret() {
    let log = log();
    let errors = Journal::<String>::new();
    let note = |error: BoxError| {
        let mut text = format!("{error} {error:?} {error:#?}");
        let mut source = error.source();
        while let Some(error) = source {
            text += &format!(" {error} {error:?}");
            source = error.source();
        }
        is_clean("an error", &text);
        errors.push(text);
    };
    let pool = builder(planted(["a"]).await)
        .when_all_cooling_down(WhenAllCoolingDown::Fail)
        .open()
        .await
        .unwrap();
    let upstream = Upstream::new().answers(&planted_token("a"), [Canned::limited(3000)]);
    let service = stack(four(&pool, &no_refresh()), upstream);
    let with_userinfo = format!("https://{PLANTED}:{PLANTED}@evil.test/?api_key={PLANTED}");
    for uri in ["https://evil.test/", &with_userinfo, "/relative"] {
        let request = Request::post(uri).body(Full::default()).unwrap();
        note(service.clone().oneshot(request).await.unwrap_err());
    }
    let mut request = post();
    request.extensions_mut().insert(Pin::label("nobody"));
    note(service.clone().oneshot(request).await.unwrap_err());
    let mut lost = post();
    let mut value: http::HeaderValue = format!("Bearer {PLANTED}-a").parse().unwrap();
    value.set_sensitive(true);
    lost.headers_mut().insert("authorization", value);
    let alone = stack(CooldownPersistLayer::new(pool.clone()), Upstream::new());
    let error = alone.oneshot(lost).await.unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(Error::LostContext { .. })), "{error:?}");
    note(error);
    assert_eq!(ask(&service, post()).await.0, 429);
    note(service.oneshot(post()).await.unwrap_err());
    note(Box::new(RefreshError::rejected("invalid_grant")));
    note(Box::new(VaultKey::from_base64(PLANTED).unwrap_err()));
    assert!(errors.all().len() == 8);
    is_clean("the log", &log.text());
}

#[tokio::test]
async fn an_error_of_the_refresher_that_quotes_a_secret_is_not_passed_on_as_it_is() {
    let log = log();
    let events = Journal::new();
    let upstream = Upstream::new()
        .answers(&planted_token("a"), [Canned::status(401)])
        .answers(&planted_token("b"), [Canned::status(401)]);
    let pool = builder(planted(["a", "b"]).await).on_event(events.observer()).open().await.unwrap();
    let refresher = Refresher::new(|credential: Credential| async move {
        let quoted = credential.secret.refresh_token().unwrap().expose().to_owned();
        Err::<Secret, BoxError>(match &*credential.metadata.label {
            "a" => format!("the server does not know {quoted}").into(),
            _ => RefreshError::rejected(format!("{quoted} is revoked")).into(),
        })
    });
    let service = stack(four(&pool, &refresher), upstream);
    assert_eq!(ask(&service, post()).await.0, 401);
    assert_eq!(events.count("RefreshFailed"), 2);
    assert!(events.all().iter().any(|event| event.contains("the server does not know")));
    events.all().iter().for_each(|event| is_clean("an event", event));
    debug_is_clean(&pool);
    is_clean("the log", &log.text());
}

#[tokio::test]
async fn a_token_that_begins_with_another_is_taken_out_whole() {
    log();
    let events = Journal::new();
    let vault = MemoryVault::new();
    let tokens = OAuthTokens::new("short").refresh(format!("short-{PLANTED}"));
    vault.put(Credential::new(key(), "a", tokens)).await.unwrap();
    let pool = builder(vault).on_event(events.observer()).open().await.unwrap();
    let refresher = Refresher::new(|credential: Credential| async move {
        let quoted = credential.secret.refresh_token().unwrap().expose().to_owned();
        Err::<Secret, BoxError>(format!("no: {quoted}").into())
    });
    let upstream = Upstream::new().answers("short", [Canned::status(401)]);
    ask(&stack(four(&pool, &refresher), upstream), post()).await;
    assert_eq!(events.count("RefreshFailed"), 1);
    events.all().iter().for_each(|event| is_clean("an event", event));
}

#[tokio::test]
async fn the_debug_output_of_no_public_value_shows_a_secret() {
    let directory = tempfile::tempdir().unwrap();
    let mut bytes = [0; 32];
    bytes[..PLANTED.len()].copy_from_slice(PLANTED.as_bytes());
    let vault_key = VaultKey::from_bytes(bytes);
    debug_is_clean(&vault_key);
    debug_is_clean(&vault_key.to_base64());

    let vault = planted(["a", "b"]).await;
    let upstream = Upstream::new();
    let provider = GenericProvider::bearer("x").origin(ORIGIN).unwrap();
    debug_is_clean(&provider);
    let pool = Pool::builder(provider, vault.clone()).expose_attempts(true).open().await.unwrap();
    let (rotate, refresh, auth, persist) = four(&pool, &no_refresh());
    debug_is_clean(&(&rotate, &refresh, &auth, &persist));
    debug_is_clean(&CredentialsLayer::new(pool.clone()).refresher(no_refresh()));
    debug_is_clean(&no_refresh());

    // What a service below the layers gets.
    let seen: Arc<Mutex<Option<Attempt>>> = Arc::default();
    let slot = seen.clone();
    let watched = tower::util::MapRequestLayer::new(move |request: Asked| {
        debug_is_clean(&request);
        debug_is_clean(request.extensions());
        *slot.lock().unwrap() = request.extensions().get::<Attempt>().cloned();
        request
    });
    let service = stack(four(&pool, &no_refresh()), stack(watched, upstream));
    let future = tower::Service::call(&mut service.clone(), post());
    future.await.unwrap();
    let attempt = seen.lock().unwrap().take().expect("it is exposed");
    debug_is_clean(&attempt);
    let lease = attempt.lease().unwrap();
    assert_eq!(lease.headers()[0].1, format!("Bearer {PLANTED}-a"));
    debug_is_clean(lease);
    debug_is_clean(&lease.headers());

    /// A service that implements `Debug`.
    #[derive(Clone, Debug)]
    struct Shown;

    impl tower::Service<Asked> for Shown {
        type Response = Response<Full<bytes::Bytes>>;
        type Error = std::convert::Infallible;
        type Future = std::future::Ready<Result<Self::Response, Self::Error>>;

        fn poll_ready(
            &mut self,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Result<(), Self::Error>> {
            std::task::Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Asked) -> Self::Future {
            std::future::ready(Ok(Response::default()))
        }
    }

    let mut layered = four(&pool, &no_refresh()).layer(Shown);
    debug_is_clean(&layered);
    debug_is_clean(&tower::Service::call(&mut layered, post()));
    debug_is_clean(&CredentialsLayer::new(pool.clone()).layer(Shown));

    let stored = vault.load_pool(key()).await.unwrap();
    debug_is_clean(&stored);
    let credential = stored.credentials[0].clone();
    debug_is_clean(&credential);
    debug_is_clean(&credential.secret);
    debug_is_clean(&tokens("a"));
    debug_is_clean(&Secret::api_key(PLANTED));
    debug_is_clean(&Secret::WellKnown { variable: "TOKEN".into(), token: PLANTED.into() });
    debug_is_clean(&SecretString::from(PLANTED));
    debug_is_clean(&vault);
    debug_is_clean(&VaultRequest::Put(credential.clone()));
    let generation = credential.metadata.generation;
    let replace = VaultRequest::ReplaceSecret {
        pool: credential.metadata.pool.clone(),
        id: credential.metadata.id,
        expected: generation,
        secret: Secret::api_key(PLANTED),
        attributes: None,
    };
    debug_is_clean(&replace);
    let reseal = VaultRequest::Reseal {
        pool: credential.metadata.pool.clone(),
        id: credential.metadata.id,
        expected: generation,
        secret: Secret::api_key(PLANTED),
    };
    debug_is_clean(&reseal);
    debug_is_clean(&vault.get(&credential.metadata.pool, credential.metadata.id).await);
    let conflict = vault
        .replace_secret(
            &credential.metadata.pool,
            credential.metadata.id,
            generation.next(),
            tokens("c"),
        )
        .await
        .unwrap();
    assert!(matches!(conflict, vault::Replaced::Conflict(_)));
    debug_is_clean(&conflict);

    let place = directory.path().join("vault");
    let files = FileVault::open(&place, &vault_key).await.unwrap();
    files.put(credential).await.unwrap();
    debug_is_clean(&files);
    let reopened = FileVault::builder(&place).old_key(&vault_key);
    debug_is_clean(&reopened);
    let reopened = reopened.open(&VaultKey::generate()).await.unwrap();
    debug_is_clean(&reopened.reseal(|so_far| debug_is_clean(so_far)).await.unwrap());
    debug_is_clean(&reopened);
    let refused = files.put(Credential::new(key(), "c", tokens("c"))).await.unwrap_err();
    assert!(matches!(refused, vault::VaultError::Key(_)), "{refused:?}");
    debug_is_clean(&refused);
    is_clean("an error", &refused.to_string());
    let files = reopened;
    let kept = FileKey::new(directory.path().join("vault.key"));
    debug_is_clean(&kept);
    debug_is_clean(&tower::Service::call(&mut kept.clone(), KeyRequest::LoadOrCreate).await);
    debug_is_clean(&tower::Service::call(&mut kept.clone(), KeyRequest::Load));
    debug_is_clean(&files.load_pool(key()).await.unwrap());
}

/// This process's own memory, as the kernel shows it.
#[cfg(target_os = "linux")]
mod memory {
    use std::fs::{self, File};
    use std::os::unix::fs::FileExt;

    /// The pattern, altered, so that the search does not find itself.
    pub(super) struct Masked(Vec<u8>);

    const MASK: u8 = 0x5a;

    impl Masked {
        pub(super) fn new(mut secret: Vec<u8>) -> Self {
            secret.iter_mut().for_each(|byte| *byte ^= MASK);
            Self(secret)
        }

        fn is_at(&self, bytes: &[u8]) -> bool {
            bytes.len() >= self.0.len()
                && bytes.iter().zip(&self.0).all(|(byte, masked)| byte ^ MASK == *masked)
        }

        /// Returns where it is, and in which mapping.
        pub(super) fn places(&self) -> Vec<String> {
            let maps = fs::read_to_string("/proc/self/maps").unwrap();
            let memory = File::open("/proc/self/mem").unwrap();
            let mut places = Vec::new();
            let mut page = vec![0; 1 << 20];
            for line in maps.lines().filter(|line| line.contains(" rw")) {
                let (begin, rest) = line.split_once('-').unwrap();
                let (end, _) = rest.split_once(' ').unwrap();
                let number = |text| u64::from_str_radix(text, 16).unwrap();
                let (mut at, end) = (number(begin), number(end));
                while at < end {
                    let most = (end - at).min(page.len() as u64) as usize;
                    let Ok(read) = memory.read_at(&mut page[..most], at) else { break };
                    let first = self.0[0] ^ MASK;
                    let found = (0..read)
                        .filter(|place| page[*place] == first && self.is_at(&page[*place..read]));
                    places.extend(found.map(|place| format!("{:x} in {line}", at + place as u64)));
                    // A match across two reads is found by the second.
                    let overlap = self.0.len() as u64;
                    at += if (read as u64) < overlap || at + read as u64 >= end {
                        read as u64
                    } else {
                        read as u64 - overlap
                    };
                    // The bytes that were read are in this process's memory, too.
                    page.fill(0);
                    if read == 0 {
                        break;
                    }
                }
            }
            places
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_key_is_nowhere_in_memory_once_all_that_had_it_is_dropped() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("key");
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime().block_on(async { drop(VaultKey::load_or_create(&path).await.unwrap()) });
    let (raw, text) = {
        let mut text = std::fs::read(&path).unwrap();
        text.truncate(44);
        let raw = base64::engine::general_purpose::STANDARD.decode(&text).unwrap();
        (memory::Masked::new(raw), memory::Masked::new(text))
    };
    let pool = key();
    let key = runtime().block_on(VaultKey::load_or_create(&path)).unwrap();
    assert_eq!(raw.places().len(), 1, "the search finds what is there");
    runtime().block_on(async {
        let vault = FileVault::open(directory.path().join("vault"), &key).await.unwrap();
        let stored = vault.put(Credential::new(pool.clone(), "work", tokens("work"))).await.unwrap();
        vault.get(&stored.pool, stored.id).await.unwrap();
        let _ = (key.clone(), key.id(), key.to_base64());
    });
    drop(key);
    assert_eq!((raw.places(), text.places()), (Vec::new(), Vec::new()));
}
