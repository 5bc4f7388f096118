//! `vault path`: shows where everything is.

use clap::Args;
use serde::Serialize;
use tower_credentials::vault::file::FileVault;
use tower_credentials::vault::key::KeyServiceExt;

use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::keys::KeyPlaceExt;
use crate::options::Json;
use crate::output;

/// Show where the vault, its key, the settings and the cache are
#[derive(Debug, Args)]
pub(crate) struct Path {
    #[command(flatten)]
    output: Json,
}

#[derive(Serialize)]
struct Places {
    directory: String,
    exists: bool,
    key_source: &'static str,
    key_place: String,
    /// Omitted if there is no key, or if it can't be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    key_id: Option<String>,
    config: String,
    cache: String,
}

impl Path {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let places = &context.places;
        let (key_id, problem) = match context.keys.load_keys().await {
            Ok(keys) => (keys.map(|keys| keys.current.id().to_string()), None),
            Err(error) => (None, Some(error)),
        };
        if let Some(problem) = &problem {
            output::warn(problem);
        }
        let shown = Places {
            directory: places.vault.display().to_string(),
            exists: FileVault::is_at(&places.vault),
            key_source: context.keys.kind(),
            key_place: context.keys.name(),
            key_id,
            config: places.config.display().to_string(),
            cache: places.cache.display().to_string(),
        };
        if self.output.json {
            output::print_json(&shown)?;
            return Ok(Exit::Done);
        }
        let none = |is_there: bool| if is_there { "" } else { " (none yet)" };
        let key = match (&shown.key_id, problem) {
            (Some(id), _) => format!(" ({id})"),
            (None, None) => none(false).to_owned(),
            (None, Some(_)) => String::new(),
        };
        output::print(format_args!(
            "{} {}{}\n{} {}{key}\n{} {}{}\n{} {}",
            output::strong("vault:   "),
            output::plain(&shown.directory),
            none(shown.exists),
            output::strong("key:     "),
            context.keys,
            output::strong("settings:"),
            output::plain(&shown.config),
            none(places.config.exists()),
            output::strong("cache:   "),
            output::plain(&shown.cache),
        ))?;
        Ok(Exit::Done)
    }
}
