//! `credentials exec` and `credentials serve`, as processes, between tools and an upstream on loopback.

mod accounts;
mod administration;
mod clients;
mod conversations;
mod crowd;
mod curl;
mod ending;
mod exec;
mod explained;
mod forwarding;
mod idle;
pub(crate) mod process;
mod proxy;
mod reloading;
mod responses;
mod routes;
#[cfg(target_os = "linux")]
mod sdks;
mod secure;
mod signals;
mod smuggling;
mod starting;
mod strangers;
mod streaming;
mod streams;
mod terminal;
mod tls;
mod tokens;
mod trailers;
mod upstream;
mod websockets;
