//! A model of a disk: what is certainly on it, and what a power cut may take.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::vault::disk::fault::Operation;
use crate::vault::file::tests::Tree;

/// A file or a directory, whatever its names.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Node {
    Directory,
    /// The file of this number.
    File(usize),
}

/// A change of names in one directory.
#[derive(Clone, Debug)]
enum Change {
    Added(PathBuf, Node),
    Removed(PathBuf),
    Renamed(PathBuf, PathBuf, Node),
}

type Names = BTreeMap<PathBuf, Node>;

/// A disk, with what was not written back to it yet.
#[derive(Clone, Default)]
pub(super) struct Disk {
    /// The contents of each file since its last sync. A process sees the last one.
    files: Vec<Vec<Vec<u8>>>,
    seen: Names,
    /// The names that are certain, apart from pending changes.
    durable: Names,
    pending: Vec<Change>,
}

impl Disk {
    /// Returns a disk with everything written back.
    pub(super) fn of(tree: &Tree) -> Self {
        let mut disk = Self::default();
        for (path, content) in tree {
            let node = match content {
                None => Node::Directory,
                Some(content) => disk.file(content.clone()),
            };
            disk.seen.insert(path.clone(), node);
        }
        disk.durable = disk.seen.clone();
        disk
    }

    fn file(&mut self, content: Vec<u8>) -> Node {
        self.files.push(vec![content]);
        Node::File(self.files.len() - 1)
    }

    fn add(&mut self, path: &Path, node: Node) {
        self.seen.insert(path.to_owned(), node);
        self.pending.push(Change::Added(path.to_owned(), node));
    }

    fn change(&mut self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let Some(Node::File(file)) = self.seen.get(path) else {
            panic!("{} is no file", path.display())
        };
        let versions = &mut self.files[*file];
        let mut content = versions.last().unwrap().clone();
        change(&mut content);
        versions.push(content);
    }

    /// Does what a process has asked for. What the system has refused has no effect here either.
    pub(super) fn apply(&mut self, operation: &Operation, place: &Path) {
        let below = |path: &Path| path.strip_prefix(place).unwrap().to_owned();
        match operation {
            Operation::MakeDir(path) if !self.seen.contains_key(&below(path)) => {
                self.add(&below(path), Node::Directory);
            }
            Operation::Create(path) | Operation::OpenLock(path) => {
                if !self.seen.contains_key(&below(path)) {
                    let file = self.file(Vec::new());
                    self.add(&below(path), file);
                }
            }
            Operation::Write(path, bytes) => {
                self.change(&below(path), |content| content.extend_from_slice(bytes));
            }
            Operation::Truncate(path, length) => {
                self.change(&below(path), |content| content.truncate(*length as usize));
            }
            Operation::Sync(path) => {
                let Some(Node::File(file)) = self.seen.get(&below(path)) else { panic!("{path:?}") };
                let versions = &mut self.files[*file];
                versions.drain(..versions.len() - 1);
            }
            // Nothing is pending in a directory above the place.
            Operation::SyncDir(path) if !path.starts_with(place) => {}
            Operation::SyncDir(path) => {
                let directory = below(path);
                for change in std::mem::take(&mut self.pending) {
                    match change.directory() == directory {
                        true => change.apply(1, &mut self.durable),
                        false => self.pending.push(change),
                    }
                }
            }
            Operation::Rename(from, to) => {
                let (from, to) = (below(from), below(to));
                if let Some(node) = self.seen.remove(&from) {
                    self.seen.insert(to.clone(), node);
                    self.pending.push(Change::Renamed(from, to, node));
                }
            }
            Operation::Link(from, to) => {
                let (from, to) = (below(from), below(to));
                if let (Some(node), None) = (self.seen.get(&from).copied(), self.seen.get(&to)) {
                    self.add(&to, node);
                }
            }
            Operation::Remove(path) => {
                if self.seen.remove(&below(path)).is_some() {
                    self.pending.push(Change::Removed(below(path)));
                }
            }
            Operation::MakeDir(_)
            | Operation::Open(_)
            | Operation::OpenAppend(_)
            | Operation::Give(_)
            | Operation::Look(_)
            | Operation::Read(_)
            | Operation::SetMode(_)
            | Operation::List(_)
            | Operation::Lock(_) => {}
        }
    }

