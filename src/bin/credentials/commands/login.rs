//! `login`: adds an account, or signs in to one again.

mod browser;
mod flow;
mod key;
mod replacing;
mod sign_in;
mod telling;

use clap::Args;
use tower_credentials::settings::ProviderSettings;
use tower_credentials::vault::{MemoryVault, VaultExt};
use tower_credentials::{Credential, Kind, PoolKey, Secret};

use crate::account;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::options::{self, Global};
use crate::prompt;

pub(crate) use browser::OpenPage;
#[cfg(feature = "tui")]
pub(crate) use browser::open as open_page;

/// Add an account, or sign in to one again
///
/// An API key is asked for without being shown, or read from standard input. It is never taken from the command line, which
/// every user of the machine can see. Without --api-key, you sign in with OAuth, in the first way that the provider offers.
/// This needs the id of an OAuth client that you may use under the vendor's terms.
///
/// If you sign in again to an account that is in the vault, and the vendor tells whose it is, its tokens are renewed and its
/// label is kept. If the vendor does not tell, name the account with --label and --replace. Without --replace, a label that is
/// taken gets `-2`. If the vendor tells that the tokens are of another account, they are not stored.
///
/// Over ssh, for example, no browser is needed on this machine. The command prints a page for a browser anywhere; paste the
/// address at which it ends into the terminal. With --device and --paste-code, if the provider has them, nothing on this
/// machine listens for a browser.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  credentials login openai --api-key --label work
  pass show openai/key | credentials login openai --api-key
  credentials login google --client-id 1234.apps.googleusercontent.com
  credentials login google --no-browser     # over ssh: open the second page at home, and paste the address at which it ends
  credentials login github-copilot --device")]
pub(crate) struct Login {
    /// The provider, or an alias of it
    provider: String,
    /// The namespace to add the account to; defaults to the one in the settings
    #[arg(long, short, value_name = "NS")]
    namespace: Option<String>,
    /// The account's label; defaults to the name that the vendor has for it, or `default`
    #[arg(long, short)]
    label: Option<String>,
    /// Replace the key or the tokens of the account with that label
    #[arg(long, requires = "label")]
    replace: bool,
    #[command(flatten)]
    way: Way,
    /// The id of the OAuth client; defaults to the one in the settings
    #[arg(long, value_name = "ID", conflicts_with = "api_key")]
    client_id: Option<String>,
    /// Print the address of the page, but open no browser
    #[arg(long)]
    no_browser: bool,
}

#[derive(Debug, Args)]
#[group(multiple = false)]
struct Way {
    /// Store an API key
    #[arg(long)]
    api_key: bool,
    /// Sign in with a code that you type on any device
    #[arg(long)]
    device: bool,
    /// Sign in with a code that the browser shows and you paste here; nothing listens for a browser on this machine
    #[arg(long, alias = "pasted-code", visible_alias = "no-loopback")]
    paste_code: bool,
}

impl Login {
    /// The command for an account of this pool: a new one, or the one with that label, which gets the new secret. The
    /// way is a sign-in unless it is a key.
    #[cfg(feature = "tui")]
    pub(crate) fn of(pool: &PoolKey, label: Option<String>, replace: bool, by_key: bool) -> Self {
        Self {
            provider: pool.provider().to_owned(),
            namespace: Some(pool.namespace().to_owned()),
            label,
            replace,
            way: Way { api_key: by_key, device: false, paste_code: false },
            client_id: None,
            no_browser: true,
        }
    }

    pub(crate) async fn run(self, global: &Global) -> Result<Exit, Failure> {
        let settings = match &self.client_id {
            Some(id) => Some(ProviderSettings::new().set("oauth.client_id", id)?),
            None => None,
        };
        let settings = settings.map(|settings| (self.provider.as_str(), settings));
        let context =
            Context::with_settings(global, settings).map_err(|failure| self.without_name(failure))?;
        let pool = context.pool_key(&self.provider, self.namespace.as_deref());
        let pool = pool.map_err(|failure| self.without_name(failure))?;
        if self.way.api_key && !context.registry.has_api_keys(pool.provider())? {
            return Err(Failure::usage(format!("{} has no API keys", pool.provider()))
                .because("its vendor takes only the tokens of a sign-in")
                .way_out(account::login(&context, &pool)));
        }
        self.check(&context, &pool).await?;
        if self.way.api_key {
            let key = prompt::secret("API key").await?;
            self.store_key(&context, pool, key).await
        } else {
            self.sign_in(global, &context, pool).await
        }
    }

    /// Checks everything before a person does anything; a new vault is created after that.
    pub(crate) async fn check(&self, context: &Context, pool: &PoolKey) -> Result<(), Failure> {
        // An account that is there has the name that it has.
        if !self.replace {
            options::check_name("label", self.label.as_deref().unwrap_or_default())?;
            options::check_name("namespace", self.namespace.as_deref().unwrap_or_default())?;
        }
        let label = self.label.as_deref().unwrap_or(DEFAULT_LABEL);
        // Every vault accepts the same names.
        MemoryVault::new().put(Credential::new(pool.clone(), label, Secret::api_key("none"))).await?;
        context.check_vault().await?;
        if self.replace {
            let vault = context.vault_with_accounts().await?;
            let kind = if self.way.api_key { Kind::Api } else { Kind::OAuth };
            let known = self.to_replace_with(&vault, pool, kind).await?;
            if kind == Kind::OAuth {
                replacing::opens(&vault, &known).await?;
            }
        }
        Ok(())
    }

    /// Returns the failure without the provider's name, in place of which a key may have been typed.
    fn without_name(&self, failure: Failure) -> Failure {
        let is_name =
            |text: &str| text.len() <= 24 && !text.bytes().any(|byte| byte.is_ascii_uppercase());
        match is_name(&self.provider) {
            true => failure,
            false => Failure::not_found("there is no such provider")
                .because("what was typed is not repeated here, because it may be a key")
                .way_out("credentials login PROVIDER --api-key, and paste the key at the prompt"),
        }
    }
}

/// Sign-ins take turns while they look for an account and add it.
const LEASE: &str = "credentials login";

/// The label of an account if none is given.
pub(crate) const DEFAULT_LABEL: &str = "default";
