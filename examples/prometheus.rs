//! A pool's counters for Prometheus, read when they are scraped: a collector of the crate `prometheus-client`.
//!
//! `cargo run --example prometheus --features hyper`
//!
//! The upstream is a local server on 127.0.0.1, which limits the account `work`. The request succeeds with the account
//! `spare`, and the text of a scrape is printed. A server hands it out as `/metrics`.

mod support {
    pub mod accounts;
    pub mod asking;
    pub mod counted;
    pub mod upstream;
}

use std::fmt;

use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet, text};
use prometheus_client::metrics::{MetricType, counter::ConstCounter};
use prometheus_client::registry::{Registry, Unit};
use support::accounts::{builder, close, tell_end};
use support::asking::ask;
use support::counted::{COUNTED, check};
use support::upstream::Upstream;
use tower::Layer;
use tower_credentials::counters::Durations;
use tower_credentials::{BoxError, CredentialsLayer, Pool};

/// Reads the pool's counters with each scrape. Nothing is done between two of them, and no request waits.
#[derive(Debug)]
struct PoolCollector(Pool);

impl Collector for PoolCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let (key, counters) = (self.0.key(), self.0.counters());
        let pool = [("provider", key.provider()), ("namespace", key.namespace())];
        for metric in &COUNTED {
            let name = format!("tower_credentials_{}", metric.name);
            let mut family = encoder.encode_descriptor(&name, metric.help, None, MetricType::Counter)?;
            for (attribute, count) in (metric.read)(&counters) {
                let labels: Vec<_> = pool.into_iter().chain(attribute).collect();
                ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
            }
        }
        // With `PoolBuilder::time_attempts`.
        let Durations { sum, count, buckets, .. } = counters.durations;
        let bounds = Durations::bounds().chain([f64::INFINITY]);
        let buckets: Vec<_> = bounds.zip(buckets).collect();
        let (name, help) = ("tower_credentials_attempt_duration", "How long attempts took");
        let kind = MetricType::Histogram;
        let mut family = encoder.encode_descriptor(name, help, Some(&Unit::Seconds), kind)?;
        let pool = pool.to_vec();
        family.encode_family(&pool)?.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }
}

/// The text of a scrape.
fn scrape(registry: &Registry) -> Result<String, fmt::Error> {
    let mut told = String::new();
    text::encode(&mut told, registry)?;
    Ok(told)
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let upstream = Upstream::start().await?;
    let pool = builder(&upstream.origin()).await?.time_attempts(true).open().await?;
    let mut registry = Registry::default();
    registry.register_collector(Box::new(PoolCollector(pool.clone())));

    let client = Client::builder(TokioExecutor::new()).build_http();
    let response = ask(CredentialsLayer::new(pool.clone()).layer(client), &upstream.origin()).await;
    close(&pool).await?;
    tell_end(&pool, upstream.api_requests(), &response?, "hello, spare")?;

    let told = scrape(&registry)?;
    print!("{told}");
    let pool = r#"provider="example",namespace="default""#;
    let expected = [
        format!("tower_credentials_requests_total{{{pool}}} 1"),
        format!(r#"tower_credentials_attempts_total{{{pool},outcome="limited"}} 1"#),
        format!(r#"tower_credentials_attempts_total{{{pool},outcome="succeeded"}} 1"#),
        format!(r#"tower_credentials_rotations_total{{{pool},reason="limited"}} 1"#),
        format!(r#"tower_credentials_attempt_duration_seconds_bucket{{le="+Inf",{pool}}} 2"#),
    ];
    check(&told, &expected.each_ref().map(String::as_str))
}
