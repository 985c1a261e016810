//! Form, keys and refusals of tokens.

use std::hint::black_box;
use std::time::Instant;

use proptest::prelude::*;

use super::*;

const OLD: (&str, &[u8]) = ("2026-10", b"an old secret of thirty-two bytes");
const NEW: (&str, &[u8]) = ("2026-11", b"a new secret of thirty-two bytes.");
const EXPIRES_MS: i64 = 2_000;

fn keys(secrets: &[(&str, &[u8])]) -> TokenKeys {
    keys_of("hf1", secrets)
}

fn keys_of(namespace: &str, secrets: &[(&str, &[u8])]) -> TokenKeys {
    TokenKeys::new(DeploymentTag::of(namespace, "an id"), secrets).unwrap()
}

#[test]
fn token_of_another_deployment_is_refused() {
    let (production, staging) = (keys_of("hf1", &[NEW]), keys_of("staging", &[NEW]));
    let text = staging.sign(&token("ann"));
    assert_eq!(staging.verify(&text, 0), Ok(token("ann")));
    assert_eq!(production.verify(&text, 0), Err(TokenFault::OtherDeployment));
    // Another archive is another deployment, too.
    let other = TokenKeys::new(DeploymentTag::of("hf1", "another id"), &[NEW]).unwrap();
    assert_eq!(other.verify(&production.sign(&token("ann")), 0), Err(TokenFault::OtherDeployment));
    let before = "v1.2026-11.AAAABwAAAAAAAeJAAAAAAAAAA-gAAAAAAAAH0GFubg\
        .Pr-HpSgmHtGo8porlHT9u3rn0QHcSVgGC24KSyr6tEw";
    assert_eq!(production.verify(before, 0), Err(TokenFault::Outdated));
}

fn token(user: &str) -> AdmissionToken {
    AdmissionToken {
        event: EventId(7),
        user: user.parse().unwrap(),
        number: 123_456,
        issued_ms: 1_000,
        expires_ms: EXPIRES_MS,
    }
}

#[test]
fn token_is_valid_until_it_expires() {
    let keys = keys(&[NEW]);
    let text = keys.sign(&token("ann"));
    assert_eq!(keys.verify(&text, EXPIRES_MS - 1), Ok(token("ann")));
    assert_eq!(keys.verify(&text, EXPIRES_MS), Err(TokenFault::Expired));
}

#[test]
fn token_form_is_pinned() {
    // Tokens outlive builds: another form needs another version.
    let text = keys(&[NEW]).sign(&token("ann"));
    let expected = "v2.2026-11.rrcWWPzCFNQAAAAHAAAAAAAB4kAAAAAAAAAD6AAAAAAAAAfQYW5u\
        .W3A0Kr1BIIbehd2NBDl6FWb6HKp9nbxMlPdKdJF8DpY";
    assert_eq!(text, expected);
}

#[test]
fn rotating_keys_keeps_every_token_valid() {
    let (before, between, after) = (keys(&[OLD]), keys(&[NEW, OLD]), keys(&[NEW]));
    let (old, new) = (before.sign(&token("ann")), between.sign(&token("ann")));
    assert_eq!(between.verify(&old, 0), Ok(token("ann")));
    assert_eq!(between.verify(&new, 0), Ok(token("ann")));
    assert_eq!(after.verify(&new, 0), Ok(token("ann")));
    assert_eq!(after.verify(&old, 0), Err(TokenFault::UnknownKey));
    // An id alone is no key: another secret under it is another key.
    let other = keys(&[(OLD.0, NEW.1)]);
    assert_eq!(other.verify(&old, 0), Err(TokenFault::Altered));
}

