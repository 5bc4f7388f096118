//! The program `credentials`: everything that a person does with a vault from a shell.
//!
//! Each file uses only those that come after it here:
//!
//! - `args`: the command line. `tui`: the screen. `commands`: a file for each other command. `gateway`: what `exec` and
//!   `serve` run.
//! - `account`: which account is meant, and its state. `context`: the vault, the settings and the HTTP client.
//!   `keys`: where the vault's key is. `engine`: how the engine of a vault of many hosts is.
//! - `running`: whether a gateway runs. `ending`: what the program waits for before it ends. `recorder`: what it records in the history. `prompt`: questions to a person. `files`: files for the
//!   owner alone.
//! - `options`: what several commands take. `table`, `log` and `output`: what a person sees.
//! - `failure`: errors and exit codes. `naming`: the names of accounts.
//! - `shell`, `nearest`, `numbers`, `time`, `mark`, `progress`, `memory`: what these stand on.

#![forbid(unsafe_code)]
#![warn(unreachable_pub, clippy::dbg_macro, clippy::todo)]

mod account;
mod args;
mod commands;
mod context;
mod ending;
mod engine;
mod failure;
mod files;
#[cfg(feature = "serve")]
mod gateway;
mod keys;
mod log;
mod mark;
mod memory;
mod naming;
#[path = "../../nearest.rs"]
mod nearest;
mod numbers;
mod options;
mod output;
mod places;
mod progress;
mod prompt;
mod recorder;
mod renewals;
mod running;
mod shell;
mod signals;
mod table;
mod time;
#[cfg(feature = "tui")]
mod tui;
#[path = "../../printable/unprintable.rs"]
mod unprintable;

use std::process::ExitCode;
use std::time::Duration;

use args::Args;
use clap::CommandFactory;
use commands::Command;
use failure::{Exit, Failure};

/// A request through the gateway makes about thirty allocations, which cost less in this allocator than in the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long the program waits at its end for work on its threads.
const THREADS_TIMEOUT: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let is_private = memory::keep_private();
    let args = Args::typed();
    args.global.color.apply();
    log::show(args.global.verbose);
    let flags = args.global.places();
    if !flags.is_empty() {
        let commands = Args::command();
        let names = commands
            .get_subcommands()
            .flat_map(|one| std::iter::once(one.get_name()).chain(one.get_all_aliases()));
        output::suggest_with(flags, names.map(str::to_owned).collect());
    }
    if let Err(error) = is_private {
        output::warn(format_args!("if the program crashes, its core dump may contain secrets: {error}"));
    }
    let exit = match args.command {
        Command::OpenPage(command) => command.run(),
        _ => run(args),
    };
    let exit = match exit {
        Ok(exit) => exit,
        Err(failure) => {
            output::report(&failure);
            failure.exit()
        }
    };
    // Returning would wait for a thread that still reads a line from the terminal.
    std::process::exit(exit.code())
}

fn run(Args { global, command }: Args) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Failed, "could not start").because(error))?;
    let done = runtime.block_on(async {
        let mut interrupts = signals::Interrupts::listen()?;
        if command.ends_by_ctrl_c() {
            signals::end_by_ctrl_c();
        }
        let done = if command.handles_signals() {
            let done = command.run(&global, Args::command).await;
            // Those that came so far were for the command.
            interrupts = signals::Interrupts::listen()?;
            done
        } else {
            tokio::select! {
                biased;
                signal = interrupts.next() => signals::end(signal),
                done = command.run(&global, Args::command) => done,
            }
        };
        ending::close(done, &mut interrupts).await
    });
    // What still runs loses its connections now.
    log::show_engine(false);
    // A write to the vault is finished, which takes no time. A keyring that does not answer is not waited for.
    runtime.shutdown_timeout(THREADS_TIMEOUT);
    #[cfg(feature = "serve")]
    gateway::Threads::end(THREADS_TIMEOUT);
    done
}
