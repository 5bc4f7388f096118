//! Accounts at MCP servers: opencode's `mcp-auth.json`, and a part of Claude Code's file.

use super::{Account, Reading, UNFINISHED, keep_rest, tokens};
use crate::credential::{OAuthTokens, Secret};
use crate::migrate::json::{Object, Problem, Value};
use crate::migrate::source::Source;
use crate::origin::Origin;
use crate::printable::is_short_printable;
use crate::secret::SecretString;

/// The file has an object for each server's name, with the tokens, the registered client, and the state of an unfinished
/// sign-in.
pub(super) fn read_opencode(object: Object<'_>, reading: &mut Reading) {
    for member in object.into_members() {
        let account = read_opencode_entry(&member.name, member.value);
        reading.add(&member.name, member.value.line(), account);
    }
}

fn read_opencode_entry(name: &str, value: Value<'_>) -> Result<Account, Problem> {
    let mut object = value.object()?;
    let Some(mut inner) = object.object("tokens")? else {
        return Err(Problem { name: String::new(), line: value.line(), reason: UNFINISHED[1] });
    };
    let inside = |problem: Problem| problem.inside("tokens");
    let mut tokens = tokens(&mut inner, ["accessToken", "refreshToken", "expiresAt"]).map_err(inside)?;
    let scope = inner.words("scope").map_err(inside)?;
    keep_rest(&mut tokens, Source::OpencodeMcp, inner.rest());
    let mut moments = [None, None];
    if let Some(mut client) = object.object("clientInfo")? {
        let inside = |problem: Problem| problem.inside("clientInfo");
        keep(&mut tokens, "client_id", client.secret("clientId").map_err(inside)?);
        keep(&mut tokens, "client_secret", client.secret("clientSecret").map_err(inside)?);
        for (moment, name) in moments.iter_mut().zip(["clientIdIssuedAt", "clientSecretExpiresAt"]) {
            *moment = client.moment(name).map_err(inside)?;
        }
        keep(&mut tokens, "opencode-mcp.clientInfo", client.rest());
    }
    keep(&mut tokens, "code_verifier", object.secret("codeVerifier")?);
    keep(&mut tokens, "oauth_state", object.secret("oauthState")?);
    let server = object.secret("serverUrl")?;
    keep(&mut tokens, "opencode-mcp.entry", object.rest());
    let seconds = |at: Option<crate::Timestamp>| at.map(|at| (at.as_millis() / 1000).to_string());
    let [issued, expires] = moments.map(seconds);
    Ok(account(name, tokens, server)
        .attribute("scope", scope)
        .attribute("client_id_issued_at", issued)
        .attribute("client_secret_expires_at", expires))
}

/// The file has a flat object for each server. Its name is the server's, with a suffix.
pub(super) fn read_claude(object: Object<'_>, reading: &mut Reading) {
    for member in object.into_members() {
        let account = read_claude_entry(&member.name, member.value);
        reading.add(&format!("mcpOAuth.{}", member.name), member.value.line(), account);
    }
}

fn read_claude_entry(name: &str, value: Value<'_>) -> Result<Account, Problem> {
    let mut object = value.object()?;
    let mut tokens = tokens(&mut object, ["accessToken", "refreshToken", "expiresAt"])?;
    let named = object.plain("serverName")?;
    let server = object.secret("serverUrl")?;
    keep(&mut tokens, "client_id", object.secret("clientId")?);
    keep(&mut tokens, "client_secret", object.secret("clientSecret")?);
    let scope = object.words("scope")?;
    keep_rest(&mut tokens, Source::Claude, object.rest());
    let before = name.split_once('|').map_or(name, |(before, _)| before);
    Ok(account(named.as_deref().unwrap_or(before), tokens, server).attribute("scope", scope))
}

/// The whole URL of the server is sealed, because any part of it may be a key, the path for example. Only its origin is not.
fn account(name: &str, mut tokens: OAuthTokens, server: Option<SecretString>) -> Account {
    let origin = server.as_ref().and_then(|url| origin(url.expose()));
    keep(&mut tokens, "server_url", server);
    let account = Account {
        provider: format!("mcp:{name}"),
        label: name.to_owned(),
        secret: Secret::Mcp(tokens),
        attributes: Default::default(),
    };
    account.attribute("server_url", origin)
}

/// A URL's scheme, host and port, without a user's name and password.
fn origin(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    // Browsers read a backslash as a slash.
    let authority = rest.split(['/', '\\', '?', '#']).next()?;
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let origin: Origin = format!("{scheme}://{host}").parse().ok()?;
    Some(origin.to_string()).filter(|origin| is_short_printable(origin))
}

fn keep(tokens: &mut OAuthTokens, name: &str, value: Option<SecretString>) {
    tokens.extra.extend(value.map(|value| (name.to_owned(), value)));
}
