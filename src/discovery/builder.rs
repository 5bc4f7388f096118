//! What a discovery is made of.

use std::fmt;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use super::ask::Exchange;
use super::cache::Store;
use super::flight::Flight;
use super::{Discovery, Filter, Inner, Limits, Model};
use crate::credential::Kind;
use crate::pool::Pool;
use crate::provider::ModelsEndpoint;
use crate::settings::SettingsError;

/// What a [`Discovery`] is made of.
pub struct DiscoveryBuilder {
    pool: Pool,
    exchange: Exchange,
    endpoint: Option<ModelsEndpoint>,
    directory: Option<PathBuf>,
    limits: Limits,
    filter: Option<Filter>,
}

impl DiscoveryBuilder {
    pub(super) fn new(pool: &Pool, exchange: Exchange) -> Self {
        Self {
            pool: pool.clone(),
            exchange,
            endpoint: None,
            directory: None,
            limits: Limits {
                time_to_live: Duration::from_secs(60 * 60),
                timeout: Duration::from_secs(30),
                pages: 50,
                page_bytes: 4 * 1024 * 1024,
                bytes: 16 * 1024 * 1024,
                models: 10_000,
            },
            filter: None,
        }
    }

    /// Asks there, in place of where the provider says.
    #[must_use]
    pub fn endpoint(mut self, endpoint: ModelsEndpoint) -> Self {
        self.endpoint = Some(endpoint);
        self
    }

    /// Keeps answers in this directory, where other processes find them: a file for each pool and URL, with the last
    /// answer. It counts for a pool with the same accounts alone, so not for one of another vault. The directory is made when there is something to keep, with mode 0700, and files have mode 0600. Without a
    /// directory, answers are kept in memory.
    ///
    /// A file that is damaged, or that isn't one of these, is as good as none and is replaced; that one can't
    /// be written is a warning and no error.
    #[must_use]
    pub fn cache_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// How long an answer is used before another is asked for; one hour unless set. By the pool's
    /// [clock](crate::PoolBuilder::clock).
    #[must_use]
    pub fn time_to_live(mut self, time: Duration) -> Self {
        self.limits.time_to_live = time;
        self
    }

    /// How long an answer is waited for, with all of its pages; 30 s unless set.
    #[must_use]
    pub fn timeout(mut self, time: Duration) -> Self {
        self.limits.timeout = time;
        self
    }

    /// How many pages an answer may have; 50 unless set. One that has more is an error.
    #[must_use]
    pub fn max_pages(mut self, pages: usize) -> Self {
        self.limits.pages = pages;
        self
    }

    /// How many bytes a page may have; 4 MiB unless set. No more are read, and one that has more is an error.
    #[must_use]
    pub fn max_page_bytes(mut self, bytes: usize) -> Self {
        self.limits.page_bytes = bytes;
        self
    }

    /// How many bytes the pages of an answer may have together; 16 MiB unless set. No more are read, and one that
    /// has more is an error. A list of more than 32 MiB is not kept in a directory.
    #[must_use]
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.limits.bytes = bytes;
        self
    }

    /// How many models an answer may have, those counted that are there twice; 10,000 unless set. One that has
    /// more is an error.
    #[must_use]
    pub fn max_models(mut self, models: usize) -> Self {
        self.limits.models = models;
        self
    }

    /// Gives only models that this says yes to. All are kept.
    #[must_use]
    pub fn filter(mut self, filter: impl Fn(&Model) -> bool + Send + Sync + 'static) -> Self {
        self.filter = Some(Box::new(filter));
        self
    }

    /// The discovery. Where the provider has several URLs for accounts of several kinds, it is that of the
    /// account which a request would take now; of an empty pool, that of API keys.
    ///
    /// # Errors
    /// [`SettingsError::Invalid`] where the provider doesn't say where it tells its models.
    pub fn build(self) -> Result<Discovery, SettingsError> {
        let provider = self.pool.provider();
        let endpoint =
            self.endpoint.or_else(|| provider.models(self.pool.next_kind().unwrap_or(Kind::Api)));
        let invalid = |key: &str, reason: &str| SettingsError::Invalid {
            place: format!("the settings of {}", self.pool.key().provider()),
            key: key.to_owned(),
            reason: reason.to_owned(),
        };
        let endpoint = endpoint.ok_or_else(|| {
            invalid("models_url", "is not set, and the provider doesn't say where it tells its models")
        })?;
        let uri = endpoint.uri(provider.origin()).ok_or_else(|| {
            invalid("origins", "is not set: without any, nobody can be asked for the models")
        })?;
        let shape = endpoint.shape();
        let store = match self.directory {
            Some(directory) => Store::in_directory(&directory, self.pool.key(), shape, &uri),
            None => Store::in_memory(),
        };
        Ok(Discovery(
            Inner {
                shape,
                uri,
                exchange: self.exchange,
                store,
                limits: self.limits,
                filter: self.filter,
                failed: Mutex::default(),
                gets: Flight::default(),
                asks: Flight::default(),
                pool: self.pool,
            }
            .into(),
        ))
    }
}

impl fmt::Debug for DiscoveryBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiscoveryBuilder")
            .field("pool", self.pool.key())
            .field("endpoint", &self.endpoint)
            .field("directory", &self.directory)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
