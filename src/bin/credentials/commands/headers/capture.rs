//! Captures a request just before it would be sent.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use http::request::Parts;
use http::{HeaderMap, Request, Response, Uri};
use tower::{Layer, ServiceExt, service_fn};
use tower_credentials::standing::{Health, Reason};
use tower_credentials::vault::{Damage, Vault, VaultExt};
use tower_credentials::{
    Attempt, BoxError, CredentialStatus, CredentialsLayer, Error, Lease, Metadata, Pin, Pool, PoolKey,
};

use crate::account::{self, Choice, Unrenewable, Unusable};
use crate::context::{Body, Context};
use crate::ending;
use crate::failure::{Exit, Failure};
use crate::output;
use crate::renewals::{Renewals, both};
use crate::shell::quoted;
use crate::time::{brief, now};

/// Returns the URL and the headers of a request with this account, or with the one that the pool picks next. `reported` is
/// the damage that needs no warning any more.
pub(super) async fn capture(
    context: &Context,
    vault: impl Vault,
    key: &PoolKey,
    account: Option<&Metadata>,
    uri: &Uri,
    reported: &[Damage],
) -> Result<(Uri, HeaderMap), Failure> {
    let (renewals, unusable) = (Renewals::default(), Unusable::default());
    let observe = both(renewals.observer(), unusable.observer());
    let pool = context.picking_pool(key, vault.clone())?.on_event(observe).expose_attempts(true);
    let pool = match ending::open(pool).await {
        Ok(pool) => pool,
        Err(error) => return Err(not_sent(context, &vault, key, account, &[], error.into()).await),
    };
    unusable.warn(&pool, reported);
    let layers = context.layer(&pool);
    let mut passed_over = HashSet::new();
    loop {
        let mut request = Request::new(Body::default());
        *request.uri_mut() = uri.clone();
        if let Some(account) = account {
            request.extensions_mut().insert(Pin::id(account.id));
        }
        let taken = take(&layers, request).await;
        // The result does not depend on this being saved.
        let _ = pool.save().await;
        let parts = match taken {
            Ok(parts) => parts,
            Err(error) => {
                return Err(not_sent(context, &vault, key, account, &pool.status(), error).await);
            }
        };
        warn_of_refusal(&parts, &pool);
        let Some(lease) = lapsed(&parts, &pool) else {
            return Ok((parts.uri, parts.headers));
        };
        // The layers would send it: the vendor decides. Here nothing is sent.
        let failed = renewals.failure(lease.credential().id);
        let Some(failure) = expired(context, &vault, &pool, lease.credential(), failed).await else {
            return Ok((parts.uri, parts.headers));
        };
        passed_over.insert(lease.credential().id);
        match pool.active() {
            Some(next) if account.is_none() && !passed_over.contains(&next) => output::warn_of(&failure),
            _ => return Err(failure),
        }
    }
}

/// Sends a request through the layers, and captures it below them.
async fn take(layers: &CredentialsLayer, request: Request<Body>) -> Result<Parts, BoxError> {
    let taken = Arc::new(Mutex::new(None));
    let bottom = {
        let taken = taken.clone();
        service_fn(move |request: Request<Body>| {
            let (parts, _) = request.into_parts();
            *taken.lock().unwrap_or_else(PoisonError::into_inner) = Some(parts);
            // No response: the pool must learn nothing from it.
            std::future::ready(Err::<Response<Body>, BoxError>("not sent".into()))
        })
    };
    let end = layers.layer(bottom).oneshot(request).await;
    let taken = taken.lock().unwrap_or_else(PoisonError::into_inner).take();
    match (taken, end) {
        (Some(parts), _) => Ok(parts),
        (None, Err(error)) => Err(error),
        (None, Ok(_)) => Err("a layer responded without sending the request".into()),
    }
}

/// Warns if the last request with the account of this one was refused. It is taken all the same, as by any request: one
/// refusal convicts nobody, and the caller sees the response.
fn warn_of_refusal(parts: &Parts, pool: &Pool) {
    let Some(lease) = parts.extensions.get::<Attempt>().and_then(Attempt::lease) else { return };
    let status = pool.status().into_iter().find(|status| status.credential.id == lease.credential().id);
    let Some(CredentialStatus { credential, standing, expires_at, .. }) = status else { return };
    if let Some(status) = account::last_refusal(&credential, &standing, expires_at, now()) {
        let name = account::name(&credential);
        output::warn(output::plain(&format!("the last request with {name} was refused ({status})")));
        output::way_out(format_args!("credentials test {}", quoted(&name)));
    }
}

/// Returns the account of this request, if its token has expired and was not renewed.
fn lapsed<'a>(parts: &'a Parts, pool: &Pool) -> Option<&'a Lease> {
    let lease = parts.extensions.get::<Attempt>().and_then(Attempt::lease)?;
    lease.expires_at().is_some_and(|end| end <= pool.now()).then_some(lease)
}

