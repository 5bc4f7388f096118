//! `login`: one more account, or an old one signed in again.

mod flow;

use clap::Args;
use tower_credentials::oauth::{FlowKind, OAuthError};
use tower_credentials::settings::ProviderSettings;
use tower_credentials::vault::VaultExt;
use tower_credentials::{Credential, Generation, Metadata, PoolKey, Secret};

use crate::account;
use crate::args::Global;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::{output, prompt};

/// Add an account, or sign in to one again
///
/// An API key is asked for without being shown, or read from standard input: never from the command line, which
/// every user of the machine can see. Without --api-key, the account is signed in by OAuth, in the way that the
/// provider offers first; that needs the id of an OAuth client that you may use, under the vendor's terms.
///
/// Signing in again to an account that is there renews its tokens and keeps its label.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  credentials login openai --api-key --label work
  pass show openai/key | credentials login openai --api-key
  credentials login google --client-id 1234.apps.googleusercontent.com
  credentials login github-copilot --device")]
pub(crate) struct Login {
    /// The provider, or another name of it
    provider: String,
    /// The namespace that the account goes into, in place of the one in the settings
    #[arg(long, short, value_name = "NS")]
    namespace: Option<String>,
    /// The account's label; the account's own name, or `default`, where it is missing
    #[arg(long, short)]
    label: Option<String>,
    #[command(flatten)]
    way: Way,
    /// The id of the OAuth client, in place of the one in the settings
    #[arg(long, value_name = "ID", conflicts_with = "api_key")]
    client_id: Option<String>,
    /// Only print the page's address; open no browser
    #[arg(long)]
    no_browser: bool,
}

#[derive(Debug, Args)]
#[group(multiple = false)]
struct Way {
    /// Store an API key
    #[arg(long)]
    api_key: bool,
    /// Sign in by a code that is typed in on any device
    #[arg(long)]
    device: bool,
    /// Sign in by a code that the browser shows, to be pasted here
    #[arg(long)]
    paste_code: bool,
}

impl Login {
    pub(crate) async fn run(self, global: &Global) -> Result<Exit, Failure> {
        let settings = match &self.client_id {
            Some(id) => Some(ProviderSettings::new().set("oauth.client_id", id)?),
            None => None,
        };
        let settings = settings.map(|settings| (self.provider.as_str(), settings));
        let context = Context::with_settings(global, settings)?;
        let pool = context.registry.pool_key(&self.provider)?;
        let pool = match &self.namespace {
            Some(namespace) => PoolKey::with_namespace(pool.provider(), namespace.as_str()),
            None => pool,
        };
        // What is wrong with the vault is said before a person does anything, and a new one is made after.
        context.vault().await?;
        if self.way.api_key {
            self.store_key(&context, pool).await
        } else {
            self.sign_in(&context, pool).await
        }
    }

    async fn store_key(&self, context: &Context, pool: PoolKey) -> Result<Exit, Failure> {
        let key = prompt::secret("API key").await?;
        let label = self.label.as_deref().unwrap_or(DEFAULT_LABEL);
        let credential = Credential::new(pool, label, Secret::api_key(key));
        let provider = context.registry.provider(&self.provider)?;
        provider
            .headers(&credential)
            .map_err(|error| Failure::usage("this is no API key").because(error))?;
        let vault = context.vault_or_new().await?;
        let token = credential.secret.token().expose();
        let stored = vault.load_pool(credential.metadata.pool.clone()).await?.credentials;
        let same = stored.iter().find(|known| {
            known.metadata.kind == credential.metadata.kind && known.secret.token().expose() == token
        });
        let (metadata, what) = match same {
            Some(known) => (known.metadata.clone(), "There already"),
            None => (vault.put(credential).await?, "Stored"),
        };
        tell(what, &metadata);
        Ok(Exit::Done)
    }

    async fn sign_in(&self, context: &Context, pool: PoolKey) -> Result<Exit, Failure> {
        let client = context.oauth(&self.provider).map_err(|failure| failure.way_out(self.by_key()))?;
        let kind = match (self.way.device, self.way.paste_code) {
            (true, _) => FlowKind::Device,
            (_, true) => FlowKind::PastedCode,
            _ => client.first_flow()?,
        };
        let sign_in = client.sign_in(kind).await.map_err(|error| match error {
            OAuthError::MissingSetting { setting: "client_id", .. } => Failure::from(error)
                .way_out(format!("the same with --client-id, or with an API key: {}", self.by_key())),
            error => error.into(),
        })?;
        let signed_in = flow::follow(sign_in, kind, !self.no_browser).await?;
        let vault = context.vault_or_new().await?;
        let label = self.label.as_deref().or(signed_in.label.as_deref()).unwrap_or(DEFAULT_LABEL);
        let metadata = signed_in.store(&vault, pool, label).await?;
        let again = metadata.generation != Generation::FIRST;
        tell(if again { "Signed in again" } else { "Signed in" }, &metadata);
        Ok(Exit::Done)
    }

    fn by_key(&self) -> String {
        format!("credentials login {} --api-key", self.provider)
    }
}

/// The label of an account that nobody has named.
const DEFAULT_LABEL: &str = "default";

fn tell(what: &str, metadata: &Metadata) {
    let name = output::strong(account::name(metadata));
    output::say(format_args!("{}: {name} ({})", output::good(what), &metadata.id.to_string()[..8]));
}
