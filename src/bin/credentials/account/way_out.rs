//! What a person types or sets to get an account into use.

use std::collections::BTreeSet;

use tower_credentials::{Kind, Metadata, PoolKey};

use crate::context::Context;
use crate::output;
use crate::shell::{option, quoted};

/// Returns the command that adds an account to a pool: with an API key if nobody can sign in.
pub(crate) fn login(context: &Context, pool: &PoolKey) -> String {
    let provider = context.registry.provider(pool.provider());
    let by_key = provider.is_ok_and(|provider| provider.oauth().is_none());
    format!("{}{}", login_of(context, pool), if by_key { " --api-key" } else { "" })
}

fn login_of(context: &Context, pool: &PoolKey) -> String {
    let is_usual = context.registry.pool_key(pool.provider()).is_ok_and(|usual| usual == *pool);
    let namespace = match is_usual {
        true => String::new(),
        false => format!(" {}", option("--namespace", pool.namespace())),
    };
    format!("credentials login {}{namespace}", quoted(pool.provider()))
}

/// Returns how to replace the secret of an account. `None` if no command does that.
pub(crate) fn renewal(context: &Context, credential: &Metadata) -> Option<String> {
    let Metadata { pool, label, kind, .. } = credential;
    if let Some(variable) = label.strip_prefix('$') {
        return Some(format!("set {variable} to another key"));
    }
    let by = match kind {
        Kind::OAuth => "",
        Kind::Api => " --api-key",
        _ => return None,
    };
    Some(format!("{} {}{by} --replace", login_of(context, pool), option("--label", label)))
}

/// Returns how to set where a provider's list of models is.
pub(crate) fn set_models(context: &Context, provider: &str) -> String {
    format!(
        "set {} in {}, and {} unless it is a list like OpenAI's",
        setting(provider, "models_url"),
        output::path(&context.places.config),
        setting(provider, "models_shape"),
    )
}

/// Says which of these providers the settings lack, so that nothing uses their accounts.
pub(crate) fn tell_unknown_providers<'a>(context: &Context, providers: impl Iterator<Item = &'a str>) {
    let unknown: BTreeSet<_> =
        providers.filter(|name| context.registry.provider(name).is_err()).map(output::plain).collect();
    if unknown.is_empty() {
        return;
    }
    let names: Vec<_> = unknown.into_iter().collect();
    output::say(format_args!(
        "Nothing uses these until {} has a provider of that name: {}",
        context.places.config.display(),
        names.join(", "),
    ));
}

/// Returns the name of a provider's setting, as in a settings file.
pub(crate) fn setting(provider: &str, key: &str) -> String {
    let is_bare = |char: char| char.is_ascii_alphanumeric() || matches!(char, '-' | '_');
    match !provider.is_empty() && provider.chars().all(is_bare) {
        true => format!("providers.{provider}.{key}"),
        false => format!("providers.{:?}.{key}", output::plain(provider)),
    }
}
