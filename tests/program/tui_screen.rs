//! `credentials tui` in a real terminal: what a person does there, and what is left of it when it ends.
#![cfg(all(unix, feature = "tui"))]

use tower_credentials::vault::VaultExt;

use crate::authorization_server::{AuthorizationServer, Kind, Rules, Vendor, browse, get};
use crate::cli::{Home, until};
use crate::tmux::Terminal;

/// A home with two keys.
async fn home() -> Home {
    let home = Home::new();
    home.add("openai", "work", "sk-secret-1").await;
    home.add("openai", "spare", "sk-secret-2").await;
    home
}

async fn labels(home: &Home) -> Vec<String> {
    let listed = home.vault().await.list().await.unwrap().credentials;
    listed.iter().map(|credential| credential.label.to_string()).collect()
}

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
async fn an_empty_vault_leads_to_the_first_key() {
    let home = Home::new();
    home.secret("sk-secret-1");
    let Some(terminal) = Terminal::open(&home, 100, 30) else { return };
    terminal.start("", "There are no accounts yet");
    terminal.key("n");
    terminal.wait("Add an account of");
    terminal.choose("openai");
    terminal.wait("The label of the account");
    terminal.key("Enter");
    terminal.wait("Paste it");
    terminal.text("sk-secret-1");
    terminal.wait("11 characters");
    terminal.key("Enter");
    terminal.wait("Stored: openai/default");
    terminal.wait("1 account: 1 ready");
    assert_eq!(labels(&home).await, ["default"]);
    terminal.key("q");
    assert_eq!(terminal.end(), 0);
}

