//! Socket tickets: signed records of who may open one socket, for browsers, whose sockets cannot send a
//! token in a header. Pure; that a ticket is used once is the business of `sale/socket_tickets.rs`.
//!
//! A ticket is a text as [`TokenKeys`] sign it, with a version of its own: no admission token is a ticket,
//! and no ticket an admission token.

use super::admission_token::{TokenFault, TokenKeys};
use super::limits::USER_ID_BYTES_MAX;
use super::{EventId, UserId};

/// How long a ticket can be used, ms: as long as opening a socket takes on a slow network.
pub const TICKET_TTL_MS: i64 = 30_000;

/// Starts a ticket's text.
const VERSION: &str = "t1.";
/// Bytes of the number that no other ticket has.
const NONCE_BYTES: usize = 16;
/// Nonce (16), event (4), expires (8): big-endian. The user's id follows.
const PAYLOAD_BYTES_MAX: usize = NONCE_BYTES + 12 + USER_ID_BYTES_MAX;

/// The content of a ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketTicket {
    /// A random number: the ticket's name.
    pub nonce: [u8; NONCE_BYTES],
    /// The event that may be followed.
    pub event: EventId,
    /// Who may follow it.
    pub user: UserId,
    /// When it expires, Unix ms.
    pub expires_ms: i64,
}

impl SocketTicket {
    /// A ticket from now on.
    pub fn new(event: EventId, user: UserId, now_ms: i64) -> Self {
        SocketTicket { nonce: rand::random(), event, user, expires_ms: now_ms + TICKET_TTL_MS }
    }

    /// Signs it.
    pub fn sign(&self, keys: &TokenKeys) -> String {
        let mut payload = Vec::with_capacity(PAYLOAD_BYTES_MAX);
        payload.extend(self.nonce);
        payload.extend(self.event.0.to_be_bytes());
        payload.extend(self.expires_ms.to_be_bytes());
        payload.extend(self.user.as_str().as_bytes());
        keys.sign_payload(VERSION, &payload)
    }

    /// Verifies a text at `now_ms`, Unix ms.
    ///
    /// # Errors
    /// If it is no valid ticket, or has expired.
    pub fn verify(keys: &TokenKeys, text: &str, now_ms: i64) -> Result<Self, TokenFault> {
        let mut room = [0; PAYLOAD_BYTES_MAX + TokenKeys::TAG_BYTES];
        let payload = keys.verify_payload(VERSION, text, &mut room)?;
        let ticket = read(payload).ok_or(TokenFault::Malformed)?;
        if now_ms >= ticket.expires_ms { Err(TokenFault::Expired) } else { Ok(ticket) }
    }
}

fn read(bytes: &[u8]) -> Option<SocketTicket> {
    let (nonce, bytes) = bytes.split_first_chunk()?;
    let (event, bytes) = bytes.split_first_chunk()?;
    let (expires_ms, user) = bytes.split_first_chunk()?;
    Some(SocketTicket {
        nonce: *nonce,
        event: EventId(u32::from_be_bytes(*event)),
        user: std::str::from_utf8(user).ok()?.parse().ok()?,
        expires_ms: i64::from_be_bytes(*expires_ms),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::DeploymentTag;
    use crate::domain::admission_token::AdmissionToken;

    const NOW_MS: i64 = 1_772_388_000_000;

    fn keys(deployment: &str) -> TokenKeys {
        let secrets: [(&str, &[u8]); 1] = [("a", &[7; 32])];
        TokenKeys::new(DeploymentTag::of("hf1", deployment), &secrets).unwrap()
    }

    fn ticket() -> SocketTicket {
        SocketTicket::new(EventId(7), "ann".parse().unwrap(), NOW_MS)
    }

    #[test]
    fn signed_ticket_is_verified_until_it_expires() {
        let (keys, ticket) = (keys("one"), ticket());
        let text = ticket.sign(&keys);
        assert_eq!(SocketTicket::verify(&keys, &text, NOW_MS), Ok(ticket.clone()));
        let end_ms = NOW_MS + TICKET_TTL_MS;
        assert_eq!(SocketTicket::verify(&keys, &text, end_ms - 1), Ok(ticket));
        assert_eq!(SocketTicket::verify(&keys, &text, end_ms), Err(TokenFault::Expired));
    }

    #[test]
    fn two_tickets_of_one_user_differ() {
        assert_ne!(ticket().nonce, ticket().nonce);
    }

    #[test]
    fn altered_or_foreign_text_is_refused() {
        let keys_of_one = keys("one");
        let text = ticket().sign(&keys_of_one);
        let verify = |text: &str| SocketTicket::verify(&keys_of_one, text, NOW_MS);
        for at in 0..text.len() {
            let mut altered = text.clone().into_bytes();
            altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
            let altered = String::from_utf8(altered).unwrap();
            assert!(verify(&altered).is_err(), "{at}");
        }
        for text in ["", "t1.", "t1.a.b", &text[1..], &format!("{text}A")] {
            assert!(verify(text).is_err(), "{text}");
        }
        let other = SocketTicket::verify(&keys("two"), &text, NOW_MS);
        assert_eq!(other, Err(TokenFault::OtherDeployment));
    }

    #[test]
    fn ticket_is_no_admission_token_and_the_other_way_round() {
        let keys = keys("one");
        assert!(keys.verify(&ticket().sign(&keys), NOW_MS).is_err());
        let token = AdmissionToken {
            event: EventId(7),
            user: "ann".parse().unwrap(),
            number: 1,
            issued_ms: NOW_MS,
            expires_ms: NOW_MS + 1_000,
        };
        let text = keys.sign(&token);
        assert!(SocketTicket::verify(&keys, &text, NOW_MS).is_err());
        let renamed = text.replacen("v2.", "t1.", 1);
        assert_eq!(SocketTicket::verify(&keys, &renamed, NOW_MS), Err(TokenFault::Altered));
    }
}
