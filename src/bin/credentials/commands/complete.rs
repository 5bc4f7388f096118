//! `__complete`: the providers and accounts that may come next on the command line, for the shells' scripts.

use clap::{Arg, ArgAction, Args};
use tower_credentials::settings::KeySource;
use tower_credentials::vault::VaultExt;

use crate::account;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::options::Global;
use crate::output;

/// What may come next
#[derive(Debug, Args)]
pub(crate) struct Complete {
    /// The words after the program's name, the one that is being typed last
    #[arg(allow_hyphen_values = true, trailing_var_arg = true)]
    words: Vec<String>,
}

/// What can be typed at the cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    /// One that the settings have.
    KnownProvider,
    /// The same, or one of which only the vault has accounts.
    Provider,
    Account,
    /// One of the provider that was typed before it.
    AccountOfProvider,
    Namespace,
    Nothing,
}

impl Complete {
    /// Prints nothing if nothing is known: an error is of no use to a person who is typing.
    pub(crate) async fn run(self, global: &Global, definition: clap::Command) -> Result<Exit, Failure> {
        let Some((typed, before)) = self.words.split_last() else { return Ok(Exit::Done) };
        let asked = asked(definition, before);
        if asked == Expected::Nothing || typed.starts_with('-') {
            return Ok(Exit::Done);
        }
        let Ok(context) = Context::quiet(global, None) else { return Ok(Exit::Done) };
        let mut names = Vec::new();
        if !matches!(asked, Expected::Namespace | Expected::AccountOfProvider) {
            names.extend(context.registry.names().map(str::to_owned));
        }
        for account in accounts(&context).await {
            let provider = account.pool.provider().to_owned();
            match asked {
                Expected::Account => names.extend([account::name(&account), provider]),
                Expected::AccountOfProvider => {
                    let is_it = |word: &String| account::own_name(&context, word) == provider;
                    names.extend(before.iter().any(is_it).then(|| account::name(&account)));
                }
                Expected::Namespace => names.push(account.pool.namespace().to_owned()),
                Expected::Provider => names.push(provider),
                Expected::KnownProvider | Expected::Nothing => {}
            }
        }
        names.sort();
        names.dedup();
        for name in names.iter().filter(|name| name.starts_with(typed.as_str())) {
            // One per line.
            output::print(output::plain(name))?;
        }
        Ok(Exit::Done)
    }
}

/// Lists the accounts of the vault, if its key is in a file or a variable, and no command prints a password: a keyring or a command
/// may ask a person.
async fn accounts(context: &Context) -> Vec<tower_credentials::Metadata> {
    if !matches!(context.keys.source(), KeySource::File(_) | KeySource::Variable) {
        return Vec::new();
    }
    if context.asks_for_password() {
        return Vec::new();
    }
    match context.vault().await {
        Ok(Some(vault)) => vault.list().await.map(|listing| listing.credentials).unwrap_or_default(),
        _ => Vec::new(),
    }
}

/// Returns what the word after these is.
fn asked(mut whole: clap::Command, before: &[String]) -> Expected {
    whole.build();
    let (mut command, mut place, mut value_of) = (&whole, 0, None);
    for word in before {
        if value_of.take().is_some() {
            continue;
        }
        if word.starts_with('-') && word.len() > 1 {
            value_of = command.get_arguments().find(|arg| is_named(arg, word) && takes_value(arg));
        } else if let Some(below) = command.find_subcommand(word) {
            (command, place) = (below, 0);
        } else {
            place += 1;
        }
    }
    let positional = || {
        let last = command.get_positionals().last();
        let last = last.filter(|arg| matches!(arg.get_action(), ArgAction::Append));
        command.get_positionals().nth(place).or(last)
    };
    let Some(arg) = value_of.or_else(positional) else { return Expected::Nothing };
    let name = arg.get_value_names().and_then(|names| names.first()).map(|name| name.as_str());
    match name.unwrap_or_else(|| arg.get_id().as_str()) {
        // What these show needs no settings.
        "PROVIDER" | "provider" if matches!(command.get_name(), "list" | "status") => Expected::Provider,
        "PROVIDER" | "provider" => Expected::KnownProvider,
        "ACCOUNT" if place > 0 && command.get_name() == "why" => Expected::AccountOfProvider,
        "ACCOUNT" | "PROVIDER|ACCOUNT" => Expected::Account,
        "NS" => Expected::Namespace,
        _ => Expected::Nothing,
    }
}

fn is_named(arg: &Arg, word: &str) -> bool {
    match word.strip_prefix("--") {
        Some(long) => arg.get_long() == Some(long),
        None => arg.get_short().is_some_and(|short| word.ends_with(short)),
    }
}

fn takes_value(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Set | ArgAction::Append)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::{Expected, asked};
    use crate::args::Args;

    #[test]
    fn what_comes_next_depends_on_the_words_before() {
        for (before, expected) in [
            ("show", Expected::Account),
            ("show openai/work", Expected::Nothing),
            ("pause a b", Expected::Account),
            ("headers", Expected::Account),
            ("login", Expected::KnownProvider),
            ("login --label work", Expected::KnownProvider),
            ("login --label", Expected::Nothing),
            ("list -n", Expected::Namespace),
            ("list --namespace", Expected::Namespace),
            ("models --json", Expected::KnownProvider),
            ("providers --responses", Expected::KnownProvider),
            ("config show", Expected::KnownProvider),
            ("why", Expected::KnownProvider),
            ("why openai", Expected::AccountOfProvider),
            ("why openai --model x", Expected::AccountOfProvider),
            ("why openai work", Expected::Nothing),
            ("why openai --model", Expected::Nothing),
            ("list", Expected::Provider),
            ("status", Expected::Provider),
            ("rename", Expected::Account),
            ("rename openai/work", Expected::Nothing),
            ("--vault", Expected::Nothing),
            ("--vault x rm", Expected::Account),
            ("vault export", Expected::Nothing),
            ("", Expected::Nothing),
        ] {
            let before: Vec<_> = before.split_whitespace().map(str::to_owned).collect();
            assert_eq!(asked(Args::command(), &before), expected, "{before:?}");
        }
    }
}
