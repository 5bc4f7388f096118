//! opencode's `auth.json`.

use super::{Account, Reading, keep_rest, tokens};
use crate::claims::{ACCOUNT, ACCOUNT_ID, Claims, ENDPOINT, within};
use crate::credential::{OAuthTokens, Secret};
use crate::migrate::json::{Object, Problem, Value};
use crate::migrate::source::Source;
use crate::printable::is_short_printable;

/// The file has an object for each provider's id: an account, a key, or a token with the name of its variable.
pub(super) fn read(object: Object<'_>, reading: &mut Reading) {
    for member in object.into_members() {
        let line = member.value.line();
        let account = read_entry(&member.name, member.value, reading);
        reading.add(&member.name, line, account);
    }
}

fn read_entry(provider: &str, value: Value<'_>, reading: &mut Reading) -> Result<Account, Problem> {
    let mut object = value.object()?;
    let problem = |reason| Problem { name: String::new(), line: value.line(), reason };
    let missing = |name: &str| problem("is missing").inside(name);
    let account = match object.plain("type")?.as_deref() {
        Some("oauth") => return read_oauth(provider, object),
        Some("api") => {
            let key = object.token("key")?.ok_or_else(|| missing("key"))?;
            Account::key(provider, Secret::api_key(key))
        }
        Some("wellknown") => {
            let variable = object.plain("key")?.ok_or_else(|| missing("key"))?;
            let token = object.token("token")?.ok_or_else(|| missing("token"))?;
            Account::key(provider, Secret::WellKnown { variable, token })
        }
        Some(_) => return Err(problem("is none that this version knows").inside("type")),
        None => return Err(missing("type")),
    };
    let account = read_metadata(provider, &mut object, account, reading)?;
    reading.skip_rest(Some(provider), object);
    Ok(account)
}

/// Reads the fields beside some providers' keys that are known not to be secret: a key's record has no sealed place for
/// more.
fn read_metadata(
    provider: &str,
    object: &mut Object<'_>,
    mut account: Account,
    reading: &mut Reading,
) -> Result<Account, Problem> {
    let Some(mut metadata) = object.object("metadata")? else { return Ok(account) };
    for name in ["accountId", "gatewayId", "resourceName"] {
        let value = metadata.plain(name).map_err(|problem| problem.inside("metadata"))?;
        account = account.attribute(&format!("metadata.{name}"), value);
    }
    reading.skip_rest(Some(provider), metadata);
    Ok(account)
}

fn read_oauth(provider: &str, mut object: Object<'_>) -> Result<Account, Problem> {
    let mut tokens = tokens(&mut object, ["access", "refresh", "expires"])?;
    let mut host = None;
    let mut account = None;
    match provider {
        "openai" => {
            let id = object.plain("accountId")?;
            account = openai(&mut tokens, id, None);
        }
        "github-copilot" | "github-copilot-enterprise" => {
            host = object.plain("enterpriseUrl")?.map(|url| domain(&url).to_owned());
            // The program derives the host in the same way.
            let endpoint = host.iter().map(|host| format!("https://copilot-api.{host}"));
            tokens.extra.extend(endpoint.map(|url| (ENDPOINT.to_owned(), url.into())));
        }
        "cursor" => account = Claims::read(&tokens.access).and_then(|claims| claims.sub),
        _ => {}
    }
    keep_rest(&mut tokens, Source::Opencode, object.rest());
    let account = account.filter(|account| is_short_printable(account));
    Ok(Account::oauth(Source::Opencode, provider, tokens)
        .attribute("enterprise_host", host)
        .attribute(ACCOUNT, account))
}

/// A URL without its scheme and trailing slashes.
fn domain(url: &str) -> &str {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")).unwrap_or(url);
    rest.trim_end_matches('/')
}

/// Adds the same entries to OpenAI's tokens as a sign-in, and returns the account's id.
pub(super) fn openai(
    tokens: &mut OAuthTokens,
    workspace: Option<String>,
    id_token: Option<&str>,
) -> Option<String> {
    let id = id_token.and_then(Claims::read_text).unwrap_or_default();
    // Without an id token, the access token has the same claims.
    let access = Claims::read(&tokens.access).unwrap_or_default();
    let workspace = workspace.or_else(|| id.workspace()).or_else(|| access.workspace());
    let workspace = workspace.filter(|workspace| is_short_printable(workspace));
    let end = access.exp.map(|seconds| seconds.saturating_mul(1000));
    tokens.expires_at = tokens.expires_at.or(end.map(crate::Timestamp::from_millis));
    let entry = workspace.clone().map(|workspace| (ACCOUNT_ID.to_owned(), workspace.into()));
    tokens.extra.extend(entry);
    within(workspace, id.sub.or(access.sub)).filter(|account| is_short_printable(account))
}
