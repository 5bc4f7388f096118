//! `token` and `env`: the token of an account, for scripts.

use clap::Args;

use super::headers::{Captured, NextRequest};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::output;
use crate::shell::quoted;

/// Write the token of an account to standard output
///
/// It is the one of the account that the next request would take. An expired token is renewed first, and is not written if
/// that fails. The output is secret: it is not written to a terminal without --show. A tool that runs for long is better off
/// with `credentials exec`, since a token expires.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  credentials token openai | docker secret create openai -
  credentials token anthropic/work")]
pub(crate) struct Token {
    #[command(flatten)]
    request: NextRequest,
}

impl Token {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let captured = self.request.capture(context, "the token is").await?;
        output::print_exactly(token(&captured)?.as_str())?;
        Ok(Exit::Done)
    }
}

/// Write the token of an account as an environment variable, for a shell
///
/// The variable is the one that the tools of the provider read for an API key. Otherwise it is as with `credentials token`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  eval \"$(credentials env openai)\"
  credentials env acme --variable ACME_TOKEN > .env")]
pub(crate) struct Env {
    #[command(flatten)]
    request: NextRequest,
    /// The variable; defaults to the provider's own
    #[arg(long, value_name = "NAME")]
    variable: Option<String>,
}

impl Env {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        if let Some(name) = self.variable.as_deref().filter(|name| !is_name(name)) {
            return Err(Failure::usage(format!("--variable {name:?} is no name of a variable"))
                .way_out("take letters, digits and `_`, such as ACME_TOKEN"));
        }
        let captured = self.request.capture(context, "the token is").await?;
        let provider = captured.pool.provider();
        let variable = match &self.variable {
            Some(name) => name.clone(),
            None => match context.registry.api_key_variable(provider)? {
                Some(name) => name.to_owned(),
                None => {
                    return Err(Failure::usage(format!("{provider} has no usual variable for its key"))
                        .way_out("add --variable NAME"));
                }
            },
        };
        let token = token(&captured)?;
        output::print_exactly(format_args!("export {variable}={}", quoted(token.as_str())))?;
        Ok(Exit::Done)
    }
}

fn token(captured: &Captured) -> Result<zeroize::Zeroizing<String>, Failure> {
    captured.token().ok_or_else(|| {
        Failure::failed(format!("the accounts of {} have no token in a header", captured.pool))
            .way_out(format!("credentials headers {}", quoted(captured.pool.provider())))
    })
}

/// Whether a shell takes this as the name of a variable (POSIX, 3.216).
fn is_name(text: &str) -> bool {
    let is_letter = |char: char| char.is_ascii_alphabetic() || char == '_';
    text.starts_with(is_letter) && text.chars().all(|char| is_letter(char) || char.is_ascii_digit())
}
