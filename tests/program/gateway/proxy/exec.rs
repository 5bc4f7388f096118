//! `credentials exec --proxy`: a tool that takes no base URL.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use super::{API, OTHER, World};
use crate::cli::{Run, until};

fn exec(world: &World, more: &[&str], script: &str) -> Run {
    let arguments = [&["exec", "--proxy"], more, &["--", "sh", "-c", script]].concat();
    world.home.run(arguments)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_that_goes_to_the_providers_own_host_gets_the_accounts() {
    let world = World::new(&["limited-1", "good-2"]).await;
    // The upstream says which key it was asked with.
    let ask = "curl -sS -w 'by %{http_version}\\n' -H \"authorization: Bearer $X_API_KEY\"";
    let script = format!(
        "{ask} --http1.1 'https://{API}/v1/models?limit=2'; {ask} --http2 -d hello https://{API}/v1/chat"
    );
    let run = world.home.run_showing(["exec", "--proxy", "--", "sh", "-c", &script], "").ok();
    assert_eq!(
        run.stdout,
        "GET /v1/models?limit=2 Bearer good-2-key\nby 1.1\nPOST /v1/chat Bearer good-2-key\nby 2\n",
        "{run:?}"
    );
    assert_eq!(run.stderr, "", "{run:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_host_is_reached_as_it_is_with_its_own_certificate() {
    let world = World::new(&["good-1"]).await;
    let ask = format!("curl -sS -H \"authorization: Bearer $X_API_KEY\" https://{OTHER}/a");
    exec(&world, &[], &format!("{ask} --cacert other.pem"))
        .ok()
        .prints("GET /a Bearer sk-credentials-placeholder\n");
    // Nobody vouches for it but its own authority.
    assert_eq!(exec(&world, &[], &ask).code, Some(60));
    let run = exec(&world, &["--proxy-others", "refuse"], &format!("{ask} --cacert other.pem"));
    assert_eq!(run.code, Some(56), "{run:?}");
    assert!(run.stderr.contains("403"), "{run:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_an_account_and_no_base_url_reaches_the_command() {
    let mut world = World::new(&["good-1"]).await;
    world.home.set("X_BASE_URL", "http://127.0.0.1:1/x");
    world.home.set("NO_PROXY", "internal.test");
    let run = exec(&world, &[], "env").ok();
    let lines: Vec<_> = run.stdout.lines().collect();
    assert!(lines.contains(&"X_API_KEY=sk-credentials-placeholder"), "{run:?}");
    assert!(lines.contains(&"NO_PROXY=internal.test,localhost,127.0.0.1,::1"), "{run:?}");
    assert!(lines.contains(&"NODE_USE_ENV_PROXY=1"), "{run:?}");
    for name in ["HTTPS_PROXY", "https_proxy"] {
        let value = format!("{name}=http://credentials:sk-credentials-");
        assert!(lines.iter().any(|line| line.starts_with(&value)), "{name}: {run:?}");
    }
    assert!(!run.stdout.contains("_BASE_URL"), "{run:?}");
    // One that leads to the provider's own host stays.
    world.home.set("X_BASE_URL", format!("https://{API}/v2"));
    exec(&world, &[], "env").ok().prints(&format!("X_BASE_URL=https://{API}/v2\n"));
    // A host that is to be reached directly gets no account.
    world.home.set("NO_PROXY", "acme.test");
    exec(&world, &[], "true").ok().says(&format!("NO_PROXY lets requests to {API} pass by the proxy"));
}

#[tokio::test(flavor = "multi_thread")]
async fn print_shows_what_the_command_would_get_and_no_token() {
    let world = World::new(&["good-1"]).await;
    let run = world.home.run(["exec", "--proxy", "--print"]).ok();
    let names: Vec<_> = run.stdout.lines().map(|line| line.split('=').next().unwrap()).collect();
    assert_eq!(
        names,
        [
            "HTTPS_PROXY",
            "https_proxy",
            "NO_PROXY",
            "no_proxy",
            "NODE_USE_ENV_PROXY",
            "SSL_CERT_FILE",
            "REQUESTS_CA_BUNDLE",
            "CURL_CA_BUNDLE",
            "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
            "NODE_EXTRA_CA_CERTS",
            "DENO_CERT",
            "X_API_KEY",
        ]
    );
    assert!(run.stdout.contains("=http://credentials:…@127.0.0.1:"), "{run:?}");
    let plain = run.stdout.replace("sk-credentials-placeholder", "");
    assert!(!plain.contains("sk-"), "{run:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_files_are_for_the_command_alone_and_gone_after_its_end() {
    let world = World::new(&["good-1"]).await;
    let (told, go) = (world.home.path().join("told"), world.home.path().join("go"));
    let script = "echo \"$NODE_EXTRA_CA_CERTS\" > \"$1.part\"; mv \"$1.part\" \"$1\"; while [ ! -e \"$2\" ]; do sleep 0.05; done";
    for signal in [None, Some("TERM"), Some("HUP"), Some("INT")] {
        let mut command = world.home.command(["exec", "--proxy", "--", "sh", "-c", script, "sh"]);
        command.args([&told, &go]).env("TMPDIR", world.home.path()).stdin(Stdio::null());
        let mut child = command.spawn().unwrap();
        let path = until("the path", || std::fs::read_to_string(&told).ok());
        let certificate = Path::new(path.trim_end());
        let directory = certificate.parent().unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(directory), 0o700);
        for file in std::fs::read_dir(directory).unwrap() {
            let file = file.unwrap().path();
            assert_eq!(mode(&file), 0o600, "{file:?}");
            let text = std::fs::read_to_string(&file).unwrap();
            assert!(text.contains("BEGIN CERTIFICATE") && !text.contains("PRIVATE"), "{file:?}");
        }
        match signal {
            None => std::fs::write(&go, "").unwrap(),
            Some(signal) => {
                let id = child.id().to_string();
                let kill =
                    std::process::Command::new("kill").args([&format!("-{signal}"), &*id]).status();
                assert!(kill.unwrap().success());
            }
        }
        child.wait().unwrap();
        assert!(!directory.exists(), "{signal:?}");
        let _ = std::fs::remove_file(&go);
        std::fs::remove_file(&told).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn authorities_that_the_environment_names_stay_known() {
    let mut world = World::new(&["good-1"]).await;
    let other = world.home.path().join("other.pem");
    let named = ["REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "AWS_CA_BUNDLE"];
    for name in named {
        world.home.set(name, other.to_str().unwrap());
    }
    let run = exec(&world, &[], "for file in $SSL_CERT_FILE $REQUESTS_CA_BUNDLE $NODE_EXTRA_CA_CERTS $AWS_CA_BUNDLE; do cat $file; echo =; done").ok();
    let texts: Vec<_> = run.stdout.split("=\n").map(str::to_owned).collect();
    let files: Vec<_> =
        run.stdout.split("\n=\n").filter(|text| text.contains("BEGIN CERTIFICATE")).collect();
    assert_eq!(files.len(), 4, "{texts:?}");
    let body = |pem: &str| pem.lines().nth(1).unwrap().to_owned();
    let vendor = body(&std::fs::read_to_string(world.home.path().join("vendor.pem")).unwrap());
    let other = body(&world.other.pem());
    for (at, file) in files.iter().enumerate() {
        assert_eq!(file.contains(&vendor), at == 0, "{at}: {file}");
        assert_eq!(file.contains(&other), at > 0, "{at}: {file}");
        assert_eq!(file.matches("BEGIN CERTIFICATE").count(), 2, "{at}: {file}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_in_python_takes_the_proxy_and_its_authority_from_the_variables() {
    let world = World::new(&["good-1"]).await;
    let script =
        format!("import urllib.request as u; print(u.urlopen('https://{API}/v1/models').read())");
    let run = world.home.run_showing(["exec", "--proxy", "--", "python3", "-c", &script], "").ok();
    assert!(run.stdout.contains("GET /v1/models Bearer good-1-key"), "{run:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_does_not_trust_the_authority_is_told_of_once() {
    let world = World::new(&["good-1"]).await;
    let ask = format!("curl -sS --cacert other.pem https://{API}/ 2>/dev/null");
    let run = exec(&world, &[], &format!("{ask}; {ask}; true")).ok();
    assert_eq!(run.stderr.matches("does not trust the certificate").count(), 1, "{run:?}");
    run.says(API);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_for_no_host_is_refused() {
    let world = World::new(&["good-1"]).await;
    world.home.settings("[providers.x]\ntype = \"generic\"\norigins = [\"http://127.0.0.1:1\"]\n");
    world
        .home
        .run(["exec", "--proxy", "--", "true"])
        .code(2)
        .says("no origin")
        .says("leave out --proxy");
    world.home.run(["exec", "--proxy-others", "refuse", "--", "true"]).code(2).says("--proxy");
}
