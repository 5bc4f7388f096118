//! Vaults that earlier versions have written, in `tests/fixtures`. Every one of them must open for ever: a
//! change that breaks a test here is wrong, and a fixture is never written anew to please one.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::{aead, hkdf, hmac};
use serde_json::Value;
use tempfile::TempDir;
use tower_credentials::standing::{
    Change, Cooldown, Health, LastResponse, Outcome, Reason, Scope, Standing,
};
use tower_credentials::vault::file::FileVault;
use tower_credentials::vault::key::VaultKey;
use tower_credentials::vault::seal::UnboundAttributes;
use tower_credentials::vault::{Replaced, VaultError, VaultExt};
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

/// A pool whose files' names need escaping.
fn acme() -> PoolKey {
    PoolKey::with_namespace("Acme Cloud", "Team/Ä")
}

const EXAMPLE: &str = "pools/example+default";
const ACME: &str = "pools/%41cme%20%43loud+%54eam%2f%c3%84";

fn cooldown(until: u64, set_at: u64, reason: Reason, scope: Option<&str>) -> Cooldown {
    let [until, set_at] = [until, set_at].map(Timestamp::from_millis);
    Cooldown { until, set_at, reason, scope: scope.map(Scope::new), generation: None, cause: None }
}

/// Everything that the fixtures `vault-v1` to `vault-v3` hold: the same was done to all.
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

