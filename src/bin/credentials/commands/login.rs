//! `login`: adds an account, or signs in to one again.

mod browser;
mod flow;

use clap::Args;
use tower_credentials::events::EventKind;
use tower_credentials::oauth::{FlowKind, OAuthError, ReplaceError, SignIn, SignedIn};
use tower_credentials::settings::ProviderSettings;
use tower_credentials::setup::SetupVault;
use tower_credentials::vault::{MemoryVault, Replaced, VaultError, VaultExt};
use tower_credentials::{Credential, Generation, Kind, Metadata, PoolKey, Secret, SecretString};

use crate::account;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::options::{self, Global};
use crate::running::Before;
use crate::shell::quoted;
use crate::{output, prompt, recorder};

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
                opens(&vault, &known).await?;
            }
        }
        Ok(())
    }

    /// Finds the account to replace.
    async fn to_replace(&self, vault: &SetupVault, pool: &PoolKey) -> Result<Metadata, Failure> {
        let label = self.label.as_deref().unwrap_or(DEFAULT_LABEL);
        let known = vault.list().await?.credentials.into_iter();
        let mut known = known.filter(|known| known.pool == *pool && *known.label == *label);
        known.next().ok_or_else(|| {
            Failure::not_found(format!("there is no account {label} of {pool} to replace"))
                .way_out("leave out --replace")
        })
    }

    /// Stores a key.
    pub(crate) async fn store_key(
        &self,
        context: &Context,
        pool: PoolKey,
        key: SecretString,
    ) -> Result<Exit, Failure> {
        let key = SecretString::api_key(key.expose()).map_err(|reason| {
            Failure::usage("this is not an API key").because(reason).way_out("give the key alone")
        })?;
        let label = self.label.as_deref().unwrap_or(DEFAULT_LABEL);
        let credential = Credential::new(pool.clone(), label, Secret::api_key(key));
        let provider = context.registry.provider(&self.provider)?;
        provider
            .headers(&credential)
            .map_err(|error| Failure::usage("this is not an API key").because(error))?;
        let vault = context.vault_or_new().await?;
        let _one_at_a_time = vault.lease_client(LEASE.into()).await?;
        let before = Before::of(context, &vault).await?;
        let token = credential.secret.token().expose();
        let stored = vault.load_pool(pool.clone()).await?.credentials;
        let same = stored.iter().find(|known| {
            known.metadata.kind == credential.metadata.kind && known.secret.token().expose() == token
        });
        if let Some(known) = same {
            if self.replace && *known.metadata.label != *label {
                let name = account::name(&known.metadata);
                let message = format!(
                    "{} was not changed: {name} has this key already",
                    account::name(&credential.metadata)
                );
                return Err(Failure::usage(message).way_out(format!(
                    "give another key; or credentials logout {}, then run this again",
                    quoted(&name)
                )));
            }
            let is_taken = stored.iter().any(|other| *other.metadata.label == *label);
            self.tell(STORED_ALREADY, &known.metadata, Label::kept(is_taken));
        } else if self.replace {
            let metadata = self.put_in_place(&vault, &pool, credential.secret).await?;
            self.tell("Replaced", &metadata, Label::Kept);
        } else {
            self.tell("Stored", &vault.put(credential).await?, Label::Given);
        }
        before.tell(context, &vault).await?;
        account::tell_left_out(context, &vault, &pool).await;
        Ok(Exit::Done)
    }

    /// Begins a sign-in in this way, or in the one that the flags name, or in the first one that the provider offers.
    pub(crate) async fn begin(
        &self,
        context: &Context,
        pool: &PoolKey,
        way: Option<FlowKind>,
    ) -> Result<(SignIn, FlowKind), Failure> {
        let has_api_keys = context.registry.has_api_keys(pool.provider())?;
        let by_key = has_api_keys.then(|| self.by_key());
        let client = context.oauth(&self.provider).map_err(|failure| match &by_key {
            Some(by_key) => failure.way_out(by_key),
            None => failure,
        })?;
        let kind = match (way, self.way.device, self.way.paste_code) {
            (Some(way), ..) => way,
            (_, true, _) => FlowKind::Device,
            (.., true) => FlowKind::PastedCode,
            _ => client.first_flow()?,
        };
        let sign_in = client.sign_in(kind).await.map_err(|error| match error {
            OAuthError::MissingSetting { setting: "client_id", .. } => {
                let by_key = by_key.map(|by_key| format!("; or use an API key: {by_key}"));
                Failure::from(error).way_out(format!(
                    "add --client-id ID; or set it in {}{}",
                    context.places.config.display(),
                    by_key.unwrap_or_default()
                ))
            }
            OAuthError::UnsupportedFlow { flow: FlowKind::PastedCode, .. }
                if client.config().flows.contains(&FlowKind::Loopback) =>
            {
                Failure::from(error).way_out(
                    "use --no-browser instead: with it, too, you paste the address at which a browser elsewhere ends",
                )
            }
            OAuthError::PortTaken { .. } => Failure::from(error).way_out("add --paste-code"),
            error => error.into(),
        })?;
        Ok((sign_in, kind))
    }

    async fn sign_in(&self, global: &Global, context: &Context, pool: PoolKey) -> Result<Exit, Failure> {
        let (mut sign_in, kind) = self.begin(context, &pool, None).await?;
        let open = |url: &str| {
            if !self.no_browser {
                browser::open(url, &context.registry);
            }
        };
        let signed_in = flow::follow(&mut sign_in, kind, open).await?;
        let stored = self.store(context, &pool, &signed_in).await;
        flow::see_off(&mut sign_in).await;
        if stored.is_ok() {
            self.tell_of_renewal(global, &pool);
        }
        stored
    }

    /// Warns if the settings lack what renews the account's token, or have another client's id.
    fn tell_of_renewal(&self, global: &Global, pool: &PoolKey) {
        let Some(id) = &self.client_id else { return };
        // Without the options of this command.
        let Ok(context) = Context::quiet(global, None) else { return };
        let provider = context.registry.provider(pool.provider()).ok();
        let known = provider.as_ref().and_then(|provider| provider.oauth()?.client_id.as_deref());
        if known == Some(id.as_str()) {
            return;
        }
        let why = match known {
            Some(_) => "the settings have the id of another client",
            None => "the settings have no client id",
        };
        let name = output::plain(pool.provider());
        output::warn(format_args!("the tokens of {name} can't be renewed yet: {why}"));
        output::way_out(format_args!(
            "set {} = \"{}\" in {}",
            account::setting(pool.provider(), "oauth.client_id"),
            output::plain(id),
            context.places.config.display()
        ));
    }

    /// Stores the tokens of a sign-in.
    pub(crate) async fn store(
        &self,
        context: &Context,
        pool: &PoolKey,
        signed_in: &SignedIn,
    ) -> Result<Exit, Failure> {
        let vault = context.vault_or_new().await?;
        // Two sign-ins to one new account must not store it twice.
        let _one_at_a_time = vault.lease_client(LEASE.into()).await?;
        if self.replace {
            let exit = self.renew(&vault, pool, signed_in).await?;
            account::tell_left_out(context, &vault, pool).await;
            return Ok(exit);
        }
        let before = Before::of(context, &vault).await?;
        let label = self.label.as_deref().or(signed_in.label.as_deref()).unwrap_or(DEFAULT_LABEL);
        let metadata = signed_in.store(&vault, pool.clone(), label).await?;
        if metadata.generation == Generation::FIRST {
            self.tell("Signed in", &metadata, Label::Given);
        } else {
            let is_taken = self.to_replace(&vault, pool).await.is_ok();
            self.tell("Signed in again", &metadata, Label::kept(is_taken));
        }
        tell_whose(signed_in, &metadata);
        before.tell(context, &vault).await?;
        account::tell_left_out(context, &vault, pool).await;
        Ok(Exit::Done)
    }

    /// Replaces the tokens of the account with this label, unless they are somebody else's.
    async fn renew(
        &self,
        vault: &SetupVault,
        pool: &PoolKey,
        signed_in: &SignedIn,
    ) -> Result<Exit, Failure> {
        let known = self.to_replace_with(vault, pool, Kind::OAuth).await?;
        let is_known = signed_in.is_of(&vault.get(&known.pool, known.id).await?).is_some();
        let metadata = signed_in.replace(vault, &known.pool, known.id).await.map_err(|error| match error {
            ReplaceError::AnotherAccount { signed_in, stored, .. } => {
                let name = account::name(&known);
                let message = format!("{name} is the account of {stored}, but you signed in as {signed_in}");
                Failure::new(Exit::Refused, message).because("nothing was stored").way_out(format!(
                    "sign in as {stored}; or, to add {signed_in}, leave out --replace and give another label"
                ))
            }
            ReplaceError::Vault(error) => error.into(),
            error => Failure::failed(error.to_string()),
        })?;
        self.tell("Signed in again", &metadata, Label::Kept);
        tell_whose(signed_in, &metadata);
        if !is_known {
            output::say(
                "The vendor does not tell whether that is the same account: make sure that it is.",
            );
        }
        Ok(Exit::Done)
    }

    /// Finds the account to replace, and checks that it takes this kind of secret.
    async fn to_replace_with(
        &self,
        vault: &SetupVault,
        pool: &PoolKey,
        kind: Kind,
    ) -> Result<Metadata, Failure> {
        let known = self.to_replace(vault, pool).await?;
        if known.kind != kind {
            let message = format!("{} is of the kind {}", account::name(&known), known.kind);
            return Err(Failure::usage(message).way_out("leave out --replace, and give another label"));
        }
        Ok(known)
    }

    /// Replaces the key of the account with this label.
    async fn put_in_place(
        &self,
        vault: &SetupVault,
        pool: &PoolKey,
        secret: Secret,
    ) -> Result<Metadata, Failure> {
        let mut known = self.to_replace_with(vault, pool, secret.kind()).await?;
        // A refresh that came first stored older tokens than these.
        loop {
            match vault.replace_secret(&known.pool, known.id, known.generation, secret.clone()).await? {
                Replaced::Swapped(_) => return Ok(vault.get(&known.pool, known.id).await?.metadata),
                Replaced::Conflict(current) => known = current.metadata,
            }
        }
    }

    fn by_key(&self) -> String {
        format!("credentials login {} --api-key", quoted(&self.provider))
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

    /// Says what was done with an account.
    fn tell(&self, what: &str, metadata: &Metadata, outcome: Label) {
        if what != STORED_ALREADY {
            recorder::done(EventKind::SignedIn { account: metadata.into() });
        }
        let name = account::name(metadata);
        let strong = output::strong(&name);
        output::say(format_args!(
            "{}: {strong} ({})",
            output::good(what),
            &metadata.id.to_string()[..8]
        ));
        let Some(label) = self.label.as_deref().filter(|label| *metadata.label != **label) else {
            return;
        };
        match outcome {
            Label::Given if metadata.label.starts_with(label) => output::say(format_args!(
                "The label {label} was taken. To replace the secret of that account instead, add --replace"
            )),
            Label::KeptSinceTaken => output::say(format_args!(
                "It keeps its label: {} is another account's",
                output::plain(label)
            )),
            Label::Given | Label::Kept => output::say(format_args!(
                "It keeps its label. To change it: credentials rename {} {}",
                quoted(&name),
                quoted(label)
            )),
        }
    }
}

