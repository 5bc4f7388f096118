//! Vaults that earlier versions have written, in `tests/fixtures`. Every one of them must open for ever: a
//! change that breaks a test here is wrong, and a fixture is never rewritten to make one pass.

mod version_1;
mod version_2;
mod version_3;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;
use tower_credentials::standing::{
    Change, Cooldown, Health, LastResponse, Outcome, Reason, Scope, Standing,
};
use tower_credentials::vault::file::FileVault;
use tower_credentials::vault::key::VaultKey;
use tower_credentials::vault::{Replaced, VaultExt};
use tower_credentials::{
    Credential, CredentialId, Generation, Kind, OAuthTokens, PoolKey, Secret, Timestamp,
};

const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const OLD_KEY: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";

/// A copy of a fixture, to be changed.
struct Place(TempDir);

impl Place {
    fn new(fixture: &str) -> Self {
        let place = Self(TempDir::new().unwrap());
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
        copy(&fixtures.join(fixture), &place.root());
        place
    }

    fn root(&self) -> PathBuf {
        self.0.path().join("vault")
    }

    async fn open(&self) -> FileVault {
        FileVault::open(self.root(), &key()).await.unwrap()
    }

    fn json(&self, path: impl AsRef<Path>) -> Value {
        serde_json::from_slice(&fs::read(self.root().join(path)).unwrap()).unwrap()
    }

    fn record(&self, number: u8) -> Value {
        self.json(format!("records/{}.json", id(number)))
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to),
            false => fs::write(&to, fs::read(entry.path()).unwrap()).unwrap(),
        }
    }
}

fn key() -> VaultKey {
    VaultKey::from_base64(KEY).unwrap()
}

fn id(number: u8) -> CredentialId {
    CredentialId::from_bytes([number * 0x11; 16])
}

fn example() -> PoolKey {
    PoolKey::new("example")
}

/// A pool whose file names need escaping.
fn acme() -> PoolKey {
    PoolKey::with_namespace("Acme Cloud", "Team/Ä")
}

const EXAMPLE: &str = "pools/example+default";
const ACME: &str = "pools/%41cme%20%43loud+%54eam%2f%c3%84";

fn cooldown(until: u64, set_at: u64, reason: Reason, scope: Option<&str>) -> Cooldown {
    let [until, set_at] = [until, set_at].map(Timestamp::from_millis);
    Cooldown { until, set_at, reason, scope: scope.map(Scope::new), generation: None, cause: None }
}

