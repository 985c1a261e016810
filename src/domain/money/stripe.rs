//! Stripe's amounts, where they differ from ISO 4217. Facts of
//! <https://docs.stripe.com/currencies>, as of November 2026.
//!
//! | currencies | Stripe's amount | conversion of minor units |
//! |---|---|---|
//! | most | the minor unit | none |
//! | BHD JOD KWD OMR TND | the minor unit, with a last digit of 0 | none; others are refused |
//! | ISK UGX | hundredths, always whole units | × 100 |
//! | MGA | whole units | ÷ 100; others are refused |
//!
//! UGX is in Stripe's list of currencies without decimals, too; the API enforces its special case.
//! HUF and TWD have special rules for payouts only: they are charged like any other.

use super::Currency;

/// Currencies that Stripe charges, as far as an account's country allows.
const CHARGED: &str = "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BHD BIF BMD BND BOB BRL BSD \
    BWP BYN BZD CAD CDF CHF CLP CNY COP CRC CVE CZK DJF DKK DOP DZD EGP ETB EUR FJD FKP GBP GEL GIP \
    GMD GNF GTQ GYD HKD HNL HTG HUF IDR ILS INR ISK JMD JOD JPY KES KGS KHR KMF KRW KWD KYD KZT LAK \
    LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR \
    PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SEK SGD SHP SLE SOS SRD SZL THB TJS \
    TND TOP TRY TTD TWD TZS UAH UGX USD UYU UZS VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW";

/// The minimum charge in currencies in which Stripe also pays out, in Stripe's unit. For others, and
/// where it pays out in another currency, Stripe decides at the charge.
const LEAST: [(&str, i64); 23] = [
    ("AED", 200),
    ("AUD", 50),
    ("BRL", 50),
    ("CAD", 50),
    ("CHF", 50),
    ("CZK", 1_500),
    ("DKK", 250),
    ("EUR", 50),
    ("GBP", 30),
    ("HKD", 400),
    ("HUF", 17_500),
    ("INR", 50),
    ("JPY", 50),
    ("MXN", 1_000),
    ("MYR", 200),
    ("NOK", 300),
    ("NZD", 50),
    ("PLN", 200),
    ("RON", 200),
    ("SEK", 300),
    ("SGD", 50),
    ("THB", 1_000),
    ("USD", 50),
];
/// The maximum of one charge, in Stripe's unit: eight digits.
const MOST: i64 = 99_999_999;
/// The maximum where Stripe accepts more digits.
const MORE: [(&str, i64); 6] = [
    ("COP", 9_999_999_999),
    ("HUF", 9_999_999_999),
    ("IDR", 999_999_999_999),
    ("INR", 999_999_999),
    ("JPY", 9_999_999_999),
    ("LBP", 99_999_999_999),
];

/// Stripe's unit of one currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unit {
    currency: Currency,
    /// Stripe's units in one minor unit of ISO 4217.
    times: i64,
    /// Minor units of ISO 4217 in one of Stripe's.
    parts: i64,
    /// Stripe's amounts are multiples of this.
    step: i64,
}

impl Unit {
    /// Returns Stripe's unit of a currency.
    ///
    /// # Errors
    /// If Stripe does not charge it.
    pub fn of(currency: Currency) -> Result<Self, String> {
        let code = currency.code();
        if !CHARGED.split_ascii_whitespace().any(|charged| charged == code) {
            return Err(format!(
                "Stripe does not charge {code}; docs.stripe.com/currencies lists the currencies it charges"
            ));
        }
        let (times, parts, step) = match code {
            "ISK" | "UGX" => (100, 1, 100),
            "MGA" => (1, 100, 1),
            _ if currency.exponent() == 3 => (1, 1, 10),
            _ => (1, 1, 1),
        };
        Ok(Unit { currency, times, parts, step })
    }

    /// Converts minor units to Stripe's amount.
    ///
    /// # Errors
    /// If no amount of Stripe's is exactly equal.
    pub fn to_stripe(self, minor: i64) -> Result<i64, String> {
        let amount = minor.checked_mul(self.times).filter(|_| minor % self.parts == 0);
        let amount = amount.map(|amount| amount / self.parts);
        amount.filter(|amount| amount % self.step == 0).ok_or_else(|| {
            let step = self.parts * self.step / self.times;
            format!(
                "Stripe charges {} only in steps of {} ({} minor units), and {minor} is no multiple",
                self.currency.code(),
                self.currency.format(step),
                step
            )
        })
    }

