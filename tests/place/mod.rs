//! A vault in a temporary directory, and its key.

#[cfg(target_os = "linux")]
use std::fs::{self, File};
use std::path::PathBuf;

use tempfile::TempDir;
use tower_credentials::vault::file::FileVault;
use tower_credentials::vault::key::VaultKey;

pub(crate) struct Place {
    pub(crate) temporary: TempDir,
    pub(crate) key: VaultKey,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { temporary: TempDir::new().unwrap(), key: VaultKey::generate() }
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.temporary.path().join("vault")
    }

    pub(crate) async fn open(&self) -> FileVault {
        FileVault::open(self.root(), &self.key).await.unwrap()
    }

    /// Takes a lock of the vault, as another process does.
    #[cfg(target_os = "linux")]
    pub(crate) fn hold(&self, lock: &str) -> File {
        let file = File::options().write(true).open(self.root().join(lock)).unwrap();
        file.lock().unwrap();
        file
    }

    /// Returns how many threads of that process wait for a lock of the vault.
    #[cfg(target_os = "linux")]
    pub(crate) fn waiting_threads(&self, process: u32, lock: &str) -> usize {
        let metadata = fs::metadata(self.root().join(lock)).unwrap();
        let wanted = [process.to_string(), std::os::unix::fs::MetadataExt::ino(&metadata).to_string()];
        let locks = fs::read_to_string("/proc/locks").unwrap();
        // proc_locks(5): number, an arrow if it waits, type, mode, access, process, device and inode.
        let waits = |line: &&str| {
            let fields: Vec<_> = line.split_ascii_whitespace().collect();
            let inode = || fields[6].rsplit(':').next().unwrap();
            fields[1] == "->" && [fields[5], inode()] == wanted
        };
        locks.lines().filter(waits).count()
    }
}
