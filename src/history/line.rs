//! Entries as lines.

use std::sync::Arc;

use super::{Entry, EventKind};
use crate::events::Event;
use crate::standing::Scope;
use crate::vault::Damage;

/// The longest line, with its end, in bytes.
const LONGEST: usize = 4096;

/// How many bytes of a text are kept: first, and if the line is too long even so, since JSON escapes some characters.
const TEXT: [usize; 2] = [1000, 100];

/// Returns the event's line, with its end. Texts of others are cut if they are long. `None` if it is too long even so.
pub(super) fn of(mut event: Event) -> Option<Vec<u8>> {
    for most in TEXT {
        cut_texts(&mut event.kind, most);
        let entry = Entry { event: event.clone(), process: std::process::id() };
        let mut line = serde_json::to_vec(&entry).ok()?;
        line.push(b'\n');
        if line.len() <= LONGEST {
            return Some(line);
        }
    }
    None
}

/// Reads a line without its end.
pub(super) fn read(line: &[u8]) -> Option<Entry> {
    serde_json::from_slice(line).ok()
}

fn cut_texts(kind: &mut EventKind, most: usize) {
    match kind {
        EventKind::RefreshFailed { error: text, .. }
        | EventKind::SecretNotSaved { error: text, .. }
        | EventKind::SaveFailed { error: text, .. }
        | EventKind::NeedsSignIn { reason: text, .. }
        | EventKind::Spent { reason: text, .. } => cut(text, most),
        EventKind::CooledDown { scope: Some(scope), .. } if scope.as_str().len() > most => {
            *scope = Scope::new(shortened(scope.as_str(), most));
        }
        EventKind::Damaged { damage } if damage.record.len().max(damage.reason.len()) > most => {
            let mut short = Damage::clone(damage);
            short.record = shortened(&short.record, most);
            short.reason = shortened(&short.reason, most);
            *damage = Arc::new(short);
        }
        _ => {}
    }
}

fn cut(text: &mut Arc<str>, most: usize) {
    if text.len() > most {
        *text = shortened(text, most).into();
    }
}

/// The beginning of a text, with a mark if more follows.
fn shortened(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let end = (0..=most).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
    format!("{}…", &text[..end])
}
