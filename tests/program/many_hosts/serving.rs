//! `serve` and `exec` over an engine.

use http::StatusCode;

use super::{PASSWORD, Scene, login, other_host, run};
use crate::cli::{Home, until};
use crate::gateway::process::{Gateway, upstream};
use crate::wire::{Wire, soon};

/// Sends a request to a gateway whose first account is limited: another host sees that, and its pause of the other account counts
/// for the gateway.
pub(super) async fn other_sees_the_limit_and_its_pause_counts(gateway: &Gateway, other: &Home) {
    let (status, said) = gateway.send(gateway.get("/x/v1", "-")).await;
    assert_eq!((status, &*said), (StatusCode::OK, "GET /v1 Bearer good-key\n"));
    let seen = until("the cooldown", || {
        let status = other.run(["status", "--json"]).json();
        (status["pools"][0]["usable"] == 1).then_some(status)
    });
    assert_eq!(seen["pools"][0]["active"], "x/good");
    other.run(["list"]).ok().prints("cooling down");
    other.run(["pause", "good"]).ok();
    gateway.becomes("/x/v1", "-", StatusCode::TOO_MANY_REQUESTS).await;
    other.run(["resume", "good"]).ok();
    gateway.becomes("/x/v1", "-", StatusCode::OK).await;
}

