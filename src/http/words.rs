//! Fields that are one of a few words, as named types of the document. A test compares each list with
//! the words that are sent.

use std::borrow::Cow;

use utoipa::openapi::schema::{Schema, Type};
use utoipa::openapi::{ObjectBuilder, RefOr};
use utoipa::{PartialSchema, ToSchema};

use super::problem::Code;
use crate::domain::entry::KINDS;

/// The states of bookings as they are stored.
pub const STORED_STATUSES: [&str; 7] =
    ["HOLD", "CONFIRMING", "COMMITTED", "CONFIRMED", "VOIDED", "CANCELLED", "EXPIRED"];

macro_rules! words {
    ($($(#[doc = $doc:literal])+ $name:ident = $words:expr;)+) => {$(
        $(#[doc = $doc])+
        pub struct $name;

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                let words = ObjectBuilder::new().schema_type(Type::String).enum_values(Some($words));
                words.description(Some([$($doc.trim()),+].join(" "))).into()
            }
        }

        impl ToSchema for $name {
            fn name() -> Cow<'static, str> {
                stringify!($name).into()
            }
        }
    )+};
}

words! {
    /// The status of an event's sale.
    EventStatus = ["SCHEDULED", "ON_SALE", "PAUSED", "CLOSED"];
    /// A status that an operator can set.
    NewEventStatus = ["ON_SALE", "PAUSED", "CLOSED"];
    /// How much is left: `FEW_LEFT` is a tenth of the seats at most.
    Availability = ["AVAILABLE", "FEW_LEFT", "SOLD_OUT"];
    /// The state of a seat.
    SeatStatus = ["AVAILABLE", "HOLD", "BOOKED", "BLOCKED"];
    /// The state of a booking.
    BookingStatus = ["HOLD", "CONFIRMING", "CONFIRMED", "VOIDED", "CANCELLED", "EXPIRED"];
    /// The outcome of a sale.
    SaleOutcome = ["CONFIRMED", "CANCELLED", "VOIDED"];
    /// Where a booking's state is stored: in Redis, in its replicas as well, or in MongoDB (a majority).
    Durability = ["accepted", "replicated", "archived"];
    /// What happens to named seats that leave a single one alone.
    OrphanRule = ["off", "warn", "enforce"];
    /// Whether confirmed bookings may be cancelled.
    Cancellation = ["allowed", "not_allowed"];
    /// Whether seats are blocked or released.
    BlockAction = ["block", "release"];
    /// A place in the waiting room: `gathering` is before a draw, with `open` nobody has to wait.
    QueueStatus = ["queued", "gathering", "admitted", "open", "sold_out", "closed"];
    /// How a waiting room admits: in order, everybody, or nobody.
    QueueMethod = ["fifo", "passthrough", "reject"];
    /// Whether people still join a draw.
    DrawStatus = ["gathering", "fixed"];
    /// Why an admission token is not valid.
    AdmissionFault = ["altered", "expired", "other_deployment", "other_event", "other_user",
        "given_up", "lapsed", "session_ended", "superseded"];
    /// What became of a webhook.
    WebhookResult = ["handled", "duplicate", "ignored"];
    /// The state of a process.
    HealthStatus = ["ok", "degraded", "warming", "unavailable", "ending"];
    /// The state of a circuit breaker.
    BreakerStatus = ["closed", "half_open", "open"];
    /// The state of a part of a process.
    CheckStatus = ["ok", "partial", "unavailable", "warming", "stale", "failing"];
    /// The state of a booking as it is stored: `COMMITTED` is paid and not decided by the archive.
    StoredStatus = STORED_STATUSES;
    /// The archive's decision about a sale.
    StoredOutcome = ["sold", "refund", "cancelled"];
    /// Whether Redis has a booking.
    InRedisState = ["found", "unknown", "event_not_loaded"];
    /// Whether the archive has a booking.
    InArchiveState = ["found", "unknown"];
    /// Whether the provider has a payment.
    AtProviderState = ["found", "none", "unavailable"];
    /// The state of a payment at its provider.
    PaymentStatus = ["open", "processing", "paid", "cancelled"];
    /// The state of a refund.
    RefundStatus = ["pending", "failed", "done"];
    /// A step of a booking.
    BookingStep = ["held", "extended", "paying", "declined", "sold", "confirmed", "voided",
        "cancelled", "expired", "restored", "other"];
    /// What an entry of the booking log is about.
    EntryKind = KINDS.map(|row| row.1);
    /// Where a setting comes from.
    ValueSource = ["shipped", "settings", "operator", "limits", "profile"];
    /// What happens beyond a limit.
    RuleMode = ["enforce", "observe", "off"];
    /// A mode that can be set.
    NewLimitsMode = ["each", "enforce", "observe", "off", "settings"];
    /// Which list an entry is on.
    AccessKind = ["deny", "allow"];
    /// What became of a dead letter.
    ReplayOutcome = ["replayed", "stays", "later"];
    /// Who takes payments.
    PaymentProviderName = ["simulated", "stripe"];
    /// Whether a waiting room is on: `surge` by itself, `draw` while people join a draw.
    RoomStatus = ["off", "on", "surge", "draw"];
    /// The code of a problem.
    ErrorCode = Code::all().map(Code::as_str);
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::durability::DURABILITIES;
    use crate::domain::event::{API_STATUSES, CANCELLATIONS, EVENT_STATUSES};
    use crate::domain::outcome::OUTCOMES;
    use crate::domain::seat::SEAT_STATES;
    use crate::domain::seat_request::ORPHAN_RULES;
    use crate::domain::{self, Status};

    fn listed<T: PartialSchema>() -> Value {
        serde_json::to_value(T::schema()).unwrap()["enum"].clone()
    }

    #[test]
    fn lists_are_the_words_that_are_sent() {
        assert_eq!(listed::<EventStatus>(), json!(API_STATUSES));
        assert_eq!(listed::<NewEventStatus>(), json!(EVENT_STATUSES.map(|row| row.1)));
        assert_eq!(listed::<Availability>(), json!(domain::Availability::WORDS));
        assert_eq!(listed::<SeatStatus>(), json!(SEAT_STATES.map(|row| row.1)));
        assert_eq!(listed::<Durability>(), json!(DURABILITIES.map(|row| row.1)));
        assert_eq!(listed::<OrphanRule>(), json!(ORPHAN_RULES.map(|row| row.1)));
        assert_eq!(listed::<Cancellation>(), json!(CANCELLATIONS.map(|row| row.1)));
        let outcomes = OUTCOMES.map(|row| row.2.as_str());
        for outcome in listed::<SaleOutcome>().as_array().unwrap() {
            assert!(outcomes.contains(&outcome.as_str().unwrap()), "{outcome}");
        }
        for status in listed::<BookingStatus>().as_array().unwrap() {
            let status: Status = status.as_str().unwrap().parse().unwrap();
            assert_eq!(status.api_word(), status.as_str());
        }
        for status in STORED_STATUSES {
            assert_eq!(status.parse::<Status>().unwrap().as_str(), status);
        }
        let stored = domain::outcome::OUTCOMES.map(|row| row.1);
        assert_eq!(listed::<StoredOutcome>(), json!(stored));
        let modes: Vec<&str> = domain::Mode::ALL.iter().map(|mode| mode.as_str()).collect();
        assert_eq!(listed::<RuleMode>(), json!(modes));
        assert!(listed::<ErrorCode>().as_array().unwrap().len() > 50);
    }
}
