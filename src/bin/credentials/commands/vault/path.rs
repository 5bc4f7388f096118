//! `vault path`: shows where everything is.

use clap::Args;
use serde::Serialize;
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
    /// The vault's directory, or that of this host's own files if the vault is in an engine.
    directory: String,
    /// The engine's URL, without name and password.
    #[serde(skip_serializing_if = "Option::is_none")]
    engine: Option<String>,
    /// Omitted if that is not known: the engine is away.
    #[serde(skip_serializing_if = "Option::is_none")]
    exists: Option<bool>,
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
        let exists = match context.engine().await {
            Ok(None) => Some(context.has_vault()),
            Ok(Some(engine)) => said(engine.is_vault().await.map_err(Failure::from)),
            Err(failure) => said(Err(failure)),
        };
        let shown = Places {
            directory: places.own.display().to_string(),
            engine: places.vault.engine().map(ToString::to_string),
            exists,
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
        let own = match &shown.engine {
            Some(_) => format!("{} {}\n", output::strong("state:   "), output::plain(&shown.directory)),
            None => String::new(),
        };
        let none = |is_there: bool| if is_there { "" } else { " (none yet)" };
        let key = match (&shown.key_id, problem) {
            (Some(id), _) => format!(" ({id})"),
            (None, None) => none(false).to_owned(),
            (None, Some(_)) => String::new(),
        };
        output::print(format_args!(
            "{} {}{}\n{own}{} {}{key}\n{} {}{}\n{} {}",
            output::strong("vault:   "),
            context.vault_name(),
            none(shown.exists.unwrap_or(true)),
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

/// Warns of a failure: the other places are of use without it.
fn said(asked: Result<bool, Failure>) -> Option<bool> {
    asked.inspect_err(output::warn_of).ok()
}
