//! The npm package `ai`, on which other tools are built.

use super::alone::Alone;
use super::ends::Ends;
use super::vendor::Vendor;
use crate::gateway::process::{Gateway, client};
use crate::gateway::tls::Files;
use crate::wire::certified::Certified;

#[tokio::test(flavor = "multi_thread")]
async fn ai() {
    let Some(alone) = Alone::of(ai).await else { return };
    let vendor = Vendor::start().await;
    let home = vendor.home(&["a", "b"]).await;
    let more = ["openai_stream=cut-off", "openai_chat=used-up-5", "openai_chat=used-up-3600"];
    let ends = alone.chats(&home, "ai_sdk.mjs", &["openai", "openai_chat", "anthropic"], &more).await;
    assert_eq!(ends.error("openai_stream=cut-off").0, "AI_APICallError");
    assert_eq!(ends.said("openai_chat=used-up-5"), "hello from a");
    // It tries again twice, after 2 s and 4 s, since it does not read `x-should-retry`.
    assert_eq!(ends.error("openai_chat=used-up-3600"), ("AI_APICallError", Some(429)));
    assert!(ends.seconds("openai_chat=used-up-3600") < 20., "{ends:#?}");
    assert_eq!(vendor.count("a limited-for-a"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn ai_with_a_clients_token_at_an_https_address() {
    let Some(alone) = Alone::of(ai_with_a_clients_token_at_an_https_address).await else { return };
    let vendor = Vendor::start().await;
    let home = vendor.home(&["a", "b"]).await;
    let (certified, files) = (Certified::new(), Files::of(home.path()));
    certified.write(&files);
    let token = client(&home, &["laptop"]);
    let gateway = Gateway::start(&home, &files.arguments()).await;
    let mut command = home.command_of("node");
    command
        .arg(alone.script("ai_sdk.mjs"))
        .args(["openai_chat=limited-for-a", "openai_stream=limited-for-a"]);
    command.env("NODE_EXTRA_CA_CERTS", certified.write_authority(&home));
    command.env("OPENAI_BASE_URL", format!("https://{}/openai/v1", gateway.address));
    command.env("OPENAI_API_KEY", &token);
    let ends = Ends::of(&alone.run(command).await.ok());
    for scenario in ["openai_chat=limited-for-a", "openai_stream=limited-for-a"] {
        assert_eq!(ends.said(scenario), "hello from b");
    }
    assert_eq!(vendor.count("a limited-for-a"), 1);
}
