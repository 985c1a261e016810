//! Refunds at Stripe. What counts is the list of a payment's refunds and the status of each:
//! `amount_refunded` of a charge includes those that are on their way and may fail.
//!
//! Each attempt carries a key of its own and says in its metadata which one it is, so it is found
//! in the list when its answer was lost, and when its key has lapsed. INVARIANT: an attempt is sent
//! only if the list, read just before, neither has it nor covers the total.

use tokio::time::Instant;

use super::http::{Call, Failure, Refused};
use super::objects::{Intent, Refund, RefundStatus, Refunds, Returned};
use super::{PaymentError, RefundOrder, Refunded, State, Stripe};
use super::{amounts, in_doubt, no_such, path_of};

/// Refunds of one payment that are read.
const REFUNDS_MAX: u32 = 100;

/// What the list of refunds says of an order.
enum Listed {
    /// Its answer.
    Answered(Refunded),
    /// So much is missing, in Stripe's unit, and its attempt is not there.
    Missing { returned: Returned, missing: i64 },
}

impl Stripe {
    pub(super) async fn refund_now(&self, order: &RefundOrder) -> Result<Refunded, PaymentError> {
        let deadline = self.deadline();
        // Nothing was sent yet but a question.
        let listed = self.listed(order, deadline).await;
        let listed = listed.map_err(|error| PaymentError::NotDone(error.to_string()))?;
        let (returned, missing) = match listed {
            Listed::Answered(answer) => return Ok(answer),
            Listed::Missing { returned, missing } => (returned, missing),
        };
        let call = Call::post("/v1/refunds".to_owned())
            .key(key_of(order))
            .field("payment_intent", &order.payment)
            .field("amount", missing)
            .field("metadata[booking_id]", order.booking)
            .field("metadata[refund_total]", order.total)
            .field("metadata[refund_attempt]", order.attempt);
        match self.http.send::<Refund>(call, deadline).await {
            Ok(reply) if !reply.replayed && reply.body.amount == missing => {
                answered(&reply.body, returned, order)
            }
            // A saved answer tells of then, and perhaps of another amount.
            Ok(reply) => self.sent_before(order, deadline, &reply.body).await,
            Err(Failure::Refused(refused)) => self.refused_refund(order, deadline, refused).await,
            Err(Failure::Ended(reason)) => {
                match self.listed(order, deadline).await.map_err(in_doubt)? {
                    Listed::Answered(answer) => Ok(answer),
                    // It has ended, and there is no refund of it.
                    Listed::Missing { .. } => Ok(Refunded::Failed(reason)),
                }
            }
            Err(failure) => Err(failure.into_error()),
        }
    }

    /// An attempt that was carried out before.
    async fn sent_before(
        &self,
        order: &RefundOrder,
        deadline: Instant,
        saved: &Refund,
    ) -> Result<Refunded, PaymentError> {
        match self.listed(order, deadline).await.map_err(in_doubt)? {
            Listed::Answered(answer) => Ok(answer),
            Listed::Missing { .. } if saved.status() == RefundStatus::Failed => {
                Ok(Refunded::Failed(saved.failure()))
            }
            Listed::Missing { missing, .. } => {
                Err(PaymentError::Unknown(format!("{missing} are not given back yet")))
            }
        }
    }

    /// An attempt that Stripe refused: given back by somebody else meanwhile, perhaps.
    async fn refused_refund(
        &self,
        order: &RefundOrder,
        deadline: Instant,
        refused: Refused,
    ) -> Result<Refunded, PaymentError> {
        match self.listed(order, deadline).await.map_err(in_doubt)? {
            Listed::Answered(answer) => Ok(answer),
            Listed::Missing { .. } if refused.in_flight() => {
                Err(PaymentError::Unknown(refused.to_string()))
            }
            Listed::Missing { .. } if refused.was_not_run() => {
                Err(PaymentError::NotDone(refused.to_string()))
            }
            // Stripe saves a refusal under the key: only another attempt can have another answer.
            Listed::Missing { .. } => Ok(Refunded::Failed(refused.to_string())),
        }
    }

