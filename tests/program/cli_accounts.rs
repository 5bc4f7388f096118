//! Accounts by their names: the one that is meant is shown, renamed or removed, and no other.
#![cfg(feature = "cli")]

use crate::cli::accounts::{cooldown, labels, learn};
use crate::cli::{Home, end_of};

#[tokio::test]
async fn one_account_is_shown_without_its_secret() {
    let home = Home::new();
    let work = home.add("openai", "work", "sk-secret-1").await;
    home.add("openai", "spare", "sk-secret-2").await;
    for name in
        ["work", "openai/work", "openai/default/work", &work.id.to_string(), &work.id.to_string()[..6]]
    {
        home.run(["show", name]).ok().prints(&work.id.to_string());
    }
    let json = home.run(["show", "openai/work", "--json"]).ok().json();
    assert_eq!((&json["label"], &json["generation"]), (&"work".into(), &1.into()));
    home.run(["show", "openai"]).code(2).says("openai/work, openai/spare").says("label");
    home.run(["show", "openai/wrok"]).code(3).says("openai has openai/work, openai/spare");
    home.run(["show", "anthropic"]).code(3).says("credentials login anthropic");
}

#[tokio::test]
async fn a_logout_asks_and_removes_only_what_was_meant() {
    let home = Home::new();
    for (label, key) in [("a", "sk-secret-1"), ("b", "sk-secret-2"), ("c", "sk-secret-3")] {
        home.add("openai", label, key).await;
    }
    home.add("anthropic", "other", "sk-secret-4").await;
    home.run(["logout", "openai/a"]).code(2).says("--yes");
    home.run(["logout", "openai", "--yes"]).code(2).says("--all").says("openai/a, openai/b, openai/c");
    assert_eq!(labels(&home, "openai"), ["a", "b", "c"]);

    let mut terminal = home.terminal(["logout", "openai/a"]);
    terminal.exp_string("Remove openai/a from the vault? [y/N]").unwrap();
    terminal.send_line("n").unwrap();
    let (shown, code) = end_of(terminal);
    assert_eq!(code, 1, "{shown}");
    assert!(shown.contains("nothing was done"), "{shown}");
    let mut terminal = home.terminal(["logout", "openai/a"]);
    terminal.exp_string("[y/N]").unwrap();
    terminal.send_line("y").unwrap();
    assert_eq!(end_of(terminal).1, 0);
    assert_eq!(labels(&home, "openai"), ["b", "c"]);

    home.run(["logout", "openai", "--all", "--yes"])
        .ok()
        .says("Removed openai/b")
        .says("Removed openai/c");
    assert_eq!(labels(&home, "openai"), [""; 0]);
    assert_eq!(labels(&home, "anthropic"), ["other"]);
}

#[tokio::test]
async fn a_damaged_record_is_named_and_can_be_removed_by_its_id() {
    let home = Home::new();
    home.add("openai", "good", "sk-secret-1").await;
    let bad = home.add("openai", "bad", "sk-secret-2").await;
    let path = home.vault_directory().join(format!("records/{}.json", bad.id));
    std::fs::write(&path, "{").unwrap();
    let run = home.run(["list"]).code(5).prints("good").says(path.to_str().unwrap());
    assert!(!run.stdout.contains("bad"), "{run:?}");
    let run = home.run(["logout", &bad.id.to_string(), "--yes"]).ok().says("Removed the record");
    assert_eq!(run.stderr.matches("warning: ").count(), 1, "{run:?}");
    assert!(!path.exists());
    assert_eq!(home.run(["list"]).ok().stderr, "");
}

#[tokio::test]
async fn a_text_that_may_be_a_label_or_the_beginning_of_an_id_is_ambiguous() {
    let home = Home::new();
    let first = home.add("openai", "a", "sk-secret-1").await;
    home.add("openai", "b", "sk-secret-2").await;
    let beginning = first.id.to_string()[..8].to_owned();
    home.run(["rename", "openai/b", &beginning]).ok();
    home.run(["pause", &beginning]).code(2).says("matches 2 accounts");
    home.run(["pause", &first.id.to_string()]).ok().says("openai/a is paused");
    home.run(["rename", "openai/a", "openai/c"]).code(2).says("credentials rename openai/a c");
    home.run(["rename", "openai/a", "\u{202e}c"]).code(2).says("turn a line around");
}

#[tokio::test]
async fn what_a_terminal_would_obey_is_not_written_to_it() {
    let home = Home::new();
    let work = home.add("openai", "work", "sk-secret-1").await;
    learn(&home, &work, cooldown(300, Some("m\u{1b}]0;title\u{7}\u{202e}\u{feff}"))).await;
    for command in ["list", "show"] {
        let arguments: &[&str] = if command == "list" { &["list"] } else { &["show", "work"] };
        let shown = home.run(arguments).ok().stdout;
        assert!(shown.contains("]0;title"), "{shown}");
        assert!(!shown.contains(['\u{1b}', '\u{7}', '\u{202e}', '\u{feff}']), "{shown:?}");
    }
}

