//! The epoch of a pool: which log it has, and which restores on purpose it has been through.
//!
//! Only [`RedisBackend::restored`](super::RedisBackend::restored) adds a restore. An engine that has lost the last ones, or all,
//! has the beginning of what hosts know. So it is told from one that was restored, also after others have put accounts into it.

/// An epoch, as the engine says it: `LOG:RESTORES`.
#[derive(Clone, Debug)]
pub(super) struct Epoch {
    /// The random number of the log's first entry. Empty before that.
    log: String,
    /// The token of each restore on purpose, in order. All are of one length.
    restores: String,
}

impl Epoch {
    pub(super) fn said(text: &str) -> Self {
        let (log, restores) = text.split_once(':').unwrap_or((text, ""));
        Self { log: log.to_owned(), restores: restores.to_owned() }
    }

    /// Returns the restores, as the scripts take them.
    pub(super) fn restores(&self) -> &str {
        &self.restores
    }

    /// Returns whether an engine with this epoch was restored on purpose since a host has known this one.
    pub(super) fn was_restored_to(&self, engine: &Self) -> bool {
        !self.restores.starts_with(&engine.restores)
    }

    /// Returns whether an engine with this epoch has forgotten a restore on purpose that is known here.
    pub(super) fn is_forgotten_by(&self, engine: &Self) -> bool {
        self.restores.len() > engine.restores.len() && !self.was_restored_to(engine)
    }

    /// Returns whether an engine with this epoch has another log.
    pub(super) fn is_other_log(&self, engine: &Self) -> bool {
        !self.log.is_empty() && self.log != engine.log
    }
}
