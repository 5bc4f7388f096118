//! `credentials exec` and `credentials serve`, as processes, between tools and an upstream on loopback.

mod administration;
mod clients;
mod conversations;
mod exec;
mod process;
mod routes;
mod strangers;
mod terminal;
mod tokens;
mod websockets;
