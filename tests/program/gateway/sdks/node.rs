//! The npm package `ai`, on which other tools are built.

use super::alone::Alone;
use super::vendor::Vendor;

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
    assert!(ends.seconds("openai_chat=used-up-3600") < 10., "{ends:#?}");
    assert_eq!(vendor.count("a limited-for-a"), 2);
}