    /// Converts Stripe's amount to minor units; `None` if it is not a whole number of them.
    pub fn from_stripe(self, amount: i64) -> Option<i64> {
        let minor = amount.checked_mul(self.parts).filter(|_| amount % self.times == 0)?;
        Some(minor / self.times)
    }

    /// Checks that one charge can have this amount of minor units.
    ///
    /// # Errors
    /// The reason, for the operator or the buyer.
    pub fn check_price(self, minor: i64) -> Result<(), String> {
        let amount = self.to_stripe(minor)?;
        let code = self.currency.code();
        let formatted = |amount: i64| {
            let minor = self.from_stripe(amount).unwrap_or_default();
            format!("{} ({minor} minor units)", self.currency.format(minor))
        };
        let least = LEAST.iter().find(|row| row.0 == code).map_or(1, |row| row.1);
        let most = MORE.iter().find(|row| row.0 == code).map_or(MOST, |row| row.1);
        let most = most - most % self.step;
        if amount < least {
            return Err(format!("Stripe charges {} at least", formatted(least)));
        }
        if amount > most {
            return Err(format!("Stripe charges {} at most", formatted(most)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(code: &str) -> Unit {
        Unit::of(Currency::from_code(code).unwrap()).unwrap()
    }

    #[test]
    fn every_charged_currency_is_in_iso_4217_with_a_known_unit() {
        for code in CHARGED.split_ascii_whitespace() {
            let currency = Currency::from_code(code).unwrap_or_else(|fault| panic!("{fault}"));
            let unit = Unit::of(currency).unwrap();
            // Stripe's own classes: no decimals, three decimals, two.
            let stripe_digits = match code {
                "BIF" | "CLP" | "DJF" | "GNF" | "JPY" | "KMF" | "KRW" | "MGA" | "PYG" | "RWF"
                | "VND" | "VUV" | "XAF" | "XOF" | "XPF" => 0,
                "BHD" | "JOD" | "KWD" | "OMR" | "TND" => 3,
                _ => 2,
            };
            let one = 10_i64.pow(currency.exponent());
            assert_eq!(unit.to_stripe(one), Ok(10_i64.pow(stripe_digits)), "one {code}");
        }
        for (code, _) in LEAST.iter().chain(&MORE) {
            unit(code);
        }
    }

    #[test]
    fn amounts_are_converted_exactly_or_refused() {
        let cases: [(&str, i64, Option<i64>); 14] = [
            ("EUR", 4_500, Some(4_500)),
            ("HUF", 4_501, Some(4_501)),
            ("TWD", 4_501, Some(4_501)),
            ("JPY", 500, Some(500)),
            ("KWD", 5_120, Some(5_120)),
            ("KWD", 5_124, None),
            ("TND", 10, Some(10)),
            ("OMR", 5, None),
            ("ISK", 5, Some(500)),
            ("UGX", 5, Some(500)),
            ("MGA", 500, Some(5)),
            ("MGA", 550, None),
            ("ISK", i64::MAX, None),
            ("EUR", 0, Some(0)),
        ];
        for (code, minor, expected) in cases {
            let amount = unit(code).to_stripe(minor);
            assert_eq!(amount.as_ref().ok().copied(), expected, "{minor} {code}");
            if let Ok(amount) = amount {
                assert_eq!(unit(code).from_stripe(amount), Some(minor), "{amount} of Stripe's");
            }
        }
        assert_eq!(unit("ISK").from_stripe(550), None);
        let refusal = unit("KWD").to_stripe(5_124).unwrap_err();
        assert!(refusal.contains("in steps of 0.010 KWD (10 minor units)"), "{refusal}");
        let refusal = unit("MGA").to_stripe(550).unwrap_err();
        assert!(refusal.contains("in steps of 1.00 MGA (100 minor units)"), "{refusal}");
    }

    #[test]
    fn price_limits_are_those_of_one_charge() {
        let cases = [
            ("EUR", 50, 99_999_999),
            ("JPY", 50, 9_999_999_999),
            ("ISK", 1, 999_999),
            ("KWD", 10, 99_999_990),
            ("MGA", 100, 9_999_999_900),
            ("XOF", 1, 99_999_999),
        ];
        for (code, least, most) in cases {
            let (unit, step) = (unit(code), if code == "MGA" { 100 } else { 10 });
            assert_eq!(unit.check_price(least), Ok(()), "{least} {code}");
            assert_eq!(unit.check_price(most), Ok(()), "{most} {code}");
            let above = unit.check_price(most + step).unwrap_err();
            assert!(above.contains("at most"), "{above}");
        }
        let below = unit("EUR").check_price(49).unwrap_err();
        assert_eq!(below, "Stripe charges 0.50 EUR (50 minor units) at least");
    }
}
