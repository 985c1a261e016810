//! TLS to Redis: the trusted authorities, the client certificate, and the expected server name.
//! Files are read at start, and again by a reload, which connections made later go by.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::secrets::FilePath;

/// The settings of TLS; an empty text is "none".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// `redis_tls_ca_file`: certificates of the trusted authorities, in PEM.
    pub ca: FilePath,
    /// `redis_tls_cert_file`: this client's certificate and those between it and the authority.
    pub cert: FilePath,
    /// `redis_tls_key_file`: its private key, in PEM.
    pub key: FilePath,
    /// `redis_tls_server_name`: the name that the servers' certificates are for.
    pub server_name: String,
}

impl TlsFiles {
    /// Whether none is set.
    pub fn is_empty(&self) -> bool {
        *self == TlsFiles::default()
    }
}

/// Why TLS cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsFault {
    /// Settings without effect.
    #[error(
        "redis_tls_* are set, but its scheme is one without TLS: write rediss://, \
         rediss-cluster:// or rediss-sentinel://, or leave them out"
    )]
    PlainScheme,
    /// A certificate without its key, or the reverse.
    #[error("redis_tls_cert_file and redis_tls_key_file belong together: set both or neither")]
    HalfPair,
    /// An invalid server name.
    #[error("redis_tls_server_name is no DNS name and no address")]
    ServerName,
    /// A file that cannot be used.
    #[error("{setting}: {path}: {reason}")]
    File {
        /// The setting that names it.
        setting: &'static str,
        /// Its path.
        path: FilePath,
        /// What is wrong with it.
        reason: String,
    },
}

/// How connections are encrypted.
#[derive(Clone)]
pub(super) struct Tls {
    files: TlsFiles,
    server_name: Option<ServerName<'static>>,
    current: Arc<Current>,
}

impl Tls {
    pub fn new(files: &TlsFiles) -> Result<Self, TlsFault> {
        if files.cert.is_empty() != files.key.is_empty() {
            return Err(TlsFault::HalfPair);
        }
        let server_name = match files.server_name.as_str() {
            "" => None,
            name => Some(ServerName::try_from(name.to_owned()).map_err(|_| TlsFault::ServerName)?),
        };
        Ok(Tls { files: files.clone(), server_name, current: Arc::default() })
    }

    /// The name that the servers' certificates must be for, where it is not the host's.
    pub fn server_name(&self) -> Option<&str> {
        Some(self.files.server_name.as_str()).filter(|name| !name.is_empty())
    }

    /// What the client library connects with. It follows a reload: verifier and client certificate are
    /// looked up at each handshake.
    pub fn client_config(&self) -> Result<ClientConfig, TlsFault> {
        if self.current.0.load().is_none() {
            self.current.0.store(Some(Arc::new(self.read(&self.files)?)));
        }
        let current = self.current.clone();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            // The provider has suites of both versions.
            .map_err(|error| ca_fault(&self.files, error))?
            .dangerous()
            .with_custom_certificate_verifier(current.clone());
        let mut config = builder.with_client_cert_resolver(current);
        // A resumed session would go by the certificates of the one before.
        config.resumption = Resumption::disabled();
        Ok(config)
    }

    /// Reads other files; changes nothing yet.
    pub fn prepare(&self, files: &TlsFiles) -> Result<NewTls, TlsFault> {
        if files.cert.is_empty() != files.key.is_empty() {
            return Err(TlsFault::HalfPair);
        }
        let loaded = Arc::new(self.read(files)?);
        Ok(NewTls { current: self.current.clone(), loaded })
    }

    fn read(&self, files: &TlsFiles) -> Result<Loaded, TlsFault> {
        let provider = Arc::new(ring::default_provider());
        let verifier = self.verifier(files, &provider)?;
        if files.cert.is_empty() {
            return Ok(Loaded { verifier, client: None });
        }
        let chain = certificates("redis_tls_cert_file", &files.cert)?;
        let (setting, path) = ("redis_tls_key_file", &files.key);
        let key = PrivateKeyDer::from_pem_file(path.expose()).map_err(|error| {
            // The library's text may quote the file.
            let reason = match Path::new(path.expose()).exists() {
                true => "is no private key in PEM without a passphrase".to_owned(),
                false => error.to_string(),
            };
            file_fault(setting, path, reason)
        })?;
        let client = CertifiedKey::from_der(chain, key, &provider).map_err(|error| {
            file_fault(setting, path, format!("does not fit the certificate: {error}"))
        })?;
        Ok(Loaded { verifier, client: Some(Arc::new(client)) })
    }

