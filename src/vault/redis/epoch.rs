//! The epoch of a pool: which log it has, and which restores on purpose it and its vault have been through.
//!
//! Only [`RedisBackend::restored`](super::RedisBackend::restored) adds a restore. An engine that has lost the last ones, or all,
//! has the beginning of what hosts know. So it is told from one that was restored, also after others have put accounts into it.
//! The restores of the vault are there for pools that are not in the restored engine, or not in its list.

/// An epoch, as the engine says it: `LOG:RESTORES`, and the restores of the vault.
#[derive(Clone, Debug)]
pub(super) struct Epoch {
    /// The random number of the log's first entry. Empty before that.
    log: String,
    /// The token of each restore on purpose, in order. All are of one length.
    restores: String,
    /// The same of the whole vault. `None` if the engine was not asked, or could not say.
    of_vault: Option<String>,
}

impl Epoch {
    pub(super) fn said(text: &str) -> Self {
        let (log, restores) = text.split_once(':').unwrap_or((text, ""));
        Self { log: log.to_owned(), restores: restores.to_owned(), of_vault: None }
    }

    /// Adds the restores of the vault, as they were before the engine has said the rest, if they are known.
    pub(super) fn of_vault(self, restores: Option<String>) -> Self {
        Self { of_vault: restores, ..self }
    }

    /// Returns the restores, as the scripts take them.
    pub(super) fn restores(&self) -> &str {
        &self.restores
    }

    /// Returns the restores of the vault, if they are known.
    pub(super) fn vault_restores(&self) -> Option<&str> {
        self.of_vault.as_deref()
    }

    /// Returns whether an engine with this epoch was restored on purpose since a host has known this one.
    pub(super) fn was_restored_to(&self, engine: &Self) -> bool {
        self.pairs(engine).any(|(known, engine)| !known.starts_with(engine))
    }

    /// Returns whether an engine with this epoch has forgotten a restore on purpose that is known here.
    pub(super) fn is_forgotten_by(&self, engine: &Self) -> bool {
        self.pairs(engine).any(|(known, engine)| known.len() > engine.len())
            && !self.was_restored_to(engine)
    }

    /// Returns what is known here of the restores, each with what the engine says.
    fn pairs<'a>(&'a self, engine: &'a Self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let of_vault = self.vault_restores().zip(engine.vault_restores());
        [(&*self.restores, &*engine.restores)].into_iter().chain(of_vault)
    }

    /// Returns whether an engine with this epoch has another log.
    pub(super) fn is_other_log(&self, engine: &Self) -> bool {
        !self.log.is_empty() && self.log != engine.log
    }
}
