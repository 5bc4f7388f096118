//! Decides what to do with an entry, given a vault's records.

use super::found::{Entry, Note, Origin, digest_of, tokens};
use super::stored::{Known, Shut, ShutRecord};
use crate::claims::ACCOUNT;
use crate::credential::{Credential, Metadata, PoolKey};
use crate::secret::SecretString;
use crate::standing::Health;

/// What to do with an entry and which record, with the reason if people should see it.
pub(super) enum Decision<'r> {
    Add(Option<&'static str>),
    Update(&'r Credential, Option<&'static str>),
    Unchanged(&'r Credential, Option<&'static str>),
    Keep(&'r Credential, &'static str),
    /// Its record can't be opened.
    Shut(&'r ShutRecord),
}

const OTHER_ACCOUNT: &str = "the file has another account now; the record of the old one stays";
const SAME_SECRET: &str = "another record has the same tokens or key";
const DEAD: &str = "the vault's needs a new sign-in";
const SIGNED_IN: &str = "the other program has signed in again";
const LATER: &str = "its token ends later than the vault's";
const EARLIER: &str = "its token ends earlier than the vault's, which stays; to take the file's, remove the \
                       record first";
const UNCLEAR: &str = "it is unclear whether it is newer than the vault's, which stays; to take the file's, \
                       remove the record first";
const REPLACED: &str = "the vault's was replaced by hand, and stays; to take the file's, remove the record \
                        first";

/// Decides about an entry. `known` and `shut` are all of the vault's records of its provider.
pub(super) fn decide<'r>(
    entry: &Entry,
    origin: &Origin,
    pool: &PoolKey,
    known: &'r [Known],
    shut: &'r Shut,
) -> Decision<'r> {
    let kind = entry.secret.kind();
    let account = entry.attributes.get(ACCOUNT);
    let is_own = |record: &Metadata| origin.is_of(&record.attributes);
    let is_same = |record: &&Known| {
        let Credential { metadata, secret } = &record.credential;
        metadata.kind == kind && metadata.pool == *pool && entry.secret.is_same(secret)
    };
    if let Some(Known { credential, .. }) = known.iter().find(is_same)
        && !is_own(&credential.metadata)
    {
        return Decision::Unchanged(credential, Some(SAME_SECRET));
    }

    // Records that open come first.
    let of_kind = || {
        let all = known.iter().map(Record::Open).chain(shut.records.iter().map(Record::Shut));
        all.filter(|record| record.metadata().kind == kind)
    };
    // There may be several: a person may have changed to another account, or several files may have had the entry in turn.
    let own = || of_kind().filter(|record| is_own(record.metadata()));
    let account_of = |record: &Record<'r>| record.metadata().attributes.get(ACCOUNT);
    let has_account = |record: &Record<'r>| account_of(record) == account;
    let has_none = |record: &Record<'r>| account.is_none() || account_of(record).is_none();
    let in_pool = |record: &Record<'r>| record.metadata().pool == *pool;
    let same_account =
        || of_kind().find(|record| account.is_some() && in_pool(record) && has_account(record));
    match own().find(has_account).or_else(same_account).or_else(|| own().find(has_none)) {
        Some(Record::Open(Known { credential, health })) => {
            let is_dead = matches!(health, Health::NeedsSignIn { .. } | Health::Dead { .. });
            compare(entry, credential, is_own(&credential.metadata), is_dead)
        }
        Some(Record::Shut(record)) => Decision::Shut(record),
        None => Decision::Add(own().next().map(|_| OTHER_ACCOUNT)),
    }
}

/// A record, whether it opens or not.
enum Record<'r> {
    Open(&'r Known),
    Shut(&'r ShutRecord),
}

impl<'r> Record<'r> {
    fn metadata(&self) -> &'r Metadata {
        match self {
            Self::Open(known) => &known.credential.metadata,
            Self::Shut(shut) => &shut.metadata,
        }
    }
}

/// Decides about an entry and its record: its own, or one of the same account.
fn compare<'r>(entry: &Entry, record: &'r Credential, is_own: bool, is_dead: bool) -> Decision<'r> {
    let attributes = &record.metadata.attributes;
    let migrated_at = attributes.get(Origin::GENERATION);
    let generation = record.metadata.generation.get().to_string();
    // Nothing has replaced it since.
    let is_untouched = is_own && migrated_at == Some(&generation);
    if tokens(&entry.secret).is_none() {
        return match (has_all(record, entry), is_untouched) {
            (true, _) => Decision::Unchanged(record, None),
            (false, true) => Decision::Update(record, None),
            (false, false) => Decision::Keep(record, REPLACED),
        };
    }
    let now = entry.note();
    let before = Note::of(&record.secret);
    if before.as_ref().is_some_and(|before| before.entry == now.entry) {
        return Decision::Unchanged(record, None);
    }
    // Only its own entry: with one account in two files, each would replace the other's again and again.
    if is_own && is_dead {
        return Decision::Update(record, Some(DEAD));
    }
    let is_new = || before.as_ref().is_some_and(|before| is_new_sign_in(&now, before, record));
    if is_own && !is_untouched && is_new() {
        return Decision::Update(record, Some(SIGNED_IN));
    }
    // A refresher that did not keep the note leaves nothing to compare with.
    let is_comparable = before.is_some() || migrated_at.is_none();
    match now.expires_at.zip(record.secret.expires_at()) {
        Some((new, known)) if new < known => Decision::Keep(record, EARLIER),
        _ if is_untouched => Decision::Update(record, None),
        Some((new, known)) if new > known && is_comparable => Decision::Update(record, Some(LATER)),
        _ => Decision::Keep(record, UNCLEAR),
    }
}

/// Whether the other program has a refresh token from a new sign-in, while the vault's renewals have kept the old one. The
/// vault's token may still end later, since it is renewed again and again.
fn is_new_sign_in(now: &Note, before: &Note, record: &Credential) -> bool {
    let kept = record.secret.refresh_token().map(digest_of);
    let is_kept = kept.is_some() && kept == before.refresh;
    let is_older = now.expires_at.zip(before.expires_at).is_some_and(|(now, before)| now < before);
    is_kept && now.refresh.is_some() && now.refresh != before.refresh && !is_older
}

/// Whether a record has all that an entry has.
pub(super) fn has_all(record: &Credential, entry: &Entry) -> bool {
    let known = &record.metadata.attributes;
    let has_extra = || {
        let (Some(new), Some(known)) = (tokens(&entry.secret), tokens(&record.secret)) else {
            return true;
        };
        let value = |name| known.extra.get(name).map(SecretString::expose);
        new.expires_at == known.expires_at
            && new.extra.iter().all(|(name, new)| value(name) == Some(new.expose()))
    };
    entry.secret.is_same(&record.secret)
        && has_extra()
        && entry.attributes.iter().all(|(name, value)| known.get(name) == Some(value))
}