/// Every sort of change works, is there when the vault is opened again, and leaves the rest as it was.
async fn assert_changes(place: &Place) {
    let vault = place.open().await;
    let revision = vault.revision(example()).await.unwrap();
    let tokens = OAuthTokens::new("access-1c").refresh("refresh-1c");
    let swapped = vault.replace_secret(id(1), Generation::new(2), tokens).await.unwrap();
    assert!(matches!(swapped, Replaced::Swapped(generation) if generation == Generation::new(3)));
    assert_ne!(vault.revision(example()).await.unwrap(), revision);
    let cooldown = cooldown(1_999, 5, Reason::Limited, None);
    let change = Change::CooledDown { cooldown, failure: true, to_back: true };
    vault.record(example(), vec![Outcome { id: id(2), change }]).await.unwrap();
    vault.move_to(id(3), 0).await.unwrap();
    assert_eq!(&*vault.relabel(id(4), "server").await.unwrap().label, "server");
    let mut added = Credential::new(example(), "work", Secret::api_key("sk-8"));
    added.metadata.id = id(8);
    assert_eq!(&*vault.put(added).await.unwrap().label, "work-2", "the label was given up");
    vault.remove(id(5)).await.unwrap();
    drop(vault.lease_refresh(id(6)).await.unwrap());

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
async fn a_vault_of_version_1_opens_whole() {
    let place = Place::new("vault-v1");
    for path in ["key.json", &format!("{EXAMPLE}.log"), &format!("{ACME}.log")] {
        assert!(!place.root().join(path).exists(), "version 1 had no {path}");
    }
    assert_eq!(place.json(format!("{EXAMPLE}.json"))["version"], 1);
    for number in 1..=6 {
        assert_eq!(place.record(number)["secret"]["version"], 1);
    }
    assert_whole(&place.open().await).await;
    // From the log that took the file of version 1 over, this time.
    assert_whole(&place.open().await).await;
    assert_eq!(place.json("key.json")["key_id"], key().id().to_string());
}

#[tokio::test]
async fn changes_of_a_vault_of_version_1_work_and_are_of_version_3() {
    let place = Place::new("vault-v1");
    assert_changes(&place).await;
    let log = fs::read_to_string(place.root().join(format!("{EXAMPLE}.log"))).unwrap();
    assert!(log.lines().next().unwrap().contains(r#""snapshot":{"format":2,"#), "{log}");
    // Nobody has vouched for the attributes of the first, whose secret was replaced.
    for (number, version) in [(1, 1), (2, 1), (3, 1), (4, 1), (6, 1), (8, 3)] {
        assert_eq!(place.record(number)["secret"]["version"], version, "record {number}");
    }
    let vault = place.open().await;
    vault.replace_secret(id(2), Generation::FIRST, Secret::api_key("sk-2b")).await.unwrap();
    assert_eq!(place.record(2)["secret"]["version"], 3, "it has no attributes");
    assert_eq!(place.record(1)["metadata"]["attributes"]["host"], "api.example.com");
}

#[tokio::test]
async fn what_was_changed_under_version_2_goes_before_what_version_1_left() {
    let place = Place::new("vault-v1");
    let vault = place.open().await;
    vault.move_to(id(1), 0).await.unwrap();
    let vault = place.open().await;
    assert_eq!(vault.load_pool(example()).await.unwrap().standings.order, [1, 4, 2, 3].map(id));
}

#[tokio::test]
async fn another_key_does_not_take_over_a_vault_of_version_1() {
    let place = Place::new("vault-v1");
    match FileVault::open(place.root(), &VaultKey::generate()).await {
        Err(VaultError::Key(reason)) => {
            assert!(reason.contains(&format!("give the key {}", key().id())), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    assert_whole(&place.open().await).await;
}

#[tokio::test]
async fn a_vault_of_version_1_can_be_resealed_with_another_key() {
    let place = Place::new("vault-v1");
    let new = VaultKey::generate();
    let builder = FileVault::builder(place.root()).old_key(&key());
    let vault = builder.clone().open(&new).await.unwrap();
    let resealing = vault.reseal(|_| {}).await.unwrap();
    assert_eq!((resealing.sealed, resealing.left), (3, 3), "{:?}", resealing.damaged);
    // Somebody has looked at their attributes.
    let vault = builder.unbound_attributes(UnboundAttributes::Keep).open(&new).await.unwrap();
    let resealing = vault.reseal(|_| {}).await.unwrap();
    assert_eq!((resealing.sealed, resealing.left), (3, 0), "{:?}", resealing.damaged);
    assert_whole(&FileVault::open(place.root(), &new).await.unwrap()).await;
    for number in 1..=6 {
        assert_eq!(place.record(number)["secret"]["version"], 3);
    }
}

#[tokio::test]
async fn pauses_and_answers_are_written_and_read_as_specified() {
    let place = Place::new("vault-v2");
    let vault = place.open().await;
    let answer = |at, status| LastResponse { at: Timestamp::from_millis(at), status };
    let changes = [
        (1, Change::Paused),
        (1, Change::Answered(answer(1_790_000_000_001, 429))),
        (1, Change::Answered(answer(1_790_000_000_000, 599))),
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
        assert_eq!(of_first.last_response, Some(answer(1_790_000_000_001, 429)));
        assert_eq!(standings[&id(2)], Standing::default());
    }
    // A snapshot, as another program may write it; what is there of the first line is theirs.
    let log = include_bytes!("../corpus/pool_log/pauses-and-answers");
    fs::write(place.root().join(format!("{EXAMPLE}.log")), log).unwrap();
    let loaded = place.open().await.load_pool(example()).await.unwrap();
    assert!(loaded.damaged.is_empty(), "{:?}", loaded.damaged);
    let of_first = Standing {
        failures: 1,
        last_response: Some(answer(1_790_000_000_001, 429)),
        ..Standing::default()
    };
    assert_eq!(loaded.standings.credentials[&id(1)], of_first);
    let of_second =
        Standing { paused: true, last_response: Some(answer(5, 401)), ..Standing::default() };
    assert_eq!(loaded.standings.credentials[&id(2)], of_second);
}

#[tokio::test]
async fn a_vault_of_version_2_opens_whole() {
    let place = Place::new("vault-v2");
    let log = fs::read_to_string(place.root().join(format!("{EXAMPLE}.log"))).unwrap();
    for entry in ["snapshot", "outcomes", "member", "moved", "removed", "touched"] {
        assert!(log.contains(&format!(r#""entry":{{"{entry}":"#)), "it shows an entry {entry}");
    }
    let compacted = fs::read_to_string(place.root().join(format!("{ACME}.log"))).unwrap();
    assert_eq!(compacted.lines().count(), 1);
    for number in 1..=6 {
        assert_eq!(place.record(number)["secret"]["version"], 2);
    }
    let before = fs::read(place.root().join("key.json")).unwrap();
    let logs = || {
        let logs = [EXAMPLE, ACME].map(|pool| format!("{pool}.log"));
        logs.map(|path| fs::read_to_string(place.root().join(path)).unwrap())
    };
    assert_whole(&place.open().await).await;
    let read = logs();
    for (read, before) in read.iter().zip([log, compacted]) {
        // The kinds of the members, which earlier versions did not write, and nothing else.
        let added = read.strip_prefix(&before).unwrap();
        assert!(added.lines().all(|line| line.contains(r#""entry":{"member":"#)), "{added}");
        assert!(added.lines().all(|line| line.contains(r#""kind":"#)), "{added}");
    }
    assert_whole(&place.open().await).await;
    assert_eq!(logs(), read, "to read it again changes nothing");
    assert_eq!(fs::read(place.root().join("key.json")).unwrap(), before);
}

#[tokio::test]
async fn changes_of_a_vault_of_version_2_work() {
    let place = Place::new("vault-v2");
    assert_changes(&place).await;
    let seals = &place.json("key.json")["seals"][key().id().to_string()];
    assert!(seals.as_u64().unwrap() > 1024, "seals are counted on from what was there: {seals}");
}

#[tokio::test]
async fn a_vault_of_version_3_opens_whole() {
    let place = Place::new("vault-v3");
    for number in 1..=6 {
        assert_eq!(place.record(number)["secret"]["version"], 3);
    }
    let files = ["key.json".to_owned(), format!("{EXAMPLE}.log"), format!("{ACME}.log")];
    let read = || files.each_ref().map(|path| fs::read(place.root().join(path)).unwrap());
    let before = read();
    assert_whole(&place.open().await).await;
    assert_whole(&place.open().await).await;
    // The kinds of the members, which the fixture's logs have not, and nothing else.
    let after = read();
    assert_eq!(after[0], before[0], "to read it changes no key");
    for (after, before) in after[1..].iter().zip(&before[1..]) {
        let added = str::from_utf8(after.strip_prefix(&before[..]).unwrap()).unwrap();
        assert!(added.lines().all(|line| line.contains(r#""entry":{"member":"#)), "{added}");
    }
    // It goes on not to let in what it has given up.
    let two = Place::new("vault-v2-two-keys");
    fs::copy(
        two.root().join(format!("records/{}.json", id(1))),
        place.root().join(format!("records/{}.json", id(1))),
    )
    .unwrap();
    let old = VaultKey::from_base64(OLD_KEY).unwrap();
    let vault = FileVault::builder(place.root()).old_key(&old).open(&key()).await.unwrap();
    let error = vault.get(id(1)).await.unwrap_err().to_string();
    assert!(error.contains("has given up"), "{error}");
}

#[tokio::test]
async fn changes_of_a_vault_of_version_3_work() {
    let place = Place::new("vault-v3");
    assert_changes(&place).await;
    for number in [1, 2, 3, 4, 6, 8] {
        let secret = &place.record(number)["secret"];
        assert_eq!((&secret["version"], &secret["vault"]), (&3.into(), &VAULT.into()), "{number}");
    }
}

/// The id of the vault in the fixture of version 3.
const VAULT: &str = "334aeb59e8f89e712dd297bdbabae93f";

/// Each field preceded by its length, as the specification has it.
fn joined(fields: &[&[u8]]) -> Vec<u8> {
    let with_length = |field: &&[u8]| [&(field.len() as u64).to_be_bytes()[..], field].concat();
    fields.iter().flat_map(with_length).collect()
}

/// By other code than the crate's.
#[test]
fn a_vault_of_version_3_is_as_specified() {
    let place = Place::new("vault-v3");
    let decode = |value: &Value| STANDARD.decode(value.as_str().unwrap()).unwrap();
    let key: Vec<u8> = (0..32).collect();
    let vault = u128::from_str_radix(VAULT, 16).unwrap().to_be_bytes();

    let marker = place.json("key.json");
    assert_eq!((&marker["version"], &marker["vault"]["id"]), (&2.into(), &VAULT.into()));
    let derived = hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(&key);
    let mut mac_key = [0; 32];
    let derived = derived.expand(&[b"tower-credentials vault mac v1"], hkdf::HKDF_SHA256);
    derived.unwrap().fill(&mut mac_key).unwrap();
    let message = joined(&[
        b"tower-credentials key.json",
        &vault,
        &3_u32.to_be_bytes(),
        b"97940b138434457f",
        b"0123456789abcdef",
    ]);
    let signature = decode(&marker["vault"]["signatures"]["9990f94e66ddc541"]);
    hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, &mac_key), &message, &signature).unwrap();

    let record = place.record(1);
    let secret = &record["secret"];
    let data = joined(&[
        b"tower-credentials sealed secret",
        &3_u32.to_be_bytes(),
        &vault,
        &[0x11; 16],
        b"example",
        b"default",
        b"oauth",
        &2_u64.to_be_bytes(),
        b"account",
        b"acct-1",
        b"host",
        b"api.example.com",
    ]);
    let nonce = aead::Nonce::try_assume_unique_for_key(&decode(&secret["nonce"])).unwrap();
    let opener = aead::LessSafeKey::new(aead::UnboundKey::new(&aead::AES_256_GCM, &key).unwrap());
    let mut sealed = decode(&secret["ciphertext"]);
    let opened = opener.open_in_place(nonce, aead::Aad::from(data), &mut sealed).unwrap();
    let plain: Value = serde_json::from_slice(opened).unwrap();
    assert_eq!((&plain["type"], &plain["access"]), (&"oauth".into(), &"access-1b".into()));
}

#[tokio::test]
async fn a_process_that_has_an_older_vault_open_goes_on_when_another_gives_it_an_id() {
    let place = Place::new("vault-v2");
    let (one, two) = (place.open().await, place.open().await);
    assert_eq!(one.load_pool(example()).await.unwrap().credentials.len(), 4);
    two.replace_secret(id(2), Generation::FIRST, Secret::api_key("sk-2b")).await.unwrap();
    let loaded = one.load_pool(example()).await.unwrap();
    assert!(loaded.damaged.is_empty(), "{:?}", loaded.damaged);
    one.replace_secret(id(3), Generation::FIRST, loaded.credentials[2].secret.clone()).await.unwrap();
    let vaults = [2, 3].map(|number| place.record(number)["secret"]["vault"].clone());
    assert_eq!(vaults[0], vaults[1], "both know the one id");
    let loaded = two.load_pool(example()).await.unwrap();
    assert!(loaded.damaged.is_empty(), "{:?}", loaded.damaged);
}

#[tokio::test]
async fn a_change_of_keys_that_was_begun_by_version_2_can_be_ended() {
    let place = Place::new("vault-v2-two-keys");
    let old = VaultKey::from_base64(OLD_KEY).unwrap();
    // Each key alone opens its part.
    for (key, opens, other) in [(&key(), 2, 1), (&old, 1, 2)] {
        let vault = FileVault::open(place.root(), key).await.unwrap();
        let loaded = vault.load_pool(example()).await.unwrap();
        assert_eq!(loaded.credentials.len(), 1);
        let opened = &loaded.credentials[0];
        assert_eq!(opened.metadata.id, id(opens));
        assert_eq!(opened.secret.token().expose(), format!("sk-{opens}"));
        assert_eq!(loaded.damaged.len(), 1);
        assert!(loaded.damaged[0].record.contains(&id(other).to_string()), "{:?}", loaded.damaged);
    }
    let vault = FileVault::builder(place.root()).old_key(&old).open(&key()).await.unwrap();
    let resealing = vault.reseal(|_| {}).await.unwrap();
    // The one of the old key, and the other one for its format.
    assert_eq!((resealing.sealed, resealing.left), (2, 0), "{:?}", resealing.damaged);
    let loaded = place.open().await.load_pool(example()).await.unwrap();
    let labels = loaded.credentials.iter().map(|credential| &*credential.metadata.label);
    assert_eq!(labels.collect::<Vec<_>>(), ["old", "new"]);
    assert!(loaded.damaged.is_empty(), "{:?}", loaded.damaged);
    assert!(place.json("key.json").get("previous").is_none());
    assert!(matches!(FileVault::open(place.root(), &old).await, Err(VaultError::Key(_))));
}
