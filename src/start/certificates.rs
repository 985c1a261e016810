//! When the certificates expire that connections need, in metrics.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::parse_x509_certificate;

use crate::archive;
use crate::config::Config;
use crate::telemetry::Metrics;

/// Shows when each configured certificate file expires. Call it whenever the files are read.
pub fn show(config: &Config, metrics: &Metrics) {
    let redis = [
        ("redis_tls_ca_file", config.redis_tls_ca_file.expose().to_owned()),
        ("redis_tls_cert_file", config.redis_tls_cert_file.expose().to_owned()),
    ];
    let files = redis.into_iter().chain(archive::tls_files(&config.mongodb_url));
    for (setting, path) in files.filter(|(_, path)| !path.is_empty()) {
        match first_expiry(&path) {
            Ok(seconds) => {
                metrics.certificate_not_after.with_label_values(&[setting]).set(seconds as f64);
            }
            Err(error) => {
                tracing::warn!(setting, error, "the expiry of a certificate is not known");
            }
        }
    }
}

/// When the first certificate of a file expires, Unix seconds.
fn first_expiry(path: &str) -> Result<i64, String> {
    let mut first = None;
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| error.to_string())? {
        let certificate = certificate.map_err(|error| error.to_string())?;
        let parsed = parse_x509_certificate(&certificate).map_err(|error| error.to_string())?;
        let expiry = parsed.1.validity().not_after.timestamp();
        first = Some(first.map_or(expiry, |before: i64| before.min(expiry)));
    }
    first.ok_or_else(|| "the file has no certificate".to_owned())
}
