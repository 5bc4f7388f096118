//! What is typed wrongly gets an error that names what fits, in the program's own words.
#![cfg(all(unix, feature = "cli"))]

use crate::cli::{Home, Run};

#[tokio::test]
async fn a_command_that_needs_one_of_several_flags_names_all_of_them() {
    let home = Home::new();
    home.add("openai", "work", "sk-secret-1").await;
    let run = home.run(["quota", "openai/work"]).code(2);
    let run = run.says("--to <NAME>").says("--own").says("--usual");
    assert!(run.stderr.contains("<--to <NAME>|--own|--usual>"), "{run:?}");
    home.run(["tier", "openai/work"]).code(2).says("<--to <N>|--usual>");
    // One of them, and not two.
    home.run(["quota", "openai/work", "--own", "--to", "acme"]).code(2).says("cannot be used with");
    home.run(["quota", "openai/work", "--own", "--usual"]).code(2).says("cannot be used with");
    home.run(["tier", "openai/work", "--usual", "--to", "2"]).code(2).says("cannot be used with");
    home.run(["quota", "openai/work", "--to", "acme"]).ok();
    home.run(["quota", "openai/work", "--usual"]).ok();
}

#[tokio::test]
async fn an_account_that_is_named_in_place_of_its_provider_gets_the_right_form() {
    let home = Home::new();
    home.add("openai", "bad", "sk-secret-1").await;
    home.run(["why", "openai/bad"]).code(3).says("only a provider").says("credentials why openai bad");
    home.run(["why", "openai/bad one"]).code(3).says("credentials why openai 'bad one'");
    home.run(["why", "openai/default/bad"]).code(3).says("credentials why openai openai/default/bad");
    for command in [
        &["models", "openai/bad"][..],
        &["list", "openai/bad"],
        &["status", "openai/bad"],
        &["providers", "openai/bad"],
        &["exec", "openai/bad", "--", "true"],
        &["serve", "openai/bad", "--open", "--listen", "127.0.0.1:0"],
        &["client", "add", "laptop", "--provider", "openai/bad"],
    ] {
        let run = home.run(command).code(3);
        let run = run.says("openai/bad names an account, and only a provider fits here");
        run.says("try: openai in place of it");
    }
    // What begins with no provider is a wrong name as any other.
    home.run(["why", "opnai/bad"]).code(3).says("opnai/bad").says("credentials providers");
}

#[test]
fn a_command_for_exec_without_dashes_before_it_gets_them() {
    let home = Home::new();
    let tip = "put `--` before the command";
    for typed in [
        &["exec", "llm"][..],
        &["exec", "llm", "hello"],
        &["exec", "anthropic", "claude", "--model", "x"],
        &["exec", "claude", "-p"],
        &["exec"],
    ] {
        let run = home.run(typed).code(2).says(tip);
        assert!(!run.stderr.contains("-- --model"), "one hint is enough: {run:?}");
    }
    let said = |run: Run| assert!(!run.stderr.contains(tip), "{run:?}");
    said(home.run(["exec", "--no-such-flag", "--", "true"]).code(2));
    said(home.run(["login", "openai", "--label", "exec", "--no-such-flag"]).code(2));
}

#[test]
fn a_wrong_number_or_address_is_told_in_our_words() {
    let home = Home::new();
    let raw = ["non-zero", "invalid digit", "socket address syntax", "empty string", "too large to fit"];
    for (typed, fits) in [
        (&["serve", "--max-connections", "0"][..], "a whole number, from 1 on"),
        (&["serve", "--max-connections", "many"], "a whole number, from 1 on"),
        (&["serve", "--max-connections", ""], "a whole number, from 1 on"),
        (&["serve", "--max-connections", "99999999999999999999"], "the number is too large"),
        (&["serve", "--upstream-ping", "x"], "a whole number from 1 to 3600"),
        (&["serve", "--upstream-ping", "3601"], "a whole number from 1 to 3600"),
        (&["serve", "--replay", "2M"], "it counts bytes, without a unit"),
        (&["serve", "--drain", "0"], "a whole number of seconds"),
        (&["exec", "--replay", "x", "--", "true"], "it counts bytes, without a unit"),
        (&["serve", "--listen", "8080"], "an IP address and a port, such as 127.0.0.1:8080"),
        (&["serve", "--listen", "localhost:8080"], "an IP address and a port, such as 127.0.0.1:8080"),
        (&["client", "add", "x", "--max-in-flight", "0"], "a whole number, from 1 on"),
        (&["client", "add", "x", "--per-minute", "1.5"], "a whole number, from 1 on"),
        (&["client", "add", "x", "--per-minute", "4294967296"], "the number is too large"),
        (&["tier", "work", "--to", "256"], "the numbers from 0 to 255"),
        (&["tier", "work", "--to", "x"], "the numbers from 0 to 255"),
        (&["move", "work", "--to", "x"], "places are counted from 1"),
    ] {
        let run = home.run(typed).code(2).says(fits);
        assert!(raw.iter().all(|raw| !run.stderr.contains(raw)), "{run:?}");
        let flag = typed.iter().rev().find(|typed| typed.starts_with("--") && **typed != "--").unwrap();
        run.says(flag);
    }
}

#[test]
fn a_wrong_address_in_the_settings_is_told_in_our_words() {
    let home = Home::new();
    for wrong in ["\"8080\"", "\"localhost:8080\"", "8080", "[]"] {
        home.settings(&format!("[serve]\nlisten = {wrong}\n"));
        let run = home.run(["serve", "--open"]).code(2).says("config.toml, line 2: the table [serve]: ");
        run.says("listen: it must be an IP address and a port, such as 127.0.0.1:8080");
    }
}
