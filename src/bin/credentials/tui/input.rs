//! What comes from the terminal: keys, what is pasted, the mouse. And the signals that stop and continue a program.

use std::thread;

use ratatui::crossterm::event::{
    self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers, MouseButton, MouseEvent, MouseEventKind,
};
use tokio::sync::mpsc;
use zeroize::Zeroizing;

use super::keys::{Chord, Code};

/// Something that a person did.
pub(super) enum Input {
    Key(Chord),
    Paste(Zeroizing<String>),
    /// A click on this line of the screen.
    Click(u16),
    Wheel {
        is_down: bool,
    },
    /// The terminal has another size.
    Resized,
    /// A program has asked this one to stop, as Ctrl-Z does.
    Stop,
    /// This program was stopped, and goes on.
    Continued,
    /// There is no terminal any more.
    Gone(std::io::Error),
}

/// Reads the terminal, on a thread of its own: nobody waits for it at the end. Must be called within a runtime.
pub(super) fn inputs() -> mpsc::UnboundedReceiver<Input> {
    let (sender, receiver) = mpsc::unbounded_channel();
    #[cfg(unix)]
    tokio::spawn(signals(sender.clone()));
    thread::spawn(move || {
        loop {
            let (input, is_last) = match event::read() {
                Ok(event) => (input(event), false),
                Err(error) => (Some(Input::Gone(error)), true),
            };
            let is_heard = input.is_none_or(|input| sender.send(input).is_ok());
            if is_last || !is_heard {
                return;
            }
        }
    });
    receiver
}

/// Tells of the signals. Without them the program would be stopped with the screen on the terminal.
#[cfg(unix)]
async fn signals(sender: mpsc::UnboundedSender<Input>) {
    use rustix::process::Signal;
    use tokio::signal::unix::{SignalKind, signal};
    let listen = |wanted: Signal| signal(SignalKind::from_raw(wanted.as_raw()));
    let (Ok(mut stop), Ok(mut go_on)) = (listen(Signal::TSTP), listen(Signal::CONT)) else { return };
    loop {
        let input = tokio::select! {
            Some(()) = stop.recv() => Input::Stop,
            Some(()) = go_on.recv() => Input::Continued,
            () = sender.closed() => return,
            else => return,
        };
        if sender.send(input).is_err() {
            return;
        }
    }
}

fn input(event: Event) -> Option<Input> {
    match event {
        Event::Key(key) if key.kind != KeyEventKind::Release => chord(key).map(Input::Key),
        Event::Paste(text) => Some(Input::Paste(Zeroizing::new(text))),
        Event::Mouse(mouse) => click(mouse),
        Event::Resize(..) => Some(Input::Resized),
        _ => None,
    }
}

fn click(mouse: MouseEvent) -> Option<Input> {
    match mouse.kind {
        MouseEventKind::Down(MouseButton::Left) => Some(Input::Click(mouse.row)),
        MouseEventKind::ScrollDown => Some(Input::Wheel { is_down: true }),
        MouseEventKind::ScrollUp => Some(Input::Wheel { is_down: false }),
        _ => None,
    }
}

fn chord(key: KeyEvent) -> Option<Chord> {
    let code = match key.code {
        KeyCode::Char(char) => Code::Char(char),
        KeyCode::Up => Code::Up,
        KeyCode::Down => Code::Down,
        KeyCode::Left => Code::Left,
        KeyCode::Right => Code::Right,
        KeyCode::Home => Code::Home,
        KeyCode::End => Code::End,
        KeyCode::PageUp => Code::PageUp,
        KeyCode::PageDown => Code::PageDown,
        KeyCode::Enter => Code::Enter,
        KeyCode::Esc => Code::Esc,
        KeyCode::Tab => Code::Tab,
        KeyCode::Backspace => Code::Backspace,
        KeyCode::Delete => Code::Delete,
        _ => return None,
    };
    // With Alt it is another key, which does nothing.
    (!key.modifiers.contains(KeyModifiers::ALT))
        .then(|| Chord { code, ctrl: key.modifiers.contains(KeyModifiers::CONTROL) })
}
