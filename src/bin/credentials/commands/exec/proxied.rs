//! The environment of a command whose requests come by the proxy.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper_util::client::proxy::matcher::Matcher;
use rustls_native_certs::{load_certs_from_paths, load_native_certs};
use tempfile::TempDir;
use tower_credentials::SecretString;

use super::super::proxy::hosts;
use crate::failure::Failure;
use crate::files;
use crate::gateway::{Authority, OF_A_RUN, PLACEHOLDER, Rules, Target, Value, variables};
use crate::output;

/// The variables with a file of authorities that programs take in place of those they know: OpenSSL's, Go's, Ruby's and
/// rustls' programs and httpx; requests; curl; gRPC.
const INSTEAD: [&str; 4] =
    ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"];

/// Those with a file of more authorities: of Node and Bun, and of Deno.
const BESIDE: [&str; 2] = ["NODE_EXTRA_CA_CERTS", "DENO_CERT"];

/// Those that replace a variable above, or a setting of a program's own. They are changed only if they are set.
const IF_SET: [&str; 3] = ["AWS_CA_BUNDLE", "CODEX_CA_CERTIFICATE", "GIT_SSL_CAINFO"];

/// What no proxy is asked for.
const DIRECT: &str = "localhost,127.0.0.1,::1";

/// The authority of a run, whose key is in memory only, and the files by which a command trusts it. They are removed when
/// this is dropped.
pub(super) struct Proxied {
    directory: TempDir,
}

impl Proxied {
    /// Makes an authority for the hosts of these rules.
    pub(super) fn new<S>(rules: &Rules<S>) -> Result<(Self, Authority), Failure> {
        let hosts = hosts(rules)?;
        let authority = Authority::new("credentials exec", hosts, OF_A_RUN).map_err(|error| {
            Failure::failed("the proxy's authority could not be made").because(error)
        })?;
        let mut builder = tempfile::Builder::new();
        builder.prefix("credentials-");
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700));
        let place = output::path(&std::env::temp_dir());
        let unusable =
            |failure: Failure| failure.way_out("name another directory in the variable TMPDIR");
        let directory = builder.tempdir().map_err(|error| {
            unusable(Failure::failed(format!("could not make a directory in {place}")).because(error))
        })?;
        if directory.path().to_str().is_none() {
            return Err(unusable(Failure::failed(format!("the name of {place} is not Unicode"))));
        }
        Ok((Self { directory }, authority))
    }

    /// Returns the variables for the command.
    pub(super) fn environment<S>(
        &self,
        rules: &Rules<S>,
        authority: &Authority,
        address: SocketAddr,
        token: &SecretString,
    ) -> Result<Vec<(String, Value)>, Failure> {
        let mut environment = Vec::new();
        for name in ["HTTPS_PROXY", "https_proxy"] {
            environment.push((name.to_owned(), Value::Proxy(address, token.clone())));
        }
        for name in ["NO_PROXY", "no_proxy"] {
            let before = std::env::var(name).unwrap_or_default();
            warn_of_hosts_past(name, &before, rules);
            let separator = if before.is_empty() { "" } else { "," };
            let text = format!("{before}{separator}{DIRECT}");
            environment.push((name.to_owned(), Value::Text(text)));
        }
        // Without it Node takes no notice of the others.
        environment.push(("NODE_USE_ENV_PROXY".to_owned(), Value::Text("1".to_owned())));
        for (name, path) in self.authorities(authority)? {
            environment.push((name.to_owned(), Value::Text(path.display().to_string())));
        }
        // Tools refuse to start without a key.
        for route in rules.routes() {
            let variables = variables(route.provider(), "", "", &SecretString::from(PLACEHOLDER));
            for variable in variables {
                match variable.value {
                    Value::Url(_) if leads_past(rules, &variable.name) => {
                        environment.push((variable.name, Value::Unset));
                    }
                    Value::Token(_) => {
                        environment.push((variable.name, Value::Text(PLACEHOLDER.to_owned())));
                    }
                    _ => {}
                }
            }
        }
        Ok(environment)
    }

    /// Writes the files of authorities, and returns which variable names which.
    fn authorities(&self, authority: &Authority) -> Result<Vec<(&'static str, PathBuf)>, Failure> {
        let own = authority.certificate();
        let (all, beside) =
            (self.directory.path().join("all.pem"), self.directory.path().join("proxy.pem"));
        files::write(&beside, own.as_bytes(), false)?;
        let known = load_native_certs();
        if known.certs.is_empty() {
            output::warn(
                "no certificates of authorities were found on this machine, so the command can't check other hosts than the \
                 providers'",
            );
        }
        files::write(&all, bundle(&known.certs, own).as_bytes(), false)?;
        let mut named = Vec::new();
        for name in INSTEAD.into_iter().chain(BESIDE).chain(IF_SET) {
            let before = std::env::var_os(name).filter(|path| !path.is_empty()).map(PathBuf::from);
            let path = match before {
                Some(before) => {
                    let path = self.directory.path().join(format!("{}.pem", name.to_ascii_lowercase()));
                    files::write(&path, bundle(&read(name, &before), own).as_bytes(), false)?;
                    path
                }
                None if INSTEAD.contains(&name) => all.clone(),
                None if BESIDE.contains(&name) => beside.clone(),
                None => continue,
            };
            named.push((name, path));
        }
        Ok(named)
    }
}

/// Reads the authorities that a variable has named so far, in a file or a directory.
fn read(name: &str, path: &Path) -> Vec<rustls::pki_types::CertificateDer<'static>> {
    let found = match path.is_dir() {
        true => load_certs_from_paths(None, Some(path)),
        false => load_certs_from_paths(Some(path), None),
    };
    if found.certs.is_empty() {
        let path = output::path(path);
        output::warn(format_args!("{name} names {path}, in which there is no certificate"));
    }
    found.certs
}

/// Returns these certificates in PEM (RFC 7468), and the proxy's own.
fn bundle(certificates: &[rustls::pki_types::CertificateDer<'_>], own: &str) -> String {
    let mut text = String::new();
    for certificate in certificates {
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        let encoded = STANDARD.encode(certificate);
        for line in encoded.as_bytes().chunks(64) {
            let _ = writeln!(text, "{}", String::from_utf8_lossy(line));
        }
        text.push_str("-----END CERTIFICATE-----\n");
    }
    text + own
}

/// Whether a variable with a base URL is set, and leads past the proxy.
fn leads_past<S>(rules: &Rules<S>, name: &str) -> bool {
    std::env::var_os(name).is_some_and(|value| {
        let uri = value.to_str().and_then(|text| text.parse().ok());
        uri.and_then(|uri| Target::of_https(&uri)).is_none_or(|target| !rules.serves(&target))
    })
}

/// Warns of the providers' hosts for which the environment wants no proxy.
fn warn_of_hosts_past<S>(name: &str, no_proxy: &str, rules: &Rules<S>) {
    let matcher = Matcher::builder().https("http://127.0.0.1").no(no_proxy).build();
    let mut past: Vec<_> = rules
        .targets()
        .filter(|target| target.uri().is_some_and(|uri| matcher.intercept(&uri).is_none()))
        .map(|target| target.authority())
        .collect();
    past.dedup();
    if !past.is_empty() {
        output::warn(format_args!(
            "{name} lets requests to {} pass by the proxy, so they get no account",
            past.join(", ")
        ));
    }
}
