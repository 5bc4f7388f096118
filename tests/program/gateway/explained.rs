//! `credentials why` says what the gateway then does.

use std::time::{Duration, SystemTime};

use http::{Request, StatusCode};

use super::process::{Gateway, home_of_x};
use crate::support::{Canned, Server, Upstream};
use crate::wire::full;

#[tokio::test(flavor = "multi_thread")]
async fn while_every_account_is_limited_why_names_none_and_the_gateway_answers_with_the_same_time() {
    let upstream = Upstream::new()
        .answers("a-key", [Canned::limited(4000)])
        .answers("b-key", [Canned::limited(300)]);
    let server = Server::start(&upstream).await;
    let home = home_of_x(&server.origin(), &["a", "b"]).await;
    let gateway = Gateway::open(&home, &[]).await;
    let ask = async || {
        let request = Request::get(gateway.url("/x/v1")).body(full("")).unwrap();
        let (status, headers, body) = gateway.ask(request).await;
        (status, headers.get("retry-after").and_then(|after| after.to_str().ok()?.parse().ok()), body)
    };
    home.run(["why", "x"]).ok().prints("the next request takes x/a\n");
    // Both are asked, and limited.
    assert_eq!(ask().await.0, 429);
    let run = home.run(["why", "x"]).code(6).says("every account of x/default is cooling down");
    let run = run.prints("x/default: the next request takes none\nx/b is ready first, in ");
    run.prints("; until then `credentials exec` and `serve` answer with a 429\n");
    let (status, after, body) = ask().await;
    let after = Duration::from_secs(after.unwrap());
    assert!(status == 429 && body.contains("every account is limited"), "{body}");
    let json = home.run(["why", "x", "--json"]).code(6).json();
    assert_eq!((&json["gateway"]["status"], json.get("next")), (&429.into(), None));
    let until = humantime::parse_rfc3339(json["gateway"]["until"].as_str().unwrap()).unwrap();
    let of_gateway = SystemTime::now() + after;
    // One is cut to seconds, the other rounded up.
    let between = of_gateway.duration_since(until).unwrap();
    assert!(between < Duration::from_secs(60), "{between:?}");
    assert_eq!(upstream.seen.all().len(), 2, "nobody was asked again");
    // What a list marks is what requests take.
    let listed = home.run(["list", "--json"]).ok().json();
    assert!(listed.as_array().unwrap().iter().all(|account| account["active"] == false), "{listed}");

    home.run(["reset", "a"]).ok();
    home.run(["why", "x"]).ok().prints("the next request takes x/a\n");
    home.run(["pause", "a", "b"]).ok();
    home.run(["why", "x"]).code(1).prints("answer with a 503 until a person acts\n");
    gateway.becomes("/x/v1", "", StatusCode::SERVICE_UNAVAILABLE).await;
}