/// Checks everything in the fixtures `vault-v1` to `vault-v3`: the same was done to all of them.
async fn assert_whole(vault: &FileVault) {
    let loaded = vault.load_pool(example()).await.unwrap();
    assert!(loaded.damaged.is_empty(), "{:?}", loaded.damaged);
    let ids: Vec<_> = loaded.credentials.iter().map(|credential| credential.metadata.id).collect();
    assert_eq!(ids, [4, 2, 3, 1].map(id));
    assert_eq!(loaded.standings.order, ids);
    let [mcp, api, known, oauth] = &loaded.credentials[..] else { panic!("{ids:?}") };

    assert_metadata(
        oauth,
        "work",
        Kind::OAuth,
        2,
        &[("account", "acct-1"), ("host", "api.example.com")],
    );
    let Secret::OAuth(tokens) = &oauth.secret else { panic!("{:?}", oauth.secret) };
    assert_eq!(tokens.access.expose(), "access-1b");
    assert_eq!(tokens.refresh.as_ref().unwrap().expose(), "refresh-1");
    assert_eq!(tokens.expires_at, Some(Timestamp::from_millis(1_760_003_600_000)));
    assert_eq!(tokens.extra.len(), 1);
    assert_eq!(tokens.extra["id_token"].expose(), "id-1");

    assert_metadata(api, "api", Kind::Api, 1, &[]);
    assert_eq!(api.secret.token().expose(), "sk-2");

    assert_metadata(known, "büro 3", Kind::WellKnown, 1, &[]);
    let Secret::WellKnown { variable, token } = &known.secret else { panic!("{:?}", known.secret) };
    assert_eq!((variable.as_str(), token.expose()), ("EXAMPLE_TOKEN", "known-3"));

    assert_metadata(mcp, "work-2", Kind::Mcp, 1, &[("server", "https://mcp.example.com/")]);
    let Secret::Mcp(tokens) = &mcp.secret else { panic!("{:?}", mcp.secret) };
    assert_eq!(tokens.access.expose(), "mcp-4");
    assert_eq!(tokens.refresh.as_ref().unwrap().expose(), "refresh-4");
    assert_eq!((tokens.expires_at, tokens.extra.len()), (None, 0));

    let needs_sign_in = Health::NeedsSignIn {
        reason: "token revoked".into(),
        generation: Generation::FIRST,
        cause: None,
    };
    let standings = [
        (
            1,
            Standing {
                cooldowns: vec![
                    cooldown(1_770_000_000_000, 4_000, Reason::Limited, None),
                    cooldown(1_780_000_000_000, 1_000, Reason::UsedUp, Some("model-large")),
                ],
                failures: 2,
                ..Standing::default()
            },
        ),
        (2, Standing::default()),
        (3, Standing { health: needs_sign_in, ..Standing::default() }),
        (4, Standing::default()),
    ];
    let standings = standings.map(|(number, standing)| (id(number), standing));
    assert_eq!(loaded.standings.credentials, standings.into_iter().collect());

    let loaded = vault.load_pool(acme()).await.unwrap();
    assert!(loaded.damaged.is_empty(), "{:?}", loaded.damaged);
    assert_eq!(loaded.standings.order, [6, 5].map(id));
    let [spare, work] = &loaded.credentials[..] else { panic!("{:?}", loaded.credentials) };
    assert_metadata(spare, "spare", Kind::Api, 1, &[]);
    assert_eq!(spare.secret.token().expose(), "sk-6");
    assert_metadata(work, "work", Kind::Api, 1, &[("region", "eu-1")]);
    assert_eq!(work.secret.token().expose(), "sk-5");
    let cooldowns = vec![cooldown(1_785_000_000_000, 1_000, Reason::Refused, None)];
    let standing = Standing { cooldowns, failures: 1, ..Standing::default() };
    assert_eq!(loaded.standings.credentials, [(id(6), standing)].into_iter().collect());

    let listing = vault.list().await.unwrap();
    assert!(listing.damaged.is_empty(), "{:?}", listing.damaged);
    let listed: Vec<_> = listing.credentials.iter().map(|metadata| metadata.id).collect();
    assert_eq!(listed, [6, 5, 4, 2, 3, 1].map(id));
}

fn assert_metadata(
    credential: &Credential,
    label: &str,
    kind: Kind,
    generation: u64,
    attributes: &[(&str, &str)],
) {
    let metadata = &credential.metadata;
    assert_eq!((&*metadata.label, metadata.kind), (label, kind));
    assert_eq!(metadata.generation, Generation::new(generation));
    let number = metadata.id.as_bytes()[0] / 0x11;
    assert_eq!(metadata.created_at.as_millis(), 1_760_000_000_000 + u64::from(number));
    assert_eq!(metadata.updated_at == metadata.created_at, generation == 1);
    let attributes = attributes.iter().map(|(name, value)| ((*name).into(), (*value).into()));
    assert_eq!(metadata.attributes, attributes.collect());
}

