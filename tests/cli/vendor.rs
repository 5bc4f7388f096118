//! Vendors whose endpoints are at a local server, by the settings file.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::fmt::Write;

use crate::authorization_server::{AuthorizationServer, CLIENT_SECRET, config};

/// The settings file's part for the server's vendor: its endpoints, its client, and its origin.
pub fn settings(server: &AuthorizationServer) -> String {
    let vendor = server.rules().vendor;
    let config = config(vendor, server.url());
    let name = vendor.name();
    let mut text =
        format!("[providers.{name}]\norigins = [{:?}]\n\n[providers.{name}.oauth]\n", server.url());
    let mut set = |field: &str, value: Option<&str>| {
        if let Some(value) = value {
            writeln!(text, "{field} = {value:?}").unwrap();
        }
    };
    set("client_id", config.client_id.as_deref());
    set("client_secret", config.client_secret.as_ref().map(|_| CLIENT_SECRET));
    set("redirect_uri", config.redirect_uri.as_deref());
    set("authorize_url", config.authorize_url.as_deref());
    set("device_url", config.device_url.as_deref());
    set("token_url", config.token_url.as_deref());
    set("refresh_url", config.refresh_url.as_deref());
    set("exchange_url", config.exchange_url.as_deref());
    set("poll_url", config.poll_url.as_deref());
    set("account_url", config.account_url.as_deref());
    text
}