    /// Returns what a process sees.
    pub(super) fn tree(&self) -> Tree {
        let content = |node: &Node| match node {
            Node::Directory => None,
            Node::File(file) => self.files[*file].last().cloned(),
        };
        self.seen.iter().map(|(path, node)| (path.clone(), content(node))).collect()
    }

    /// Adds every tree that a power cut may leave now.
    pub(super) fn after_power_cut(&self, into: &mut BTreeSet<Tree>) {
        let ways: Vec<_> = self.pending.iter().map(Change::ways).collect();
        let mut known = Vec::new();
        each_choice(&ways, |choice| {
            let mut names = self.durable.clone();
            for (change, way) in self.pending.iter().zip(choice) {
                change.apply(*way, &mut names);
            }
            // A directory that does not exist has no content.
            let mut reached = Names::new();
            for (path, node) in names {
                let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
                if parent.is_none_or(|parent| reached.get(parent) == Some(&Node::Directory)) {
                    reached.insert(path, node);
                }
            }
            if !known.contains(&reached) {
                known.push(reached);
            }
        });
        for names in known {
            self.with_contents(&names, into);
        }
    }

    fn with_contents(&self, names: &Names, into: &mut BTreeSet<Tree>) {
        let files: BTreeSet<_> = names.values().filter_map(|node| node.file()).collect();
        let contents: BTreeMap<_, _> =
            files.into_iter().map(|file| (file, contents(&self.files[file]))).collect();
        let ways: Vec<_> = contents.values().map(Vec::len).collect();
        let numbers: Vec<_> = contents.keys().copied().collect();
        each_choice(&ways, |choice| {
            let content = |file: usize| {
                let place = numbers.iter().position(|number| *number == file).unwrap();
                contents[&file][choice[place]].clone()
            };
            let named = names.iter();
            into.insert(named.map(|(path, node)| (path.clone(), node.file().map(content))).collect());
        });
    }
}

impl Node {
    fn file(self) -> Option<usize> {
        match self {
            Node::Directory => None,
            Node::File(file) => Some(file),
        }
    }
}

impl Change {
    fn directory(&self) -> &Path {
        let (Self::Added(path, _) | Self::Removed(path) | Self::Renamed(_, path, _)) = self;
        path.parent().unwrap()
    }

    /// Returns the number of ways in which the change may be there or not.
    fn ways(&self) -> usize {
        if matches!(self, Self::Renamed(..)) { 3 } else { 2 }
    }

    /// Applies the change in one of these ways. The first is not to apply it, the second to apply it completely.
    fn apply(&self, way: usize, names: &mut Names) {
        match self {
            _ if way == 0 => {}
            Self::Added(path, node) => {
                names.insert(path.clone(), *node);
            }
            Self::Removed(path) => {
                names.remove(path);
            }
            Self::Renamed(from, to, node) => {
                names.insert(to.clone(), *node);
                match way {
                    1 => names.remove(from),
                    _ => names.insert(from.clone(), *node),
                };
            }
        }
    }
}

/// Returns what a power cut may leave of a file that has had these contents, one after the other, since its last sync.
fn contents(versions: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut contents = vec![versions[0].clone()];
    for (before, after) in versions.iter().zip(&versions[1..]) {
        if let Some(added) = after.strip_prefix(before.as_slice()) {
            for length in [added.len() / 2, added.len().saturating_sub(1)] {
                contents.push([before.as_slice(), &added[..length]].concat());
            }
            contents.push([before.as_slice(), &vec![0; added.len()]].concat());
        }
        contents.push(after.clone());
    }
    contents.sort();
    contents.dedup();
    contents
}

/// Calls `see` with every choice of one number below each of these.
fn each_choice(ways: &[usize], mut see: impl FnMut(&[usize])) {
    let mut choice = vec![0; ways.len()];
    loop {
        see(&choice);
        let Some(next) = (0..ways.len()).find(|place| choice[*place] + 1 < ways[*place]) else { return };
        choice[..next].fill(0);
        choice[next] += 1;
    }
}
