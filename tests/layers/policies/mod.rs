//! Which account a request uses, how long one cools down, and what happens when all of them do.

mod all_cooling_down;
mod cooldown_rules;
mod picks;
mod request_options;

use tower_credentials::policy::Policy;
use tower_credentials::*;

use crate::support::*;

struct Rig {
    pool: Pool,
    upstream: Upstream,
    service: Stack,
}

impl Rig {
    async fn new(build: PoolBuilder, upstream: Upstream) -> Self {
        let pool = build.clock(tokio_clock()).open().await.unwrap();
        let service = stack(four(&pool, &no_refresh()), upstream.clone());
        Self { pool, upstream, service }
    }

    async fn ask(&self) -> u16 {
        ask(&self.service, post()).await.0
    }

    /// The tokens that this many requests in a row use.
    async fn tokens(&self, requests: usize) -> Vec<String> {
        let before = self.upstream.tokens().len();
        for _ in 0..requests {
            self.ask().await;
        }
        self.upstream.tokens().split_off(before)
    }
}

async fn by<const N: usize>(policy: impl Policy, labels: [&str; N], upstream: Upstream) -> Rig {
    Rig::new(builder(keys(labels).await).policy(policy), upstream).await
}

/// A good response with so many requests of a hundred left until a reset, in seconds.
fn left(remaining: u64, reset: u64) -> Canned {
    Canned::ok()
        .header("x-ratelimit-limit-requests", "100")
        .header("x-ratelimit-remaining-requests", &remaining.to_string())
        .header("x-ratelimit-reset-requests", &format!("{reset}s"))
}
