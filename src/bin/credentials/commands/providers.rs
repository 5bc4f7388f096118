//! `providers`: the known providers, and the rules for their responses.

use clap::Args;
use serde::Serialize;
use tower_credentials::oauth::{Dialect, OAuthConfig};
use tower_credentials::provider::{Provider, ResponseRule};

use crate::account::setting;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::options;
use crate::output;
use crate::table::{Overflow, table};

/// List the known providers, or the rules for the responses of one
///
/// The list has each provider's origin, the variable of its API key, the ways to sign in, and the setting that these need
/// and lack. The settings may add providers, and rules, which come before the vendor's own. The first rule that matches
/// counts; if none does, the status and the headers decide.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  credentials providers
  credentials providers openai anthropic
  credentials providers --responses anthropic")]
pub(crate) struct Providers {
    /// Only these providers
    #[arg(value_name = "PROVIDER", conflicts_with = "responses")]
    providers: Vec<String>,
    /// Show the rules for the responses of this provider
    #[arg(long, value_name = "PROVIDER")]
    responses: Option<String>,
    #[command(flatten)]
    output: options::Json,
}

impl Providers {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        match &self.responses {
            Some(name) => {
                let provider = context.registry.provider(name)?;
                self.show_rules(name, provider.responses())?;
            }
            None => self.list(context)?,
        }
        Ok(Exit::Done)
    }

    fn show_rules(&self, name: &str, rules: &[ResponseRule]) -> Result<(), Failure> {
        if self.output.json {
            return output::print_json(&rules.iter().map(JsonRule::new).collect::<Vec<_>>());
        }
        if rules.is_empty() {
            output::say(format_args!("{name} has no rules: the status and the headers decide"));
            return Ok(());
        }
        let rows = rules.iter().map(|rule| {
            let statuses: Vec<_> = rule.statuses().iter().map(u16::to_string).collect();
            let means = [rule.means_word().to_owned(), rule.effect()];
            let means = means.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(", ");
            let what_to_do = rule.what_to_do().unwrap_or_default();
            [
                statuses.join(" "),
                output::plain(&rule.conditions()),
                output::plain(&means),
                output::plain(what_to_do),
            ]
        });
        output::print(table(
            ["STATUS", "WITH", "MEANS", "WHAT TO DO"],
            Overflow { wrapped: "WITH", ..Overflow::default() },
            rows,
        ))
    }

    fn list(&self, context: &Context) -> Result<(), Failure> {
        let mut known = Vec::new();
        let mut only = Vec::new();
        for name in &self.providers {
            only.push(context.pool_key(name, None)?);
        }
        let is_meant = |name: &&str| only.is_empty() || only.iter().any(|key| key.provider() == *name);
        for name in context.registry.names().filter(is_meant) {
            let provider = context.registry.provider(name)?;
            let config = provider.oauth();
            let flows = config.map(|config| config.flows.as_slice()).unwrap_or_default();
            known.push(Known {
                name,
                sign_in: flows.iter().map(ToString::to_string).collect(),
                needs: config.filter(|_| !flows.is_empty()).and_then(|config| needs(name, config)),
                aliases: provider.aliases().iter().map(|alias| (*alias).to_owned()).collect(),
                origin: provider.origin().map(ToString::to_string),
                api_key_variable: context.registry.api_key_variable(name)?,
            });
        }
        if self.output.json {
            return output::print_json(&known);
        }
        let rows = known.into_iter().map(|known| {
            [
                output::plain(known.name),
                output::plain(&known.aliases.join(", ")),
                known.origin.unwrap_or_default(),
                known.api_key_variable.unwrap_or_default().to_owned(),
                known.sign_in.join(", "),
                known.needs.unwrap_or_default(),
            ]
        });
        output::print(table(
            ["NAME", "ALIASES", "ORIGIN", "API KEY IN", "SIGN IN BY", "NEEDS"],
            Overflow { dropped: &["ALIASES", "ORIGIN"], wrapped: "SIGN IN BY", ..Overflow::default() },
            rows,
        ))
    }
}

/// A provider in `--json`.
#[derive(Serialize)]
struct Known<'a> {
    name: &'a str,
    aliases: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    api_key_variable: Option<&'a str>,
    /// The ways to sign in, the first one offered first.
    sign_in: Vec<String>,
    /// The setting that a sign-in needs and that is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    needs: Option<String>,
}

/// Returns the setting that a sign-in lacks: the OAuth client, which is never shipped. Cursor's link needs none.
pub(crate) fn needs(provider: &str, config: &OAuthConfig) -> Option<String> {
    let is_set = config.client_id.as_deref().is_some_and(|id| !id.is_empty());
    (!is_set && config.dialect != Dialect::Cursor).then(|| setting(provider, "oauth.client_id"))
}

/// A rule in `--json`.
#[derive(Serialize)]
struct JsonRule<'a> {
    statuses: &'a [u16],
    asks: String,
    means: &'static str,
    holds: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    what_to_do: Option<&'a str>,
}

impl<'a> JsonRule<'a> {
    fn new(rule: &'a ResponseRule) -> Self {
        Self {
            statuses: rule.statuses(),
            asks: rule.conditions(),
            means: rule.means_word(),
            holds: rule.effect(),
            what_to_do: rule.what_to_do(),
        }
    }
}
