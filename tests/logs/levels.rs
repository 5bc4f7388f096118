//! Events are logged as lines, at levels that fit.

use tower_credentials::*;

use crate::log;
use crate::support::*;

/// A limit, a needed sign-in, a good response and a pause.
async fn something_happens() {
    let upstream = Upstream::new()
        .answers("limited-1", [Canned::limited(30)])
        .answers("signed out-1", [Canned::status(401)])
        .answers("good-1", [Canned::ok()]);
    let refused =
        Refresher::new(|_| async { Err::<Secret, _>(RefreshError::rejected("invalid_grant\u{1b}[2J")) });
    let pool = builder(accounts(["limited", "signed out", "good"]).await).open().await.unwrap();
    let service = stack(CredentialsLayer::new(pool.clone()).refresher(refused), upstream);
    assert_eq!(ask(&service, post()).await.0, 200);
    let last = pool.status().into_iter().find(|one| &*one.credential.label == "good").unwrap();
    pool.pause(last.credential.id).await.unwrap();
}

#[tokio::test]
async fn events_are_lines_with_fields_at_levels_that_fit() {
    let log = log();
    something_happens().await;
    let text = log.text();
    let ours = |line: &&str| line.contains(" tower_credentials::event: ");
    let lines: Vec<_> = text.lines().filter(ours).map(str::trim_start).collect();
    let find = |level: &str, word: &str, account: &str, fields: &[&str]| {
        let start = format!(" tower_credentials::event: {word} provider=\"x\" namespace=");
        let is_it = |line: &&&str| {
            line.starts_with(level)
                && line.contains(&start)
                && line.contains(&format!(" account=\"{account}\" id="))
                && line.contains(" generation=1")
                && fields.iter().all(|field| line.contains(field))
        };
        assert_eq!(lines.iter().filter(is_it).count(), 1, "{word}: {lines:#?}");
    };
    find("DEBUG", "attempt", "limited", &[" http.response.status_code=429", " elapsed="]);
    find(
        "DEBUG",
        "attempt",
        "good",
        &[" http.response.status_code=200", " http.request.resend_count=2"],
    );
    find("INFO", "cooled down", "limited", &[" wait=", " reason=Limited"]);
    find("INFO", "rotated", "signed out", &[" from=\"limited\"", " request=1 attempt=2"]);
    find("WARN", "needs sign-in", "signed out", &[" reason=\"invalid_grant"]);
    find("INFO", "paused", "good", &[]);
    assert!(!text.contains('\u{1b}'), "{text}");
}
