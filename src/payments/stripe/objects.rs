//! The parts of Stripe's objects that a sale needs.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::super::State;

/// Bytes of Stripe's words that are passed on.
const WORDS_BYTES_MAX: usize = 300;

/// A `PaymentIntent`.
#[derive(Debug, Deserialize)]
pub(super) struct Intent {
    pub id: String,
    pub status: String,
    /// In the smallest unit of the currency, as ours.
    pub amount: i64,
    /// In small letters.
    pub currency: String,
    #[serde(default)]
    latest_charge: Option<LatestCharge>,
    #[serde(default)]
    last_payment_error: Option<LastError>,
}

/// The charge that paid the intent, or was the last to try: whole where it was asked for.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum LatestCharge {
    Whole { amount_refunded: i64 },
    Id(IgnoredAny),
}

#[derive(Debug, Deserialize)]
struct LastError {
    message: Option<String>,
}

/// A `Refund`.
#[derive(Debug, Deserialize)]
pub(super) struct Refund {
    pub amount: i64,
    pub status: String,
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

    /// What was given back; none if the answer does not tell.
    pub fn refunded(&self) -> Option<i64> {
        match self.latest_charge {
            None => Some(0),
            Some(LatestCharge::Whole { amount_refunded }) => Some(amount_refunded),
            Some(LatestCharge::Id(_)) => None,
        }
    }

    /// Why the last charge was declined, if it was.
    pub fn decline(&self) -> Option<String> {
        let message = self.last_payment_error.as_ref()?.message.clone();
        Some(brief(message.unwrap_or_else(|| super::DECLINED.to_owned())))
    }
}

impl Refund {
    /// Whether the money is on its way back.
    pub fn goes_through(&self) -> bool {
        matches!(self.status.as_str(), "succeeded" | "pending")
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
    fn a_charge_that_is_not_told_is_not_taken_for_nothing_refunded() {
        let refunded = |more: &str| intent(&format!(r#""status":"succeeded",{more}"#)).refunded();
        assert_eq!(refunded(r#""latest_charge":null"#), Some(0));
        assert_eq!(refunded(r#""latest_charge":{"id":"ch_1","amount_refunded":7}"#), Some(7));
        assert_eq!(refunded(r#""latest_charge":"ch_1""#), None);
    }

    #[test]
    fn long_texts_end_at_a_character() {
        assert_eq!(brief("é".repeat(WORDS_BYTES_MAX)).len(), WORDS_BYTES_MAX);
        assert_eq!(brief("short".to_owned()), "short");
    }
}
