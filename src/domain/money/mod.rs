//! Money: currencies of ISO 4217, and which of them a payment provider can charge. Amounts are
//! integers of a currency's minor unit, as defined by ISO 4217: 4500 is 45.00 EUR, 4500 JPY, 4.500 KWD.

pub mod stripe;

use std::fmt;

/// A currency of prices.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Currency(iso_currency::Currency);

/// Why a text is not a currency of prices.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CurrencyFault {
    /// It is not in ISO 4217.
    #[error("{0:?} is not a currency code of ISO 4217, such as EUR")]
    Unknown(String),
    /// A fund, a metal, or a code for tests.
    #[error("{0} is not a currency for payments ({1}); use one such as EUR")]
    NotMoney(&'static str, &'static str),
    /// It is no longer in use.
    #[error("{0} is out of use since {1} replaced it; use {1}")]
    Replaced(&'static str, &'static str),
}

impl Currency {
    /// Returns the currency with this code, in capitals.
    ///
    /// # Errors
    /// If there is none, or it is not one of prices.
    pub fn from_code(code: &str) -> Result<Self, CurrencyFault> {
        use iso_currency::Currency as Iso;
        let found = Iso::from_code(code).filter(|found| found.code() == code);
        let currency = found.ok_or_else(|| CurrencyFault::Unknown(code.to_owned()))?;
        if currency.is_fund() || currency.is_special() || currency.exponent().is_none() {
            return Err(CurrencyFault::NotMoney(currency.code(), static_name(currency)));
        }
        match currency.is_superseded() {
            // Still in use beside its successor.
            _ if currency == Iso::VES => Ok(Currency(currency)),
            Some(by) => Err(CurrencyFault::Replaced(currency.code(), by.code())),
            None => Ok(Currency(currency)),
        }
    }

    /// Its code.
    pub fn code(self) -> &'static str {
        self.0.code()
    }

    /// The number of digits of its minor unit: 2 for EUR, 0 for JPY, 3 for KWD.
    pub fn exponent(self) -> u32 {
        // Every currency from `from_code` has one.
        self.0.exponent().map_or(2, u32::from)
    }

    /// Formats an amount of minor units: `45.00 EUR`.
    pub fn format(self, minor: i64) -> String {
        let digits = self.exponent() as usize;
        let sign = if minor < 0 { "-" } else { "" };
        let text = format!("{:0>width$}", minor.unsigned_abs(), width = digits + 1);
        let (whole, part) = text.split_at(text.len() - digits);
        match part {
            "" => format!("{sign}{whole} {}", self.code()),
            _ => format!("{sign}{whole}.{part} {}", self.code()),
        }
    }
}

/// Formats an amount of minor units for people: `45.00 EUR`. The currency is the archive's, which may have
/// gone out of use since.
pub fn format_amount(minor: i64, code: &str) -> String {
    match Currency::from_code(code) {
        Ok(currency) => currency.format(minor),
        Err(_) => format!("{minor} minor units of {code}"),
    }
}

