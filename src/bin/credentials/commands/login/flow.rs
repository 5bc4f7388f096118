//! Guides a person through a sign-in.

use std::fmt::Display;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::sync::mpsc;
use tower_credentials::oauth::{FlowKind, OAuthError, Progress, Prompt, SignIn, SignedIn};
use zeroize::Zeroizing;

use crate::failure::Failure;
use crate::{output, prompt};

/// Says what to do, opens pages with `open`, and waits for the end of the sign-in. It can be dropped at any time.
pub(super) async fn follow(
    sign_in: &mut SignIn,
    kind: FlowKind,
    open: impl Fn(&str),
) -> Result<SignedIn, Failure> {
    let takes_paste = matches!(kind, FlowKind::Loopback | FlowKind::PastedCode);
    match sign_in.prompt() {
        Prompt::Browser { url, elsewhere } => {
            output::say(format_args!("Sign in on this page:\n\n  {url}\n"));
            // Of a link, whoever has it may take the tokens, and everyone sees a browser's arguments.
            if kind != FlowKind::LinkPoll {
                open(url);
            }
            match elsewhere.as_ref().filter(|_| takes_paste) {
                Some(elsewhere) if prompt::can_ask() => {
                    output::say(format_args!(
                        "Is your browser on another machine? Open this page there:\n\n  {elsewhere}\n"
                    ));
                    output::say(
                        "It ends at an address that does not open there. Paste that address here, and press Enter.",
                    );
                }
                Some(_) => output::say(
                    "Is your browser on another machine? Run this in a terminal, where you can paste its last address; or add --device or --paste-code.",
                ),
                None => {}
            }
        }
        Prompt::Paste { url } => {
            output::say(format_args!("Sign in on this page:\n\n  {url}\n"));
            open(url);
            output::say("Then paste the code, or the address at which the browser ends:");
        }
        Prompt::Device { user_code, verification_url, expires_in, .. } => {
            output::say(format_args!(
                "Open {verification_url} and type this code, within {}:\n\n  {}\n",
                crate::time::brief(*expires_in),
                output::strong(user_code)
            ));
            // Without the code: whoever sees it in the browser's arguments could type it in for an account of theirs.
            open(verification_url);
        }
        _ => return Err(Failure::failed("this program does not know this way to sign in")),
    }
    // Without a terminal, what is piped in is for a flow that cannot do without it.
    let reads = kind == FlowKind::PastedCode || (takes_paste && prompt::can_ask());
    let mut lines = reads.then(prompt::lines);
    let waiting = Waiting::begin(!reads);
    let mut not_reached = None;
    loop {
        tokio::select! {
            progress = sign_in.next() => match progress {
                Some(Ok(Progress::SignedIn(account))) => return Ok(*account),
                // Each attempt fails for the same reason as long as the server is not reached.
                Some(Ok(Progress::NotReached { reason })) if not_reached.as_ref() == Some(&reason) => {}
                Some(Ok(progress)) => {
                    waiting.say(&progress);
                    not_reached = match progress {
                        Progress::NotReached { reason } => Some(reason),
                        _ => None,
                    };
                }
                Some(Err(error)) => {
                    see_off(sign_in).await;
                    return Err(failed(error, kind));
                }
                None => return Err(OAuthError::Ended.into()),
            },
            line = next(&mut lines) => match line {
                Some(line) if line.trim().is_empty() => {}
                Some(line) => match sign_in.paste(&line) {
                    // One is enough.
                    Ok(()) => lines = None,
                    Err(error @ OAuthError::Refused { .. }) => return Err(failed(error, kind)),
                    Err(error) => waiting.say(format_args!("{error}; paste another")),
                },
                None if kind == FlowKind::PastedCode => {
                    return Err(Failure::usage("no code was pasted").way_out("run it again"));
                }
                None => lines = None,
            },
        }
    }
}

/// Returns the failure of a sign-in. A code works once, and only for the page that was opened for it.
fn failed(error: OAuthError, kind: FlowKind) -> Failure {
    let is_refused = matches!(error, OAuthError::Refused { .. });
    let failure = Failure::from(error);
    match kind {
        FlowKind::PastedCode if is_refused => {
            failure.way_out("run it again, and paste the code of the new page")
        }
        _ => failure,
    }
}

/// After the end, waits until a browser that loads its last page twice has received it.
pub(super) async fn see_off(sign_in: &mut SignIn) {
    while sign_in.next().await.is_some() {}
}

type Lines = mpsc::UnboundedReceiver<Zeroizing<String>>;

/// Returns the next line that is typed; waits forever if none is read.
async fn next(lines: &mut Option<Lines>) -> Option<Zeroizing<String>> {
    match lines {
        Some(lines) => lines.recv().await,
        None => std::future::pending().await,
    }
}

/// Shows on a terminal that the program is waiting, until it is dropped.
struct Waiting(ProgressBar);

impl Waiting {
    /// Hidden while a person types, because it would be overwritten.
    fn begin(is_shown: bool) -> Self {
        let target = if is_shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let spinner = ProgressBar::with_draw_target(None, target)
            .with_style(ProgressStyle::default_spinner())
            .with_message("waiting for the sign-in");
        spinner.enable_steady_tick(Duration::from_millis(120));
        Self(spinner)
    }

    fn say(&self, text: impl Display) {
        self.0.suspend(|| output::say(format_args!("  {text}")));
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
