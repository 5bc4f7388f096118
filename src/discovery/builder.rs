//! Builds a discovery.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::cache::Store;
use super::model::Model;
use super::upstream::{Exchange, Limits, Upstream};
use super::{Discovery, Filter};
use crate::credential::Kind;
use crate::pool::Pool;
use crate::provider::ModelsEndpoint;
use crate::settings::SettingsError;

/// The builder of a [`Discovery`].
pub struct DiscoveryBuilder {
    pool: Pool,
    exchange: Exchange,
    endpoint: Option<ModelsEndpoint>,
    directory: Option<PathBuf>,
    time_to_live: Duration,
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
            time_to_live: Duration::from_secs(60 * 60),
            limits: Limits {
                timeout: Duration::from_secs(30),
                pages: 50,
                page_bytes: 4 * 1024 * 1024,
                bytes: 16 * 1024 * 1024,
                models: 10_000,
            },
            filter: None,
        }
    }

    /// Sets the endpoint of the list. Defaults to the provider's.
    #[must_use]
    pub fn endpoint(mut self, endpoint: ModelsEndpoint) -> Self {
        self.endpoint = Some(endpoint);
        self
    }

    /// Keeps lists in this directory, where other processes find them: one file for each pool and URL, with the last list. It
    /// counts only for a pool with the same accounts, so not for a pool of another vault. The directory is created with the
    /// first list, with mode 0700; files have mode 0600. By default, lists are kept in memory.
    ///
    /// A file that is damaged, or isn't one of these, is ignored and replaced. If a file can't be written, that is a warning
    /// and not an error.
    #[must_use]
    pub fn cache_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// Sets how long a list is used before a new one is requested, by the pool's [clock](crate::PoolBuilder::clock). Defaults
    /// to one hour.
    #[must_use]
    pub fn time_to_live(mut self, time: Duration) -> Self {
        self.time_to_live = time;
        self
    }

    /// Sets the timeout of a list with all of its pages. Defaults to 30 seconds.
    #[must_use]
    pub fn timeout(mut self, time: Duration) -> Self {
        self.limits.timeout = time;
        self
    }

    /// Sets the maximum number of pages of a list; more are an error. Defaults to 50.
    #[must_use]
    pub fn max_pages(mut self, pages: usize) -> Self {
        self.limits.pages = pages;
        self
    }

    /// Sets the maximum size of a page in bytes. No more are read; a longer page is an error. Defaults to 4 MiB.
    #[must_use]
    pub fn max_page_bytes(mut self, bytes: usize) -> Self {
        self.limits.page_bytes = bytes;
        self
    }

    /// Sets the maximum size of all pages of a list together, in bytes. No more are read; a longer list is an error. Defaults
    /// to 16 MiB. A list of more than 32 MiB is not kept in a directory.
    #[must_use]
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.limits.bytes = bytes;
        self
    }

    /// Sets the maximum number of models of a list, including duplicates; more are an error. Defaults to 10,000.
    #[must_use]
    pub fn max_models(mut self, models: usize) -> Self {
        self.limits.models = models;
        self
    }

    /// Returns only models for which this is true. All are kept.
    #[must_use]
    pub fn filter(mut self, filter: impl Fn(&Model) -> bool + Send + Sync + 'static) -> Self {
        self.filter = Some(Box::new(filter));
        self
    }

    /// Builds the discovery. If the provider has different URLs for different kinds of accounts, the URL is that of the
    /// account that a request would use now; for an empty pool, that of API keys.
    ///
    /// # Errors
    /// [`SettingsError::Invalid`] if the provider has no list of models.
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
            invalid("models_url", "is not set, and the provider has no list of models")
        })?;
        let uri = endpoint.uri(provider.origin()).ok_or_else(|| {
            invalid("origins", "is not set; without an origin, no models can be requested")
        })?;
        let shape = endpoint.shape();
        let store = match self.directory {
            Some(directory) => Store::in_directory(&directory, self.pool.key(), shape, &uri),
            None => Store::in_memory(),
        };
        let Self { pool, exchange, limits, time_to_live, filter, .. } = self;
        let upstream = Upstream { pool, exchange, uri, shape, limits };
        Ok(Discovery::new(upstream, store, time_to_live, filter))
    }
}

impl fmt::Debug for DiscoveryBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiscoveryBuilder")
            .field("pool", self.pool.key())
            .field("endpoint", &self.endpoint)
            .field("directory", &self.directory)
            .field("time_to_live", &self.time_to_live)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
