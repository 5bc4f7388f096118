//! Where a vault's key comes from: a variable, a file, a command, a service, and several of them in order.
#![cfg(feature = "seal")]

use std::collections::VecDeque;
use std::future::{Ready, ready};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use tower_credentials::vault::VaultError;
use tower_credentials::vault::key::{CommandKey, EnvKey, FileKey, KeyRequest, KeyServiceExt, VaultKey};
use tower_service::Service;

/// A place with planned responses, which records its requests.
#[derive(Clone)]
struct Planned {
    name: &'static str,
    responses: Arc<Mutex<VecDeque<Option<VaultKey>>>>,
    asked: Arc<Mutex<Vec<(&'static str, KeyRequest)>>>,
}

impl Service<KeyRequest> for Planned {
    type Response = Option<VaultKey>;
    type Error = VaultError;
    type Future = Ready<Result<Option<VaultKey>, VaultError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), VaultError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: KeyRequest) -> Self::Future {
        self.asked.lock().unwrap().push((self.name, request));
        match self.responses.lock().unwrap().pop_front() {
            Some(response) => ready(Ok(response)),
            None => ready(Err(VaultError::Key(format!("{} was asked too often", self.name)))),
        }
    }
}

type Asked = Arc<Mutex<Vec<(&'static str, KeyRequest)>>>;

fn two(
    first: impl IntoIterator<Item = Option<VaultKey>>,
    second: impl IntoIterator<Item = Option<VaultKey>>,
) -> (Planned, Planned, Asked) {
    let asked = Asked::default();
    let planned = |name, responses: VecDeque<_>| Planned {
        name,
        responses: Arc::new(Mutex::new(responses)),
        asked: asked.clone(),
    };
    (
        planned("first", first.into_iter().collect()),
        planned("second", second.into_iter().collect()),
        asked,
    )
}

use KeyRequest::{Load, LoadOrCreate};

#[tokio::test]
async fn the_first_of_two_places_that_has_a_key_gives_it() {
    let key = VaultKey::generate();
    let (first, second, asked) = two([Some(key.clone())], []);
    assert_eq!(first.or(second).load().await.unwrap().unwrap().id(), key.id());
    assert_eq!(*asked.lock().unwrap(), [("first", Load)]);

    let (first, second, asked) = two([None], [Some(key.clone())]);
    assert_eq!(first.or(second).load_or_create().await.unwrap().id(), key.id());
    assert_eq!(*asked.lock().unwrap(), [("first", Load), ("second", Load)]);

    let (first, second, _) = two([None], [None]);
    assert!(first.or(second).load().await.unwrap().is_none());
}

#[tokio::test]
async fn a_key_is_made_only_if_no_place_has_one_and_in_the_first_that_keeps_it() {
    let key = VaultKey::generate();
    let (first, second, asked) = two([None, Some(key.clone())], [None]);
    assert_eq!(first.or(second).load_or_create().await.unwrap().id(), key.id());
    assert_eq!(*asked.lock().unwrap(), [("first", Load), ("second", Load), ("first", LoadOrCreate)]);

    let (first, second, asked) = two([None, None], [None, Some(key.clone())]);
    assert_eq!(first.or(second).load_or_create().await.unwrap().id(), key.id());
    assert_eq!(asked.lock().unwrap().last(), Some(&("second", LoadOrCreate)));

    let (first, second, _) = two([None, None], [None, None]);
    let error = first.or(second).load_or_create().await.unwrap_err();
    assert!(matches!(error, VaultError::Key(_)), "{error:?}");
}

#[tokio::test]
async fn a_places_error_does_not_count_as_a_missing_key() {
    let (first, second, asked) = two([], [Some(VaultKey::generate())]);
    let error = first.or(second).load_or_create().await.unwrap_err();
    assert!(error.to_string().contains("first was asked too often"), "{error}");
    assert_eq!(asked.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_variable_that_is_not_set_leaves_it_to_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("vault.key");
    let variable = EnvKey::new("TOWER_CREDENTIALS_TEST_THAT_NOBODY_SETS");
    assert!(variable.load().await.unwrap().is_none());
    assert!(FileKey::new(&path).load().await.unwrap().is_none());
    assert!(!path.exists(), "to look makes no file");
    let made = variable.clone().or(FileKey::new(&path)).load_or_create().await.unwrap();
    assert_eq!(FileKey::new(&path).load().await.unwrap().unwrap().id(), made.id());
    let error = variable.load_or_create().await.unwrap_err();
    assert!(matches!(error, VaultError::Key(_)), "{error:?}");
}

fn shell(script: &str) -> CommandKey {
    CommandKey::new("sh").args(["-c", script])
}

#[tokio::test]
async fn a_commands_output_is_the_key() {
    let key = VaultKey::from_bytes([7; 32]);
    let text = key.to_base64();
    for script in [format!("echo {}", text.expose()), format!("printf '\n {}'", text.expose())] {
        assert_eq!(shell(&script).load().await.unwrap().unwrap().id(), key.id());
        assert_eq!(shell(&script).load_or_create().await.unwrap().id(), key.id());
    }
}

#[tokio::test]
async fn a_command_gets_no_input() {
    let key = VaultKey::from_bytes([7; 32]);
    let script = format!("cat; echo {}", key.to_base64().expose());
    assert_eq!(shell(&script).load().await.unwrap().unwrap().id(), key.id());
}

#[tokio::test]
async fn a_command_that_prints_no_key_or_fails_is_named_and_its_output_is_not() {
    let key = VaultKey::from_bytes([7; 32]);
    for (script, what) in [
        ("echo sk-planted", "printed something"),
        ("true", "printed something"),
        ("yes sk-planted", "something"),
        (&format!("echo {}; exit 3", key.to_base64().expose()), "exit status: 3"),
        ("kill -9 $$", "signal: 9"),
    ] {
        let error = shell(script).load().await.unwrap_err();
        let VaultError::Key(text) = &error else { panic!("{error:?}") };
        assert!(text.contains("command sh") && text.contains(what), "{script}: {text}");
        assert!(!text.contains("planted") && !text.contains(key.to_base64().expose()), "{text}");
    }
    let error = CommandKey::new("no-such-program-anywhere").load().await.unwrap_err();
    assert!(error.to_string().contains("no-such-program-anywhere can't be run"), "{error}");
}

/// Polls until `is_so`, for ten seconds at most.
async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let asking = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(2));
        while !is_so() {
            ticks.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), asking).await.expect(what);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_command_that_nobody_waits_for_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    let (started, never) = (directory.path().join("started"), directory.path().join("never"));
    let made = std::process::Command::new("mkfifo").arg(&never).status().unwrap();
    assert!(made.success());
    let script =
        format!("echo $$ > {}.tmp; mv {0}.tmp {0}; exec cat {}", started.display(), never.display());
    let loading = tokio::spawn(async move { shell(&script).load().await });
    eventually("the command starts", || started.exists()).await;
    let process = std::fs::read_to_string(&started).unwrap();
    let process = Path::new("/proc").join(process.trim());
    assert!(process.exists());
    loading.abort();
    eventually("the command is killed", || !process.exists()).await;
}

