//! A real terminal with the program in it: tmux, which answers what a bare pseudo-terminal does not, and tells what its
//! screen shows, whether its cursor is seen and whether the alternate screen is on.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use tower_credentials::vault::VaultExt;

use crate::cli::{Home, until};
use crate::thorough::is_thorough;

/// A terminal with an interactive shell in it.
pub struct Terminal<'a> {
    home: &'a Home,
    /// One of its own: a server that ends still has its socket for a moment.
    socket: PathBuf,
}

impl<'a> Terminal<'a> {
    /// Opens one of this size. `None` if there is no tmux: `.ci/run` installs it, and there it is an error.
    pub fn open(home: &'a Home, width: u16, height: u16) -> Option<Self> {
        if Command::new("tmux").arg("-V").output().is_err() {
            assert!(!is_thorough(), "tmux is not installed");
            eprintln!("left out: tmux is not installed");
            return None;
        }
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let socket = home.path().join(format!("tmux-{}", COUNT.fetch_add(1, Ordering::Relaxed)));
        let terminal = Self { home, socket };
        let (width, height) = (width.to_string(), height.to_string());
        let shell = "exec bash --norc --noprofile -i";
        terminal.tmux(&["-f", "/dev/null", "new-session", "-d", "-x", &width, "-y", &height, shell]);
        terminal.tmux(&["set", "-g", "window-size", "manual"]);
        terminal.tmux(&["set", "-g", "set-clipboard", "on"]);
        terminal.line("PS1='> '; stty -g > before; clear");
        until("the shell begins", || terminal.read("before").filter(|before| before.ends_with('\n')));
        Some(terminal)
    }

    #[track_caller]
    fn tmux(&self, arguments: &[&str]) -> String {
        let mut command = self.home.command_of("tmux");
        command.env("LC_ALL", "C.UTF-8").arg("-u").arg("-S").arg(&self.socket).args(arguments);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Begins the screen, with these words after its name, and waits for this text.
    #[track_caller]
    pub fn start(&self, arguments: &str, shown: &str) -> String {
        let program = self.home.command([""; 0]).get_program().to_str().unwrap().to_owned();
        let script = format!("echo $$ > pid; exec {program} tui {arguments}");
        fs::write(self.home.path().join("screen"), script).unwrap();
        self.line("sh screen; echo $? > code");
        self.wait(shown)
    }

    /// Types a line, and Enter.
    pub fn line(&self, text: &str) {
        self.text(text);
        self.key("Enter");
    }

    /// Types a text.
    pub fn text(&self, text: &str) {
        self.tmux(&["send-keys", "-l", text]);
    }

    /// Presses a key, by tmux's name for it.
    pub fn key(&self, key: &str) {
        self.tmux(&["send-keys", key]);
    }

    /// Presses or turns something of the mouse, by the number that terminals send for it, at this column and line from 1.
    pub fn mouse(&self, button: u8, column: u16, line: u16) {
        self.text(&format!("\u{1b}[<{button};{column};{line}M"));
    }

    /// Pastes a text, as a person does from the clipboard.
    pub fn paste(&self, text: &str) {
        self.tmux(&["set-buffer", text]);
        self.tmux(&["paste-buffer", "-p"]);
    }

    /// The screen's words in one line, without frames: whatever its width, a sentence is found.
    #[track_caller]
    pub fn words(&self) -> String {
        let text = self.screen().replace(['│', '▶'], " ");
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    pub fn resize(&self, width: u16, height: u16) {
        self.tmux(&["resize-window", "-x", &width.to_string(), "-y", &height.to_string()]);
    }

    /// What is on the screen. No secret of the home may be there.
    #[track_caller]
    pub fn screen(&self) -> String {
        let screen = self.tmux(&["capture-pane", "-p"]);
        self.home.check(&screen);
        screen
    }

    /// What is on the screen, with its styles.
    pub fn styled(&self) -> String {
        self.tmux(&["capture-pane", "-p", "-e"])
    }

    /// Waits until the screen has this text.
    #[track_caller]
    pub fn wait(&self, text: &str) -> String {
        let mut last = String::new();
        let shown = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            until(text, || {
                last = self.screen();
                last.contains(text).then(|| last.clone())
            })
        }));
        shown.unwrap_or_else(|_| panic!("no {text:?} in:\n{last}"))
    }

    /// Goes down in a menu until this is chosen.
    #[track_caller]
    pub fn choose(&self, text: &str) {
        let chosen = |screen: &str| screen.lines().filter(|line| line.contains('▶')).collect::<String>();
        loop {
            let before = chosen(&self.screen());
            if before.contains(&format!("▶ {text}")) {
                break;
            }
            self.key("Down");
            until("the next one", || (chosen(&self.screen()) != before).then_some(()));
        }
        self.key("Enter");
    }

    /// Sends the program a signal.
    pub fn kill(&self, signal: &str) {
        let id = self.read("pid").unwrap();
        let status = Command::new("kill").args([&format!("-{signal}"), id.trim()]).status().unwrap();
        assert!(status.success());
    }

    /// Waits for the end of the screen, and returns its exit code; the terminal must be as it was before.
    #[track_caller]
    pub fn end(&self) -> i32 {
        let code = until("the screen ends", || self.read("code").filter(|code| code.ends_with('\n')));
        self.check();
        code.trim().parse().unwrap()
    }

    /// What the program has handed to the clipboard.
    pub fn clipboard(&self) -> Option<String> {
        let mut command = self.home.command_of("tmux");
        let output = command.arg("-S").arg(&self.socket).arg("show-buffer").output().unwrap();
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
    }

    /// Whether the program has asked for the mouse.
    pub fn has_mouse(&self) -> bool {
        self.tmux(&["display-message", "-p", "#{mouse_any_flag}"]).trim() == "1"
    }

    /// Checks that the terminal is as it was before: its settings, its cursor, its screen, and no mouse.
    #[track_caller]
    pub fn check(&self) {
        self.line("stty -g > after; echo done > checked");
        until("the terminal's settings", || self.read("checked"));
        assert_eq!(self.read("before"), self.read("after"));
        fs::remove_file(self.home.path().join("checked")).unwrap();
        let flags = "#{alternate_on} #{cursor_flag} #{mouse_any_flag}";
        assert_eq!(self.tmux(&["display-message", "-p", flags]).trim(), "0 1 0");
    }

    fn read(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.home.path().join(name)).ok()
    }
}

impl Drop for Terminal<'_> {
    fn drop(&mut self) {
        let mut command = self.home.command_of("tmux");
        let _ = command.arg("-S").arg(&self.socket).arg("kill-server").output();
    }
}

/// A home with two keys.
pub async fn home() -> Home {
    let home = Home::new();
    home.add("openai", "work", "sk-secret-1").await;
    home.add("openai", "spare", "sk-secret-2").await;
    home
}

pub async fn labels(home: &Home) -> Vec<String> {
    let listed = home.vault().await.list().await.unwrap().credentials;
    listed.iter().map(|credential| credential.label.to_string()).collect()
}