/// What became of the label that was asked for.
#[derive(Clone, Copy)]
enum Label {
    /// A new account has it, or one like it if it was taken.
    Given,
    /// The account was there, and keeps its own.
    Kept,
    /// The same, and another account has this one.
    KeptSinceTaken,
}

impl Label {
    fn kept(is_taken: bool) -> Self {
        if is_taken { Self::KeptSinceTaken } else { Self::Kept }
    }
}

/// Checks that an account's record opens: the tokens of a sign-in are compared with it, and would be lost.
async fn opens(vault: &SetupVault, known: &Metadata) -> Result<(), Failure> {
    match vault.get(&known.pool, known.id).await {
        Ok(_) => Ok(()),
        Err(VaultError::Damaged(damage)) if !damage.may_be_restored && !damage.may_pass => {
            let why = damage.reason.split_once("; ").map_or(damage.reason.as_str(), |(why, _)| why);
            let message = format!("{} can't be replaced: its record is damaged", account::name(known));
            let way_out = format!(
                "credentials logout {} --yes, then sign in without --replace",
                quoted(account::name(known))
            );
            let because = format!("{}: {why}", damage.record);
            Err(Failure::new(Exit::Vault, message).because(because).way_out(way_out))
        }
        Err(error) => Err(error.into()),
    }
}

/// Says whose account it is, if its label does not: it may be another one than intended.
fn tell_whose(signed_in: &SignedIn, metadata: &Metadata) {
    if let Some(name) = signed_in.name().filter(|name| *name != &*metadata.label) {
        output::say(format_args!("The account is {}", output::plain(name)));
    }
}

/// Sign-ins take turns while they look for an account and add it.
const LEASE: &str = "credentials login";

/// What is said if a key is in the vault already.
const STORED_ALREADY: &str = "Stored already";

/// The label of an account if none is given.
pub(crate) const DEFAULT_LABEL: &str = "default";
