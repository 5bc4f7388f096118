//! `test`: sends a request with each account, to see whether it can be used.

mod queue;
mod response;
pub(crate) mod tested;
mod verdict;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Instant;

use clap::Args;
use http::{Request, Response, Uri};
use tower::{Service, ServiceExt};
use tower_credentials::provider::Provider;
use tower_credentials::vault::{Damage, Listing, VaultExt};
use tower_credentials::{BoxError, CredentialId, Metadata, Mode, Pin, Pool, PoolKey};

use crate::account::{self, LastRenewal, Unrenewable, Unusable};
use crate::context::{AnyVault, Body, Context};
use crate::ending;
use crate::failure::{Exit, Failure, chain};
use crate::options::{self, Namespace};
use crate::output;
use crate::renewals::{Renewals, both};
use queue::Queue;
use response::TestResponse;
use tested::Tested;
use verdict::{Renewal, Verdict};

/// Test accounts with one small request each
///
/// Each account asks for its provider's models, or for one of them. It works if they come as JSON: at most 4 MiB, within
/// 30 s. An expired token is renewed first. What the response says about the account is saved, as after any other request.
/// An account that was spent, or whose key was refused for good, is used again if it works. Paused accounts are not tested.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  credentials test
  credentials test openai/work
  credentials test --json | jq -r '.[] | select(.result != \"works\").id'")]
pub(crate) struct Test {
    /// A provider, or one account; all accounts if it is omitted
    #[arg(value_name = "PROVIDER|ACCOUNT")]
    account: Option<String>,
    #[command(flatten)]
    namespace: Namespace,
    #[command(flatten)]
    output: options::Json,
}

/// The selected pools and their selected accounts; `None` for all of them.
type Selected = BTreeMap<PoolKey, Option<BTreeSet<CredentialId>>>;

impl Test {
    /// Tests the account with this id, or all.
    pub(crate) fn of(id: Option<CredentialId>) -> Self {
        let account = id.map(|id| id.to_string());
        Self { account, namespace: Namespace { namespace: None }, output: options::Json { json: false } }
    }

    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let (tested, is_whole) = self.tested(context).await?;
        if tested.is_empty() && !is_whole {
            return Ok(Exit::Vault);
        }
        match self.show(context, &tested)? {
            Exit::Done if !is_whole => Ok(Exit::Vault),
            exit => Ok(exit),
        }
    }

    /// Tests the accounts. Returns the results, and whether no key of the environment was unusable.
    pub(crate) async fn tested(&self, context: &Context) -> Result<(Vec<Tested>, bool), Failure> {
        let vault = context.vault_or_empty().await?;
        let listing = vault.list().await?;
        let selected = self.selected(context, &vault, &listing).await?;
        let mut listed = listing.credentials;
        let (mut queue, mut is_whole) = (Queue::new(), true);
        for (key, only) in selected {
            let is_selected = |id| only.as_ref().is_none_or(|only| only.contains(&id));
            let stored = listed.extract_if(.., |account| account.pool == key && is_selected(account.id));
            let stored = stored.collect();
            let unusable = begin(context, &vault, &key, is_selected, stored, &mut queue).await?;
            unusable.iter().for_each(account::warn_of_damage);
            is_whole &= unusable.is_empty();
        }
        let tested = queue.end().await?;
        // Why one has failed is in the result.
        let renewals = account::last_renewals(context).await;
        for Tested { credential, .. } in &tested {
            if let Some(cut_off @ LastRenewal::CutOff) = renewals.get(&credential.id) {
                output::warn(format_args!("{}: {cut_off}", output::plain(&account::name(credential))));
            }
        }
        Ok((tested, is_whole))
    }

    async fn selected(
        &self,
        context: &Context,
        vault: &AnyVault,
        listing: &Listing,
    ) -> Result<Selected, Failure> {
        let namespace = self.namespace.namespace.as_deref();
        let pools = account::pools(context, listing, self.account.as_deref(), namespace);
        if !pools.is_empty() || self.account.is_none() {
            listing.damaged.iter().for_each(account::warn_of_damage);
            return Ok(pools.into_iter().map(|key| (key, None)).collect());
        }
        let mut selected = Selected::new();
        let account = self.account.as_deref().unwrap_or_default();
        for credential in account::find_all(context, vault, account, namespace).await? {
            let ids = selected.entry(credential.pool).or_insert_with(|| Some(BTreeSet::new()));
            ids.get_or_insert_default().insert(credential.id);
        }
        Ok(selected)
    }

    fn show(&self, context: &Context, tested: &[Tested]) -> Result<Exit, Failure> {
        if self.output.json {
            output::print_json(&tested.iter().map(Tested::json).collect::<Vec<_>>())?;
        } else if !tested.is_empty() {
            output::print(tested::shown(tested))?;
        }
        if tested.is_empty() {
            let failure = Failure::usage("there are no accounts, so nothing could be tested");
            return Err(failure.way_out("credentials login PROVIDER"));
        }
        let failed: Vec<_> =
            tested.iter().filter_map(|tested| Some((tested, tested.verdict.failure()?))).collect();
        // If accounts failed in several ways, the one that needs the most work.
        let order = [Exit::Refused, Exit::Vault, Exit::Unavailable, Exit::Usage, Exit::Failed];
        let is_of = |exit: &Exit| failed.iter().any(|(_, failure)| failure == exit);
        if let Some(exit) = order.into_iter().find(is_of) {
            let failure = Failure::new(
                exit,
                match tested {
                    [one] => format!("{} can't be used now", account::name(&one.credential)),
                    all => format!("{} of {} accounts can't be used now", failed.len(), all.len()),
                },
            );
            let refused = failed.iter().filter(|(_, exit)| *exit == Exit::Refused);
            let refused = refused.map(|(tested, _)| &tested.credential);
            let of_settings = tested.iter().find_map(|tested| match tested.verdict {
                Verdict::Unrenewable(why) => why.way_out(context, &tested.credential),
                _ => None,
            });
            return Err(match way_out(context, refused).or(of_settings) {
                Some(way_out) => failure.way_out(way_out),
                None => failure,
            });
        }
        let is_untested =
            |tested: &Tested| matches!(tested.verdict, Verdict::Untested(_) | Verdict::Paused);
        if !tested.iter().all(is_untested) {
            return Ok(Exit::Done);
        }
        let paused = tested.iter().find(|tested| matches!(tested.verdict, Verdict::Paused));
        let Some(one) = paused else { return Err(Failure::usage("no account could be tested")) };
        let name = account::name(&one.credential);
        let failure = Failure::usage(match tested {
            [_] => format!("{name} is paused, so it was not tested"),
            _ => "no account was tested: all that could be tested are paused".to_owned(),
        });
        Err(failure.way_out(account::resumption(&one.credential)))
    }
}