/// Returns why the layers sent nothing, and what to do.
async fn not_sent(
    context: &Context,
    vault: &impl Vault,
    key: &PoolKey,
    account: Option<&Metadata>,
    accounts: &[CredentialStatus],
    error: BoxError,
) -> Failure {
    if let Some(Error::NoToken { .. }) = error.downcast_ref() {
        let is_selected = |status: &&CredentialStatus| {
            account.is_none_or(|account| account.id == status.credential.id)
        };
        for status in accounts.iter().filter(is_selected) {
            if let Some(failure) = unrenewable(context, vault, &status.credential).await {
                return failure;
            }
        }
    }
    if let Some(Error::AllCoolingDown { retry_after, .. }) = error.downcast_ref()
        && let Some(state) = refused(accounts)
    {
        // A limit ends in time; this may not.
        let message = format!(
            "every account of {key} {state}; the first is tried again in {}",
            brief(*retry_after)
        );
        return Failure::new(Exit::Unavailable, message)
            .way_out(format!("{}, which says why", account::test(key)));
    }
    match (error.downcast_ref(), account) {
        (Some(Error::Paused { .. }), Some(account)) => {
            let message = format!("{} is paused", account::name(account));
            return Failure::failed(message).way_out(account::resumption(account));
        }
        (Some(Error::Paused { .. }), None) => return all_paused(context, key, accounts),
        (Some(Error::Spent { .. }), Some(account)) => return spent(account, accounts),
        _ => {}
    }
    let way_out = match error.downcast_ref() {
        Some(Error::NoCredential { .. }) => {
            let failure = Failure::from(error).way_out(account::login(context, key));
            return account::no_account(vault, key, failure).await;
        }
        Some(Error::NeedsSignIn { .. }) => match account {
            Some(account) => return needs_sign_in(context, account),
            None => Some(account::test(key)),
        },
        _ => None,
    };
    with(Failure::from(error), way_out)
}

/// Returns the failure that an account is spent.
fn spent(account: &Metadata, accounts: &[CredentialStatus]) -> Failure {
    let name = account::name(account);
    let failure = Failure::new(Exit::Unavailable, format!("{name} is spent"))
        .way_out(format!("credentials test {}, which uses it again if it works", quoted(&name)));
    let of_it = accounts.iter().find(|status| status.credential.id == account.id);
    match of_it.map(|status| &status.standing.health) {
        Some(Health::Spent { reason, .. }) => failure.because(reason),
        _ => failure,
    }
}

/// Describes accounts that are all cooling down, if some were refused rather than limited.
fn refused(accounts: &[CredentialStatus]) -> Option<&'static str> {
    let reasons = accounts.iter().filter_map(|account| account.standing.cooldown(None));
    let (refused, others): (Vec<_>, Vec<_>) =
        reasons.map(|cooldown| cooldown.reason).partition(|reason| *reason == Reason::Refused);
    match (refused.len(), others.len()) {
        (0, _) => None,
        (_, 0) => Some("was refused, or could not be renewed, a short time ago"),
        _ => Some("is limited, was refused, or could not be renewed"),
    }
}

/// Returns the failure that all accounts which the pool's mode takes are paused.
fn all_paused(context: &Context, key: &PoolKey, accounts: &[CredentialStatus]) -> Failure {
    let kinds = accounts.iter().map(|account| account.credential.kind);
    let choice = Choice::of(context, key, kinds, []);
    let is_used = |account: &&CredentialStatus| {
        choice.is_none_or(|choice| choice.leaves_out(account.credential.kind).is_none())
    };
    let first = accounts.iter().find(is_used).map(|account| account::resumption(&account.credential));
    let message = match accounts.iter().all(|account| is_used(&account)) {
        true => format!("every account of {key} is paused"),
        // The accounts that are left out have been reported.
        false => format!("every account of {key} that its mode takes is paused"),
    };
    Failure::failed(message).way_out(first.unwrap_or_else(|| "credentials resume ACCOUNT".to_owned()))
}

/// Returns the failure that this account's token has expired and can't be renewed with these settings.
async fn unrenewable(context: &Context, vault: &impl Vault, account: &Metadata) -> Option<Failure> {
    let stored = vault.get(&account.pool, account.id).await.ok()?;
    let is_expired = stored.secret.expires_at().is_some_and(|end| end <= now());
    let why = Unrenewable::of(context, &account.pool, &stored.secret)?;
    if !is_expired || !why.is_of_settings() {
        return None;
    }
    let name = account::name(account);
    let message = format!("the token of {name} has expired, and can't be renewed: {why}");
    Some(with(Failure::usage(message), why.way_out(context, account)))
}

fn needs_sign_in(context: &Context, account: &Metadata) -> Failure {
    let message = format!("{} needs a new sign-in", account::name(account));
    with(Failure::new(Exit::Refused, message), account::renewal(context, account))
}

fn with(failure: Failure, way_out: Option<String>) -> Failure {
    match way_out {
        Some(way_out) => failure.way_out(way_out),
        None => failure,
    }
}

/// Returns why an account's token has expired and was not renewed. `None` if nobody tried: the layers do not renew a new
/// token for a while, whatever its expiry says.
async fn expired(
    context: &Context,
    vault: &impl Vault,
    pool: &Pool,
    credential: &Metadata,
    failed: Option<String>,
) -> Option<Failure> {
    let status = pool.status().into_iter().find(|status| status.credential.id == credential.id);
    let health = status.map(|status| status.standing.health).unwrap_or_default();
    let needs_sign_in =
        |cause: &str| Some(needs_sign_in(context, credential).because(output::plain(cause)));
    if let Health::NeedsSignIn { reason, .. } = health {
        return needs_sign_in(&reason);
    }
    let stored = match vault.get(&credential.pool, credential.id).await {
        Ok(stored) => stored,
        Err(error) => return Some(error.into()),
    };
    if stored.secret.refresh_token().is_none() {
        return needs_sign_in("its token has expired, and it has no refresh token");
    }
    if let Some(failure) = unrenewable(context, vault, credential).await {
        return Some(failure);
    }
    if let Err(failure) = context.oauth(pool.key().provider()) {
        return Some(failure);
    }
    let cause = failed?;
    let name = account::name(credential);
    let message = format!("the token of {name} has expired, and could not be renewed");
    Some(Failure::new(Exit::Unavailable, message).because(output::plain(&cause)))
}
