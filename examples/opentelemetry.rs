//! A pool's counters for OpenTelemetry: observable counters, whose callbacks read the pool with each export.
//!
//! `cargo run --example opentelemetry --features hyper`
//!
//! The upstream is a local server on 127.0.0.1, which limits the account `work`. The request succeeds with the account
//! `spare`, and an exporter prints what it gets. In a program, that of `opentelemetry-otlp` takes its place.

mod support {
    pub mod accounts;
    pub mod asking;
    pub mod counted;
    pub mod upstream;
}

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Meter, MeterProvider};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData, ResourceMetrics};
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{SdkMeterProvider, Temporality};
use support::accounts::{close, open_pool, tell_end};
use support::asking::ask;
use support::counted::{COUNTED, check};
use support::upstream::Upstream;
use tower::Layer;
use tower_credentials::{BoxError, CredentialsLayer, Pool};

/// Has the pool's counters read with each export. Nothing is done between two of them, and no request waits.
fn observe(meter: &Meter, pool: &Pool) {
    for metric in &COUNTED {
        let pool = pool.clone();
        meter
            .u64_observable_counter(format!("tower_credentials.{}", metric.name))
            .with_description(metric.help)
            .with_callback(move |instrument| {
                let of_pool = [
                    KeyValue::new("provider", pool.key().provider().to_owned()),
                    KeyValue::new("namespace", pool.key().namespace().to_owned()),
                ];
                for (attribute, count) in (metric.read)(&pool.counters()) {
                    let attribute = attribute.map(|(name, value)| KeyValue::new(name, value));
                    let attributes: Vec<_> = of_pool.iter().cloned().chain(attribute).collect();
                    instrument.observe(count, &attributes);
                }
            })
            .build();
    }
}

/// Keeps what is exported as lines of text.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<String>>);

impl PushMetricExporter for Lines {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for metric in metrics.scope_metrics().flat_map(|scope| scope.metrics()) {
            let AggregatedMetrics::U64(MetricData::Sum(sum)) = metric.data() else { continue };
            for point in sum.data_points() {
                let mut attributes: Vec<_> =
                    point.attributes().map(|of| format!("{}={}", of.key, of.value)).collect();
                attributes.sort();
                let (name, value) = (metric.name(), point.value());
                let _ = writeln!(lines, "{name} {} {value}", attributes.join(" "));
            }
        }
        Ok(())
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn temporality(&self) -> Temporality {
        Temporality::Cumulative
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let upstream = Upstream::start().await?;
    let pool = open_pool(&upstream.origin()).await?;
    let lines = Lines::default();
    let provider = SdkMeterProvider::builder().with_periodic_exporter(lines.clone()).build();
    observe(&provider.meter("tower-credentials"), &pool);

    let client = Client::builder(TokioExecutor::new()).build_http();
    let response = ask(CredentialsLayer::new(pool.clone()).layer(client), &upstream.origin()).await;
    close(&pool).await?;
    tell_end(&pool, upstream.api_requests(), &response?, "hello, spare")?;

    // Exports once more, on a thread of its own.
    provider.shutdown()?;
    let told = lines.0.lock().unwrap_or_else(PoisonError::into_inner);
    print!("{told}");
    check(
        &told,
        &[
            "tower_credentials.requests namespace=default provider=example 1",
            "tower_credentials.attempts namespace=default outcome=limited provider=example 1",
            "tower_credentials.attempts namespace=default outcome=succeeded provider=example 1",
            "tower_credentials.rotations namespace=default provider=example reason=limited 1",
        ],
    )
}