/// Returns the commands that replace the secrets: one account of each provider and kind stands for those like it.
fn way_out<'a>(context: &Context, accounts: impl Iterator<Item = &'a Metadata>) -> Option<String> {
    const MOST: usize = 3;
    let (mut kinds, mut lines, mut more) = (HashSet::new(), Vec::new(), 0);
    for account in accounts {
        let Some(renewal) = account::renewal(context, account) else { continue };
        if lines.len() < MOST && kinds.insert((account.pool.provider(), account.kind)) {
            lines.push(renewal);
        } else {
            more += 1;
        }
    }
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
    // One below the other, after `try:`.
    (!lines.is_empty()).then(|| lines.join("\n       "))
}

/// Begins the tests of the selected accounts of one pool; `stored` are those in the vault. Returns what the pool can't use
/// and is not in the vault: a key of the environment.
async fn begin(
    context: &Context,
    vault: &AnyVault,
    key: &PoolKey,
    is_selected: impl Fn(CredentialId) -> bool,
    mut stored: Vec<Metadata>,
    queue: &mut Queue,
) -> Result<Vec<Damage>, Failure> {
    let mut add = |account, verdict| queue.add(Tested::without_request(account, verdict));
    let provider = match context.registry.provider(key.provider()) {
        Ok(provider) => provider,
        Err(unknown) => {
            let verdict = Verdict::Untested(unknown.to_string());
            stored.into_iter().for_each(|account| add(account, verdict.clone()));
            return Ok(Vec::new());
        }
    };
    // An account is tested even if the mode leaves out its kind.
    let (renewals, unusable) = (Renewals::default(), Unusable::default());
    let observe = both(renewals.observer(), unusable.observer());
    let pool = context.pool(key, vault.clone())?.mode(Mode::Auto).on_event(observe);
    let pool = match ending::open(pool).await {
        Ok(pool) => pool,
        Err(error) if stored.is_empty() => return Err(error.into()),
        // The other pools are not affected.
        Err(error) => {
            let verdict = Verdict::Shut(chain(&error));
            stored.into_iter().for_each(|account| add(account, verdict.clone()));
            return Ok(Vec::new());
        }
    };
    let client = context.client(&pool)?;
    let is_of_the_environment = stored.is_empty() && pool.status().is_empty();
    for status in pool.status().into_iter().filter(|status| is_selected(status.credential.id)) {
        let credential = status.credential;
        stored.retain(|account| account.id != credential.id);
        match uri(context, &credential, status.standing.paused) {
            Ok(uri) => {
                let (pool, client, vault) = (pool.clone(), client.clone(), vault.clone());
                let asked =
                    Asked { pool, vault, provider: provider.clone(), renewals: renewals.clone() };
                let unrenewable = unrenewable(context, &asked.vault, &credential).await;
                let name = output::plain(&account::name(&credential));
                queue.begin(name, test(asked, client, credential, uri, unrenewable));
            }
            Err(verdict) => queue.add(Tested::without_request(credential, verdict)),
        }
    }
    // The accounts that the pool could not use.
    for account in stored {
        let reason = match vault.get(&account.pool, account.id).await {
            Ok(credential) => provider.headers(&credential).err().map(|error| chain(&error)),
            Err(error) => Some(chain(&error)),
        };
        if let Some(reason) = reason {
            queue.add(Tested::without_request(account, Verdict::Shut(reason)));
        }
    }
    Ok(if is_of_the_environment { unusable.beside(&[]) } else { Vec::new() })
}

