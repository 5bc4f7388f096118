//! `show`: everything that is known about one account, except its secret.

use clap::Args;
use tower_credentials::Credential;
use tower_credentials::standing::Health;
use tower_credentials::vault::VaultExt;

use crate::account;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::options::{self, OneAccount};
use crate::output;
use crate::time::{now, rfc3339};

/// Show everything that is known about one account, except its secret
#[derive(Debug, Args)]
pub(crate) struct Show {
    #[command(flatten)]
    account: OneAccount,
    /// Write the response of the token endpoint that could not be read, with its secrets, to standard output
    #[arg(long, conflicts_with = "json")]
    unread_response: bool,
    #[command(flatten)]
    output: options::Json,
}

impl Show {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let vault = context.vault_with_accounts().await?;
        let meant = account::find(context, &vault, &self.account).await?;
        if self.unread_response {
            return write_unread(&vault.get(&meant.pool, meant.id).await?);
        }
        let (accounts, _) = account::load(context, &vault, [meant.pool.clone()]).await;
        let account = accounts.into_iter().find(|account| account.credential.id == meant.id);
        let Some(account) = account else {
            // An account that is listed but was not loaded does not open.
            vault.get(&meant.pool, meant.id).await?;
            return Err(Failure::not_found(format!("{} is gone", account::name(&meant))));
        };
        let now = now();
        if self.output.json {
            output::print_json(&account.json(now))?;
            return Ok(Exit::Done);
        }
        let credential = &account.credential;
        let mut lines = vec![
            ("provider", credential.pool.provider().to_owned()),
            ("namespace", credential.pool.namespace().to_owned()),
            ("label", credential.label.to_string()),
            ("id", credential.id.to_string()),
            ("kind", account::kind(credential.kind).to_owned()),
            ("active", if account.is_active { "yes" } else { "no" }.to_owned()),
            ("tier", account.standing.tier(credential.kind).to_string()),
            ("state", account.describe_state(now)),
        ];
        if account.quota.is_said() {
            lines.push(("quota", account.quota.to_string()));
        }
        if let Health::NeedsSignIn { reason, .. }
        | Health::Dead { reason, .. }
        | Health::Spent { reason, .. } = &account.standing.health
        {
            lines.push(("reason", output::plain(reason)));
        }
        lines.extend(
            account.settings_way_out(context).map(|way_out| ("try", output::suggestion(&way_out))),
        );
        for cooldown in account.standing.cooldowns.iter().filter(|cooldown| cooldown.until > now) {
            let scope = cooldown.scope.as_ref().map_or("all requests", |scope| scope.as_str());
            let scope = output::plain(scope);
            lines.push(("cooldown", format!("{scope}, until {}", rfc3339(cooldown.until))));
        }
        lines.push(("failures", account.standing.failures.to_string()));
        if let Some(response) = account.standing.last_response {
            lines.push(("last status", super::list::status(response.status)));
            lines.push(("last used", rfc3339(response.at)));
        }
        for window in account.windows(now) {
            let name = output::plain(&window.name);
            lines.push(("left", format!("{name}: {}", account::allowance::line(window, now))));
        }
        if account.has_unread_response {
            let command = format!("credentials show {} --unread-response", credential.id);
            lines.push(("unread response", format!("the token endpoint's last one is kept: {command}")));
        }
        lines.extend(account.last_renewal.as_ref().map(|renewal| ("renewal", renewal.to_string())));
        lines.extend(account.expires_at.map(|end| ("expires", rfc3339(end))));
        lines.push(("created", rfc3339(credential.created_at)));
        lines.push(("updated", rfc3339(credential.updated_at)));
        lines.push(("generation", credential.generation.to_string()));
        let attributes = credential.attributes.iter();
        lines.extend(attributes.map(|(name, value)| (name.as_str(), output::plain(value))));
        let width = lines.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        for (name, value) in lines {
            output::print(format_args!("{}  {value}", output::strong(format_args!("{name:width$}"))))?;
        }
        Ok(Exit::Done)
    }
}

fn write_unread(record: &Credential) -> Result<Exit, Failure> {
    let Some(response) = account::unread_response(&record.secret) else {
        let message = format!("no unread response is kept for {}", account::name(&record.metadata));
        return Err(Failure::not_found(message));
    };
    if output::is_for_a_person() {
        return Err(Failure::usage(
            "the response may contain secrets, and would be shown on the screen",
        )
        .way_out("pipe it to the program that needs it"));
    }
    output::print_exactly(response.expose())?;
    Ok(Exit::Done)
}