    async fn listed(&self, order: &RefundOrder, deadline: Instant) -> Result<Listed, PaymentError> {
        let RefundOrder { total, attempt, .. } = *order;
        let wanted = wanted(order)?;
        let path = path_of(&order.payment).ok_or_else(no_such)?;
        let found = self.look_up(&path, deadline).await?;
        let (intent, refunds) = found.ok_or_else(no_such)?;
        if intent.state() != Some(State::Paid) {
            let status = &intent.status;
            let reason = format!("there is nothing to give back: the payment is {status}");
            return Err(PaymentError::NotDone(reason));
        }
        let paid = intent.amount();
        if wanted > paid {
            let reason = format!("{wanted} is more than was paid, {paid}");
            return Err(PaymentError::NotDone(reason));
        }
        let returned = Returned::of(&refunds);
        let missing = returned.missing_to(wanted);
        Ok(match (covered(returned, order)?, refunds.iter().find(|one| one.is(total, attempt))) {
            (Some(answer), _) => Listed::Answered(answer),
            (None, Some(refund)) if refund.status() == RefundStatus::Failed => {
                Listed::Answered(Refunded::Failed(refund.failure()))
            }
            // It gave back what was missing then; another refund has failed since.
            (None, Some(_)) => {
                Listed::Answered(Refunded::Failed(format!("{missing} are missing again")))
            }
            (None, None) => Listed::Missing { returned, missing },
        })
    }

    /// All refunds of a payment, where the payment itself did not list them.
    pub(super) async fn all_refunds(
        &self,
        intent: &Intent,
        deadline: Instant,
    ) -> Result<Vec<Refund>, PaymentError> {
        let id = &intent.id;
        let call = Call::get(format!("/v1/refunds?payment_intent={id}&limit={REFUNDS_MAX}"));
        let reply = self.http.send::<Refunds>(call, deadline).await;
        let Refunds { data, has_more } = reply.map_err(Failure::into_error)?.body;
        if has_more {
            let reason = format!("payment {id} has more than {REFUNDS_MAX} refunds");
            return Err(PaymentError::Unknown(reason));
        }
        Ok(data)
    }
}

/// The first attempt's key is that of versions that knew no other.
fn key_of(order: &RefundOrder) -> String {
    let RefundOrder { payment, total, attempt, .. } = order;
    match attempt {
        1 => format!("{payment}:refund:{total}"),
        _ => format!("{payment}:refund:{total}:{attempt}"),
    }
}

/// What is to be given back in all, in Stripe's unit.
fn wanted(order: &RefundOrder) -> Result<i64, PaymentError> {
    amounts::to_stripe(&order.currency, order.total).map_err(PaymentError::NotDone)
}

/// The answer where enough was given back or is on its way.
fn covered(returned: Returned, order: &RefundOrder) -> Result<Option<Refunded>, PaymentError> {
    let wanted = wanted(order)?;
    if returned.missing_to(wanted) > 0 {
        return Ok(None);
    }
    if returned.succeeded < wanted {
        return Ok(Some(Refunded::Pending));
    }
    let minor = amounts::from_stripe(&order.currency, returned.succeeded);
    let minor = minor.ok_or_else(|| {
        let (payment, amount) = (&order.payment, returned.succeeded);
        PaymentError::Unknown(format!("{amount} of payment {payment} was given back"))
    })?;
    Ok(Some(Refunded::Succeeded(minor)))
}

/// What a refund of all that was missing came to.
fn answered(
    refund: &Refund,
    before: Returned,
    order: &RefundOrder,
) -> Result<Refunded, PaymentError> {
    let mut returned = before;
    match refund.status() {
        RefundStatus::Succeeded => returned.succeeded += refund.amount,
        RefundStatus::Undecided => returned.undecided += refund.amount,
        RefundStatus::Failed => {}
    }
    Ok(covered(returned, order)?.unwrap_or_else(|| Refunded::Failed(refund.failure())))
}
