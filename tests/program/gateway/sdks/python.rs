//! Other SDKs for Python: of Google, and those that speak to several vendors.

use super::alone::Alone;
use super::vendor::Vendor;

#[tokio::test(flavor = "multi_thread")]
async fn google() {
    let Some(alone) = Alone::of(google).await else { return };
    let vendor = Vendor::start().await;
    let home = vendor.home(&["a", "b"]).await;
    let scenarios =
        ["limited-for-a", "refused-for-a", "used-up-3600"].map(|model| format!("chat={model}"));
    let [limited, refused, used_up] = scenarios.each_ref().map(String::as_str);
    let (stream, tools) = ("stream=limited-for-a", "tools=limited-for-a");
    let ends =
        alone.scenarios(&home, "google_sdk.py", &[limited, stream, tools, refused, used_up]).await;
    for scenario in [limited, stream, refused] {
        assert_eq!(ends.said(scenario), "hello from b");
    }
    assert_eq!(ends.said(tools), "It is sunny, says b");
    assert_eq!(ends.error(used_up).0, "ClientError");
    assert!(ends.seconds(used_up) < 15., "{ends:#?}");
    assert_eq!(vendor.count("a limited-for-a"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn langchain() {
    let Some(alone) = Alone::of(langchain).await else { return };
    let vendor = Vendor::start().await;
    let home = vendor.home(&["a", "b"]).await;
    let ends = alone
        .chats(&home, "langchain_sdk.py", &["openai", "anthropic"], &["openai_chat=used-up-3600"])
        .await;
    assert_eq!(ends.error("openai_chat=used-up-3600"), ("OpenAIRateLimitError", Some(429)));
    assert_eq!(vendor.count("a limited-for-a"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn litellm() {
    let Some(alone) = Alone::of(litellm).await else { return };
    let vendor = Vendor::start().await;
    let home = vendor.home(&["a", "b"]).await.variable("LITELLM_LOCAL_MODEL_COST_MAP", "True");
    let providers = ["openai", "anthropic", "gemini"];
    let ends = alone.chats(&home, "litellm_sdk.py", &providers, &["openai_chat=used-up-3600"]).await;
    assert_eq!(ends.error("openai_chat=used-up-3600"), ("RateLimitError", Some(429)));
    assert_eq!(vendor.count("a limited-for-a"), 3);
}
