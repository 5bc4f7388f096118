//! The program `credentials`: everything that a person does with a vault from a shell.
//!
//! `args` says what can be typed, `commands` has a file for each command. What they share: `context` (the
//! vault, the settings, the HTTP client), `keys` (where the vault's key is), `account` (which account is meant,
//! and how it stands), `output` and `prompt` (what a person sees and is asked), `failure` (errors and exit codes), `ending`
//! (what is waited for before the program ends), `memory` (what keeps it out of files).

#![forbid(unsafe_code)]
#![warn(unreachable_pub, clippy::dbg_macro, clippy::todo)]

mod account;
mod args;
mod commands;
mod context;
mod ending;
mod failure;
mod files;
mod keys;
mod memory;
mod output;
mod places;
mod progress;
mod prompt;
mod renewals;
mod shell;
mod signals;
mod table;
mod time;
#[path = "../../printable/unprintable.rs"]
mod unprintable;

use std::process::ExitCode;
use std::time::Duration;

use args::{Args, Command};
use failure::{Exit, Failure};

/// How long the program waits at its end for what its threads are doing.
const PATIENCE: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let is_private = memory::keep_private();
    let args = Args::typed();
    args.global.color.apply();
    output::show_warnings(args.global.verbose);
    if let Err(error) = is_private {
        output::warn(format_args!("if the program crashes, a core may have secrets in it: {error}"));
    }
    let exit = match args.command {
        Command::OpenPage(command) => command.run(),
        _ => run(args),
    };
    let exit = match exit {
        Ok(exit) => exit,
        Err(failure) => failure.report(),
    };
    // Not by returning: a thread may still wait for a line from the terminal.
    std::process::exit(exit.code())
}

fn run(args: Args) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Failed, "could not start").because(error))?;
    let done = runtime.block_on(async {
        let mut interrupts = signals::Interrupts::listen()?;
        let done = tokio::select! {
            biased;
            signal = interrupts.next() => Err(Failure::interrupted(signal)),
            done = commands::run(args) => done,
        };
        ending::close(done, &mut interrupts).await
    });
    // What is being written to the vault just now is finished, which takes no time; a keyring that does not answer
    // is not waited for.
    runtime.shutdown_timeout(PATIENCE);
    done
}
