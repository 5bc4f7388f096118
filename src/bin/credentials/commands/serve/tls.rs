//! Where the gateway's certificate is.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::failure::Failure;
use crate::gateway::{CertificateFiles, Named, ServeSettings};

/// The files of the gateway's certificate.
#[derive(Debug, Args)]
pub(super) struct TlsOptions {
    /// Serve HTTPS with this certificate: a PEM file with the certificate first, and then those that vouch for it
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// The key of the certificate: a PEM file that only its owner may read. Both files are read again when they change
    #[arg(long, value_name = "FILE")]
    tls_key: Option<PathBuf>,
}

impl TlsOptions {
    /// Returns the files, if there are any. Those of the settings begin at the directory of the settings file.
    pub(super) fn files(
        &self,
        settings: &ServeSettings,
        file: &Path,
    ) -> Result<Option<CertificateFiles>, Failure> {
        let named = |flag: &Option<PathBuf>, by, setting: &Option<PathBuf>, set_by| match (flag, setting)
        {
            (Some(path), _) => Some(Named { path: path.clone(), by }),
            (None, Some(path)) => Some(Named { path: beside(file, path), by: set_by }),
            (None, None) => None,
        };
        let certificate = named(
            &self.tls_cert,
            "--tls-cert",
            &settings.tls_cert,
            "tls_cert in the table [serve] of the settings",
        );
        let key = named(
            &self.tls_key,
            "--tls-key",
            &settings.tls_key,
            "tls_key in the table [serve] of the settings",
        );
        match (certificate, key) {
            (None, None) => Ok(None),
            (Some(certificate), Some(key)) => Ok(Some(CertificateFiles::new(certificate, key))),
            (Some(one), None) => Err(Failure::usage(format!("{one} is a certificate without its key"))
                .way_out("add the key: --tls-key FILE")),
            (None, Some(one)) => Err(Failure::usage(format!("{one} is a key without its certificate"))
                .way_out("add the certificate: --tls-cert FILE")),
        }
    }
}

fn beside(file: &Path, path: &Path) -> PathBuf {
    if let (Ok(rest), Some(home)) = (path.strip_prefix("~"), std::env::home_dir()) {
        return home.join(rest);
    }
    file.parent().unwrap_or(Path::new("")).join(path)
}
