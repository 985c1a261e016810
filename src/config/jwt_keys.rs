//! Reads the keys that tokens are verified with from files. A file that holds no key, a short one,
//! or one of another kind is refused at start.

use std::fs;

use jsonwebtoken::DecodingKey;
use sha2::{Digest, Sha256};

use super::ring_provider;
use super::values::JwtAlgorithm;
use crate::secrets::FilePath;

/// Fewest bytes of an HS256 secret: as many as its hash (RFC 7518, 3.2).
const SECRET_BYTES_MIN: usize = 32;
/// Bytes of an RSA public key in DER: one of 2,048 bits has 268 or more, one of 8,192 bits some
/// 1,040. Shorter ones are broken; the verifier does not accept longer ones.
const RSA_DER_BYTES: std::ops::RangeInclusive<usize> = 260..=1_050;
/// The start of a PEM file.
const PEM_BEGIN: &[u8] = b"-----BEGIN";
/// The labels of PEM files that hold public keys.
const PEM_PUBLIC: [&str; 2] = ["-----BEGIN PUBLIC KEY-----", "-----BEGIN RSA PUBLIC KEY-----"];

/// A key file that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("jwt_key_files: {path}: {reason}")]
pub struct KeyError {
    path: FilePath,
    reason: String,
}

/// Reads the keys in these files, in order; returns them with a digest of the files' contents.
pub fn read(
    paths: &[FilePath],
    algorithm: JwtAlgorithm,
) -> Result<(Vec<DecodingKey>, Sha256), KeyError> {
    ring_provider::install();
    let mut contents = Sha256::new();
    let mut key = |path: &FilePath| {
        let bytes = fs::read(path.expose()).map_err(|error| format!("cannot be read: {error}"));
        let key = bytes.and_then(|bytes| {
            contents.update(Sha256::digest(&bytes));
            match algorithm {
                JwtAlgorithm::Hs256 => secret(&bytes),
                JwtAlgorithm::Rs256 => public_key(&bytes),
            }
        });
        key.map_err(|reason| KeyError { path: path.clone(), reason })
    };
    let keys = paths.iter().map(&mut key).collect::<Result<_, _>>()?;
    Ok((keys, contents))
}

/// The file's bytes, without a trailing line end.
fn secret(bytes: &[u8]) -> Result<DecodingKey, String> {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    if bytes.starts_with(PEM_BEGIN) {
        // With a public key as the secret, anyone could sign.
        let reason = "is a PEM file, but HS256 needs a shared secret; for a public key set \
            jwt_algorithm = \"RS256\"";
        return Err(reason.to_owned());
    }
    if bytes.len() < SECRET_BYTES_MIN {
        return Err(format!(
            "has {} bytes; an HS256 secret needs {SECRET_BYTES_MIN} at least (openssl rand -hex 32)",
            bytes.len()
        ));
    }
    Ok(DecodingKey::from_secret(bytes))
}

fn public_key(bytes: &[u8]) -> Result<DecodingKey, String> {
    let no_key = || {
        "is no RSA public key in PEM (openssl rsa -in private.pem -pubout); for a shared secret \
         set jwt_algorithm = \"HS256\""
            .to_owned()
    };
    let text = std::str::from_utf8(bytes).map_err(|_| no_key())?.trim_start();
    if text.contains("PRIVATE KEY") {
        let reason = "is a private key; only the public half belongs here (openssl rsa -pubout)";
        return Err(reason.to_owned());
    }
    if !PEM_PUBLIC.iter().any(|begin| text.starts_with(begin)) {
        return Err(no_key());
    }
    let key = DecodingKey::from_rsa_pem(text.as_bytes()).map_err(|_| no_key())?;
    let der = key.try_get_as_bytes().map_err(|_| no_key())?;
    match RSA_DER_BYTES.contains(&der.len()) {
        true => Ok(key),
        false => Err("must be an RSA key of 2,048 to 8,192 bits".to_owned()),
    }
}