/// Formats an amount in units, without the currency: `45.00`. Of a currency that has gone out of use the
/// units are not known: the minor ones are shown.
pub fn format_units(minor: i64, code: &str) -> String {
    match Currency::from_code(code) {
        Ok(currency) => currency.format(minor).trim_end_matches(code).trim_end().to_owned(),
        Err(_) => minor.to_string(),
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// Which currencies and amounts the payment provider can charge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Chargeable {
    /// Any currency and amount: the simulated provider.
    #[default]
    Everything,
    /// The currencies and amounts of Stripe.
    ByStripe,
}

impl Chargeable {
    /// Returns the currency with this code, if the provider charges it.
    ///
    /// # Errors
    /// The reason, for the operator.
    pub fn currency(self, code: &str) -> Result<Currency, String> {
        let currency = Currency::from_code(code).map_err(|fault| fault.to_string())?;
        match self {
            Chargeable::Everything => Ok(currency),
            Chargeable::ByStripe => stripe::Unit::of(currency).map(|_| currency),
        }
    }

    /// Checks that the provider can charge this price.
    ///
    /// # Errors
    /// The reason, for the operator.
    pub fn check_price(self, currency: Currency, minor: i64) -> Result<(), String> {
        match self {
            // Free seats are never charged.
            _ if minor == 0 => Ok(()),
            Chargeable::Everything => Ok(()),
            Chargeable::ByStripe => stripe::Unit::of(currency)?.check_price(minor),
        }
    }
}

/// A description of a currency, for messages.
fn static_name(currency: iso_currency::Currency) -> &'static str {
    match currency.is_fund() {
        true => "a fund code",
        false => "a metal, a unit of account or a code for tests",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponents_are_those_of_iso_4217() {
        for (code, exponent) in [
            ("EUR", 2),
            ("USD", 2),
            ("HUF", 2),
            ("TWD", 2),
            ("MGA", 2),
            ("MRU", 2),
            ("VES", 2),
            ("XCG", 2),
            ("JPY", 0),
            ("ISK", 0),
            ("UGX", 0),
            ("XAF", 0),
            ("KWD", 3),
            ("IQD", 3),
        ] {
            assert_eq!(Currency::from_code(code).unwrap().exponent(), exponent, "{code}");
        }
    }

    #[test]
    fn codes_without_money_are_refused() {
        for code in ["ZZZ", "XXQ", "eur", "Eur", "EURO", "EU", "", "€€€"] {
            let fault = Currency::from_code(code).unwrap_err();
            assert_eq!(fault, CurrencyFault::Unknown(code.to_owned()));
        }
        for code in ["XXX", "XTS", "XAU", "XDR", "XAD", "USN", "CLF", "UYI", "CHE"] {
            let fault = Currency::from_code(code).unwrap_err();
            assert!(matches!(fault, CurrencyFault::NotMoney(named, _) if named == code), "{fault}");
        }
        for (code, by) in [("HRK", "EUR"), ("BGN", "EUR"), ("SLL", "SLE"), ("ZWL", "ZWG")] {
            let fault = Currency::from_code(code).unwrap_err();
            assert!(matches!(fault, CurrencyFault::Replaced(_, named) if named == by), "{fault}");
        }
    }

    #[test]
    fn amounts_are_formatted_with_their_digits() {
        let written = |code, minor| Currency::from_code(code).unwrap().format(minor);
        assert_eq!(written("EUR", 4500), "45.00 EUR");
        assert_eq!(written("EUR", 5), "0.05 EUR");
        assert_eq!(written("EUR", -5), "-0.05 EUR");
        assert_eq!(written("JPY", 4500), "4500 JPY");
        assert_eq!(written("KWD", 4500), "4.500 KWD");
        assert_eq!(written("JPY", 0), "0 JPY");
        assert_eq!(format_amount(4500, "EUR"), "45.00 EUR");
        assert_eq!(format_units(-4500, "EUR"), "-45.00");
        assert_eq!((format_units(45, "JPY"), format_units(45, "HRK")), ("45".into(), "45".into()));
        assert_eq!(format_amount(4500, "HRK"), "4500 minor units of HRK");
    }

    #[test]
    fn provider_determines_chargeable_currencies() {
        let (any, stripe) = (Chargeable::Everything, Chargeable::ByStripe);
        let dinar = any.currency("IQD").unwrap();
        assert_eq!(any.check_price(dinar, 1), Ok(()));
        assert!(stripe.currency("IQD").unwrap_err().contains("Stripe does not charge IQD"));
        assert!(any.currency("ZZZ").is_err() && stripe.currency("ZZZ").is_err());
        let euro = stripe.currency("EUR").unwrap();
        assert_eq!(stripe.check_price(euro, 0), Ok(()), "free seats are never charged");
        assert!(stripe.check_price(euro, 49).is_err());
    }
}
