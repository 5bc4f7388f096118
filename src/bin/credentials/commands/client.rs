//! `client`: who may use the gateway of `serve`.

use std::num::NonZeroU32;
use std::sync::Arc;

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::gateway::{ClientRecord, ClientsFile, TokenHash, generate_token};
use crate::table::{Overflow, table};
use crate::time::{ago, now, rfc3339};
use crate::{numbers, options, output};

/// Add, list and remove the clients of `credentials serve`
///
/// Each has a token that tools send in place of an API key. Only a hash of each token is kept. A gateway that runs knows a change within a second.
#[derive(Debug, Args)]
pub(crate) struct Client {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Add(Add),
    List(List),
    Remove(Remove),
}

/// Add a client, and write its token to standard output, once
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  credentials client add laptop
  credentials client add ci --provider openai --max-in-flight 4 --per-minute 60 > token
  credentials client add me --admin")]
struct Add {
    /// What to call it
    #[arg(value_name = "NAME")]
    name: String,
    /// A provider whose accounts it may use; repeat it for more. All if it is omitted
    #[arg(long, value_name = "PROVIDER", conflicts_with = "admin")]
    provider: Vec<String>,
    /// How many of its requests may be under way at once
    #[arg(long, value_name = "N", conflicts_with = "admin", value_parser = numbers::count::<NonZeroU32>)]
    max_in_flight: Option<NonZeroU32>,
    /// How many requests it may send per minute
    #[arg(long, value_name = "N", conflicts_with = "admin", value_parser = numbers::count::<NonZeroU32>)]
    per_minute: Option<NonZeroU32>,
    /// Let it administer the gateway, and send no requests
    #[arg(long)]
    admin: bool,
}

/// List the clients
#[derive(Debug, Args)]
struct List {
    #[command(flatten)]
    output: options::Json,
}

/// Remove a client: its token is worth nothing from then on
#[derive(Debug, Args)]
struct Remove {
    #[arg(value_name = "NAME")]
    name: String,
}

impl Client {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let file = ClientsFile::of(context.own_files()?);
        match self.action {
            Action::Add(add) => add.run(context, &file),
            Action::List(list) => list.run(&file),
            Action::Remove(remove) => remove.run(&file),
        }
    }
}

impl Add {
    fn run(self, context: &Context, file: &ClientsFile) -> Result<Exit, Failure> {
        check_name(&self.name)?;
        let mut providers = Vec::new();
        for provider in &self.provider {
            providers.push(context.pool_key(provider, None)?.provider().to_owned());
        }
        let token = generate_token().map_err(|error| {
            Failure::failed("the system gave no random numbers for a token").because(error)
        })?;
        let record = ClientRecord {
            name: self.name.as_str().into(),
            token: TokenHash::of(token.expose().as_bytes()),
            created_at: now(),
            is_admin: self.admin,
            providers,
            max_in_flight: self.max_in_flight,
            per_minute: self.per_minute,
        };
        file.change(|clients| {
            if clients.iter().any(|client| *client.name == *self.name) {
                return Err(Failure::usage(format!("there is a client {} already", self.name)).way_out(
                    format!("choose another name, or: credentials client remove {}", self.name),
                ));
            }
            clients.push(record);
            Ok(())
        })?;
        output::say(format_args!(
            "Added the client {}. This is its token; only its hash is kept, so it is not shown again",
            output::strong(&self.name)
        ));
        output::print_exactly(token.expose())?;
        Ok(Exit::Done)
    }
}

/// Refuses a name that would not be one word in the lines about requests.
fn check_name(name: &str) -> Result<(), Failure> {
    let is_plain = |char: char| char.is_ascii_alphanumeric() || "._@-".contains(char);
    match name {
        "-" => {}
        _ if (1..=64).contains(&name.len()) && name.chars().all(is_plain) => return Ok(()),
        _ => {}
    }
    Err(Failure::usage(format!("the client's name {name:?} can't be used"))
        .way_out("take up to 64 letters, digits and the signs . _ @ -, such as laptop or ci-2"))
}

/// A client, as it is shown. Its token is not known.
#[derive(Serialize)]
struct Shown<'a> {
    name: &'a str,
    created_at: String,
    admin: bool,
    providers: &'a [String],
    max_in_flight: Option<NonZeroU32>,
    per_minute: Option<NonZeroU32>,
}

impl<'a> Shown<'a> {
    fn of(client: &'a ClientRecord) -> Self {
        Self {
            name: &client.name,
            created_at: rfc3339(client.created_at),
            admin: client.is_admin,
            providers: &client.providers,
            max_in_flight: client.max_in_flight,
            per_minute: client.per_minute,
        }
    }
}

impl List {
    fn run(self, file: &ClientsFile) -> Result<Exit, Failure> {
        let clients = file.read()?;
        if self.output.json {
            output::print_json(&clients.iter().map(Shown::of).collect::<Vec<_>>())?;
            return Ok(Exit::Done);
        }
        if clients.is_empty() {
            output::say("There are no clients yet: credentials client add NAME");
            return Ok(Exit::Done);
        }
        let bound = |bound: Option<NonZeroU32>| bound.map(|bound| bound.to_string()).unwrap_or_default();
        let rows = clients.iter().map(|client| {
            let may_use = match (client.is_admin, &*client.providers) {
                (true, _) => "administration".to_owned(),
                (false, []) => "all accounts".to_owned(),
                (false, providers) => providers.join(", "),
            };
            let added = ago(client.created_at, now());
            let bounds = [client.max_in_flight, client.per_minute].map(bound);
            let [at_once, per_minute] = bounds;
            [output::plain(&client.name), may_use, at_once, per_minute, added]
        });
        let overflow = Overflow { dropped: &["ADDED"], wrapped: "MAY USE", ..Overflow::default() };
        output::print(table(["NAME", "MAY USE", "AT ONCE", "PER MINUTE", "ADDED"], overflow, rows))?;
        Ok(Exit::Done)
    }
}

impl Remove {
    fn run(self, file: &ClientsFile) -> Result<Exit, Failure> {
        let removed: Option<Arc<str>> = file.change(|clients| {
            let at = clients.iter().position(|client| *client.name == *self.name);
            Ok(at.map(|at| clients.remove(at).name))
        })?;
        match removed {
            Some(name) => {
                output::say(format_args!("Removed the client {name}"));
                Ok(Exit::Done)
            }
            None => Err(Failure::not_found(format!("there is no client {:?}", self.name))
                .way_out("credentials client list")),
        }
    }
}
