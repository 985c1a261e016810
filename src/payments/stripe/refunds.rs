//! Refunds at Stripe, by the list of a payment's refunds and the status of each: `amount_refunded` of
//! a charge includes pending ones, which may fail.
//!
//! Each attempt has its own key and is named in the refund's metadata, so it is found in the list when
//! its response was lost, and when its key has expired. INVARIANT: an attempt is sent only if the
//! list, read just before, neither has it nor covers the total.

use tokio::time::Instant;

use super::http::{ApiError, ApiRequest, Failure};
use super::objects::{Intent, Refund, RefundStatus, RefundSums, Refunds};
use super::{PaymentError, PaymentState, RefundOrder, RefundResult, Stripe};
use super::{amounts, in_doubt, no_such, path_of};

/// Maximum number of refunds of one payment that are read.
const REFUNDS_MAX: u32 = 100;

/// The result of looking up an order in the list of refunds.
enum RefundLookup {
    /// The result of the order.
    Answered(RefundResult),
    /// The attempt is not in the list, and this amount is missing, in Stripe's unit.
    Missing { returned: RefundSums, missing: i64 },
}

impl Stripe {
    pub(super) async fn refund_now(
        &self,
        order: &RefundOrder,
    ) -> Result<RefundResult, PaymentError> {
        let deadline = self.deadline();
        // Only a query was sent so far.
        let listed = self.listed(order, deadline).await;
        let listed = listed.map_err(|error| PaymentError::NotDone(error.to_string()))?;
        let (returned, missing) = match listed {
            RefundLookup::Answered(answer) => return Ok(answer),
            RefundLookup::Missing { returned, missing } => (returned, missing),
        };
        let call = ApiRequest::post("/v1/refunds".to_owned())
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
            // A saved response shows a past state, and perhaps another amount.
            Ok(reply) => self.sent_before(order, deadline, &reply.body).await,
            Err(Failure::ApiError(refused)) => self.refused_refund(order, deadline, refused).await,
            Err(Failure::Ended(reason)) => {
                match self.listed(order, deadline).await.map_err(in_doubt)? {
                    RefundLookup::Answered(answer) => Ok(answer),
                    // It has ended without a refund.
                    RefundLookup::Missing { .. } => Ok(RefundResult::Failed(reason)),
                }
            }
            Err(failure) => Err(failure.into_error()),
        }
    }

    /// The result of an attempt that was carried out before.
    async fn sent_before(
        &self,
        order: &RefundOrder,
        deadline: Instant,
        saved: &Refund,
    ) -> Result<RefundResult, PaymentError> {
        match self.listed(order, deadline).await.map_err(in_doubt)? {
            RefundLookup::Answered(answer) => Ok(answer),
            RefundLookup::Missing { .. } if saved.status() == RefundStatus::Failed => {
                Ok(RefundResult::Failed(saved.failure()))
            }
            RefundLookup::Missing { missing, .. } => {
                Err(PaymentError::Unknown(format!("{missing} are not refunded yet")))
            }
        }
    }

    /// The result of an attempt that Stripe refused; it may have been refunded otherwise.
    async fn refused_refund(
        &self,
        order: &RefundOrder,
        deadline: Instant,
        refused: ApiError,
    ) -> Result<RefundResult, PaymentError> {
        match self.listed(order, deadline).await.map_err(in_doubt)? {
            RefundLookup::Answered(answer) => Ok(answer),
            RefundLookup::Missing { .. } if refused.in_flight() => {
                Err(PaymentError::Unknown(refused.to_string()))
            }
            RefundLookup::Missing { .. } if refused.was_not_run() => {
                Err(PaymentError::NotDone(refused.to_string()))
            }
            // Stripe saves a refusal under the key: only another attempt can have another result.
            RefundLookup::Missing { .. } => Ok(RefundResult::Failed(refused.to_string())),
        }
    }

    async fn listed(
        &self,
        order: &RefundOrder,
        deadline: Instant,
    ) -> Result<RefundLookup, PaymentError> {
        let RefundOrder { total, attempt, .. } = *order;
        let wanted = wanted(order)?;
        let path = path_of(&order.payment).ok_or_else(no_such)?;
        let found = self.look_up(&path, deadline).await?;
        let (intent, refunds) = found.ok_or_else(no_such)?;
        if intent.state() != Some(PaymentState::Paid) {
            let status = &intent.status;
            let reason = format!("there is nothing to refund: the payment is {status}");
            return Err(PaymentError::NotDone(reason));
        }
        let paid = intent.amount();
        if wanted > paid {
            let reason = format!("{wanted} is more than was paid, {paid}");
            return Err(PaymentError::NotDone(reason));
        }
        let returned = RefundSums::of(&refunds);
        let missing = returned.missing_to(wanted);
        Ok(match (covered(returned, order)?, refunds.iter().find(|one| one.is(total, attempt))) {
            (Some(answer), _) => RefundLookup::Answered(answer),
            (None, Some(refund)) if refund.status() == RefundStatus::Failed => {
                RefundLookup::Answered(RefundResult::Failed(refund.failure()))
            }
            // It refunded what was missing then; another refund has failed since.
            (None, Some(_)) => {
                RefundLookup::Answered(RefundResult::Failed(format!("{missing} are missing again")))
            }
            (None, None) => RefundLookup::Missing { returned, missing },
        })
    }

    /// Reads all refunds of a payment whose intent did not list them.
    pub(super) async fn all_refunds(
        &self,
        intent: &Intent,
        deadline: Instant,
    ) -> Result<Vec<Refund>, PaymentError> {
        let id = &intent.id;
        let call = ApiRequest::get(format!("/v1/refunds?payment_intent={id}&limit={REFUNDS_MAX}"));
        let reply = self.http.send::<Refunds>(call, deadline).await;
        let Refunds { data, has_more } = reply.map_err(Failure::into_error)?.body;
        if has_more {
            let reason = format!("payment {id} has more than {REFUNDS_MAX} refunds");
            return Err(PaymentError::Unknown(reason));
        }
        Ok(data)
    }
}

