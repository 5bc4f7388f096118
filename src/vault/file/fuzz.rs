//! What must hold for any bytes in a file of the vault: a function for each target of `fuzz/`, which panics if it does
//! not hold. The tests below run them over `tests/corpus`.

use std::collections::HashSet;
use std::path::Path;

use super::log::{Line, Lines};
use super::marker::Marker;
use super::pool::state::State;
use super::record::{Read, VERSION, Versioned, WayOut, Written, parse, to_json};
use crate::credential::{CredentialId, PoolKey};
use crate::vault::VaultError;
use crate::vault::key::{KeyId, VaultKey};

/// A record's file is either refused by its name, or stays the same if it is written again.
pub fn record(bytes: &[u8]) {
    let Some(Read { metadata, secret, .. }) = read(bytes) else { return };
    let written = to_json(&Written { version: VERSION, metadata: &metadata, secret: &secret });
    let again = read::<Read>(&written.expect("what was JSON is JSON again")).expect("it was good");
    assert_eq!((again.metadata, again.secret), (metadata, secret));
}

/// A pool's log, both as it is and with the checksums that its lines should have: no other input would get past them.
pub fn pool_log(bytes: &[u8]) {
    read_log(bytes);
    read_log(&with_checksums(bytes));
}

/// A key's text, a key's id, and `key.json`.
pub fn key(bytes: &[u8]) {
    if let Ok(text) = str::from_utf8(bytes) {
        match VaultKey::from_base64(text) {
            Ok(key) => assert_eq!(key.to_base64().expose(), text.trim(), "one text for each key"),
            Err(error) => {
                let other = VaultKey::from_base64("").expect_err("it is empty");
                assert_eq!(error.to_string(), other.to_string(), "it tells nothing of the text");
            }
        }
        if let Ok(id) = text.parse::<KeyId>() {
            assert_eq!(id.to_string(), text);
        }
    }
    let Some(marker) = read::<Marker>(bytes) else { return };
    let again = read::<Marker>(&to_json(&marker).expect("what was JSON is JSON again"));
    assert_eq!(again, Some(marker));
}

/// Reads a JSON file. A file that is refused is named, with a way out.
fn read<T: Versioned>(bytes: &[u8]) -> Option<T> {
    let (path, way_out) = (Path::new("/vault/some-file.json"), "this is the way out");
    match parse(bytes, path, WayOut::Of(way_out)) {
        Ok(value) => Some(value),
        Err(VaultError::Damaged(damage)) => {
            assert_eq!(damage.record, path.display().to_string());
            assert!(
                damage.reason.contains(way_out) || damage.reason.contains("use a newer"),
                "{damage}"
            );
            None
        }
        Err(error) => panic!("{error:?}"),
    }
}

fn read_log(bytes: &[u8]) {
    let whole = Lines::read(bytes);
    let good = &bytes[..whole.length];
    assert!(good.is_empty() || good.ends_with(b"\n"), "it ends with a line");
    let count = good.iter().filter(|byte| **byte == b'\n').count();
    assert_eq!(count, whole.lines.len() + whole.damaged, "every line of it counts");
    let lines: Vec<_> = whole.lines.iter().map(json).collect();

    // A reader that stops in the middle of an append and goes on later sees the same in the end.
    let ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at);
    for cut in ends.take(8).flat_map(|end| [end, end + 1]).chain([bytes.len() / 2, whole.length]) {
        let (first, cut_off) = (Lines::read(&bytes[..cut]), cut);
        assert!(first.length <= cut_off);
        let second = Lines::read(&bytes[first.length..]);
        let both: Vec<_> = first.lines.iter().chain(&second.lines).map(json).collect();
        assert_eq!(both, lines, "cut at {cut}");
        assert_eq!(first.damaged + second.damaged, whole.damaged, "cut at {cut}");
        assert_eq!(first.length + second.length, whole.length, "cut at {cut}");
    }

    let mut written = Vec::new();
    for line in &whole.lines {
        line.write_to(&mut written).expect("what was JSON is JSON again");
    }
    let again = Lines::read(&written);
    assert_eq!((again.length, again.damaged), (written.len(), 0));
    assert_eq!(again.lines.iter().map(json).collect::<Vec<_>>(), lines);

    let mut state = State::default();
    for line in whole.lines {
        state.apply(line);
        let ids = |ids: &mut dyn Iterator<Item = &CredentialId>| ids.copied().collect::<HashSet<_>>();
        let order = ids(&mut state.standings.order.iter());
        assert_eq!(order, ids(&mut state.members.keys()), "a member has a place in the order");
    }
    let mut compacted = State::default();
    compacted.apply(state.snapshot(&PoolKey::new("example")));
    assert_eq!(compacted, state, "a compacted log says the same");
}