    /// The verifier of server certificates.
    fn verifier(
        &self,
        files: &TlsFiles,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ServerCertVerifier>, TlsFault> {
        let mut roots = RootCertStore::empty();
        if files.ca.is_empty() {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        } else {
            for certificate in certificates("redis_tls_ca_file", &files.ca)? {
                roots.add(certificate).map_err(|error| ca_fault(files, error))?;
            }
        }
        let inner = WebPkiServerVerifier::builder_with_provider(roots.into(), provider.clone())
            .build()
            .map_err(|error| ca_fault(files, error))?;
        Ok(match &self.server_name {
            Some(name) => Arc::new(NamedVerifier { inner, name: name.clone() }),
            None => inner,
        })
    }
}

/// Certificates and keys that were read, for connections made from now on.
pub struct NewTls {
    current: Arc<Current>,
    loaded: Arc<Loaded>,
}

impl NewTls {
    /// Uses them for connections made from now on.
    pub fn apply(self) {
        self.current.0.store(Some(self.loaded));
    }
}

/// What the files held.
#[derive(Debug)]
struct Loaded {
    verifier: Arc<dyn ServerCertVerifier>,
    /// The client's certificate with its key, if there is one.
    client: Option<Arc<CertifiedKey>>,
}

/// What is in use; `None` before the files were read, when there are no connections.
#[derive(Debug, Default)]
struct Current(ArcSwapOption<Loaded>);

impl Current {
    fn verifier(&self) -> Result<Arc<dyn ServerCertVerifier>, rustls::Error> {
        let loaded = self.0.load();
        let verifier = loaded.as_ref().map(|loaded| loaded.verifier.clone());
        verifier.ok_or_else(|| rustls::Error::General("no certificates were read".to_owned()))
    }
}

impl ResolvesClientCert for Current {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.load().as_ref()?.client.clone()
    }

    fn has_certs(&self) -> bool {
        self.0.load().as_ref().is_some_and(|loaded| loaded.client.is_some())
    }
}

impl ServerCertVerifier for Current {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verifier = self.verifier()?;
        verifier.verify_server_cert(end_entity, intermediates, name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier()?.verify_tls12_signature(message, cert, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier()?.verify_tls13_signature(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier().map_or_else(|_| Vec::new(), |verifier| verifier.supported_verify_schemes())
    }
}

fn ca_fault(files: &TlsFiles, error: impl fmt::Display) -> TlsFault {
    file_fault("redis_tls_ca_file", &files.ca, error.to_string())
}

fn file_fault(setting: &'static str, path: &FilePath, reason: String) -> TlsFault {
    TlsFault::File { setting, path: path.clone(), reason }
}

/// The certificates in a file: at least one.
fn certificates(
    setting: &'static str,
    path: &FilePath,
) -> Result<Vec<CertificateDer<'static>>, TlsFault> {
    let fault = |reason: String| file_fault(setting, path, reason);
    let found = CertificateDer::pem_file_iter(path.expose())
        .map_err(|error| fault(format!("cannot be read: {error}")))?
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| fault(format!("cannot be read: {error}")))?;
    if found.is_empty() {
        return Err(fault("holds no certificate in PEM".to_owned()));
    }
    Ok(found)
}

/// Verifies certificates for one name, whatever the connected host: for servers that Sentinels or a
/// Cluster list by address.
#[derive(Debug)]
struct NamedVerifier {
    inner: Arc<WebPkiServerVerifier>,
    name: ServerName<'static>,
}

impl ServerCertVerifier for NamedVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.inner.verify_server_cert(end_entity, intermediates, &self.name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, cert, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
