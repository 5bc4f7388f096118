//! `list --watch`: the list, kept up to date until Ctrl-C.

use std::time::Duration;

use tokio::time::MissedTickBehavior;

use super::{List, shown};
use crate::account::{self, Account, Changes};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::log;
use crate::options::Global;
use crate::output;
use crate::time::now;

/// How often countdowns go on.
const EVERY: Duration = Duration::from_secs(1);

impl List {
    /// Shows the list anew whenever it has changed; on a terminal in the place of the one before.
    pub(super) async fn keep_up_to_date(
        self,
        global: &Global,
        mut context: Context,
    ) -> Result<Exit, Failure> {
        let (mut changes, mut ticks) = (Changes::default(), tokio::time::interval(EVERY));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut accounts, mut last) = (None, Last::default());
        loop {
            ticks.tick().await;
            let mut trouble = None;
            match context.changed(global) {
                Ok(None) => {}
                Ok(Some(changed)) => context = changed,
                // What was in effect stays so, and the accounts are shown by it.
                Err(failure) => trouble = Some(failure),
            }
            if changes.are_there(&context).await {
                match self.read(&context).await {
                    Ok(read) => {
                        log::show_engine(true);
                        changes.were_read(read.iter().map(|account| &account.credential.pool));
                        accounts = Some(read);
                    }
                    // What was never read is the same failure as without `--watch`.
                    Err(failure) if accounts.is_none() => return Err(failure),
                    // That the engine is away was said, and so it is that it is back.
                    Err(failure) if failure.is_away() => {}
                    Err(failure) => trouble = Some(failure),
                }
            }
            if last.warn(trouble.as_ref())
                && let Ok(again) = Context::quiet(global, None)
            {
                // Another vault may have taken the place of the one that was opened.
                context = again;
            }
            if let Some(accounts) = &accounts {
                match self.output.json {
                    true => last.line(accounts)?,
                    false => last.table(accounts)?,
                }
            }
        }
    }

    async fn read(&self, context: &Context) -> Result<Vec<Account>, Failure> {
        let (vault, listing) = account::read_all(context.vault_or_empty().await?).await?;
        let (provider, namespace) = (self.provider.as_deref(), self.namespace.namespace.as_deref());
        Ok(account::load_selected(context, &vault, &listing, provider, namespace).await?.0)
    }
}

/// What was shown last.
#[derive(Default)]
struct Last {
    text: String,
    /// How many lines of a terminal that took.
    lines: usize,
    /// Whether something else was written below it.
    is_torn: bool,
    warning: String,
}

impl Last {
    /// Writes a line of JSON if it differs from the last one.
    fn line(&mut self, accounts: &[Account]) -> Result<(), Failure> {
        let now = now();
        let accounts: Vec<_> = accounts.iter().map(|account| account.json(now)).collect();
        let text = serde_json::to_string(&accounts)
            .map_err(|error| Failure::failed("could not write JSON").because(error))?;
        if text != self.text {
            output::print_json_line(&accounts)?;
            self.text = text;
        }
        Ok(())
    }

    /// Writes the table if it differs from the last one.
    fn table(&mut self, accounts: &[Account]) -> Result<(), Failure> {
        let mut text = match accounts {
            [] => "There are no accounts".to_owned(),
            accounts => shown(accounts),
        };
        let terminal = console::Term::stdout();
        // What has scrolled away can't be replaced.
        if let Some((height, _)) = terminal.size_checked().filter(|_| output::is_for_a_person()) {
            text = top_of(&text, usize::from(height));
        }
        let is_torn = std::mem::take(&mut self.is_torn);
        if text == self.text && !is_torn {
            return Ok(());
        }
        if output::is_for_a_person() {
            let failed = |error| Failure::failed("could not write to the terminal").because(error);
            terminal.clear_last_lines(self.lines).map_err(failed)?;
        } else if !self.text.is_empty() {
            output::print("")?;
        }
        output::print(&text)?;
        self.lines = text.lines().count();
        self.text = text;
        Ok(())
    }

    /// Says once why the settings or the accounts can't be read now, and returns whether it was said.
    fn warn(&mut self, failure: Option<&Failure>) -> bool {
        let warning = failure.map(Failure::message).unwrap_or_default();
        if self.warning == warning {
            return false;
        }
        warning.clone_into(&mut self.warning);
        if let Some(failure) = failure {
            output::warn_of(failure);
            // The table begins anew below it. For a script nothing has changed.
            (self.lines, self.is_torn) = (0, true);
        }
        failure.is_some()
    }
}

/// Returns as many lines as a terminal of this height has, the last of which says how many there are besides.
fn top_of(text: &str, height: usize) -> String {
    let (count, room) = (text.lines().count(), height.saturating_sub(1).max(2));
    if count <= room {
        return text.to_owned();
    }
    let mut lines: Vec<_> = text.lines().take(room - 1).collect();
    let more = format!("… and {} more lines: credentials tui", count - lines.len());
    lines.push(&more);
    lines.join("\n")
}