/// The key of an attempt. The first one's is that of versions without attempts.
fn key_of(order: &RefundOrder) -> String {
    let RefundOrder { payment, total, attempt, .. } = order;
    match attempt {
        1 => format!("{payment}:refund:{total}"),
        _ => format!("{payment}:refund:{total}:{attempt}"),
    }
}

/// The total to refund, in Stripe's unit.
fn wanted(order: &RefundOrder) -> Result<i64, PaymentError> {
    amounts::to_stripe(&order.currency, order.total).map_err(PaymentError::NotDone)
}

/// The result if completed and pending refunds are enough.
fn covered(
    returned: RefundSums,
    order: &RefundOrder,
) -> Result<Option<RefundResult>, PaymentError> {
    let wanted = wanted(order)?;
    if returned.missing_to(wanted) > 0 {
        return Ok(None);
    }
    if returned.succeeded < wanted {
        return Ok(Some(RefundResult::Pending));
    }
    let minor = amounts::from_stripe(&order.currency, returned.succeeded);
    let minor = minor.ok_or_else(|| {
        let (payment, amount) = (&order.payment, returned.succeeded);
        PaymentError::Unknown(format!("{amount} of payment {payment} was refunded"))
    })?;
    Ok(Some(RefundResult::Succeeded(minor)))
}

/// The result of a refund of the whole missing amount.
fn answered(
    refund: &Refund,
    before: RefundSums,
    order: &RefundOrder,
) -> Result<RefundResult, PaymentError> {
    let mut returned = before;
    match refund.status() {
        RefundStatus::Succeeded => returned.succeeded += refund.amount,
        RefundStatus::Undecided => returned.undecided += refund.amount,
        RefundStatus::Failed => {}
    }
    Ok(covered(returned, order)?.unwrap_or_else(|| RefundResult::Failed(refund.failure())))
}
