//! `credentials exec` and `credentials serve`, as processes, between tools and an upstream on loopback.

mod clients;
mod exec;
mod process;
mod routes;
mod strangers;
mod terminal;
mod tls;
mod tokens;
mod websockets;
