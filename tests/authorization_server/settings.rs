//! A vendor's settings in a file.

use tower_credentials::oauth::TokenEncoding;

use super::AuthorizationServer;

impl AuthorizationServer {
    /// The settings of a vendor at the test's server, as a person would write them.
    pub(crate) fn settings(&self, allows_hosts: bool) -> String {
        let (name, config) = (self.rules().vendor.name(), self.config());
        let mut text = format!("[providers.{name}]\norigins = [\"{}\"]\n", self.url());
        if let Some(api) = self.rules().api.filter(|_| allows_hosts) {
            let port = self.url().rsplit(':').next().unwrap();
            let host = api.replace("{}", port).replace("/v1", "");
            text.push_str(&format!("endpoint_hosts = [\"{host}\"]\n"));
        }
        text.push_str(&format!("[providers.{name}.oauth]\n"));
        let encoding = match config.token_encoding {
            TokenEncoding::Json => "json",
            _ => "form",
        };
        let secret = config.client_secret.as_ref().map(|secret| secret.expose().to_owned());
        for (key, value) in [
            ("client_id", config.client_id),
            ("client_secret", secret),
            ("authorize_url", config.authorize_url),
            ("redirect_uri", config.redirect_uri),
            ("device_url", config.device_url),
            ("token_url", config.token_url),
            ("refresh_url", config.refresh_url),
            ("exchange_url", config.exchange_url),
            ("poll_url", config.poll_url),
            ("account_url", config.account_url),
            ("token_encoding", Some(encoding.to_owned())),
        ] {
            if let Some(value) = value {
                text.push_str(&format!("{key} = {value:?}\n"));
            }
        }
        text
    }
}
