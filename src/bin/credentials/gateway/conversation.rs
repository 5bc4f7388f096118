//! Which requests belong together: those of a conversation, and those about something that an account has made.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use http::{HeaderMap, HeaderName};
use memchr::memmem::Finder;
use memchr::{memchr, memchr_iter};
use tower_credentials::{Affinity, CredentialId, Pin};

use super::fields::Fields;

/// The headers in which tools name their session.
const SESSION_HEADERS: [HeaderName; 3] = [
    HeaderName::from_static("session_id"),
    HeaderName::from_static("x-session-id"),
    HeaderName::from_static("x-claude-code-session-id"),
];

/// How the ids of things begin that only the account which made them knows, such as a file or a batch.
const MADE: [&str; 12] = [
    "resp_",
    "conv_",
    "file-",
    "file_",
    "batch_",
    "msgbatch_",
    "vs_",
    "thread_",
    "asst_",
    "ftjob-",
    "files/",
    "cachedContents/",
];

/// How paths end at which models answer. They make nothing of the kinds above, and what a model writes may quote such an id.
const MODEL_PATHS: [&str; 7] = [
    "/chat/completions",
    "/completions",
    "/messages",
    "/embeddings",
    ":generateContent",
    ":streamGenerateContent",
    ":embedContent",
];

/// The most of a response that is searched for an id, in bytes. It comes first.
const SEARCHED: usize = 4096;

/// What stands before an id. To prepare the search takes longer than to search most responses.
static KEYS: LazyLock<[Finder<'_>; 2]> = LazyLock::new(|| ["\"id\"", "\"name\""].map(Finder::new));

/// How many ids each half of the memory holds.
const HALF: usize = 8192;

/// What a request belongs to.
pub(super) enum Belongs {
    /// To what this account has made: no other knows it.
    ToAccount(CredentialId, Pin),
    /// To a conversation, which stays with an account while that is ready.
    ToConversation(Affinity),
}

/// Returns what a request belongs to, if it says so. Conversations of two clients are never the same.
pub(super) fn of(
    made: &Made,
    client: &str,
    headers: &HeaderMap,
    path: &str,
    fields: &Fields<'_>,
) -> Option<Belongs> {
    let ids = [&fields.previous_response_id, &fields.conversation, &fields.input_file_id];
    let ids = ids.into_iter().flatten().map(AsRef::as_ref).filter(|id| is_made(id));
    if let Some(account) = ids.chain(ids_in(path)).find_map(|id| made.by(id)) {
        return Some(Belongs::ToAccount(account, Pin::id(account)));
    }
    let session = session(headers);
    let conversation = session.or(fields.prompt_cache_key.as_deref()).or(fields.user.as_deref())?;
    Some(Belongs::ToConversation(Affinity::new([client, "\n", conversation].concat())))
}

/// Returns what a tool calls its session. One look at each header costs less than a search for each of these.
fn session(headers: &HeaderMap) -> Option<&str> {
    let named = headers.iter().filter_map(|(name, value)| {
        Some((SESSION_HEADERS.iter().position(|session| session == name)?, value.to_str().ok()?))
    });
    named.min_by_key(|(place, _)| *place).map(|(_, session)| session)
}

/// Returns the parts of a path that may be ids: of `/v1/batches/ID/cancel` a segment, and of Google's names, which have two
/// segments, the rest of the path.
fn ids_in(path: &str) -> impl Iterator<Item = &str> {
    let rests = memchr_iter(b'/', path.as_bytes()).map(|slash| &path[slash + 1..]);
    rests.filter(|rest| is_made(rest)).flat_map(|rest| {
        let segment = rest.split('/').next().unwrap_or_default();
        std::iter::once(segment).chain((segment.len() < rest.len()).then_some(rest))
    })
}

/// Whether the response to a request for this path may have the id of something made.
pub(super) fn may_contain_made_ids(path: &str) -> bool {
    !MODEL_PATHS.iter().any(|end| path.ends_with(end))
}

fn is_made(id: &str) -> bool {
    MADE.iter().any(|start| id.starts_with(start))
}

/// Which account has made what, by the responses that have passed. The oldest are forgotten, and all of it at the end.
#[derive(Debug, Default)]
pub(super) struct Made(Mutex<Halves>);

/// When the young half is full, it takes the place of the old one.
#[derive(Debug, Default)]
struct Halves {
    young: HashMap<Box<str>, CredentialId>,
    old: HashMap<Box<str>, CredentialId>,
}

impl Made {
    fn by(&self, id: &str) -> Option<CredentialId> {
        let halves = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        halves.young.get(id).or_else(|| halves.old.get(id)).copied()
    }

    fn note(&self, id: &str, account: CredentialId) {
        let mut halves = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if halves.young.len() >= HALF {
            halves.old = std::mem::take(&mut halves.young);
        }
        halves.young.insert(id.into(), account);
    }
}

/// Looks for an id in the beginning of a response as it passes.
#[derive(Debug)]
pub(super) struct Search {
    made: Arc<Made>,
    account: CredentialId,
    beginning: Vec<u8>,
}

impl Search {
    pub(super) fn new(made: &Arc<Made>, account: CredentialId) -> Self {
        Self { made: made.clone(), account, beginning: Vec::new() }
    }

    /// Looks at the next piece. Returns whether the one after it is wanted as well.
    pub(super) fn look(&mut self, piece: &[u8], is_last: bool) -> bool {
        let room = SEARCHED.saturating_sub(self.beginning.len());
        let piece = &piece[..piece.len().min(room)];
        // Most responses have what is searched in their first piece, which needs no copy.
        let is_first = self.beginning.is_empty();
        if !is_first {
            self.beginning.extend_from_slice(piece);
        }
        let text = if is_first { piece } else { &self.beginning };
        if let Some(id) = id_in(text) {
            self.made.note(id, self.account);
            return false;
        }
        let is_wanted = text.len() < SEARCHED && !is_last;
        if is_first && is_wanted {
            self.beginning.extend_from_slice(piece);
        }
        is_wanted
    }
}

/// Returns the first id of something made in a JSON text, or in the data of an event: the value of `id` or, as Google calls
/// it, of `name`.
fn id_in(text: &[u8]) -> Option<&str> {
    KEYS.iter().find_map(|key| {
        key.find_iter(text).find_map(|at| {
            let value = text[at + key.needle().len()..].trim_ascii_start().strip_prefix(b":")?;
            let value = value.trim_ascii_start().strip_prefix(b"\"")?;
            let id = &value[..memchr(b'"', value)?];
            std::str::from_utf8(id).ok().filter(|id| is_made(id))
        })
    })
}
