//! The parts of Stripe's objects that a sale needs.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::super::State;
use crate::domain::BookingId;

/// Bytes of Stripe's words that are passed on.
const WORDS_BYTES_MAX: usize = 300;

/// A `PaymentIntent`.
#[derive(Debug, Deserialize)]
pub(super) struct Intent {
    pub id: String,
    pub status: String,
    /// In the smallest unit of the currency, as ours.
    amount: i64,
    /// What was taken of it.
    amount_received: Option<i64>,
    /// In small letters.
    pub currency: String,
    #[serde(default)]
    latest_charge: Option<LatestCharge>,
    #[serde(default)]
    last_payment_error: Option<LastError>,
    #[serde(default)]
    metadata: Option<Metadata>,
}

/// The charge that paid the intent, or was the last to try: whole where it was asked for.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum LatestCharge {
    Whole { refunds: Option<Refunds> },
    Id(IgnoredAny),
}

#[derive(Debug, Deserialize)]
struct LastError {
    message: Option<String>,
}

/// What we say of an object when we create it; Stripe keeps it as texts.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Metadata {
    booking_id: Option<String>,
    refund_total: Option<String>,
    refund_attempt: Option<String>,
}

/// One page of refunds.
#[derive(Debug, Deserialize)]
pub(super) struct Refunds {
    pub data: Vec<Refund>,
    #[serde(default)]
    pub has_more: bool,
}

/// A `Refund`.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Refund {
    pub amount: i64,
    status: Option<String>,
    failure_reason: Option<String>,
    #[serde(default)]
    metadata: Option<Metadata>,
}

/// How a refund stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RefundStatus {
    /// The money went back.
    Succeeded,
    /// It may go back: on its way, waiting for the buyer, or in a state that this build does not know.
    Undecided,
    /// It did not and will not.
    Failed,
}

/// Sums over the refunds of one payment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Returned {
    pub succeeded: i64,
    pub undecided: i64,
}

impl Intent {
    /// How it stands; none if this build does not know the word.
    pub fn state(&self) -> Option<State> {
        match self.status.as_str() {
            "requires_payment_method" | "requires_confirmation" | "requires_action" => {
                Some(State::Open)
            }
            "processing" | "requires_capture" => Some(State::Processing),
            "succeeded" => Some(State::Paid),
            "canceled" => Some(State::Cancelled),
            _ => None,
        }
    }

    /// What was paid if it is paid, else what is to be paid.
    pub fn amount(&self) -> i64 {
        match self.amount_received {
            Some(received) if self.state() == Some(State::Paid) => received,
            _ => self.amount,
        }
    }

    /// The booking that it was created for.
    pub fn booking(&self) -> Option<BookingId> {
        self.metadata.as_ref()?.booking_id.as_ref()?.parse().ok()
    }

    /// Its refunds, if the answer tells all of them.
    pub fn refunds(&mut self) -> Option<Vec<Refund>> {
        match self.latest_charge.take() {
            None if self.state() != Some(State::Paid) => Some(Vec::new()),
            Some(LatestCharge::Whole { refunds: Some(refunds) }) if !refunds.has_more => {
                Some(refunds.data)
            }
            _ => None,
        }
    }

    /// Why the last charge was declined, if it was.
    pub fn decline(&self) -> Option<String> {
        let message = self.last_payment_error.as_ref()?.message.clone();
        Some(brief(message.unwrap_or_else(|| super::DECLINED.to_owned())))
    }
}

impl Refund {
    /// How it stands.
    pub fn status(&self) -> RefundStatus {
        match self.status.as_deref() {
            Some("succeeded") => RefundStatus::Succeeded,
            Some("failed" | "canceled") => RefundStatus::Failed,
            // `pending`, `requires_action`, and what is invented later: never sent twice for it.
            _ => RefundStatus::Undecided,
        }
    }

    /// Whether it is this attempt of ours.
    pub fn is(&self, total: i64, attempt: u32) -> bool {
        let Some(metadata) = &self.metadata else { return false };
        let (ours_total, ours_attempt) = (total.to_string(), attempt.to_string());
        metadata.refund_total.as_ref() == Some(&ours_total)
            && metadata.refund_attempt.as_ref() == Some(&ours_attempt)
    }

    /// Why it failed, in Stripe's words.
    pub fn failure(&self) -> String {
        let status = self.status.as_deref().unwrap_or("without a status");
        brief(match &self.failure_reason {
            Some(reason) => format!("the refund is {status}: {reason}"),
            None => format!("the refund is {status}"),
        })
    }
}

