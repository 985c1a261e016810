//! Certificates that tests make for themselves, as files.

use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use super::servers::state_dir;
use super::unique_name;

/// An authority, and the folder of its files.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    folder: PathBuf,
}

/// A certificate and its private key, as paths of PEM files.
pub struct Pair {
    pub cert: String,
    pub key: String,
    /// Both in one file.
    pub both: String,
}

impl Authority {
    pub fn new() -> Self {
        let folder = state_dir().join(unique_name());
        std::fs::create_dir_all(&folder).unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "Authority of a test");
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        std::fs::write(folder.join("ca.pem"), certificate.pem()).unwrap();
        Authority { issuer: Issuer::new(params, key), folder }
    }

    /// The path of its own certificate.
    pub fn ca(&self) -> String {
        self.path("ca.pem")
    }

    /// Issues a certificate for these names and addresses.
    pub fn issue(&self, names: &[&str]) -> Pair {
        let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(names).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let stem = unique_name();
        let write = |kind: &str, text: String| {
            let path = self.path(&format!("{stem}-{kind}.pem"));
            std::fs::write(&path, text).unwrap();
            path
        };
        Pair {
            cert: write("cert", certificate.pem()),
            key: write("key", key.serialize_pem()),
            both: write("both", certificate.pem() + &key.serialize_pem()),
        }
    }

    fn path(&self, name: &str) -> String {
        self.folder.join(name).to_str().unwrap().to_owned()
    }
}
