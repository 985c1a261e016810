//! A reply of any script in one form: what the model predicts and what Redis sent are compared
//! as such.

use holdfast::domain::{Booking, SeatId, SeatState};
use holdfast::redis::{Answer, HoldReply, ScanPosition, Timed};

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

impl From<Answer> for AnyReply {
    fn from(answer: Answer) -> Self {
        use holdfast::redis::Body as Old;
        let body = match answer.body {
            Old::Empty => Body::Empty,
            Old::Booking(booking) => Body::Booking(booking),
            Old::Numbers(numbers) => Body::Numbers(numbers),
            Old::SeatStates(states) => Body::SeatStates(states),
            Old::Raw(values) => panic!("{values:?}"),
        };
        AnyReply { code: answer.code.as_str(), now_ms: answer.now_ms, body }
    }
}