/// Checks that every kind of change works, is there when the vault is opened again, and leaves the rest as it was.
async fn assert_changes(place: &Place) {
    let vault = place.open().await;
    let revision = vault.revision(example()).await.unwrap();
    let tokens = OAuthTokens::new("access-1c").refresh("refresh-1c");
    let swapped = vault.replace_secret(&example(), id(1), Generation::new(2), tokens).await.unwrap();
    assert!(matches!(swapped, Replaced::Swapped(generation) if generation == Generation::new(3)));
    assert_ne!(vault.revision(example()).await.unwrap(), revision);
    let cooldown = cooldown(1_999, 5, Reason::Limited, None);
    let change = Change::CooledDown { cooldown, failure: true, to_back: true };
    vault.record(example(), vec![Outcome { id: id(2), change }]).await.unwrap();
    vault.move_to(&example(), id(3), 0).await.unwrap();
    assert_eq!(&*vault.relabel(&example(), id(4), "server").await.unwrap().label, "server");
    let mut added = Credential::new(example(), "work", Secret::api_key("sk-8"));
    added.metadata.id = id(8);
    assert_eq!(&*vault.put(added).await.unwrap().label, "work-2", "the label was given up");
    vault.remove(&acme(), id(5)).await.unwrap();
    drop(vault.lease_refresh(&acme(), id(6)).await.unwrap());

    let vault = place.open().await;
    let loaded = vault.load_pool(example()).await.unwrap();
    assert!(loaded.damaged.is_empty(), "{:?}", loaded.damaged);
    let known = loaded.credentials.iter();
    let known: Vec<_> =
        known.map(|known| (&*known.metadata.label, known.secret.token().expose())).collect();
    let expected = [
        ("büro 3", "known-3"),
        ("server", "mcp-4"),
        ("work", "access-1c"),
        ("api", "sk-2"),
        ("work-2", "sk-8"),
    ];
    assert_eq!(known, expected);
    let cooldown = loaded.standings.credentials[&id(2)].cooldown(None).unwrap();
    assert_eq!(cooldown.until.as_millis(), 1_999);
    let scope = Scope::new("model-large");
    let cooldown = loaded.standings.credentials[&id(1)].cooldown(Some(&scope)).unwrap();
    assert_eq!(cooldown.until.as_millis(), 1_780_000_000_000);
    let oauth = &loaded.credentials[2].metadata;
    assert_eq!(oauth.attributes["account"], "acct-1");
    assert_eq!(oauth.created_at.as_millis(), 1_760_000_000_001);
    let loaded = vault.load_pool(acme()).await.unwrap();
    assert_eq!(loaded.standings.order, [id(6)]);
    assert!(loaded.damaged.is_empty(), "{:?}", loaded.damaged);
}

#[tokio::test]
async fn pauses_and_last_responses_are_written_and_read_as_specified() {
    let place = Place::new("vault-v2");
    let vault = place.open().await;
    let response = |at, status| LastResponse { at: Timestamp::from_millis(at), status };
    let changes = [
        (1, Change::Paused),
        (1, Change::Answered(response(1_790_000_000_001, 429))),
        (1, Change::Answered(response(1_790_000_000_000, 599))),
        (2, Change::Paused),
        (2, Change::Reset),
        (2, Change::Resumed),
    ];
    let outcomes = changes.map(|(number, change)| Outcome { id: id(number), change });
    vault.record(example(), outcomes.to_vec()).await.unwrap();
    let log = fs::read_to_string(place.root().join(format!("{EXAMPLE}.log"))).unwrap();
    let last = log.lines().last().unwrap();
    for written in [
        r#""change":{"type":"paused"}"#,
        r#""change":{"type":"resumed"}"#,
        r#""change":{"type":"answered","at":1790000000001,"status":429}"#,
    ] {
        assert!(last.contains(written), "{last}");
    }
    for vault in [vault, place.open().await] {
        let standings = vault.load_pool(example()).await.unwrap().standings.credentials;
        let of_first = &standings[&id(1)];
        assert_eq!((of_first.paused, of_first.failures), (true, 2));
        assert_eq!(of_first.last_response, Some(response(1_790_000_000_001, 429)));
        assert_eq!(standings[&id(2)], Standing::default());
    }
    // A snapshot that another program may have written. The log's first line is not ours.
    let log = include_bytes!("../../corpus/pool_log/pauses-and-responses");
    fs::write(place.root().join(format!("{EXAMPLE}.log")), log).unwrap();
    let loaded = place.open().await.load_pool(example()).await.unwrap();
    assert!(loaded.damaged.is_empty(), "{:?}", loaded.damaged);
    let of_first = Standing {
        failures: 1,
        last_response: Some(response(1_790_000_000_001, 429)),
        ..Standing::default()
    };
    assert_eq!(loaded.standings.credentials[&id(1)], of_first);
    let of_second =
        Standing { paused: true, last_response: Some(response(5, 401)), ..Standing::default() };
    assert_eq!(loaded.standings.credentials[&id(2)], of_second);
}
