//! Signs in, or stores a key, as `credentials login` does.

use std::sync::Arc;

use tokio::sync::mpsc;
use tower_credentials::SecretString;
use tower_credentials::oauth::{FlowKind, OAuthError, Progress, Prompt as Prompted, SignIn, SignedIn};
use zeroize::Zeroizing;

use super::{Shared, failed};
use crate::commands::login::Login;
use crate::failure::Failure;
use crate::recorder;
use crate::time::now;
use crate::tui::state::job::{Prompt, Request, Step, Update, Way};

/// Follows a sign-in to its end, which is told; what was stored is said by the command's own words.
pub(super) async fn run(
    shared: Arc<Shared>,
    request: Request,
    pasted: mpsc::UnboundedReceiver<Zeroizing<String>>,
) {
    let step = match sign_in(&shared, request, pasted).await {
        Ok(()) => Step::Done,
        Err(failure) => Step::Failed(failed(&failure)),
    };
    shared.changed.notify_one();
    shared.tell(Update::SignIn(step));
}

async fn sign_in(
    shared: &Shared,
    request: Request,
    mut pasted: mpsc::UnboundedReceiver<Zeroizing<String>>,
) -> Result<(), Failure> {
    let context = shared.context();
    let login =
        Login::of(&request.pool, request.label, request.replaces, matches!(request.way, Way::Key(_)));
    login.check(&context, &request.pool).await?;
    let flow = match request.way {
        Way::Key(key) => {
            let key = SecretString::from(key.as_str());
            login.store_key(&context, request.pool, key).await?;
            recorder::write().await;
            return Ok(());
        }
        Way::Flow(flow) => flow,
    };
    let mut sign_in = login.begin(&context, &request.pool, Some(flow)).await?.0;
    let prompt = prompt(&sign_in, flow)?;
    let mut takes_paste = prompt.takes_paste;
    shared.tell(Update::SignIn(Step::Waits(prompt)));
    let signed_in = follow(shared, &mut sign_in, &mut pasted, &mut takes_paste).await?;
    login.store(&context, &request.pool, &signed_in).await?;
    recorder::write().await;
    shared.tell(Update::SignIn(Step::Done));
    shared.changed.notify_one();
    // A browser that loads its last page again gets it for a moment.
    while sign_in.next().await.is_some() {}
    Ok(())
}

fn prompt(sign_in: &SignIn, flow: FlowKind) -> Result<Prompt, Failure> {
    let takes_paste = matches!(flow, FlowKind::Loopback | FlowKind::PastedCode);
    // Of a link, whoever has it may take the tokens, and everyone sees a browser's arguments.
    let can_open = flow != FlowKind::LinkPoll;
    let with = |address: &str| Prompt {
        address: address.to_owned(),
        elsewhere: None,
        code: None,
        expires_at: None,
        takes_paste,
        can_open,
    };
    Ok(match sign_in.prompt() {
        Prompted::Browser { url, elsewhere } => {
            Prompt { elsewhere: elsewhere.clone().filter(|_| takes_paste), ..with(url) }
        }
        Prompted::Paste { url } => with(url),
        Prompted::Device { user_code, verification_url, expires_in, .. } => Prompt {
            code: Some(user_code.clone()),
            expires_at: Some(now().after(*expires_in)),
            ..with(verification_url)
        },
        _ => return Err(Failure::failed("this program does not know this way to sign in")),
    })
}

async fn follow(
    shared: &Shared,
    sign_in: &mut SignIn,
    pasted: &mut mpsc::UnboundedReceiver<Zeroizing<String>>,
    takes_paste: &mut bool,
) -> Result<SignedIn, Failure> {
    let note = |text: String| shared.tell(Update::SignIn(Step::Note(crate::output::plain(&text))));
    loop {
        tokio::select! {
            progress = sign_in.next() => match progress {
                Some(Ok(Progress::SignedIn(account))) => return Ok(*account),
                Some(Ok(progress)) => note(progress.to_string()),
                Some(Err(error)) => {
                    // The browser gets its last page.
                    while sign_in.next().await.is_some() {}
                    return Err(error.into());
                }
                None => return Err(OAuthError::Ended.into()),
            },
            text = pasted.recv(), if *takes_paste => match text {
                Some(text) => match sign_in.paste(&text) {
                    Ok(()) => *takes_paste = false,
                    Err(error @ OAuthError::Refused { .. }) => return Err(error.into()),
                    Err(error) => note(format!("{error}; paste another")),
                },
                None => *takes_paste = false,
            },
        }
    }
}
