//! Converts amounts to and from Stripe's unit, by the rules of `domain::money::stripe`.

use crate::domain::Currency;
use crate::domain::money::stripe::Unit;

/// Stripe's amount for a charge of this many minor units, or why Stripe never charges it.
pub(super) fn to_charge(code: &str, minor: i64) -> Result<i64, String> {
    let unit = unit(code)?;
    unit.check_price(minor)?;
    unit.to_stripe(minor)
}

/// Stripe's amount for this many minor units.
pub(super) fn to_stripe(code: &str, minor: i64) -> Result<i64, String> {
    unit(code)?.to_stripe(minor)
}

/// The minor units of Stripe's amount; `None` if it is not a whole number of them.
pub(super) fn from_stripe(code: &str, amount: i64) -> Option<i64> {
    unit(code).ok()?.from_stripe(amount)
}

fn unit(code: &str) -> Result<Unit, String> {
    let currency = Currency::from_code(code).map_err(|fault| fault.to_string())?;
    Unit::of(currency)
}
