//! Signing in, and storing the tokens.

use tower_credentials::oauth::{FlowKind, OAuthError, ReplaceError, SignIn, SignedIn};
use tower_credentials::setup::SetupVault;
use tower_credentials::vault::VaultExt;
use tower_credentials::{Generation, Kind, PoolKey};

use super::telling::{Done, Label, tell_whose};
use super::{DEFAULT_LABEL, LEASE, Login, browser, flow};
use crate::account;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::options::Global;
use crate::output;
use crate::running::Before;
use crate::shell::quoted;

impl Login {
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

    pub(super) async fn sign_in(
        &self,
        global: &Global,
        context: &Context,
        pool: PoolKey,
    ) -> Result<Exit, Failure> {
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
            self.tell(Done::SignedIn, &metadata, Label::Given);
        } else {
            let is_taken = self.to_replace(&vault, pool).await.is_ok();
            self.tell(Done::SignedInAgain, &metadata, Label::kept(is_taken));
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
        self.tell(Done::SignedInAgain, &metadata, Label::Kept);
        tell_whose(signed_in, &metadata);
        if !is_known {
            output::say(
                "The vendor does not tell whether that is the same account: make sure that it is.",
            );
        }
        Ok(Exit::Done)
    }

    fn by_key(&self) -> String {
        format!("credentials login {} --api-key", quoted(&self.provider))
    }
}
