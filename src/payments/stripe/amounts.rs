//! Amounts on their way to Stripe and back: the rules are `domain::money::stripe`'s.

use crate::domain::Currency;
use crate::domain::money::stripe::Unit;

/// Stripe's amount for a charge of so many minor units; else why Stripe never charges it.
pub(super) fn to_charge(code: &str, minor: i64) -> Result<i64, String> {
    let unit = unit(code)?;
    unit.check_price(minor)?;
    unit.to_stripe(minor)
}

/// Stripe's amount for so many minor units.
pub(super) fn to_stripe(code: &str, minor: i64) -> Result<i64, String> {
    unit(code)?.to_stripe(minor)
}

/// The minor units of an amount of Stripe's; none if that is not a whole number of them.
pub(super) fn from_stripe(code: &str, amount: i64) -> Option<i64> {
    unit(code).ok()?.from_stripe(amount)
}

fn unit(code: &str) -> Result<Unit, String> {
    let currency = Currency::from_code(code).map_err(|fault| fault.to_string())?;
    Unit::of(currency)
}