#[tokio::test]
async fn commands_have_the_aliases_that_other_programs_use() {
    let home = Home::new();
    home.add("openai", "a", "sk-secret-1").await;
    home.add("openai", "b", "sk-secret-2").await;
    home.run(["use", "openai/b"]).ok().says("openai/b is 1 of 2 now");
    for (name, account) in [("rm", "a"), ("remove", "c"), ("delete", "d")] {
        if account != "a" {
            home.add("openai", account, &format!("sk-secret-{account}")).await;
        }
        home.run([name, &format!("openai/{account}"), "--yes"]).ok().says("Removed");
    }
    assert_eq!(labels(&home, "openai"), ["b"]);
}

#[tokio::test]
async fn what_a_person_is_told_to_type_can_be_typed() {
    let home = Home::new();
    home.add("acme", "my key $HOME", "sk-secret-1").await;
    let run = home.run(["rename", "acme/my key $HOME", "acme/it's mine"]).code(2);
    run.says(r"try: credentials rename 'acme/my key $HOME' 'it'\''s mine'");
    home.run(["pause", "my key $HOME"]).ok();
    home.run(["status"]).code(6).prints("try: credentials resume 'acme/my key $HOME'\n");
    home.run(["headers", "openai", "--url", "nonsense"])
        .code(2)
        .says("not a whole URL, such as https://");
    let run = home.run(["headers", "openai", "--url", "/v1/models"]).code(2);
    run.says("not a whole URL").says("not a whole URL, such as https://");
    home.run(["move", "my key $HOME", "--to", "0"]).code(2).says("counted from 1");
    home.run(["move", "my key $HOME", "--to", "first"]).code(2).says("counted from 1");
    let id = home.run(["show", "my key $HOME", "--json"]).ok().json()["id"].as_str().unwrap().to_owned();
    home.run(["show", &id[..3]]).code(3).says("needs at least 4 digits");
    home.run(["show", &id[..4]]).ok();
    home.run(["--help"]).ok().prints("the settings file takes precedence");
    home.run(["models", "openai", "-n", "other"])
        .code(3)
        .says("try: credentials login openai --namespace other\n");
    let key = "k".repeat(70_000);
    let run = home
        .run_with(["login", "openai", "--api-key"], &key)
        .code(2)
        .says("it is longer than 65536 bytes");
    assert!(!run.stderr.contains("a API"), "{run:#?}");
}

#[tokio::test]
async fn a_label_that_could_not_be_typed_is_refused_and_one_that_is_there_goes_on() {
    let home = Home::new();
    home.add("openai", "old/one", "sk-secret-1").await;
    home.add("openai", "spare", "sk-secret-2").await;
    home.run(["rename", "spare", "a/b"]).code(2).says("separates the parts of an account's name");
    home.run(["rename", "spare", " pad"]).code(2).says("begins or ends with a blank");
    for wrong in [["--label", " pad "], ["--label", "a/b"], ["--namespace", "../../up"]] {
        let arguments = [&["login", "openai", "--api-key"][..], &wrong].concat();
        home.run_with(arguments, "sk-secret-3").code(2).says(wrong[1].trim());
    }
    home.run(["show", "openai/old/one"]).ok();
    home.run(["rename", "old/one", "new"]).ok();
    assert_eq!(labels(&home, "openai"), ["new", "spare"]);
}

#[tokio::test]
async fn a_typing_error_gets_the_nearest_name() {
    let home = Home::new();
    for command in ["use", "test"] {
        home.run([command, "nope"]).code(3).says("there are no accounts yet");
    }
    home.add("openai", "spare", "sk-secret-1").await;
    for command in ["login", "list", "status"] {
        home.run([command, "nope"]).code(3).says("try: credentials providers\n");
    }
    home.run(["use", "spar"]).code(3).says("the nearest is openai/spare");
    let run = home.run(["use", "quite-another"]).code(3);
    assert!(!run.stderr.contains("nearest"), "{run:?}");
    home.run(["resume", "spare"]).ok().says("openai/spare was not paused");
    home.run(["pause", "spare"]).ok().says("openai/spare is paused");
    home.run(["pause", "spare"]).ok().says("openai/spare was paused already");
    home.run(["resume", "spare"]).ok().says("openai/spare is in use again");
    for command in ["tier", "move"] {
        home.run([command, "spare", "2"]).code(2).says("--to 2");
    }
}
