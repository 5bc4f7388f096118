//! What `credentials tui` does with the terminal, and what is left of it when it ends.
#![cfg(all(unix, feature = "tui"))]

use crate::cli::until;
use crate::tmux::{Terminal, home};

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
