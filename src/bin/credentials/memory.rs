//! What keeps the program's memory, which has keys and tokens in it, out of files.

use std::io;

/// Sees to it that no core is written if the program crashes, and that no other process of the user's looks into it.
///
/// Its pages are not locked. The cipher's own copy of the key and what the HTTP client has read lie wherever they were put, so
/// all of the memory would have to be locked, and that is more than a user may lock. Swap is to be encrypted.
#[cfg(unix)]
pub(crate) fn keep_private() -> io::Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    // A browser may have its own again.
    setrlimit(Resource::Core, Rlimit { current: Some(0), ..getrlimit(Resource::Core) })?;
    // A program that the system pipes cores to gets one whatever the limit.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    Ok(())
}

#[cfg(not(unix))]
pub(crate) fn keep_private() -> io::Result<()> {
    Ok(())
}
