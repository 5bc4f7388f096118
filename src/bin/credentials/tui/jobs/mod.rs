//! What the screen asks for is done here: by the commands, so that both do the same and say the same.

mod explaining;
mod looking;
mod recalling;
mod renewing;
mod signing_in;

use std::sync::Arc;

use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{AbortHandle, JoinError, JoinSet};
use tower_credentials::CredentialId;
use zeroize::Zeroizing;

use super::state::account::Level;
use super::state::job::{Failed, Job, Update};
use crate::commands::config::set_mode;
use crate::commands::logout::Logout;
use crate::commands::order::{Activate, Move, Tier};
use crate::commands::quota::Quota;
use crate::commands::rename::Rename;
use crate::commands::standing::{Pause, Reset, Resume};
use crate::commands::test::Test;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::options::{Global, OneAccount, SomeAccounts};
use crate::{output, recorder};

/// What all jobs share.
pub(super) struct Shared {
    global: Global,
    /// The settings and the vault; made anew when the settings file changes.
    context: watch::Sender<Arc<Context>>,
    updates: mpsc::UnboundedSender<Update>,
    /// Something was changed here: look now.
    changed: Notify,
}

impl Shared {
    fn context(&self) -> Arc<Context> {
        self.context.borrow().clone()
    }

    fn tell(&self, update: Update) {
        // The screen is gone if nobody listens.
        let _ = self.updates.send(update);
    }
}

/// Does the jobs. Dropping it ends them.
pub(super) struct Worker {
    shared: Arc<Shared>,
    running: JoinSet<()>,
    number: u64,
    sign_in: Option<(AbortHandle, mpsc::UnboundedSender<Zeroizing<String>>)>,
}

impl Worker {
    /// Begins to look at the vault.
    pub(super) fn start(
        global: &Global,
        context: Context,
        updates: mpsc::UnboundedSender<Update>,
    ) -> Self {
        let (context, changed) = (watch::Sender::new(Arc::new(context)), Notify::new());
        let shared = Arc::new(Shared { global: global.clone(), context, updates, changed });
        let mut running = JoinSet::new();
        running.spawn(looking::look_again_and_again(shared.clone()));
        running.spawn(recalling::recall(shared.clone()));
        Self { shared, running, number: 0, sign_in: None }
    }

    /// Waits for the end of a job. One that panicked ends the screen, too: it has restored the terminal.
    pub(super) async fn panicked(&mut self) -> JoinError {
        loop {
            match self.running.join_next().await {
                Some(Err(error)) if error.is_panic() => return error,
                Some(_) => {}
                // Not before the screen ends: the one that looks goes on.
                None => std::future::pending().await,
            }
        }
    }

    /// Begins a job.
    pub(super) fn begin(&mut self, job: Job) {
        match job {
            Job::SignIn(request) => {
                let (sender, pasted) = mpsc::unbounded_channel();
                let job = signing_in::run(self.shared.clone(), *request, pasted);
                // Both may need the same port.
                self.stop_sign_in();
                let handle = self.running.spawn(job);
                self.sign_in = Some((handle, sender));
            }
            Job::Paste(text) => {
                if let Some((_, pasted)) = &self.sign_in {
                    // The sign-in has ended if nobody takes it.
                    let _ = pasted.send(text);
                }
            }
            Job::StopSignIn => self.stop_sign_in(),
            Job::Why(pool) => drop(self.running.spawn(explaining::explain(self.shared.clone(), pool))),
            job => self.spawn(job),
        }
    }

    fn stop_sign_in(&mut self) {
        if let Some((handle, _)) = self.sign_in.take() {
            handle.abort();
        }
    }

    fn spawn(&mut self, job: Job) {
        self.number += 1;
        let (number, shared) = (self.number, self.shared.clone());
        let (id, what) = named(&job);
        shared.tell(Update::Began(number, id, what));
        self.running.spawn(async move {
            let context = shared.context();
            let done = run(&shared, &context, job).await.map_err(|failure| failed(&failure));
            // The history has it before the screen ends.
            recorder::write().await;
            shared.changed.notify_one();
            shared.tell(Update::Ended(number, done));
        });
    }
}

/// Whose a job is, and what it does, for the screen.
fn named(job: &Job) -> (Option<CredentialId>, &'static str) {
    match job {
        Job::Pause(id) => (Some(*id), "pausing"),
        Job::Resume(id) => (Some(*id), "resuming"),
        Job::Reset(id) => (Some(*id), "resetting"),
        Job::First(id) | Job::Move(id, _) | Job::Tier(id, _) => (Some(*id), "moving"),
        Job::Quota(id, _) => (Some(*id), "setting the quota"),
        Job::Rename(id, _) => (Some(*id), "renaming"),
        Job::Remove(id) => (Some(*id), "removing"),
        Job::Test(Some(id)) => (Some(*id), "testing"),
        Job::Test(None) => (None, "testing all"),
        Job::Renew(_, id) => (Some(*id), "renewing"),
        Job::Mode(..) => (None, "setting the mode"),
        _ => (None, "working"),
    }
}

/// What a failure says.
pub(super) fn failed(failure: &Failure) -> Failed {
    let mut why = output::plain(failure.message());
    for cause in failure.causes() {
        why.push_str(": ");
        why.push_str(&output::plain(cause));
    }
    let way_out = failure.help().map(|help| output::plain(&output::suggestion(help)));
    Failed { why, way_out }
}

async fn run(shared: &Shared, context: &Context, job: Job) -> Result<(), Failure> {
    let one = OneAccount::of;
    let accounts = SomeAccounts::of;
    let done: Result<Exit, Failure> = match job {
        Job::Pause(id) => Pause { accounts: accounts(id) }.run(context).await,
        Job::Resume(id) => Resume { accounts: accounts(id) }.run(context).await,
        Job::Reset(id) => Reset { accounts: accounts(id) }.run(context).await,
        Job::First(id) => Activate { account: one(id) }.run(context).await,
        Job::Move(id, to) => Move { account: one(id), to }.run(context).await,
        Job::Tier(id, tier) => {
            Tier { account: one(id), to: Some(tier), usual: false }.run(context).await
        }
        Job::Quota(id, quota) => Quota::of(one(id), quota).run(context).await,
        Job::Rename(id, label) => Rename { account: one(id), label }.run(context).await,
        Job::Remove(id) => Logout::of(id).run(context).await,
        Job::Renew(pool, id) => return renewing::renew(context, &pool, id).await,
        Job::Mode(provider, mode) => return set_mode(context, &provider, mode),
        Job::Test(id) => return test(shared, context, id).await,
        Job::OpenPage(url) => {
            crate::commands::login::open_page(&url, &context.registry);
            return Ok(());
        }
        _ => return Ok(()),
    };
    done.map(drop)
}

async fn test(shared: &Shared, context: &Context, id: Option<CredentialId>) -> Result<(), Failure> {
    let (tested, _) = Test::of(id).tested(context).await?;
    for one in tested {
        let level = match one.verdict.failure() {
            Some(Exit::Unavailable) => Level::Doubtful,
            Some(_) => Level::Bad,
            None if one.verdict.works() => Level::Good,
            None => Level::Doubtful,
        };
        shared.tell(Update::Tested(one.credential.id, level, output::plain(&one.in_words())));
    }
    Ok(())
}

/// Looks once at the vault and its history.
pub(super) async fn look_once(context: &Context) -> Result<[Update; 2], Failure> {
    let look = Box::new(looking::look(context).await?);
    let happened = recalling::read(context, &mut context.history().follow()).await;
    Ok([Update::Looked(look), Update::Happened(happened)])
}
