//! Tokens as an issuer signs them, and forged ones, without the server's code.

use hmac::{Hmac, KeyInit, Mac};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use serde_json::{Value, json};
use sha2::Sha256;

use super::unique_name;

/// The secret of the issuer, and another's.
pub const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
pub const OTHER_SECRET: &[u8] = b"fedcba9876543210fedcba9876543210";
/// The private keys that belong to the public ones in [`key_file`]'s folder. For tests alone.
pub const RSA: &[u8] = include_bytes!("keys/rs256-private.der");
pub const OTHER_RSA: &[u8] = include_bytes!("keys/other-private.der");

/// Audience and issuer of the tokens.
pub const AUDIENCE: &str = "tickets";
pub const ISSUER: &str = "https://login.example";

/// The path of a file among the tests' keys.
pub fn key_file(name: &str) -> String {
    format!("{}/tests/support/keys/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// A file with a secret in it, as `echo` writes it.
pub fn secret_file(secret: &[u8]) -> String {
    let path = std::env::temp_dir().join(unique_name());
    std::fs::write(&path, [secret, b"\n"].concat()).unwrap();
    path.to_str().unwrap().to_owned()
}

pub fn now_seconds() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// Returns valid claims for an hour from now.
pub fn claims(user: &str) -> Value {
    json!({ "sub": user, "aud": AUDIENCE, "iss": ISSUER, "exp": now_seconds() + 3_600 })
}

/// Returns valid claims with one changed; `null` removes it.
pub fn claims_but(user: &str, name: &str, value: Value) -> Value {
    let mut claims = claims(user);
    let members = claims.as_object_mut().unwrap();
    match value {
        Value::Null => members.remove(name),
        value => members.insert(name.to_owned(), value),
    };
    claims
}

/// Returns a token of valid claims, signed with the shared secret.
pub fn token(user: &str) -> String {
    hs256(SECRET, &claims(user))
}

pub fn hs256(secret: &[u8], claims: &Value) -> String {
    let message = message(&json!({ "alg": "HS256", "typ": "JWT" }), claims);
    with_mac(secret, &message)
}

pub fn rs256(private: &[u8], claims: &Value) -> String {
    let message = message(&json!({ "alg": "RS256", "typ": "JWT" }), claims);
    let key = RsaKeyPair::from_der(private).unwrap();
    let mut signature = vec![0; key.public().modulus_len()];
    let random = SystemRandom::new();
    key.sign(&RSA_PKCS1_SHA256, &random, message.as_bytes(), &mut signature).unwrap();
    format!("{message}.{}", base64url(&signature))
}

/// Returns the signed part: head and claims.
pub fn message(head: &Value, claims: &Value) -> String {
    let part = |value: &Value| base64url(value.to_string().as_bytes());
    format!("{}.{}", part(head), part(claims))
}

/// A message with an HMAC behind it.
pub fn with_mac(secret: &[u8], message: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).unwrap();
    mac.update(message.as_bytes());
    format!("{message}.{}", base64url(&mac.finalize().into_bytes()))
}

/// RFC 4648, section 5, without padding.
pub fn base64url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - chunk.len()));
        for position in 0..=chunk.len() {
            let index = bits >> (18 - 6 * position) & 63;
            text.push(char::from(ALPHABET[index as usize]));
        }
    }
    text
}
