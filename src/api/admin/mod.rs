//! `/api/v1/admin`: what operators watch and do in the console. Admins only. Changes, and reads that show
//! users' data, are recorded in the audit log.
//!
//! | file | routes |
//! |---|---|
//! | `whoami` | the key's name, and what kind of server this is |
//! | `overview` | one event and the deployment, with a series of the last 15 minutes |
//! | `event_bookings`, `search` | bookings of an event; bookings, users and seats by text |
//! | `booking_details` | one booking in Redis, in the archive and at the provider |
//! | `event_log` | an event's booking log as it grows |
//! | `report` | takings, funnel, refusals; how often each seat was held |
//! | `checks` | `verify` and `reconcile` |
//! | `limits`, `access`, `dead_letters`, `audit`, `rooms` | what `holdfastctl` shows and changes, too |

pub mod access;
pub mod audit;
mod booking_body;
pub mod booking_details;
pub mod checks;
pub mod dead_letters;
pub mod event_bookings;
pub mod event_log;
pub mod limits;
pub mod overview;
pub mod report;
mod room_body;
pub mod rooms;
pub mod search;
pub mod whoami;

use crate::domain::UserId;
use crate::http::params::Query;
use crate::http::problem::Problem;

/// Items of a page, at most.
const PAGE_SIZE_MAX: u32 = 200;
/// Items of a page where none is given.
const PAGE_SIZE_DEFAULT: u32 = 50;

/// The user that a list is about.
fn user(query: &Query) -> Result<Option<UserId>, Problem> {
    let Some(text) = query.get("user_id")? else { return Ok(None) };
    text.parse().map(Some).map_err(|_| Problem::parameter("user_id", "must be a user's id"))
}
