//! `credentials login --replace`: an account gets another secret only if that is said, and only its own.
#![cfg(feature = "cli")]

use crate::authorization_server::Vendor;
use crate::cli::Home;
use crate::cli::login::{Waiting, accounts, home_of, labels, server, sign_in};

#[tokio::test]
async fn an_account_of_another_kind_is_not_replaced_and_nobody_signs_in_in_vain() {
    let server = server(Vendor::OpenAi);
    let home = home_of(&server);
    home.add("openai", "paid", "sk-secret-1").await;
    for way in ["--no-browser", "--device", "--paste-code"] {
        let run = home.run(["login", "openai", way, "--label", "paid", "--replace"]);
        let run = run.code(2).says("openai/paid is of the kind api").says("leave out --replace");
        assert!(!run.stderr.contains("http://"), "sent to a browser in vain: {run:?}");
    }
    sign_in(&server, &home, &["login", "openai", "--label", "work"]).await.ok();
    let run = home.run(["login", "openai", "--api-key", "--label", "work", "--replace"]);
    run.code(2).says("openai/work is of the kind oauth");
}

#[tokio::test]
async fn an_account_with_a_taken_label_is_replaced_only_with_the_flag() {
    let home = Home::new();
    for key in ["sk-secret-old", "sk-secret-new", "sk-secret-other"] {
        home.secret(key);
    }
    home.run_with(["login", "openai", "--api-key", "-l", "work"], "sk-secret-old").ok();
    let first = accounts(&home).await.remove(0).metadata;
    home.run_with(["login", "openai", "--api-key", "-l", "work"], "sk-secret-other")
        .ok()
        .says("openai/work-2")
        .says("--replace");
    home.run_with(["login", "openai", "--api-key", "-l", "work", "--replace"], "sk-secret-new")
        .ok()
        .says("Replaced: openai/work");
    let accounts = accounts(&home).await;
    assert_eq!(accounts.len(), 2);
    assert_eq!((accounts[0].metadata.id, &accounts[0].metadata.label), (first.id, &first.label));
    assert_eq!(accounts[0].secret.token().expose(), "sk-secret-new");
    home.run_with(["login", "openai", "--api-key", "-l", "spare"], "sk-secret-new")
        .ok()
        .says("Stored already: openai/work")
        .says("credentials rename openai/work spare");
    // The label of another account is not advised.
    let run = home.run_with(["login", "openai", "--api-key", "-l", "work-2"], "sk-secret-new").ok();
    assert!(!run.says("another account's").stderr.contains("rename"));
    let run =
        home.run_with(["login", "openai", "--api-key", "-l", "work-2", "--replace"], "sk-secret-new");
    let run = run.code(2).says("openai/work-2 was not changed: openai/work has this key already");
    assert!(!run.says("credentials logout openai/work").stderr.contains("rename"));
    home.run(["login", "openai", "--api-key", "-l", "nobody", "--replace"]).code(3).says("nobody");
    home.run(["login", "openai", "--api-key", "--replace"]).code(2).says("--label");

    let server = server(Vendor::OpenAi);
    home.settings(&server.settings(true));
    let arguments = ["login", "openai", "-l", "work", "--replace"];
    home.run(arguments).code(2).says("of the kind api");
    sign_in(&server, &home, &["login", "openai", "-l", "dead"]).await.ok();
    sign_in(&server, &home, &["login", "openai", "-l", "dead", "--replace"])
        .await
        .ok()
        .says("Signed in again: openai/dead");
    assert_eq!(labels(&home).await, ["work", "work-2", "dead"]);
}

#[tokio::test]
async fn an_account_is_not_replaced_by_another_persons() {
    for vendor in [Vendor::Anthropic, Vendor::OpenAi, Vendor::Google] {
        let server = server(vendor);
        let home = home_of(&server);
        sign_in(&server, &home, &["login", vendor.name(), "-l", "work"]).await.ok();
        let before = accounts(&home).await.remove(0);
        server.person("bob");
        let replace = ["login", vendor.name(), "-l", "work", "--replace"];
        sign_in(&server, &home, &replace)
            .await
            .code(4)
            .says("/work is the account of ")
            .says("alice")
            .says("bob@example.com")
            .says("leave out --replace");
        let after = accounts(&home).await.remove(0);
        assert_eq!(after.secret.token().expose(), before.secret.token().expose());
        assert_eq!(after.metadata.generation, before.metadata.generation);
        // As an account of its own it is taken.
        sign_in(&server, &home, &["login", vendor.name(), "-l", "bob"]).await.ok();
        assert_eq!(labels(&home).await, ["work", "bob"]);
    }
    // Nobody tells whose they are.
    let server = server(Vendor::Qwen);
    let home = home_of(&server);
    for arguments in [
        &["login", "qwen", "-l", "work", "--no-browser"][..],
        &["login", "qwen", "-l", "work", "--replace"],
    ] {
        let mut waiting = Waiting::begin(&home, arguments);
        server.type_in(&waiting.shown());
        let run = waiting.end().ok();
        let is_unsure = run.stderr.contains("whether that is the same account");
        assert_eq!(is_unsure, arguments.contains(&"--replace"), "{run:?}");
        server.person("bob");
    }
    assert_eq!(labels(&home).await, ["work"]);
}

#[tokio::test]
async fn nobody_signs_in_to_replace_an_account_whose_record_does_not_open() {
    let server = server(Vendor::OpenAi);
    let home = home_of(&server);
    sign_in(&server, &home, &["login", "openai", "--label", "work"]).await.ok();
    let id = accounts(&home).await[0].metadata.id;
    let record = home.vault_directory().join(format!("records/{id}.json"));
    let text = std::fs::read_to_string(&record).unwrap();
    std::fs::write(&record, text.replacen("\"generation\": 1", "\"generation\": 2", 1)).unwrap();
    for way in ["--no-browser", "--device", "--paste-code"] {
        let run = home.run(["login", "openai", way, "--label", "work", "--replace"]).code(5);
        let run = run.says("openai/work can't be replaced: its record is damaged");
        let run = run
            .says("try: credentials logout openai/work --yes\n       then sign in without --replace\n");
        assert!(!run.stderr.contains("http://"), "sent to a browser in vain: {run:?}");
    }
    home.run(["logout", "openai/work", "--yes"]).ok();
    sign_in(&server, &home, &["login", "openai", "--label", "work"]).await.ok();
}
