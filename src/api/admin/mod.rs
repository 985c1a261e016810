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
//! | `report`, `demand` | takings, funnel, refusals; how often each seat was held |
//! | `checks` | `verify` and `reconcile` |
//! | `limits`, `access`, `dead_letters`, `audit`, `rooms` | what `holdfastctl` shows and changes, too |

pub mod overview;
mod room_body;
pub mod whoami;
