//! Tickets with which browsers open sockets.
//!
//! Issuing needs no Redis: a ticket is signed. Using one is one command, `SET … NX`, and only one socket of
//! the whole deployment gets its reply. What may happen:
//!
//! * *The reply is lost, or Redis is away*: the socket is not opened, the ticket is perhaps used. The client
//!   asks for another one.
//! * *Redis loses the mark* (it falls back to older data) within the ticket's 30 seconds: it could be used
//!   once more, by somebody who has it, to follow one event as its user. Nothing can be changed with a ticket.

use super::error::TicketFault;
use super::{Sale, SaleError, unix_now_ms};
use crate::domain::admission_token::TokenFault;
use crate::domain::socket_ticket::SocketTicket;
use crate::domain::{EventId, UserId};

impl Sale {
    /// A ticket for one socket of an event: its text, and when it expires, Unix ms.
    ///
    /// # Errors
    /// If the event is unknown.
    pub async fn issue_ticket(
        &self,
        event: EventId,
        user: UserId,
    ) -> Result<(String, i64), SaleError> {
        self.known_event(event).await?;
        let ticket = SocketTicket::new(event, user, unix_now_ms());
        Ok((ticket.sign(&self.waiting_room().token_keys()), ticket.expires_ms))
    }

    /// The content of a ticket for an event, which may have been used.
    ///
    /// # Errors
    /// If it is no valid ticket, has expired, or is another event's.
    pub fn verify_ticket(&self, event: EventId, text: &str) -> Result<SocketTicket, SaleError> {
        let keys = self.waiting_room().token_keys();
        let ticket = SocketTicket::verify(&keys, text, unix_now_ms()).map_err(|fault| {
            SaleError::TicketInvalid(match fault {
                TokenFault::Expired => TicketFault::Expired,
                _ => TicketFault::Altered,
            })
        })?;
        match ticket.event == event {
            true => Ok(ticket),
            false => Err(SaleError::TicketInvalid(TicketFault::OtherEvent)),
        }
    }

    /// Uses a ticket.
    ///
    /// # Errors
    /// If it was used before, or Redis does not answer.
    pub async fn use_ticket(&self, ticket: &SocketTicket) -> Result<(), SaleError> {
        let left_ms = ticket.expires_ms - unix_now_ms();
        match self.inner.engine.use_ticket(ticket.event, &ticket.nonce, left_ms).await? {
            true => Ok(()),
            false => Err(SaleError::TicketInvalid(TicketFault::Used)),
        }
    }
}
