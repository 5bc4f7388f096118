//! What follows a CONNECT: requests to a provider's host, or the bytes of two others.

use std::io;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use rustls::AlertDescription;
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio_rustls::TlsAcceptor;

use super::{Inside, Proxy, Way};
use crate::gateway::Gateway;
use crate::gateway::access::Seen;
use crate::gateway::connection::{self, HANDSHAKE};
use crate::gateway::route::Forward;
use crate::gateway::tls::H2;
use crate::gateway::websocket::{Passed, pass};
use crate::output;

/// How long nothing may pass in a tunnel while the gateway ends.
const ENDING: Duration = Duration::from_secs(2);

/// A tunnel, once its client knows that it is there.
pub(crate) struct Tunnel {
    pub(super) client: OnUpgrade,
    pub(super) to: To,
    /// Notes the bytes of one to another host. Requests to an upstream are noted one by one.
    pub(super) seen: Seen,
}

/// Where it leads.
pub(super) enum To {
    Upstream { acceptor: TlsAcceptor, inside: Arc<Inside>, proxy: Arc<Proxy> },
    Other { stream: TcpStream, idle: Duration },
}

impl Tunnel {
    /// Serves it to its end.
    pub(crate) async fn run<S: Forward>(mut self, gateway: Arc<Gateway<S>>, end: watch::Receiver<bool>) {
        match self.to {
            To::Upstream { acceptor, inside, proxy } => {
                self.seen.forget();
                let Ok(client) = self.client.await else { return };
                let handshake = acceptor.accept(TokioIo::new(client));
                match tokio::time::timeout(HANDSHAKE, handshake).await {
                    Ok(Ok(stream)) => {
                        // It is large, and is moved several times.
                        let stream = Box::new(stream);
                        let is_h2 = stream.get_ref().1.alpn_protocol() == Some(H2);
                        connection::serve_inside(stream, is_h2, gateway, Way::Tunnel(inside), end).await;
                    }
                    Ok(Err(error)) if is_distrust(&error) => proxy.tell(inside.target.host()),
                    // It was broken off, or was no TLS.
                    _ => {}
                }
            }
            To::Other { stream, idle } => {
                let Ok(client) = self.client.await else { return };
                join(client, stream, Passed::new(self.seen), idle, end).await;
            }
        }
    }
}

impl Proxy {
    /// Says once that a program does not trust the certificate of a host.
    fn tell(&self, host: &str) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if refused.insert(host.to_owned()) {
            output::warn(format_args!(
                "a program does not trust the certificate that this proxy shows for {host}: it knows its authorities from \
                 elsewhere than the variables that `credentials exec --proxy --print` shows"
            ));
        }
    }
}

/// Whether a handshake has failed because the client does not trust the certificate (RFC 8446, section 6.2).
fn is_distrust(error: &io::Error) -> bool {
    let error = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    let Some(rustls::Error::AlertReceived(alert)) = error else { return false };
    matches!(
        alert,
        AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnsupportedCertificate
    )
}

/// Passes on what each side sends, and that it has ended, until both have, or until nothing passes for too long.
async fn join(
    client: Upgraded,
    stream: TcpStream,
    mut passed: Passed,
    bound: Duration,
    end: watch::Receiver<bool>,
) {
    let (from_client, to_client) = tokio::io::split(TokioIo::new(client));
    let (from_other, to_other) = stream.into_split();
    let activity = Notify::new();
    let ended = tokio::select! {
        ended = async {
            tokio::try_join!(
                pass(from_other, to_client, &passed.sent, || activity.notify_one()),
                pass(from_client, to_other, &passed.received, || activity.notify_one()),
            )
        } => ended.is_ok(),
        () = quiet(&activity, bound, end) => false,
    };
    if ended {
        passed.seen.ended();
    }
}

/// Waits until nothing has passed for so long, or for a moment while the gateway ends.
async fn quiet(activity: &Notify, bound: Duration, end: watch::Receiver<bool>) {
    let quiet = async |bound| while tokio::time::timeout(bound, activity.notified()).await.is_ok() {};
    tokio::select! {
        () = quiet(bound) => return,
        () = connection::ended(end) => {}
    }
    quiet(ENDING).await;
}