/// Returns the URL to test an account with, or why it is not tested.
fn uri(context: &Context, tested: &Metadata, is_paused: bool) -> Result<Uri, Verdict> {
    if is_paused {
        return Err(Verdict::Paused);
    }
    let untested = |reason: String| Verdict::Untested(reason);
    let name = tested.pool.provider();
    let provider = context.registry.provider(name).map_err(|unknown| untested(unknown.to_string()))?;
    let endpoint = provider.models(tested.kind).ok_or_else(|| {
        let way_out = account::set_models(context, name);
        untested(format!("{name} has no list of models to ask for; {way_out}"))
    })?;
    let uri = endpoint.smallest(provider.origin());
    uri.ok_or_else(|| untested(format!("{name} has no origin for requests; set its `origins`")))
}

/// Returns why nothing can renew the account's token.
async fn unrenewable(context: &Context, vault: &AnyVault, account: &Metadata) -> Option<Unrenewable> {
    Unrenewable::of(context, &account.pool, &vault.get(&account.pool, account.id).await.ok()?.secret)
}

/// What a test of an account needs.
struct Asked {
    pool: Pool,
    vault: AnyVault,
    provider: Arc<dyn Provider>,
    renewals: Renewals,
}

/// Sends a request with this account, and reads from the pool what was learnt.
async fn test<S, R>(
    asked: Asked,
    client: S,
    credential: Metadata,
    uri: Uri,
    unrenewable: Option<Unrenewable>,
) -> Tested
where
    S: Service<Request<Body>, Response = Response<R>, Error = BoxError>,
    R: http_body::Body<Error: Into<BoxError>>,
{
    let Asked { pool, vault, provider, renewals } = asked;
    let mut request = Request::new(Body::default());
    *request.uri_mut() = uri;
    request.extensions_mut().insert(Pin::id(credential.id).check());
    let began = Instant::now();
    let is_renewing = || pool.renewing().iter().any(|renewing| renewing.id == credential.id);
    let read = |response: &tower_credentials::provider::ResponseView<'_>| provider.read(response);
    let response = TestResponse::to(client.oneshot(request), is_renewing, read).await;
    let took = began.elapsed();
    // The result does not depend on this being saved.
    let _ = pool.save().await;
    let status = pool.status().into_iter().find(|status| status.credential.id == credential.id);
    let standing = status.map(|status| status.standing).unwrap_or_default();
    let stored = vault.get(&credential.pool, credential.id).await.ok();
    let end = stored.as_ref().and_then(|stored| stored.secret.expires_at());
    let renewal = Renewal {
        failed: renewals.failure(credential.id),
        unrenewable,
        is_expired: end.is_some_and(|end| end <= pool.now()),
    };
    Tested::new(credential, response, took, &standing, renewal, pool.now())
}
