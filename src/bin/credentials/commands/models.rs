//! `models`: the models that a provider offers.

use std::time::Duration;

use clap::Args;
use serde::Serialize;
use tower_credentials::discovery::{Discovery, Model, Stale};
use tower_credentials::events::Event;
use tower_credentials::settings::SettingsError;

use crate::account::{self, Unusable};
use crate::context::{Body, Context};
use crate::ending;
use crate::failure::{Exit, Failure, chain};
use crate::options::{self, Namespace};
use crate::output;
use crate::progress::Waiting;
use crate::table::{Overflow, table};
use crate::time::{brief, now, rfc3339};

/// List the models that a provider offers
///
/// The list is cached for an hour. If the provider can't be asked, the cached list is shown, with a warning.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  credentials models openai
  credentials models anthropic --filter sonnet
  credentials models google --refresh --json | jq -r '.models[].id'")]
pub(crate) struct Models {
    /// The provider
    provider: String,
    /// Ask the provider even if the cached list is recent
    #[arg(long)]
    refresh: bool,
    /// Only models whose id or name contains TEXT; with a *, only ids that match as a whole
    #[arg(long, short, value_name = "TEXT")]
    filter: Option<String>,
    #[command(flatten)]
    namespace: Namespace,
    #[command(flatten)]
    output: options::Json,
}

impl Models {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let key = context.pool_key(&self.provider, self.namespace.namespace.as_deref())?;
        let vault = context.vault_or_empty().await?;
        let unusable = Unusable::default();
        let observe = {
            let unusable = unusable.observer();
            move |event: &Event| {
                ending::tell(event);
                unusable(event);
            }
        };
        let pool = ending::open(context.pool(&key, vault.clone())?.on_event(observe)).await?;
        unusable.warn(&pool, &[]);
        let client = context.client(&pool)?;
        let discovery = Discovery::builder::<_, Body, _>(&pool, client)
            .cache_dir(context.places.cache.join("models"))
            .build()
            .map_err(|error| {
                let is_unset =
                    matches!(&error, SettingsError::Invalid { key, .. } if key == "models_url");
                let failure = Failure::from(error);
                match is_unset {
                    true => failure.way_out(account::set_models(context, key.provider())),
                    false => failure,
                }
            })?;
        let ask = async || match self.refresh {
            true => discovery.refresh().await,
            false => discovery.models().await,
        };
        let waiting = Waiting::begin(format!("asking {} for its models", output::plain(key.provider())));
        let mut asked = ask().await;
        if asked.is_err() && !pool.renewing().is_empty() {
            // The renewal took longer than the discovery waited.
            pool.renewed().await;
            asked = ask().await;
        }
        // Saves what was learnt about the accounts, even if the request failed.
        let _ = pool.save().await;
        drop(waiting);
        if asked.is_err() {
            account::tell_left_out(context, &vault, &key).await;
        }
        let asked = match asked {
            Ok(asked) => asked,
            Err(error) => {
                let failure = Failure::from(error);
                return Err(match failure.exit() {
                    Exit::NotFound => {
                        let failure = failure.way_out(account::login(context, &key));
                        account::no_account(&vault, &key, failure).await
                    }
                    Exit::Refused | Exit::Unavailable => failure.way_out(account::test(&key)),
                    _ => failure,
                });
            }
        };
        if let Some(Stale { age, error, .. }) = asked.stale() {
            let age = brief(Duration::from_secs(age.as_secs()));
            output::warn(format_args!("this list is {age} old: {}", output::plain(&chain(error))));
        }
        let is_selected =
            |model: &&Model| self.filter.as_deref().is_none_or(|filter| model.matches(filter));
        let models: Vec<_> = asked.iter().filter(is_selected).collect();
        if self.output.json {
            output::print_json(&Json {
                provider: key.provider(),
                namespace: key.namespace(),
                url: discovery.uri().to_string(),
                fetched_at: rfc3339(asked.fetched_at()),
                age_seconds: now().since(asked.fetched_at()).as_secs(),
                stale: asked.stale().map(|stale| chain(&stale.error)),
                models: models.into_iter().map(JsonModel::new).collect(),
            })?;
        } else if models.is_empty() {
            output::say(match asked.as_slice().len() {
                0 => format!("{} offers no models", key.provider()),
                all => format!("None of the {all} models matches"),
            });
        } else {
            output::print(shown(&models))?;
        }
        Ok(Exit::Done)
    }
}

fn shown(models: &[&Model]) -> String {
    let text = |text: &Option<String>| text.as_deref().map(output::plain).unwrap_or_default();
    let rows = models.iter().map(|model| {
        let context = model.context_window.map(|tokens| tokens.to_string()).unwrap_or_default();
        [output::plain(&model.id), text(&model.name), text(&model.owner), context]
    });
    table(
        ["ID", "NAME", "OWNER", "CONTEXT"],
        Overflow { truncated: &["OWNER", "NAME"], ..Overflow::default() },
        rows,
    )
}

#[derive(Serialize)]
struct Json<'a> {
    provider: &'a str,
    namespace: &'a str,
    url: String,
    fetched_at: String,
    age_seconds: u64,
    /// Why the list is older than it should be.
    #[serde(skip_serializing_if = "Option::is_none")]
    stale: Option<String>,
    models: Vec<JsonModel<'a>>,
}

#[derive(Serialize)]
struct JsonModel<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    context_window: Option<u64>,
}

impl<'a> JsonModel<'a> {
    fn new(model: &'a Model) -> Self {
        Self {
            id: &model.id,
            name: model.name.as_deref(),
            owner: model.owner.as_deref(),
            created_at: model.created_at.map(rfc3339),
            context_window: model.context_window,
        }
    }
}
