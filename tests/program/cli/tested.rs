//! Accounts at an upstream, and the results of their tests.

use crate::cli::Home;
use crate::support::{Canned, Server, Upstream};

/// A home whose provider `example` is at an upstream, with accounts of these labels and keys.
pub(crate) async fn example(upstream: &Upstream, accounts: &[(&str, &str)]) -> (Home, Server) {
    let server = Server::start(upstream).await;
    let home = Home::new();
    home.settings(&format!(
        "[providers.example]\ntype = \"generic\"\norigins = [{:?}]\nmodels_shape = \"openai\"\n",
        server.origin()
    ));
    for (label, key) in accounts {
        home.add("example", label, key).await;
    }
    (home, server)
}

/// A list without models, which proves an account all the same.
pub(crate) fn listing() -> Canned {
    Canned::ok().body(r#"{"data": []}"#)
}

/// An upstream that lists none to any of the tests' keys.
pub(crate) fn upstream() -> Upstream {
    let numbered = (1..=7).map(|number| number.to_string());
    let named = ["anthropic", "openai"].map(str::to_owned);
    numbered.chain(named).fold(Upstream::new(), |upstream, name| {
        upstream.answers(&format!("sk-secret-{name}"), [listing()])
    })
}

/// Each account's label and result.
pub(crate) fn results(json: &serde_json::Value) -> Vec<(&str, &str)> {
    json.as_array()
        .unwrap()
        .iter()
        .map(|account| (account["label"].as_str().unwrap(), account["result"].as_str().unwrap()))
        .collect()
}