impl Returned {
    /// The sums of these.
    pub fn of(refunds: &[Refund]) -> Self {
        let sum = |status: RefundStatus| {
            let these = refunds.iter().filter(|refund| refund.status() == status);
            these.map(|refund| refund.amount).sum()
        };
        Returned {
            succeeded: sum(RefundStatus::Succeeded),
            undecided: sum(RefundStatus::Undecided),
        }
    }

    /// What neither was given back nor is on its way.
    pub fn missing_to(&self, total: i64) -> i64 {
        (total - self.succeeded - self.undecided).max(0)
    }
}

/// Text of Stripe's, bounded.
pub(super) fn brief(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(WORDS_BYTES_MAX));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intent(more: &str) -> Intent {
        let text = format!(r#"{{"id":"pi_1","amount":1,"currency":"eur",{more}}}"#);
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn every_status_has_its_state() {
        let cases = [
            ("requires_payment_method", Some(State::Open)),
            ("requires_confirmation", Some(State::Open)),
            ("requires_action", Some(State::Open)),
            ("processing", Some(State::Processing)),
            ("requires_capture", Some(State::Processing)),
            ("succeeded", Some(State::Paid)),
            ("canceled", Some(State::Cancelled)),
            ("new_in_2030", None),
        ];
        for (status, state) in cases {
            assert_eq!(intent(&format!(r#""status":"{status}""#)).state(), state);
        }
    }

    #[test]
    fn paid_amount_is_what_was_received() {
        assert_eq!(intent(r#""status":"succeeded","amount_received":7"#).amount(), 7);
        assert_eq!(intent(r#""status":"processing","amount_received":0"#).amount(), 1);
        assert_eq!(intent(r#""status":"succeeded""#).amount(), 1);
    }

    #[test]
    fn refunds_that_are_not_listed_are_not_taken_for_none() {
        let listed = |more: &str| {
            let refunds = intent(&format!(r#""status":"succeeded",{more}"#)).refunds();
            refunds.map(|refunds| refunds.len())
        };
        assert_eq!(listed(r#""latest_charge":{"refunds":{"data":[]}}"#), Some(0));
        let one = r#"{"amount":7,"status":"pending"}"#;
        assert_eq!(
            listed(&format!(r#""latest_charge":{{"refunds":{{"data":[{one}]}}}}"#)),
            Some(1)
        );
        for unknown in [
            r#""latest_charge":{"refunds":{"data":[],"has_more":true}}"#,
            r#""latest_charge":{"id":"ch_1","amount_refunded":7}"#,
            r#""latest_charge":"ch_1""#,
            r#""latest_charge":null"#,
        ] {
            assert_eq!(listed(unknown), None, "{unknown}");
        }
        assert_eq!(intent(r#""status":"processing""#).refunds().map(|all| all.len()), Some(0));
    }

    #[test]
    fn refunds_count_as_what_their_status_says() {
        let refunds: Vec<Refund> = [
            ("1", r#""succeeded""#),
            ("10", r#""pending""#),
            ("100", r#""requires_action""#),
            ("1000", r#""new_in_2030""#),
            ("10000", "null"),
            ("100000", r#""failed""#),
            ("1000000", r#""canceled""#),
        ]
        .map(|(amount, status)| {
            let text = format!(r#"{{"amount":{amount},"status":{status}}}"#);
            serde_json::from_str(&text).unwrap()
        })
        .into();
        let returned = Returned::of(&refunds);
        assert_eq!(returned, Returned { succeeded: 1, undecided: 11_110 });
        assert_eq!([returned.missing_to(11_111), returned.missing_to(11_112)], [0, 1]);
        assert_eq!(returned.missing_to(1), 0);
    }

    #[test]
    fn attempts_are_told_apart_by_their_metadata() {
        let text = r#"{"amount":1,"status":"failed","failure_reason":"lost_or_stolen_card",
            "metadata":{"refund_total":"100","refund_attempt":"2"}}"#;
        let refund: Refund = serde_json::from_str(text).unwrap();
        assert!(refund.is(100, 2) && !refund.is(100, 1) && !refund.is(200, 2));
        assert_eq!(refund.failure(), "the refund is failed: lost_or_stolen_card");
        let by_hand: Refund = serde_json::from_str(r#"{"amount":1,"status":"failed"}"#).unwrap();
        assert!(!by_hand.is(100, 1));
    }

    #[test]
    fn long_texts_end_at_a_character() {
        assert_eq!(brief("é".repeat(WORDS_BYTES_MAX)).len(), WORDS_BYTES_MAX);
        assert_eq!(brief("short".to_owned()), "short");
    }
}
