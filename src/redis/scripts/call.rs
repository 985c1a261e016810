//! What a typed script call consists of: the script, its keys and its arguments.
//!
//! [`script_call!`] declares a call as a struct. The fields in braces are the script's arguments:
//! their names and their order are those of the header's `ARGV`, so an argument is added by one
//! edit in the script and one field here. The fields in parentheses are not sent as arguments;
//! keys are made from them. `tests/contract.rs` compares every call with its script's header.

use fred::types::Value;

use super::Script;
use super::reply::ScriptReply;
use crate::domain::booking::format_seats;
use crate::domain::seat_request::{Neighbour, SectionRange};
use crate::domain::waiting_room::Method;
use crate::domain::{
    Booking, BookingId, DrawState, EventId, EventStatus, Floors, OrphanRule, Partition, SeatId,
    UserId,
};
use crate::redis::clock::NotAfter;
use crate::redis::keys::Keys;

/// The keys that every script about bookings declares, in the order of [`Keys::event_keys`].
pub const EVENT_KEYS: [&str; 11] = [
    "event",
    "seats",
    "holders",
    "bookings",
    "deadlines",
    "leases",
    "users",
    "ended",
    "log",
    "link",
    "requests",
];

/// A call of one script.
pub(in crate::redis) trait ScriptCall {
    /// What the script replies.
    type Reply: ScriptReply;
    /// The script.
    const SCRIPT: Script;
    /// Whether the first argument is the moment from which on the script must change nothing.
    /// The engine fills it in.
    const HAS_NOT_AFTER: bool;

    /// The names of the keys in the script's header.
    fn key_names() -> Vec<&'static str>;
    /// The names of the arguments in the script's header.
    fn argument_names() -> Vec<&'static str>;
    /// The partition whose node runs the script.
    fn partition(&self, keys: &Keys) -> Partition;
    /// The keys, in the header's order.
    fn keys(&self, keys: &Keys) -> Vec<String>;
    /// Appends the arguments after `not_after`, in the header's order.
    fn push_arguments(&self, arguments: &mut Vec<Value>);
}

