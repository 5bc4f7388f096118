//! `credentials tui` in a real terminal: what a person does and sees there.
#![cfg(all(unix, feature = "tui"))]

use crate::cli::{Home, until};
use crate::tmux::{Terminal, home, labels};

#[test]
fn without_a_terminal_it_names_the_command_for_that() {
    let home = Home::new();
    home.run(["tui"]).code(2).says("needs a terminal").says("credentials list");
    home.run(["tui", "--print", "80x0"]).code(2).says("80x24");
    assert!(home.path().read_dir().unwrap().next().is_none(), "something was made");
}

#[tokio::test]
async fn the_screen_is_printed_in_any_size_without_a_terminal() {
    let home = home().await;
    let screen = home.run(["tui", "--print", "80x24"]).ok().prints("2 accounts").prints("* work");
    assert_eq!(screen.stdout.lines().count(), 24);
    home.run(["tui", "--print", "40x12", "--demo"]).ok().prints("sign in: token revoked");
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_are_paused_reset_moved_renamed_and_removed_by_keys() {
    let home = home().await;
    let Some(terminal) = Terminal::open(&home, 80, 24) else { return };
    terminal.start("", "▶ * work");
    terminal.key("p");
    terminal.wait("paused by you");
    home.run(["list"]).ok().prints("paused");
    terminal.key("p");
    terminal.wait("2 accounts: 2 ready");
    terminal.key("]");
    terminal.wait("openai/work is 2 of 2 now");
    terminal.key("a");
    terminal.wait("openai/work is 1 of 2 now");
    terminal.key("r");
    terminal.wait("openai/work is reset");
    terminal.key("R");
    terminal.key("C-u");
    terminal.text("home");
    terminal.key("Enter");
    terminal.wait("▶ * home");
    // A label that is taken is an error, in place.
    terminal.key("R");
    terminal.key("C-u");
    terminal.text("spare");
    terminal.key("Enter");
    terminal.wait("spare");
    terminal.wait("taken");
    terminal.key("Down");
    terminal.wait("▶   spare");
    terminal.key("d");
    terminal.wait("Remove openai/spare from the vault?");
    terminal.key("n");
    terminal.key("d");
    terminal.key("y");
    terminal.wait("1 account: 1 ready");
    terminal.wait("Removed openai/spare");
    assert_eq!(labels(&home).await, ["home"]);
    terminal.key("q");
    assert_eq!(terminal.end(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_other_programs_change_is_shown_without_a_key() {
    let home = home().await;
    let Some(terminal) = Terminal::open(&home, 120, 40) else { return };
    terminal.start("", "2 accounts: 2 ready");
    home.run(["pause", "openai/work"]).ok();
    terminal.wait("paused by you");
    // A first account of another provider.
    home.add("anthropic", "new", "sk-secret-3").await;
    terminal.wait("3 accounts");
    terminal.wait("* new");
    home.run(["logout", "openai/work", "--yes"]).ok();
    terminal.wait("2 accounts: 2 ready");
    // The settings, too.
    home.settings("[providers.mine]\ntype = \"generic\"\norigins = [\"https://mine.example\"]\n");
    terminal.key("n");
    until("the new provider", || {
        let is_there = terminal.screen().contains("mine ");
        if !is_there {
            terminal.key("Escape");
            terminal.key("n");
        }
        is_there.then_some(())
    });
    terminal.key("C-c");
    assert_eq!(terminal.end(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_settings_are_said_and_the_screen_goes_on_by_those_before() {
    let home = home().await;
    home.settings("providers.openai.mode = \"subscription\"\n");
    let Some(terminal) = Terminal::open(&home, 120, 40) else { return };
    terminal.start("", "2 accounts: 2 not used");
    home.settings("providers.openai.mode = \"none\"\n");
    terminal.wait("`providers.openai.mode` must be one of");
    home.add("openai", "third", "sk-secret-3").await;
    terminal.wait("3 accounts: 3 not used");
    terminal.wait("`providers.openai.mode` must be one of");
    home.settings("");
    terminal.wait("3 accounts: 3 ready");
    until("all is well", || (!terminal.screen().contains("must be one of")).then_some(()));
    terminal.key("q");
    assert_eq!(terminal.end(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mode_is_set_in_the_settings_file_and_nothing_else_there_is_changed() {
    let home = home().await;
    home.settings("# Mine.\n[providers.openai] # work\nmax_attempts = 3\n");
    let Some(terminal) = Terminal::open(&home, 100, 30) else { return };
    terminal.start("", "▶ * work");
    terminal.key("m");
    terminal.wait("▶ auto");
    terminal.choose("subscription");
    terminal.wait("not used: mode subscription takes only sign-ins");
    let settings = std::fs::read_to_string(home.settings_file()).unwrap();
    let expected = "# Mine.\n[providers.openai] # work\nmax_attempts = 3\nmode = \"subscription\"\n";
    assert_eq!(settings, expected);
    terminal.key("q");
    assert_eq!(terminal.end(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_is_what_all_programs_have_recorded_and_goes_on_by_itself() {
    let home = home().await.variable("TZ", "Etc/GMT-2");
    home.run(["pause", "openai/work"]).ok();
    home.run(["resume", "openai/work"]).ok();
    let Some(terminal) = Terminal::open(&home, 120, 40) else { return };
    // What was before the screen is there from the beginning, by the clock of the place.
    let screen = terminal.start("", "resumed");
    assert!(screen.contains("openai/work") && screen.contains("paused"), "{screen}");
    assert!(screen.contains("+02:00"), "{screen}");
    home.run(["tier", "openai/spare", "--to", "3"]).ok();
    terminal.wait("moved to tier 3");
    // What is done here is recorded at once, for others.
    terminal.key("r");
    terminal.wait("openai/work is reset");
    until("the entry", || {
        home.run(["history"]).ok().stdout.contains("openai/work  reset").then_some(())
    });
    let reset = |line: &str| line.contains(" reset") && line.contains(':');
    until("its line", || terminal.screen().lines().any(reset).then_some(()));
    terminal.key("Down");
    terminal.key("f");
    terminal.wait("HISTORY of openai/spare");
    until("the others' are hidden", || (!terminal.screen().contains("resumed")).then_some(()));
    // Switched off meanwhile, and on again.
    home.settings("vault.history = false\n");
    terminal.wait("not recorded: `vault.history` is false in ");
    terminal.wait("moved to tier 3");
    terminal.key("r");
    terminal.wait("openai/spare is reset");
    assert!(!home.run(["history"]).ok().stdout.contains("openai/spare  reset"));
    home.settings("");
    until("it is on", || (!terminal.screen().contains("not recorded")).then_some(()));
    home.run(["logout", "openai/spare", "--yes"]).ok();
    terminal.key("f");
    terminal.wait("removed");
    until("nothing else of it is known", || {
        (!terminal.screen().contains("moved to tier 3")).then_some(())
    });
    terminal.key("q");
    assert_eq!(terminal.end(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn why_says_what_the_command_says_and_stays_up_to_date() {
    let home = home().await;
    home.add("openai", "third", "sk-secret-3").await;
    home.run(["pause", "openai/third"]).ok();
    let Some(terminal) = Terminal::open(&home, 120, 40) else { return };
    terminal.start("", "▶ * work");
    terminal.key("w");
    terminal.wait("Why: openai/work");
    let told = || home.run(["why", "openai"]).ok().stdout;
    let is_the_same = |told: String| {
        // `openai/spare: why`, and below it what to try.
        let lines: Vec<_> =
            told.lines().map(|line| line.split_once(": ").unwrap_or(("", line))).collect();
        assert!(lines.len() >= 5, "{told}");
        until("the same words", || {
            let words = terminal.words();
            lines.iter().all(|(_, why)| words.contains(why.trim())).then_some(())
        });
    };
    is_the_same(told());
    terminal.wait("the next request takes openai/work");
    home.run(["pause", "openai/work"]).ok();
    terminal.wait("the next request takes openai/spare");
    is_the_same(told());
    terminal.key("Escape");
    terminal.key("q");
    assert_eq!(terminal.end(), 0);
}
