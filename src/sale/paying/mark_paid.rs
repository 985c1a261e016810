//! Money that was returned by another way than the provider: an operator records it, and no refund is
//! sent for it any more.
//!
//! What may happen between the steps (read the intent → ask the provider → write the movement):
//!
//! | between | consequence |
//! |---|---|
//! | a worker sends another attempt | it announces that in the intent first: our write fails on `rev`, or we have read the announcement and refuse while the attempt may be under way |
//! | a worker read the intent before our write, and sends after it | its announcement fails on `rev`: nothing is sent |
//! | a process was suspended before an attempt that was not announced, the first | the provider's list has that attempt as failed, so nothing is sent again |
//! | a process is suspended between its announcement and the sending, for longer than a lease | it looks at two clocks before it sends. If it is suspended after that look, or the clocks of the two machines differ by more than a lease, the money goes back twice: `reconcile` reports it |
//! | the refund succeeds at the provider after all | as above; refused here while it is pending |
//! | two operators, or one twice | one movement: the second finds nothing missing |

use super::reconciled::wait;
use super::{PaymentService, ReconcileResult};
use crate::domain::{BookingId, Intent, Movement, MovementKind, Outcome, RefundState};
use crate::payments::{Payment, PaymentState};
use crate::sale::{SaleError, unix_now_ms};

/// Writes of one call: a concurrent step of a worker makes one fail.
const TRIES_MAX: u32 = 5;

/// Money that was returned by another way.
#[derive(Clone, Debug)]
pub struct MarkPaid {
    /// The booking.
    pub booking: BookingId,
    /// The reference of that payment, as of a bank transfer.
    pub reference: String,
    /// Who records it.
    pub by: String,
}

/// What was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarkedPaid {
    /// The amount, minor units.
    pub amount: i64,
    /// ISO 4217 code.
    pub currency: String,
    /// Whether the same was recorded before.
    pub replayed: bool,
    /// What became of the intent then.
    pub reconciled: ReconcileResult,
}

impl PaymentService {
    /// Records that what is missing of a booking's refund was returned by another way.
    ///
    /// # Errors
    /// [`SaleError::Invalid`] says why not: nothing is missing, or it may still be refunded.
    pub async fn mark_paid(&self, order: &MarkPaid) -> Result<MarkedPaid, SaleError> {
        let id = order.booking;
        for _ in 0..TRIES_MAX {
            let intent = self.archive.intent(id).await?.ok_or(SaleError::BookingUnknown(id))?;
            let currency = intent.currency.clone();
            // The same reference again, where something is missing again, is another movement.
            let amount =
                match (marked_before(&intent, &order.reference), self.missing(&intent).await) {
                    (Some(before), Err(_)) => {
                        let (amount, replayed) = (-before.amount, true);
                        let reconciled = self.close_marked(id).await;
                        return Ok(MarkedPaid { amount, currency, replayed, reconciled });
                    }
                    (_, missing) => missing?,
                };
            let now_ms = unix_now_ms();
            let marked = intent.mark_paid(amount, &order.reference, &order.by, now_ms);
            if self.archive.change_intent(&marked).await? {
                let (reference, by) = (&order.reference, &order.by);
                tracing::warn!(booking_id = %id, amount, reference, by, "a refund is marked as paid");
                self.counted("marked_paid");
                let reconciled = self.close_marked(id).await;
                return Ok(MarkedPaid { amount, currency, replayed: false, reconciled });
            }
        }
        Err(invalid("its refund is changing; try again"))
    }

    /// Closes the intent of what is marked. It is recorded: a worker repeats this.
    async fn close_marked(&self, id: BookingId) -> ReconcileResult {
        self.reconcile_now(id).await.unwrap_or_else(|error| {
            tracing::warn!(booking_id = %id, %error, "a worker closes the intent of a marked refund");
            wait("a worker closes it")
        })
    }

    /// The amount that may be marked: what neither the provider nor anybody else has returned.
    async fn missing(&self, intent: &Intent) -> Result<i64, SaleError> {
        let archived = self.archive.booking(intent.booking).await?;
        match archived.and_then(|archived| archived.outcome) {
            Some(Outcome::Refund | Outcome::Cancelled) => {}
            Some(Outcome::Sold) => {
                return Err(invalid("the booking is sold: cancel it first (`bookings cancel`)"));
            }
            None => return Err(invalid("the archive has decided nothing about this booking")),
        }
        let payment = match intent.payment.as_str() {
            "" => return Err(invalid("no money was taken")),
            payment => self.provider.get(payment).await?,
        };
        let (marked, due) = (intent.marked_paid(), intent.amount);
        let Some(paid) = payment else {
            refuse_under_way(intent)?;
            return positive(due - marked - intent.refunded_at_provider());
        };
        let missing = due - marked - paid.refunded;
        refuse_in_progress(intent, &paid, missing)?;
        positive(missing)
    }
}

/// Refuses while the provider may still return the money.
fn refuse_in_progress(intent: &Intent, paid: &Payment, missing: i64) -> Result<(), SaleError> {
    match paid.state {
        PaymentState::Paid => {}
        PaymentState::Cancelled => return Err(invalid("no money was taken")),
        PaymentState::Open | PaymentState::Processing => {
            return Err(invalid("its payment is in progress; `reconcile --fix` settles it"));
        }
    }
    if paid.refund_pending > 0 {
        return Err(invalid("a refund is on its way at the provider: cancel it there, or wait"));
    }
    // The provider returns no more than was paid.
    if missing > paid.amount - paid.refunded {
        return Ok(());
    }
    let refund = intent.refund.as_ref().filter(|refund| refund.state == RefundState::Failed);
    match refund {
        None if missing > 0 => Err(invalid(
            "its refund has not failed: it may still be sent; `payments refund retry` sends it now",
        )),
        _ => refuse_under_way(intent),
    }
}

/// Refuses while an attempt may be under way by what is recorded, also where this process' provider does
/// not know the payment: it may ask another account than the workers.
fn refuse_under_way(intent: &Intent) -> Result<(), SaleError> {
    let Some(refund) = &intent.refund else { return Ok(()) };
    if refund.state == RefundState::Pending {
        return Err(invalid("a refund is on its way at the provider: cancel it there, or wait"));
    }
    let left_ms = refund.sending_until_ms - unix_now_ms();
    if left_ms > 0 {
        let seconds = left_ms / 1_000 + 1;
        let text = format!("another attempt may be under way: try again in {seconds} seconds");
        return Err(invalid(&text));
    }
    Ok(())
}

fn positive(missing: i64) -> Result<i64, SaleError> {
    match missing > 0 {
        true => Ok(missing),
        false => Err(invalid("nothing is missing: all of it was given back")),
    }
}

fn marked_before<'a>(intent: &'a Intent, reference: &str) -> Option<&'a Movement> {
    let is_same =
        |one: &&Movement| one.kind == MovementKind::MarkedPaid && one.reference == reference;
    intent.movements.iter().find(is_same)
}

fn invalid(text: &str) -> SaleError {
    SaleError::Invalid(text.to_owned())
}