#[test]
fn invalid_secrets_are_refused_and_never_shown() {
    type Keys<'a> = &'a [(&'a str, &'a [u8])];
    let cases: [(Keys<'_>, &str); 6] = [
        (&[], "there are 0; there can be 1 to 8"),
        (&[NEW; 9], "there are 9"),
        (&[NEW, NEW], "number 2 has the id of one before"),
        (&[NEW, ("a.b", OLD.1)], "number 2 has no id"),
        (&[("", OLD.1)], "number 1 has no id"),
        (&[("k", &OLD.1[..31])], "the secret of number 1 has 31 bytes; it needs 32"),
    ];
    for (secrets, expected) in cases {
        let tag = DeploymentTag::of("hf1", "an id");
        let text = TokenKeys::new(tag, secrets).unwrap_err().to_string();
        assert!(text.contains(expected) && !text.contains("secret of thirty"), "{text}");
    }
    let tag = DeploymentTag::of("hf1", "an id");
    assert!(TokenKeys::new(tag, &[("k", &OLD.1[..32])]).is_ok());
    assert!(TokenKeys::new(tag, &[("0123456789abcde_", OLD.1)]).is_ok());
    assert!(!format!("{:?}", keys(&[NEW])).contains("secret of"));
}

#[test]
fn token_length_is_bounded() {
    let longest = AdmissionToken {
        event: EventId(u32::MAX),
        number: u64::MAX,
        issued_ms: i64::MIN,
        expires_ms: i64::MAX,
        ..token(&"u".repeat(USER_ID_BYTES_MAX))
    };
    let id = "i".repeat(KEY_ID_BYTES_MAX);
    let keys = keys(&[(&id, NEW.1)]);
    let text = keys.sign(&longest);
    assert_eq!(text.len(), TOKEN_BYTES_MAX);
    assert_eq!(keys.verify(&text, i64::MIN), Ok(longest));
    assert_eq!(keys.verify(&"v2.k.".repeat(1_000), 0), Err(TokenFault::Malformed));
}

#[test]
fn signed_malformed_payload_is_refused() {
    let keys = keys(&[NEW]);
    // Of this deployment, `count` bytes in all.
    let payload = |byte: u8, count: usize| {
        let mut bytes = keys.deployment.0.to_vec();
        bytes.resize(count, byte);
        BASE64URL_NOPAD.encode(&bytes)
    };
    for payload in [
        BASE64URL_NOPAD.encode(&[0; TAG_BYTES - 1]),
        payload(0, HEAD_BYTES - 1),
        payload(0, HEAD_BYTES),
        payload(0xff, HEAD_BYTES + 1),
        payload(b'u', PAYLOAD_BYTES_MAX + 1),
        "=".to_owned(),
    ] {
        let signed = format!("{VERSION}{}.{payload}", NEW.0);
        let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, NEW.1), signed.as_bytes());
        let text = format!("{signed}.{}", BASE64URL_NOPAD.encode(mac.as_ref()));
        assert_eq!(keys.verify(&text, 0), Err(TokenFault::Malformed), "{text}");
    }
}

#[test]
fn any_flipped_bit_is_refused() {
    let keys = keys(&[NEW, OLD]);
    let text = keys.sign(&token("ann"));
    for index in 0..text.len() {
        for bit in 0..7 {
            let mut bytes = text.clone().into_bytes();
            bytes[index] ^= 1 << bit;
            // Seven bits: it stays ASCII.
            let altered = String::from_utf8(bytes).unwrap();
            assert!(keys.verify(&altered, 0).is_err(), "{altered}");
        }
        assert!(keys.verify(&text[..index], 0).is_err(), "cut at {index}");
    }
}

/// `cargo test --release -- --ignored --nocapture verify_cost`
#[test]
#[ignore = "prints a figure, judges nothing"]
fn verify_cost() {
    const TIMES: u32 = 1_000_000;
    let keys = keys(&[NEW, OLD]);
    let text = keys.sign(&token("customer-000000000001"));
    let began = Instant::now();
    for _ in 0..TIMES {
        assert!(black_box(keys.verify(black_box(&text), 0)).is_ok());
    }
    println!("verify: {} ns, {} bytes", (began.elapsed() / TIMES).as_nanos(), text.len());
}

proptest! {
    #[test]
    fn signed_token_is_verified(
        event: u32, number: u64, issued_ms: i64, expires_ms: i64,
        user in "[^\\p{Cc}]{1,32}",
    ) {
        let user: UserId = user.parse().unwrap();
        let token =
            AdmissionToken { event: EventId(event), user, number, issued_ms, expires_ms };
        let keys = keys(&[NEW]);
        let text = keys.sign(&token);
        prop_assert!(text.len() <= TOKEN_BYTES_MAX);
        let expected = if expires_ms == i64::MIN { Err(TokenFault::Expired) } else { Ok(token) };
        prop_assert_eq!(keys.verify(&text, i64::MIN), expected);
    }

    #[test]
    fn changed_or_inserted_byte_is_refused(index: prop::sample::Index, byte: char) {
        let keys = keys(&[NEW, OLD]);
        let text = keys.sign(&token("ann"));
        let at = index.index(text.len());
        let altered = format!("{}{byte}{}", &text[..at], &text[at + 1..]);
        prop_assert_eq!(keys.verify(&altered, 0).is_ok(), altered == text);
        let longer = format!("{}{byte}{}", &text[..at], &text[at..]);
        prop_assert!(keys.verify(&longer, 0).is_err());
    }

    #[test]
    fn arbitrary_text_is_refused(
        text in "(v2\\.)?[\\w.-]{0,8}\\.?[A-Za-z0-9_-]{0,80}\\.?[A-Za-z0-9_-]{40,46}|\\PC{0,300}",
    ) {
        prop_assert!(keys(&[NEW]).verify(&text, 0).is_err());
    }
}