fn json(line: &Line) -> serde_json::Value {
    serde_json::to_value(line).expect("a line is JSON")
}

fn with_checksums(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for line in bytes.split_mut(|byte| *byte == b'\n') {
        if let Some((checksum, [b' ', text @ ..])) = line.split_at_mut_checked(8) {
            checksum.copy_from_slice(format!("{:08x}", crc32fast::hash(text)).as_bytes());
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;

    fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(target);
        let files = fs::read_dir(directory).expect("the corpus is in the repository");
        let files = files.map(|file| file.expect("it can be listed").path());
        let mut files: Vec<_> = files
            .map(|path| (path.display().to_string(), fs::read(path).expect("it can be read")))
            .collect();
        files.sort();
        assert!(files.len() >= 5, "{} files", files.len());
        files
    }

    type Check = fn(&[u8]);

    fn run(target: &str, check: Check) {
        for (path, bytes) in corpus(target) {
            // Shown only if the check panics.
            println!("{path}");
            check(&bytes);
        }
    }

    #[test]
    fn every_record_of_the_corpus_is_the_same_again_or_refused_by_name() {
        run("record", record);
    }

    #[test]
    fn every_log_of_the_corpus_reads_the_same_in_pieces_and_compacted() {
        run("pool_log", pool_log);
    }

    #[test]
    fn every_key_of_the_corpus_is_the_same_again_or_refused() {
        run("key", key);
    }

    #[test]
    fn the_corpus_has_both_good_files_and_bad_ones() {
        let good = |target, is_good: fn(&[u8]) -> bool| {
            let files = corpus(target);
            let good = files.iter().filter(|(_, bytes)| is_good(bytes)).count();
            assert!(good >= 2 && good < files.len(), "{target}: {good} of {}", files.len());
        };
        good("record", |bytes| read::<Read>(bytes).is_some());
        good("pool_log", |bytes| {
            let lines = Lines::read(bytes);
            lines.lines.len() > 1 && lines.length == bytes.len() && lines.damaged == 0
        });
        good("key", |bytes| {
            read::<Marker>(bytes).is_some()
                || str::from_utf8(bytes).is_ok_and(|text| VaultKey::from_base64(text).is_ok())
        });
    }

    #[derive(Clone, Debug)]
    enum Edit {
        Set(Index, u8),
        Flip(Index, u8),
        Insert(Index, Vec<u8>),
        Delete(Index, Index),
        Repeat(Index, Index),
        Cut(Index),
    }

    fn edit() -> impl Strategy<Value = Edit> {
        let at = any::<Index>;
        // Characters that mean something to the formats come up more often than others.
        let byte =
            || prop_oneof![proptest::sample::select(b"\n 0a\"{}[],:9-\\e.".to_vec()), any::<u8>()];
        prop_oneof![
            (at(), byte()).prop_map(|(at, byte)| Edit::Set(at, byte)),
            (at(), 0..8_u8).prop_map(|(at, bit)| Edit::Flip(at, bit)),
            (at(), vec(byte(), 1..9)).prop_map(|(at, bytes)| Edit::Insert(at, bytes)),
            (at(), at()).prop_map(|(from, to)| Edit::Delete(from, to)),
            (at(), at()).prop_map(|(from, to)| Edit::Repeat(from, to)),
            at().prop_map(Edit::Cut),
        ]
    }

    impl Edit {
        fn apply(&self, bytes: &mut Vec<u8>) {
            if bytes.is_empty() {
                return;
            }
            let len = bytes.len();
            let range = |from: &Index, to: &Index| {
                let (from, to) = (from.index(len), to.index(len));
                from.min(to)..from.max(to)
            };
            match self {
                Edit::Set(at, byte) => bytes[at.index(len)] = *byte,
                Edit::Flip(at, bit) => bytes[at.index(len)] ^= 1 << bit,
                Edit::Insert(at, more) => {
                    bytes.splice(at.index(len)..at.index(len), more.iter().copied());
                }
                Edit::Delete(from, to) => drop(bytes.drain(range(from, to))),
                Edit::Repeat(from, to) => bytes.extend_from_within(range(from, to)),
                Edit::Cut(at) => bytes.truncate(at.index(len)),
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn edited_files_of_the_corpus_keep_the_same_promises(
            target in 0..3_usize, file in any::<Index>(), edits in vec(edit(), 1..4)
        ) {
            let targets: [(&str, Check); 3] = [("record", record), ("pool_log", pool_log), ("key", key)];
            let (name, check) = targets[target];
            let mut bytes = file.get(&corpus(name)).1.clone();
            edits.iter().for_each(|edit| edit.apply(&mut bytes));
            check(&bytes);
        }
    }
}