/// Two hosts with the same key, whose provider `x` is at this upstream.
fn hosts(scene: &Scene, upstream: &Wire) -> [Home; 2] {
    let settings = format!("[providers.x]\ntype = \"generic\"\norigins = [\"{}\"]\n", upstream.origin());
    scene.run("vault init").ok();
    [(), ()].map(|()| {
        let home = other_host(&scene.home).variable("TOWER_CREDENTIALS_DIR", scene.url());
        home.settings(&settings);
        home
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_that_one_host_meets_is_seen_by_the_other() {
    let Some(scene) = Scene::start() else { return };
    let upstream = upstream().await;
    let [one, other] = hosts(&scene, &upstream);
    login(&one, &scene.url(), "limited");
    login(&one, &scene.url(), "good");
    let gateway = Gateway::open(&one, &[]).await;
    other_sees_the_limit_and_its_pause_counts(&gateway, &other).await;
    gateway.signal("TERM").await;
    gateway.ended().await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_was_started_before_its_engine_answers_503_and_then_serves() {
    let Some(scene) = Scene::start() else { return };
    let upstream = upstream().await;
    let [one, _] = hosts(&scene, &upstream);
    login(&one, &scene.url(), "good");
    scene.server.kill();
    let mut gateway = Gateway::open(&one, &[]).await;
    gateway.says("requests are answered with 503").await;
    assert_eq!(gateway.said().matches("Connection refused").count(), 1, "{}", gateway.said());
    let (status, headers, body) =
        gateway.ask(gateway.get("/x/v1", "-").body(crate::wire::full("")).unwrap()).await;
    assert_eq!((status, headers["retry-after"].to_str().unwrap()), (503, "1"));
    assert!(body.contains("vault_unreachable"), "{body}");
    let (status, body) = gateway.send(gateway.get("/readyz", "-")).await;
    assert_eq!((status, &*body), (StatusCode::SERVICE_UNAVAILABLE, "the vault can't be reached\n"));
    assert_eq!(gateway.send(gateway.get("/healthz", "-")).await.0, StatusCode::OK);
    scene.server.start_again();
    gateway.says("The vault can be reached now").await;
    let (status, said) = gateway.send(gateway.get("/x/v1", "-")).await;
    assert_eq!((status, &*said), (StatusCode::OK, "GET /v1 Bearer good-key\n"));
    assert_eq!(gateway.send(gateway.get("/readyz", "-")).await.0, StatusCode::OK);
    // It serves on from memory, and says so.
    scene.server.kill();
    until_says(&gateway, "/readyz", "ready; the vault can't be reached now\n").await;
    assert_eq!(gateway.send(gateway.get("/x/v1", "-")).await.0, StatusCode::OK);
    gateway.signal("TERM").await;
    let run = gateway.ended().await.ok();
    assert!(!run.stderr.contains("engine is back"), "{run:#?}");
    // That it was away at the start was said once, and what follows from it is not said again and again.
    assert!(run.stderr.contains("the vault's engine is away"), "{run:#?}");
    assert!(!run.stderr.contains("answered with 503"), "{run:#?}");
    assert!(!run.stderr.contains("not saved yet"), "{run:#?}");
}

/// Asks until the body is this: no event tells what the gateway has noticed.
async fn until_says(gateway: &Gateway, path: &str, text: &str) {
    let asking = async {
        while gateway.send(gateway.get(path, "-")).await.1 != text {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    soon(text, asking).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_metrics_and_the_accounts_say_if_the_engine_is_away_and_since_when() {
    let Some(scene) = Scene::start() else { return };
    let upstream = upstream().await;
    let [one, _] = hosts(&scene, &upstream);
    login(&one, &scene.url(), "good");
    let token = one.run_showing(["client", "add", "me", "--admin"], "").ok().stdout;
    let token = token.trim();
    let gateway = Gateway::start(&one, &[]).await;
    let ask = async |path: &str| gateway.send(gateway.get(path, token)).await.1;
    let away = |is_away: u8| {
        format!("tower_credentials_vault_away{{provider=\"x\",namespace=\"default\"}} {is_away}\n")
    };
    assert!(ask("/metrics").await.contains(&away(0)));
    scene.server.kill();
    let becomes = async |is_away: u8| {
        let asking = async {
            while !ask("/metrics").await.contains(&away(is_away)) {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        soon("the change", asking).await;
    };
    becomes(1).await;
    let accounts: serde_json::Value = serde_json::from_str(&ask("/.gateway/accounts").await).unwrap();
    assert!(accounts[0]["vault"]["away_since"].as_u64() >= accounts[0]["vault"]["last"].as_u64());
    scene.server.start_again();
    becomes(0).await;
    gateway.signal("TERM").await;
    gateway.ended().await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_serves_the_first_account_of_another_host_once_it_is_told() {
    let Some(scene) = Scene::start() else { return };
    let upstream = upstream().await;
    let [one, other] = hosts(&scene, &upstream);
    let before = std::fs::read_to_string(one.settings_file()).unwrap();
    let more = before.replace("providers.x", "providers.y");
    for home in [&one, &other] {
        home.settings(&format!("{before}{more}"));
    }
    login(&one, &scene.url(), "good");
    let mut gateway = Gateway::open(&one, &[]).await;
    other.run_with(["login", "y", "--api-key"], "planted-key\n").ok();
    gateway.forget();
    one.run(["serve", "reload"]).ok().says("Gateways of this vault follow them");
    gateway.says("new: http").await;
    assert_eq!(gateway.send(gateway.get("/y/v1", "-")).await.0, StatusCode::OK);
    gateway.signal("TERM").await;
    gateway.ended().await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn exec_runs_a_command_with_the_accounts_and_without_the_password() {
    let Some(scene) = Scene::start() else { return };
    let upstream = upstream().await;
    let [one, _] = hosts(&scene, &upstream);
    login(&one, &scene.url(), "good");
    let home = one
        .variable("TOWER_CREDENTIALS_DIR", scene.named())
        .variable("TOWER_CREDENTIALS_VAULT_PASSWORD", PASSWORD);
    let environment = home.run(["exec", "--", "env"]).ok();
    assert!(!environment.stdout.contains("VAULT_PASSWORD"), "{environment:?}");
    let address = environment.stdout.lines().find_map(|line| line.split_once('=')).is_some();
    assert!(address, "{environment:?}");
    run(&home, &scene.named(), "exec x -- true").ok();
}