#[cfg(target_os = "linux")]
#[test]
fn a_runtime_ends_although_what_a_command_has_started_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let (started, hold) = (directory.path().join("started"), directory.path().join("hold"));
    assert!(std::process::Command::new("mkfifo").arg(&hold).status().unwrap().success());
    // The shell waits for `cat`, which has its standard output too.
    let script = format!("echo > {}; cat {}; true", started.display(), hold.display());
    let (ended, has_ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let loading = tokio::spawn(async move { shell(&script).load().await });
            eventually("the command starts", || started.exists()).await;
            loading.abort();
            assert!(loading.await.unwrap_err().is_cancelled());
        });
        drop(runtime);
        ended.send(()).unwrap();
    });
    let ended = has_ended.recv_timeout(Duration::from_secs(60));
    // Opened for both, it waits for nobody; closed, it has ended.
    drop(std::fs::File::options().read(true).write(true).open(&hold).unwrap());
    ended.expect("the runtime waits for the command's own command");
}

/// Kubernetes mounts a secret like this: the file is a link to `..data/<file>`, which is a link to a directory.
#[cfg(unix)]
#[tokio::test]
async fn a_mounted_secret_is_refused_as_a_file_and_taken_from_a_command() {
    use std::os::unix::fs::{PermissionsExt, symlink};

    let place = tempfile::tempdir().unwrap();
    let at = |name: &str| place.path().join(name);
    let key = VaultKey::generate();
    std::fs::create_dir(at("..1")).unwrap();
    std::fs::write(at("..1/vault.key"), key.to_base64().expose()).unwrap();
    symlink("..1", at("..data")).unwrap();
    symlink("..data/vault.key", at("vault.key")).unwrap();
    let mode = |mode| {
        let permissions = PermissionsExt::from_mode(mode);
        std::fs::set_permissions(at("..1/vault.key"), permissions).unwrap();
    };
    let refused = async |path: &str, reason: &str| {
        let error = FileKey::new(at(path)).load().await.unwrap_err().to_string();
        assert!(error.contains(reason) && error.contains("from the command: cat '"), "{error}");
    };
    for open in [0o440, 0o640, 0o604] {
        mode(open);
        refused("..1/vault.key", "others may read").await;
        refused("vault.key", "a symbolic link").await;
    }
    let printed = CommandKey::new("cat").args([at("vault.key")]).load().await.unwrap().unwrap();
    assert_eq!(printed.id(), key.id());
}
