//! A request that is pinned to an account uses that one only.

use tower::ServiceExt;
use tower_credentials::*;

use super::rig::rig;
use crate::support::*;

#[tokio::test]
async fn a_pinned_request_is_not_rotated() {
    let rig =
        rig(keys(["a", "b", "c"]).await, Upstream::new().answers("b", [Canned::limited(30)])).await;
    let pinned = || {
        let mut request = rig.server.post();
        request.extensions_mut().insert(Pin::label("b"));
        request
    };
    assert_eq!(ask(&rig.service, pinned()).await.0, 429);
    assert_eq!(ask(&rig.service, pinned()).await.0, 429, "it is used whatever its cooldown");
    assert_eq!(rig.upstream.tokens(), ["b", "b"]);
    assert_eq!(rig.ask().await, (200, "a".into()), "others are not pinned");
}

#[tokio::test]
async fn a_pinned_request_is_still_refreshed() {
    let upstream = Upstream::new().answers("b-1", [Canned::status(401)]);
    let rig = rig(accounts(["a", "b"]).await, upstream).await;
    let mut request = rig.server.post();
    request.extensions_mut().insert(Pin::id(id_of(&rig.pool, "b")));
    assert_eq!(ask(&rig.service, request).await, (200, "b-2".into()));
}

#[tokio::test]
async fn a_pin_to_an_unknown_account_is_an_error_and_nothing_is_sent() {
    let rig = rig(keys(["a"]).await, Upstream::new()).await;
    let mut request = rig.server.post();
    request.extensions_mut().insert(Pin::label("nobody"));
    let error = rig.service.clone().oneshot(request).await.unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(Error::UnknownPin { .. })), "{error:?}");
    assert!(rig.upstream.seen.all().is_empty());
}
