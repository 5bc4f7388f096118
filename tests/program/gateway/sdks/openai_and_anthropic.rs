//! The vendors' own SDKs for Python, in all scenarios.

use super::alone::Alone;
use super::ends::Ends;
use super::vendor::Vendor;

/// What each of the two does in one process.
const SCENARIOS: [&str; 12] = [
    "chat=limited-for-a",
    "stream=limited-for-a",
    "tools=limited-for-a",
    "at_once=limited-for-a-at-once",
    "chat=refused-for-a",
    "chat",
    "stream=cut-off",
    "chat=cut-off-as-a-whole",
    "chat=used-up-5",
    "chat=used-up-25",
    "chat=used-up-3600",
    "stream=used-up-3600",
];

fn check(vendor: &Vendor, ends: &Ends) {
    for scenario in ["chat=limited-for-a", "stream=limited-for-a", "chat=refused-for-a"] {
        assert_eq!(ends.said(scenario), "hello from b");
    }
    assert_eq!(ends.said("tools=limited-for-a"), "It is sunny, says b");
    assert_eq!(ends.said("at_once=limited-for-a-at-once"), "{'hello from b': 200}");
    // What one model is limited or refused for is no word about the account.
    assert_eq!(ends.said("chat"), "hello from a");
    // The SDK asks again for what it has nothing of yet.
    assert_eq!(ends.said("chat=cut-off-as-a-whole"), "hello from a");
    // The SDK waits for a few seconds, as the vendor says.
    assert_eq!(ends.said("chat=used-up-5"), "hello from a");
    assert!((4.5..20.).contains(&ends.seconds("chat=used-up-5")), "{ends:#?}");
    // It does not wait in silence for longer.
    for scenario in ["chat=used-up-25", "chat=used-up-3600", "stream=used-up-3600"] {
        assert_eq!(ends.error(scenario), ("RateLimitError", Some(429)));
        assert!(ends.seconds(scenario) < 15., "{ends:#?}");
    }
    assert_eq!(vendor.count("a limited-for-a"), 1);
    assert_eq!(vendor.count("a used-up-3600"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn openai() {
    let Some(alone) = Alone::of(openai).await else { return };
    let vendor = Vendor::start().await;
    let home = vendor.home(&["a", "b"]).await;
    let chats = ["chat_completions", "stream_chat_completions", "tools_in_chat_completions"];
    let chats = chats.map(|scenario| format!("{scenario}=limited-for-a-in-chats"));
    let mut scenarios = SCENARIOS.to_vec();
    scenarios.extend(chats.iter().map(String::as_str));
    let ends = alone.scenarios(&home, "openai_sdk.py", &scenarios).await;
    check(&vendor, &ends);
    assert_eq!(ends.error("stream=cut-off"), ("APIConnectionError", None));
    assert_eq!(
        chats.map(|scenario| ends.said(&scenario).to_owned()),
        ["hello from b", "hello from b", "It is sunny, says b"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn anthropic() {
    let Some(alone) = Alone::of(anthropic).await else { return };
    let vendor = Vendor::start().await;
    let home = vendor.home(&["a", "b"]).await;
    let ends = alone.scenarios(&home, "anthropic_sdk.py", &SCENARIOS).await;
    check(&vendor, &ends);
    assert_eq!(ends.error("stream=cut-off"), ("RemoteProtocolError", None));
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_go_to_the_next_account_whatever_their_length() {
    let Some(alone) = Alone::of(uploads_go_to_the_next_account_whatever_their_length).await else {
        return;
    };
    for script in ["openai_sdk.py", "anthropic_sdk.py"] {
        for megabytes in [1, 100] {
            let vendor = Vendor::start().await;
            let home = vendor.home(&["a", "b"]).await;
            let scenario = format!("upload={}", megabytes << 20);
            let ends = alone.scenarios(&home, script, &[&scenario]).await;
            assert_eq!(ends.said(&scenario), format!("{megabytes} MiB to b"));
            // One that is too long to be kept is sent again by the SDK.
            assert_eq!(vendor.seen.all(), ["a files", "b files"]);
        }
    }
}