fn server(vendor: Vendor) -> AuthorizationServer {
    let mut rules = Rules::of(vendor);
    rules.device_interval = Some(1);
    AuthorizationServer::start(rules)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_by_a_browser_is_shown_and_stored() {
    let server = server(Vendor::Anthropic);
    let home = Home::new();
    home.settings(&server.settings(true));
    let Some(terminal) = Terminal::open(&home, 100, 40) else { return };
    terminal.start("", "There are no accounts yet");
    terminal.key("n");
    terminal.wait("Add an account of");
    terminal.choose("anthropic");
    terminal.wait("How to sign in to anthropic");
    terminal.choose("browser");
    let screen = terminal.wait("Is your browser on another machine?");
    let address =
        |line: &str| line.split_whitespace().find(|word| word.starts_with("http://")).map(str::to_owned);
    browse(&screen.lines().find_map(address).unwrap()).await;
    terminal.wait("Signed in: anthropic/");
    let screen = terminal.wait("1 account: 1 ready");
    for secret in server.issued() {
        assert!(!screen.contains(&secret), "{screen}");
    }
    assert_eq!(labels(&home).await.len(), 1);
    // Once more, and broken off.
    terminal.key("s");
    terminal.wait("How to sign in to anthropic");
    terminal.choose("browser");
    terminal.wait("Is your browser on another machine?");
    terminal.key("Escape");
    terminal.wait("broken off");
    terminal.key("q");
    assert_eq!(terminal.end(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_by_a_device_shows_its_code_and_a_countdown() {
    let server = server(Vendor::Copilot);
    let home = Home::new();
    home.settings(&server.settings(true));
    let Some(terminal) = Terminal::open(&home, 100, 40) else { return };
    terminal.start("", "There are no accounts yet");
    terminal.key("n");
    terminal.wait("Add an account of");
    terminal.choose("github-copilot");
    let screen = terminal.wait("USER-0000");
    assert!(screen.contains("█") && screen.contains(" left"), "{screen}");
    server.type_in("USER-0000");
    terminal.wait("Signed in: github-copilot/");
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
async fn a_key_is_tested_and_a_token_renewed_with_the_vendor_s_words() {
    let server = server(Vendor::Anthropic);
    let home = Home::new();
    home.settings(&server.settings(true));
    let issued = server.client().sign_in(tower_credentials::oauth::FlowKind::Loopback).await;
    let mut sign_in = issued.unwrap();
    let page = crate::authorization_server::start(&sign_in);
    let (_, signed_in) = tokio::join!(browse(&page), crate::authorization_server::follow(&mut sign_in));
    let vault = home.vault().await;
    let pool = tower_credentials::PoolKey::new("anthropic");
    let stored = signed_in.1.unwrap().store(&vault, pool, "work").await.unwrap();
    let Some(terminal) = Terminal::open(&home, 100, 30) else { return };
    terminal.start("", "▶ * work");
    terminal.key("u");
    // It is too new, or it is renewed: which one, the program says.
    until("what became of it", || {
        let screen = terminal.screen();
        (screen.contains("is renewed") || screen.contains("was not renewed")).then_some(())
    });
    terminal.key("Escape");
    terminal.key("t");
    // The verdict is said, and what the vendor has answered is history.
    terminal.wait("anthropic/work there are no models at this URL");
    let answered = |line: &str| line.contains(':') && line.trim_end().ends_with("404");
    until("the answer", || terminal.screen().lines().any(answered).then_some(()));
    assert!(vault.get(stored.id).await.is_ok());
    for secret in server.issued() {
        home.secret(&secret);
    }
    terminal.screen();
    terminal.key("q");
    assert_eq!(terminal.end(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_signal_ends_it_with_its_code_and_the_terminal_as_it_was() {
    let home = home().await;
    for (signal, code) in [("INT", 130), ("TERM", 143), ("HUP", 129), ("QUIT", 131)] {
        let Some(terminal) = Terminal::open(&home, 80, 24) else { return };
        terminal.start("--mouse", "2 accounts: 2 ready");
        terminal.kill(signal);
        assert_eq!(terminal.end(), code, "{signal}");
        drop(terminal);
        for name in ["before", "after", "code", "pid"] {
            std::fs::remove_file(home.path().join(name)).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_z_goes_back_to_the_shell_and_fg_comes_back_to_the_screen() {
    let home = home().await;
    let Some(terminal) = Terminal::open(&home, 80, 24) else { return };
    terminal.start("--mouse", "▶ * work");
    for _ in 0..2 {
        terminal.key("C-z");
        terminal.wait("Stopped");
        terminal.check();
        terminal.line("clear; fg");
        terminal.wait("▶ * work");
    }
    terminal.key("Down");
    terminal.wait("▶   spare");
    terminal.key("q");
    until("the shell", || (!terminal.screen().contains('▶')).then_some(()));
    terminal.check();
}

#[tokio::test(flavor = "multi_thread")]
async fn it_follows_the_size_of_the_terminal() {
    let home = home().await;
    let Some(terminal) = Terminal::open(&home, 80, 24) else { return };
    terminal.start("", "LEFT");
    terminal.resize(40, 12);
    until("a small screen", || (!terminal.screen().contains("LEFT")).then_some(()));
    terminal.wait("▶ * work");
    terminal.resize(150, 45);
    terminal.wait("HISTORY of all accounts");
    terminal.resize(10, 3);
    terminal.key("Down");
    terminal.resize(80, 24);
    terminal.wait("▶   spare");
    terminal.key("q");
    assert_eq!(terminal.end(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_color_means_no_color() {
    let home = home().await.variable("NO_COLOR", "1");
    let Some(terminal) = Terminal::open(&home, 80, 24) else { return };
    terminal.start("", "▶ * work");
    let styled = terminal.styled();
    let has_color = (30..38).any(|color| styled.contains(&format!("\u{1b}[{color}m")));
    assert!(!has_color, "{styled:?}");
    terminal.key("q");
    assert_eq!(terminal.end(), 0);
}

/// What the program has handed to the terminal's clipboard.
fn copied(terminal: &Terminal<'_>, beginning: &str) -> String {
    until("the copy", || terminal.clipboard().filter(|text| text.starts_with(beginning)))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_is_pasted_into_a_sign_in_and_a_wrong_one_can_be_mended() {
    let server = server(Vendor::Anthropic);
    let home = Home::new();
    // Nothing listens there, so any port does, but the vendor must know it.
    home.settings(&server.settings(true).replace(":0/", ":1455/"));
    let Some(terminal) = Terminal::open(&home, 100, 40) else { return };
    terminal.start("", "There are no accounts yet");
    terminal.key("n");
    terminal.wait("Add an account of");
    terminal.choose("anthropic");
    terminal.wait("How to sign in to anthropic");
    terminal.choose("pasted code");
    terminal.wait("Then paste the code");
    terminal.key("C-y");
    let code = get(&copied(&terminal, "http://127")).await.location();
    terminal.paste("https://example.com/without?query=true");
    terminal.wait("without?query");
    terminal.key("Enter");
    terminal.wait("paste another");
    terminal.paste(&code);
    terminal.wait("code=");
    terminal.key("Enter");
    terminal.wait("Signed in: anthropic/");
    let screen = terminal.wait("1 account: 1 ready");
    for secret in server.issued() {
        assert!(!screen.contains(&secret), "{screen}");
    }
    terminal.wait("signed in");
    assert_eq!(server.granted(Kind::Code), 1);
    terminal.key("q");
    assert_eq!(terminal.end(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_is_shown_and_copied_but_never_handed_to_a_browser_whose_arguments_all_can_see() {
    let server = server(Vendor::Cursor);
    let home = Home::new().variable("BROWSER", "touch opened");
    home.settings(&server.settings(true));
    let Some(terminal) = Terminal::open(&home, 100, 40) else { return };
    terminal.start("", "There are no accounts yet");
    terminal.key("n");
    terminal.wait("Add an account of");
    terminal.choose("cursor");
    until("the link, or the ways", || {
        let screen = terminal.screen();
        if screen.contains("▶ link") {
            terminal.key("Enter");
        }
        screen.contains("Sign in on this page").then_some(())
    });
    terminal.key("C-o");
    terminal.wait("whoever sees this address could sign in with it");
    terminal.key("C-y");
    server.follow_link(&copied(&terminal, "http://127"));
    terminal.wait("Signed in: cursor/");
    terminal.wait("1 account: 1 ready");
    assert!(!home.path().join("opened").exists());
    terminal.key("q");
    assert_eq!(terminal.end(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wheel_goes_through_the_accounts_and_a_click_chooses_one_if_that_is_asked_for() {
    const DOWN: u8 = 65;
    const UP: u8 = 64;
    const CLICK: u8 = 0;
    let home = home().await;
    home.add("openai", "third", "sk-secret-3").await;
    let Some(terminal) = Terminal::open(&home, 80, 24) else { return };
    terminal.start("", "▶ * work");
    assert!(!terminal.has_mouse(), "the terminal selects text");
    terminal.key("q");
    assert_eq!(terminal.end(), 0);
    std::fs::remove_file(home.path().join("code")).unwrap();
    terminal.start("--mouse", "▶ * work");
    assert!(terminal.has_mouse());
    terminal.mouse(DOWN, 10, 5);
    terminal.wait("▶   spare");
    terminal.mouse(DOWN, 10, 5);
    terminal.wait("▶   third");
    terminal.mouse(UP, 10, 5);
    let screen = terminal.wait("▶   spare");
    let line = screen.lines().position(|line| line.contains("third")).unwrap() + 1;
    terminal.mouse(CLICK, 20, u16::try_from(line).unwrap());
    terminal.wait("▶   third");
    // The name of a provider is no account, nor is what is beside the list.
    for line in [1, 4, 24] {
        terminal.mouse(CLICK, 3, line);
    }
    terminal.mouse(DOWN, 10, 5);
    // In a text the wheel scrolls.
    terminal.key("?");
    terminal.wait("one up");
    for _ in 0..3 {
        terminal.mouse(DOWN, 10, 5);
    }
    until("the text has scrolled", || (!terminal.screen().contains("one up")).then_some(()));
    terminal.key("Escape");
    terminal.wait("▶   third");
    terminal.key("q");
    assert_eq!(terminal.end(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_that_stops_it_gives_the_terminal_back_and_fg_comes_back_to_the_screen() {
    let home = home().await;
    let Some(terminal) = Terminal::open(&home, 80, 24) else { return };
    terminal.start("--mouse", "▶ * work");
    terminal.kill("TSTP");
    terminal.wait("Stopped");
    terminal.check();
    // Continued behind the shell's back, it leaves the terminal alone.
    terminal.kill("CONT");
    terminal.line("clear; echo still here");
    terminal.wait("still here");
    terminal.check();
    terminal.line("clear; fg");
    terminal.wait("▶ * work");
    assert!(terminal.has_mouse());
    // Nobody can hear this one; what it leaves behind is mended when the program goes on.
    terminal.kill("STOP");
    terminal.line("");
    terminal.line("fg");
    terminal.key("Down");
    terminal.wait("▶   spare");
    terminal.kill("TSTP");
    terminal.wait("Stopped");
    terminal.line("clear; fg");
    terminal.wait("▶   spare");
    terminal.key("q");
    until("the shell", || (!terminal.screen().contains('▶')).then_some(()));
    terminal.check();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dialogue_stays_when_the_terminal_becomes_narrow_and_takes_what_is_typed() {
    let home = home().await;
    let Some(terminal) = Terminal::open(&home, 120, 40) else { return };
    terminal.start("", "▶ * work");
    terminal.key("R");
    terminal.wait("Rename openai/work");
    terminal.key("C-u");
    terminal.text("ho");
    terminal.wait("› ho");
    terminal.resize(40, 12);
    until("a narrow screen", || {
        let screen = terminal.screen();
        (screen.contains("› ho") && screen.lines().all(|line| line.chars().count() <= 40)).then_some(())
    });
    terminal.wait("Rename openai/work");
    terminal.text("me");
    terminal.wait("› home");
    terminal.key("Enter");
    terminal.wait("▶ * home");
    // A menu, a question and a text, too.
    for (key, shown) in [("n", "Add an account of"), ("d", "Sure?"), ("w", "Why: openai/home")] {
        terminal.resize(120, 40);
        terminal.wait("HISTORY");
        terminal.key(key);
        terminal.wait(shown);
        terminal.resize(40, 12);
        until("a narrow screen", || (!terminal.screen().contains("HISTORY")).then_some(()));
        terminal.wait(shown);
        terminal.key("Escape");
        terminal.wait("▶ * home");
    }
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
