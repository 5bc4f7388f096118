//! The page at `/.gateway/`, and pages of strangers, in a browser.

use std::process::Command;

use http::Response;

use super::alone::Alone;
use super::ends::Ends;
use crate::cli::Home;
use crate::gateway::process::{Gateway, client, home, upstream};
use crate::wire::{Wire, full};

/// Runs scenarios in a browser. What they say is what they have done.
async fn browse(
    alone: &Alone,
    home: &Home,
    gateway: &Gateway,
    scenarios: &[&str],
    tokens: &[(&str, &str)],
) -> Ends {
    let strangers = Wire::start(async |_| {
        Response::builder()
            .header("content-type", "text/html")
            .body(full("<!doctype html><title>a stranger</title>"))
            .unwrap()
    })
    .await;
    let mut command: Command = home.command_of("node");
    command.arg(alone.script("page.mjs")).args(scenarios).envs(tokens.iter().copied());
    command
        .env("CHROMIUM", alone.tool("chromium"))
        .env("GATEWAY", gateway.url(""))
        .env("STRANGER", strangers.origin());
    Ends::of(&alone.run(command).await.ok())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_shows_the_accounts_and_changes_them() {
    let Some(alone) = Alone::of(the_page_shows_the_accounts_and_changes_them).await else { return };
    let upstream = upstream().await;
    let home = home(&upstream, &["limited-1", "good-2"]).await;
    let (token, admin) = (client(&home, &["laptop"]), client(&home, &["me", "--admin"]));
    let gateway = Gateway::start(&home, &[]).await;
    let scenarios = [
        "signs_in",
        "shows_what_happens",
        "pauses_and_resumes",
        "resets",
        "stays_signed_in",
        "is_quiet",
    ];
    let ends =
        browse(&alone, &home, &gateway, &scenarios, &[("TOKEN", &token), ("ADMIN", &admin)]).await;
    for scenario in scenarios {
        assert_eq!(ends.said(scenario), "well");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_a_stranger_gets_nothing_sent() {
    let Some(alone) = Alone::of(a_page_of_a_stranger_gets_nothing_sent).await else { return };
    let upstream = upstream().await;
    let home = home(&upstream, &["good-1"]).await;
    let gateway = Gateway::open(&home, &[]).await;
    let scenarios = ["strangers_page", "strangers_name"];
    let ends = browse(&alone, &home, &gateway, &scenarios, &[]).await;
    for scenario in scenarios {
        assert_eq!(ends.said(scenario), "well");
    }
    assert_eq!(upstream.connections(), 0);
    // The same from a page of its own.
    let ends = browse(&alone, &home, &gateway, &["own_page"], &[]).await;
    assert_eq!(ends.said("own_page"), "GET /v1/models Bearer good-1-key\n");
    // Most of what the stranger has tried has come as far as the gateway.
    let seen = gateway.stop().await.stdout;
    let refused = seen.lines().filter(|line| line.contains(" 403 ")).count();
    assert!(refused >= 15, "{refused}: {seen}");
}
