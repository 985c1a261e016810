//! A reply of any script in one form: what the model predicts and what Redis sent are compared
//! as such.

use holdfast::domain::{Booking, SeatId, SeatState};
use holdfast::redis::{
    AbortReply, BeatReply, BlockReply, CancelReply, ConfirmAbortReply, ConfirmBeginReply,
    ConfirmCommitReply, ConfirmLateReply, ConfirmTakeoverReply, EventReply, ExpireReply,
    ExtendReply, ForgetReply, GetBookingReply, HoldReply, LoadBookingsReply, OpenEventReply,
    ScanPosition, ScriptReply, SettleReply, Timed, UnloadEventReply, UpdateEventReply,
};

/// A reply of any script.
#[derive(Clone, Debug, PartialEq)]
pub struct AnyReply {
    pub code: &'static str,
    pub now_ms: i64,
    pub body: Body,
}

/// What a code comes with.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    Empty,
    Booking(Box<Booking>),
    /// A new hold, and the seats that it leaves alone.
    Held(Box<Booking>, Vec<SeatId>),
    Numbers(Vec<i64>),
    SeatStates(Vec<(SeatId, SeatState)>),
    Seats(Vec<SeatId>),
    Scan(ScanPosition),
}

impl From<Timed<HoldReply>> for AnyReply {
    fn from(timed: Timed<HoldReply>) -> Self {
        let (code, now_ms) = (timed.code(), timed.now_ms);
        let body = match timed.reply {
            HoldReply::Held { booking, left_alone } => Body::Held(Box::new(booking), left_alone),
            HoldReply::Replayed { booking } => Body::Booking(Box::new(booking)),
            HoldReply::NotOnSale { on_sale_at_ms } => Body::Numbers(vec![on_sale_at_ms]),
            HoldReply::SeatUnknown { seat } => Body::Numbers(vec![i64::from(seat.0)]),
            HoldReply::UserLimit { has, max } => Body::Numbers(vec![has.into(), max.into()]),
            HoldReply::SeatsUnavailable { states } => Body::SeatStates(states),
            HoldReply::MoreToScan { position } => Body::Scan(position),
            HoldReply::OrphanSeats { seats } => Body::Seats(seats),
            HoldReply::GenerationMismatch { generation } => Body::Numbers(vec![generation as i64]),
            _ => Body::Empty,
        };
        AnyReply { code, now_ms, body }
    }
}

/// Replies that show a booking, another generation, or nothing.
macro_rules! shows_bookings {
    ($($reply:ty),* $(,)?) => {
        $(impl From<Timed<$reply>> for AnyReply {
            fn from(timed: Timed<$reply>) -> Self {
                let (code, now_ms) = (timed.code(), timed.now_ms);
                let generation = timed.reply.other_generation();
                let body = match (generation, timed.reply.into_booking()) {
                    (Some(generation), _) => Body::Numbers(vec![generation as i64]),
                    (None, Some(booking)) => Body::Booking(Box::new(booking)),
                    (None, None) => Body::Empty,
                };
                AnyReply { code, now_ms, body }
            }
        })*
    };
}
shows_bookings! {
    AbortReply, CancelReply, ConfirmAbortReply, ConfirmBeginReply, ConfirmCommitReply,
    ConfirmLateReply, ConfirmTakeoverReply, ExtendReply, SettleReply,
}

impl From<Timed<GetBookingReply>> for AnyReply {
    fn from(timed: Timed<GetBookingReply>) -> Self {
        let (code, now_ms) = (timed.code(), timed.now_ms);
        let body = timed.reply.into_booking().map_or(Body::Empty, |b| Body::Booking(Box::new(b)));
        AnyReply { code, now_ms, body }
    }
}

impl From<Timed<BeatReply>> for AnyReply {
    fn from(timed: Timed<BeatReply>) -> Self {
        // Positions in the log are Redis' own.
        AnyReply { code: timed.code(), now_ms: timed.now_ms, body: Body::Empty }
    }
}

/// Replies that show numbers.
macro_rules! shows_numbers {
    ($($reply:ident { $($pattern:pat => $numbers:expr,)* })*) => {
        $(impl From<Timed<$reply>> for AnyReply {
            fn from(timed: Timed<$reply>) -> Self {
                let (code, now_ms) = (timed.code(), timed.now_ms);
                let body = match timed.reply {
                    $($pattern => Body::Numbers($numbers.to_vec()),)*
                    $reply::GenerationMismatch { generation } => {
                        Body::Numbers(vec![generation as i64])
                    }
                    _ => Body::Empty,
                };
                AnyReply { code, now_ms, body }
            }
        })*
    };
}
shows_numbers! {
    ExpireReply {
        ExpireReply::Expired { released, next_deadline_ms } =>
            [released, next_deadline_ms.unwrap_or(-1)],
    }
    ForgetReply { ForgetReply::Dropped { forgotten } => [forgotten as i64], }
    UnloadEventReply {
        UnloadEventReply::InUse { holds, confirmations } => [holds as i64, confirmations as i64],
        UnloadEventReply::EventMoved { event_version } => [event_version as i64],
    }
    LoadBookingsReply {
        LoadBookingsReply::Placed { placed } => [placed as i64],
        LoadBookingsReply::SeatsLost { seat } => [i64::from(seat.0)],
    }
    UpdateEventReply {
        UpdateEventReply::Updated { version } => [version as i64],
        UpdateEventReply::StaleRevision { revision, version } => [revision as i64, version as i64],
    }
    // The token is the load's own.
    OpenEventReply {}
}

impl From<Timed<BlockReply>> for AnyReply {
    fn from(timed: Timed<BlockReply>) -> Self {
        let (code, now_ms) = (timed.code(), timed.now_ms);
        let body = match timed.reply {
            BlockReply::Done { changed, version } => {
                Body::Numbers(vec![i64::from(changed), version as i64])
            }
            BlockReply::SeatUnknown { seat } => Body::Numbers(vec![i64::from(seat.0)]),
            BlockReply::SeatsUnavailable { states } => Body::SeatStates(states),
            BlockReply::GenerationMismatch { generation } => Body::Numbers(vec![generation as i64]),
            _ => Body::Empty,
        };
        AnyReply { code, now_ms, body }
    }
}
