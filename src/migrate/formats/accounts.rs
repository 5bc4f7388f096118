//! Files with one account each: Codex's, Claude Code's, Gemini CLI's and Qwen Code's.

use super::opencode::openai;
use super::{Account, Reading, keep_rest, mcp, tokens};
use crate::claims::{ACCOUNT, Claims, ENDPOINT, ID_TOKEN};
use crate::credential::Secret;
use crate::migrate::json::{Object, Problem};
use crate::migrate::source::Source;
use crate::printable::is_short_printable;
use crate::secret::SecretString;

/// A key, an account, or both.
pub(super) fn read_codex(mut object: Object<'_>, reading: &mut Reading) {
    // They are not kept: the tokens say all that matters.
    for name in ["auth_mode", "last_refresh"] {
        if let Err(problem) = object.plain(name) {
            reading.skip(name, Problem { name: String::new(), ..problem });
        }
    }
    const KEY: &str = "OPENAI_API_KEY";
    let line = |object: &Object<'_>, name: &str| object.get(name).map(|value| value.line());
    let at = line(&object, KEY).unwrap_or_default();
    match object.token(KEY) {
        Ok(None) => {}
        Ok(Some(key)) => reading.add(KEY, at, Ok(Account::key("openai", Secret::api_key(key)))),
        // The entry's name is the problem's.
        Err(problem) => reading.skip(KEY, Problem { name: String::new(), ..problem }),
    }
    const TOKENS: &str = "tokens";
    let at = line(&object, TOKENS).unwrap_or_default();
    match object.object(TOKENS) {
        Ok(None) => {}
        Ok(Some(inner)) => reading.add(TOKENS, at, read_codex_tokens(inner)),
        Err(problem) => reading.skip(TOKENS, Problem { name: String::new(), ..problem }),
    }
    reading.skip_rest(None, object);
}

fn read_codex_tokens(mut object: Object<'_>) -> Result<Account, Problem> {
    let mut tokens = tokens(&mut object, ["access_token", "refresh_token", "expires_at"])?;
    let workspace = object.plain("account_id")?;
    let id_token = object.secret(ID_TOKEN)?;
    let account = openai(&mut tokens, workspace, id_token.as_ref().map(SecretString::expose));
    tokens.extra.extend(id_token.map(|token| (ID_TOKEN.to_owned(), token)));
    keep_rest(&mut tokens, Source::Codex, object.rest());
    Ok(Account::oauth(Source::Codex, "openai", tokens).attribute(ACCOUNT, account))
}

/// An account, and accounts at MCP servers.
pub(super) fn read_claude(mut object: Object<'_>, reading: &mut Reading) {
    const ACCOUNT: &str = "claudeAiOauth";
    const SERVERS: &str = "mcpOAuth";
    let at = object.get(ACCOUNT).map(|value| value.line()).unwrap_or_default();
    match object.object(ACCOUNT) {
        Ok(None) => {}
        Ok(Some(inner)) => {
            let organization = object.secret("organizationUuid");
            let account = organization.and_then(|id| read_claude_account(inner, id));
            reading.add(ACCOUNT, at, account);
        }
        Err(problem) => reading.skip(ACCOUNT, Problem { name: String::new(), ..problem }),
    }
    match object.object(SERVERS) {
        Ok(None) => {}
        Ok(Some(servers)) => mcp::read_claude(servers, reading),
        Err(problem) => reading.skip(SERVERS, Problem { name: String::new(), ..problem }),
    }
    reading.skip_rest(None, object);
}

fn read_claude_account(
    mut object: Object<'_>,
    organization: Option<SecretString>,
) -> Result<Account, Problem> {
    let mut tokens = tokens(&mut object, ["accessToken", "refreshToken", "expiresAt"])?;
    let scope = object.words("scopes")?;
    let subscription = object.plain("subscriptionType")?;
    tokens.extra.extend(organization.map(|id| ("organization".to_owned(), id)));
    keep_rest(&mut tokens, Source::Claude, object.rest());
    Ok(Account::oauth(Source::Claude, "anthropic", tokens)
        .attribute("scope", scope)
        .attribute("subscription", subscription))
}

/// The whole file is one account.
pub(super) fn read_gemini(source: Source, object: Object<'_>, reading: &mut Reading) {
    let line = object.line();
    if object.members().is_empty() {
        return;
    }
    reading.add(source.as_str(), line, read_gemini_account(source, object));
}

fn read_gemini_account(source: Source, mut object: Object<'_>) -> Result<Account, Problem> {
    let line = object.line();
    let mut tokens = tokens(&mut object, ["access_token", "refresh_token", "expiry_date"])?;
    if object.plain("token_type")?.is_some_and(|sort| !sort.eq_ignore_ascii_case("bearer")) {
        let reason = "is none that this version knows: it must be Bearer";
        return Err(Problem { name: "token_type".to_owned(), line, reason });
    }
    let id_token = object.secret(ID_TOKEN)?;
    let scope = object.words("scope")?;
    let account = id_token.as_ref().and_then(Claims::read).and_then(|claims| claims.sub);
    tokens.extra.extend(id_token.map(|token| (ID_TOKEN.to_owned(), token)));
    let provider = match source {
        Source::Qwen => {
            let api = object.secret("resource_url")?;
            tokens.extra.extend(api.map(|url| (ENDPOINT.to_owned(), url)));
            "qwen"
        }
        _ => "google",
    };
    keep_rest(&mut tokens, source, object.rest());
    Ok(Account::oauth(source, provider, tokens)
        .attribute("scope", scope)
        .attribute(ACCOUNT, account.filter(|account| is_short_printable(account))))
}
