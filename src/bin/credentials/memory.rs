//! Keeps the program's memory, which contains keys and tokens, out of files.

use std::io;

/// Prevents a core dump if the program crashes, and other processes of the user from reading its memory.
///
/// Its pages are not locked. The cipher's copy of the key, and what the HTTP client has read, may be anywhere, so all of the
/// memory would have to be locked, and that is more than a user may lock. The swap should be encrypted.
#[cfg(unix)]
pub(crate) fn keep_private() -> io::Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    // A browser that is started may raise the limit again.
    setrlimit(Resource::Core, Rlimit { current: Some(0), ..getrlimit(Resource::Core) })?;
    // A program that the system pipes cores to gets one in spite of the limit.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    Ok(())
}

#[cfg(not(unix))]
pub(crate) fn keep_private() -> io::Result<()> {
    Ok(())
}