/// One argument of a script, or several that belong together.
pub(in crate::redis) trait Argument {
    /// Its names in the header; `field` is the name of the struct's field.
    fn names(field: &'static str) -> Vec<&'static str> {
        vec![field]
    }
    /// Appends it.
    fn push(&self, arguments: &mut Vec<Value>);
}

/// Names the keys of a call about one event: `names` after those of the event, if the script
/// declares these.
pub(in crate::redis) fn event_call_keys(
    keys: &Keys,
    event: EventId,
    idempotency: &str,
    declares_event_keys: bool,
    names: &[&str],
) -> Vec<String> {
    let mut all = if declares_event_keys { keys.event_keys(event) } else { Vec::new() };
    all.extend(names.iter().map(|name| match *name {
        "idempotency" => keys.idempotency(event, idempotency),
        "events" => keys.events(keys.partition_of(event)),
        name => keys.named(name, event),
    }));
    all
}

/// Declares the call of a script about one event.
///
/// ```ignore
/// script_call! {
///     /// Gives up a hold.
///     pub struct CancelCall<'a>() => CancelReply by Script::Cancel, not_after {
///         generation: u64,
///         nonce: &'a str,
///         booking: BookingId,
///         user: &'a UserId,
///     }
///     keys |call| EVENT_KEYS of call.booking.event();
/// }
/// ```
///
/// Other forms of the last line: `keys |call| EVENT_KEYS, "room" of event, idempotency digest;`
/// for a script that declares more keys, and `keys |call| "event", "room" of event;` for one that
/// declares none but these. A script whose keys are not those of one event implements
/// [`ScriptCall`] by hand, with its arguments in an [`argument_group!`].
macro_rules! script_call {
    (
        $(#[$doc:meta])*
        $vis:vis struct $call:ident $(<$life:lifetime>)? (
            $( $(#[$key_doc:meta])* $key_field:ident: $key_type:ty ),* $(,)?
        ) => $reply:ident by $script:path $(, $not_after:ident)? {
            $( $(#[$field_doc:meta])* $field:ident: $type:ty ),* $(,)?
        }
        keys |$this:ident| $($all:ident)? $(,)? $($name:literal),* of $event:expr
            $(, idempotency $digest:expr)?;
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug)]
        $vis struct $call $(<$life>)? {
            $( $(#[$key_doc])* pub $key_field: $key_type, )*
            $( $(#[$field_doc])* pub $field: $type, )*
        }

        impl $(<$life>)? $crate::redis::scripts::call::ScriptCall for $call $(<$life>)? {
            type Reply = $reply;
            const SCRIPT: $crate::redis::scripts::Script = $script;
            const HAS_NOT_AFTER: bool = false $( || matches!(stringify!($not_after).as_bytes(), b"not_after") )?;

            fn key_names() -> Vec<&'static str> {
                let mut names: Vec<&'static str> = Vec::new();
                $( names.extend($all); )?
                names.extend_from_slice(&[$($name),*]);
                names
            }

            fn argument_names() -> Vec<&'static str> {
                let names: Vec<Vec<&'static str>> = vec![
                    $( vec![stringify!($not_after)], )?
                    $( <$type as $crate::redis::scripts::call::Argument>::names(
                        stringify!($field)
                    ), )*
                ];
                names.concat()
            }

            fn partition(&self, keys: &$crate::redis::keys::Keys) -> $crate::domain::Partition {
                let $this = self;
                keys.partition_of($event)
            }

            fn keys(&self, keys: &$crate::redis::keys::Keys) -> Vec<String> {
                let $this = self;
                let idempotency = <[&str]>::first(&[$($digest)?]).copied().unwrap_or_default();
                let declares_event_keys = false $( || { let _ = $all; true } )?;
                $crate::redis::scripts::call::event_call_keys(
                    keys, $event, idempotency, declares_event_keys, &[$($name),*],
                )
            }

            fn push_arguments(&self, arguments: &mut Vec<fred::types::Value>) {
                let _ = &arguments;
                $( $crate::redis::scripts::call::Argument::push(&self.$field, arguments); )*
            }
        }
    };
}
pub(in crate::redis) use script_call;

/// Declares consecutive arguments that several calls share, or that one call fills in together.
macro_rules! argument_group {
    (
        $(#[$doc:meta])*
        $vis:vis struct $group:ident $(<$life:lifetime>)? {
            $( $field:ident: $type:ty ),* $(,)?
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default)]
        $vis struct $group $(<$life>)? { $( $field: $type, )* }

        impl $(<$life>)? $crate::redis::scripts::call::Argument for $group $(<$life>)? {
            fn names(_: &'static str) -> Vec<&'static str> {
                let mut names: Vec<&'static str> = Vec::new();
                $( names.extend(
                    <$type as $crate::redis::scripts::call::Argument>::names(stringify!($field))
                ); )*
                names
            }

            fn push(&self, arguments: &mut Vec<fred::types::Value>) {
                $( $crate::redis::scripts::call::Argument::push(&self.$field, arguments); )*
            }
        }
    };
}
pub(in crate::redis) use argument_group;

macro_rules! arguments {
    ($($type:ty: |$value:ident| $argument:expr;)*) => {
        $(impl Argument for $type {
            fn push(&self, arguments: &mut Vec<Value>) {
                let $value = self;
                arguments.push(Value::from($argument));
            }
        })*
    };
}

// How each type is written as an argument.
arguments! {
    i64: |number| *number;
    u32: |number| i64::from(*number);
    // As decimal text: a client's integers are signed.
    u64: |number| number.to_string();
    bool: |flag| i64::from(*flag);
    &str: |text| *text;
    String: |text| text.as_str();
    &[u8]: |bytes| *bytes;
    NotAfter: |moment| moment.0;
    EventId: |event| event.to_string();
    BookingId: |booking| booking.to_string();
    &UserId: |user| user.as_str();
    EventStatus: |status| status.as_str();
    OrphanRule: |rule| rule.as_str();
    &[SeatId]: |seats| format_seats(seats);
    &[Neighbour]: |neighbours| format_neighbours(neighbours);
    &[SectionRange]: |places| format_places(places);
    &[Booking]: |bookings| format_bookings(bookings);
    &[(BookingId, u64)]: |versions| format_versions(versions);
    Method: |method| method.as_str();
    DrawState: |draw| draw.as_str();
}

/// `seat:beyond,...`, with 0 for no seat beyond.
fn format_neighbours(neighbours: &[Neighbour]) -> String {
    let pair = |one: &Neighbour| format!("{}:{}", one.seat, one.beyond.map_or(0, |seat| seat.0));
    neighbours.iter().map(pair).collect::<Vec<_>>().join(",")
}

/// `section-first-last-price-kind,...`.
fn format_places(places: &[SectionRange]) -> String {
    let place = |one: &SectionRange| {
        let SectionRange { section, first, last, price, rows } = one;
        format!("{section}-{first}-{last}-{price}-{}", if *rows { 'r' } else { 'g' })
    };
    places.iter().map(place).collect::<Vec<_>>().join(",")
}

/// A line per booking: id, tab, record.
fn format_bookings(bookings: &[Booking]) -> String {
    let line = |booking: &Booking| format!("{}\t{}\n", booking.id, booking.to_record());
    bookings.iter().map(line).collect()
}

/// `booking:version,...`.
fn format_versions(versions: &[(BookingId, u64)]) -> String {
    let pair = |(id, version): &(BookingId, u64)| format!("{id}:{version}");
    versions.iter().map(pair).collect::<Vec<_>>().join(",")
}

impl Argument for Floors {
    fn names(_: &'static str) -> Vec<&'static str> {
        vec!["floor_joined", "floor_served"]
    }

    fn push(&self, arguments: &mut Vec<Value>) {
        self.joined.push(arguments);
        self.served.push(arguments);
    }
}

/// Creates a nonce: it names one attempt, and is part of the tags of the log entries that the
/// attempt appends.
pub fn new_nonce() -> String {
    format!("{:016x}", rand::random::<u64>())
}
