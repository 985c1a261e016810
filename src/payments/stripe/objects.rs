//! The parts of Stripe's objects that are used.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::super::PaymentState;
use crate::domain::BookingId;

/// Maximum length of Stripe's texts that are passed on, bytes.
const WORDS_BYTES_MAX: usize = 300;

/// A `PaymentIntent`.
#[derive(Debug, Deserialize)]
pub(super) struct Intent {
    pub id: String,
    pub status: String,
    /// In the smallest unit of the currency, as ours.
    amount: i64,
    /// The amount that was charged.
    amount_received: Option<i64>,
    /// In lower case.
    pub currency: String,
    #[serde(default)]
    latest_charge: Option<LatestCharge>,
    #[serde(default)]
    last_payment_error: Option<LastError>,
    #[serde(default)]
    metadata: Option<Metadata>,
}

/// The last charge of the intent: whole if it was expanded, else its id.
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

/// The metadata that we set when creating an object; Stripe stores it as strings.
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

/// The state of a refund.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RefundStatus {
    /// The money was returned.
    Succeeded,
    /// The money may be returned: pending, waiting for the buyer, or in an unknown state.
    Undecided,
    /// The money was not returned and will not be.
    Failed,
}

/// Sums over the refunds of one payment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RefundSums {
    pub succeeded: i64,
    /// Of these: not sent by us.
    pub outside: i64,
    pub undecided: i64,
}

impl Intent {
    /// Its state; `None` if this build does not know the status.
    pub fn state(&self) -> Option<PaymentState> {
        match self.status.as_str() {
            "requires_payment_method" | "requires_confirmation" | "requires_action" => {
                Some(PaymentState::Open)
            }
            "processing" | "requires_capture" => Some(PaymentState::Processing),
            "succeeded" => Some(PaymentState::Paid),
            "canceled" => Some(PaymentState::Cancelled),
            _ => None,
        }
    }

    /// The paid amount if it is paid, else the amount to pay.
    pub fn amount(&self) -> i64 {
        match self.amount_received {
            Some(received) if self.state() == Some(PaymentState::Paid) => received,
            _ => self.amount,
        }
    }

    /// The booking that it was created for.
    pub fn booking(&self) -> Option<BookingId> {
        self.metadata.as_ref()?.booking_id.as_ref()?.parse().ok()
    }

    /// Its refunds, if the response lists all of them.
    pub fn refunds(&mut self) -> Option<Vec<Refund>> {
        match self.latest_charge.take() {
            None if self.state() != Some(PaymentState::Paid) => Some(Vec::new()),
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
    /// Its state.
    pub fn status(&self) -> RefundStatus {
        match self.status.as_deref() {
            Some("succeeded") => RefundStatus::Succeeded,
            Some("failed" | "canceled") => RefundStatus::Failed,
            // `pending`, `requires_action` and future statuses: never a reason to send it again.
            _ => RefundStatus::Undecided,
        }
    }

    /// Whether it is this attempt.
    pub fn is(&self, total: i64, attempt: u32) -> bool {
        let Some(metadata) = &self.metadata else { return false };
        let (ours_total, ours_attempt) = (total.to_string(), attempt.to_string());
        metadata.refund_total.as_ref() == Some(&ours_total)
            && metadata.refund_attempt.as_ref() == Some(&ours_attempt)
    }

    /// Whether it names its attempt. Those of versions without attempts do not.
    pub fn is_ours(&self) -> bool {
        self.metadata.as_ref().is_some_and(|metadata| metadata.refund_attempt.is_some())
    }

    /// Why it failed, by Stripe.
    pub fn failure(&self) -> String {
        let status = self.status.as_deref().unwrap_or("without a status");
        brief(match &self.failure_reason {
            Some(reason) => format!("the refund is {status}: {reason}"),
            None => format!("the refund is {status}"),
        })
    }
}

impl RefundSums {
    /// Sums the refunds.
    pub fn of(refunds: &[Refund]) -> Self {
        let sum = |status: RefundStatus| {
            let these = refunds.iter().filter(|refund| refund.status() == status);
            these.map(|refund| refund.amount).sum()
        };
        let outside = refunds
            .iter()
            .filter(|refund| refund.status() == RefundStatus::Succeeded && !refund.is_ours());
        RefundSums {
            succeeded: sum(RefundStatus::Succeeded),
            outside: outside.map(|refund| refund.amount).sum(),
            undecided: sum(RefundStatus::Undecided),
        }
    }

    /// The amount that is neither refunded nor pending.
    pub fn missing_to(&self, total: i64) -> i64 {
        (total - self.succeeded - self.undecided).max(0)
    }
}

/// Truncates a text of Stripe.
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
    fn every_status_maps_to_its_state() {
        let cases = [
            ("requires_payment_method", Some(PaymentState::Open)),
            ("requires_confirmation", Some(PaymentState::Open)),
            ("requires_action", Some(PaymentState::Open)),
            ("processing", Some(PaymentState::Processing)),
            ("requires_capture", Some(PaymentState::Processing)),
            ("succeeded", Some(PaymentState::Paid)),
            ("canceled", Some(PaymentState::Cancelled)),
            ("new_in_2030", None),
        ];
        for (status, state) in cases {
            assert_eq!(intent(&format!(r#""status":"{status}""#)).state(), state);
        }
    }

    #[test]
    fn paid_amount_is_the_received_amount() {
        assert_eq!(intent(r#""status":"succeeded","amount_received":7"#).amount(), 7);
        assert_eq!(intent(r#""status":"processing","amount_received":0"#).amount(), 1);
        assert_eq!(intent(r#""status":"succeeded""#).amount(), 1);
    }

    #[test]
    fn unlisted_refunds_are_not_treated_as_none() {
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
    fn refunds_are_summed_by_their_status() {
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
        let returned = RefundSums::of(&refunds);
        assert_eq!(returned, RefundSums { succeeded: 1, outside: 1, undecided: 11_110 });
        assert_eq!([returned.missing_to(11_111), returned.missing_to(11_112)], [0, 1]);
        assert_eq!(returned.missing_to(1), 0);
    }

    #[test]
    fn attempts_are_distinguished_by_their_metadata() {
        let text = r#"{"amount":1,"status":"failed","failure_reason":"lost_or_stolen_card",
            "metadata":{"refund_total":"100","refund_attempt":"2"}}"#;
        let refund: Refund = serde_json::from_str(text).unwrap();
        assert!(refund.is(100, 2) && !refund.is(100, 1) && !refund.is(200, 2));
        assert_eq!(refund.failure(), "the refund is failed: lost_or_stolen_card");
        let by_hand: Refund = serde_json::from_str(r#"{"amount":1,"status":"failed"}"#).unwrap();
        assert!(!by_hand.is(100, 1));
    }

    #[test]
    fn long_text_is_truncated_at_a_character() {
        assert_eq!(brief("é".repeat(WORDS_BYTES_MAX)).len(), WORDS_BYTES_MAX);
        assert_eq!(brief("short".to_owned()), "short");
    }
}
