//! What a typed script reply consists of: a code, Redis' time, and the code's fields.
//!
//! [`script_reply!`] declares the replies of a script as an enum: one variant per code of the
//! header, with the fields that the header's `Reply` lists for that code, in this order.
//! `tests/contract.rs` compares every enum with its script's header.

use fred::types::Value;

use crate::domain::Booking;
use crate::redis::error::RedisError;
use crate::redis::value::{text, unexpected};

/// A script's reply and Redis' time of the decision.
#[derive(Clone, Debug, PartialEq)]
pub struct Timed<R> {
    /// What the script decided.
    pub reply: R,
    /// Redis' time, Unix ms.
    pub now_ms: i64,
}

/// The fields of a reply that are not read yet.
pub struct Fields(std::vec::IntoIter<Value>);

/// The replies of one script.
pub trait ScriptReply: Sized {
    /// The codes of the script's header, each with the names of its fields.
    fn variants() -> Vec<(&'static str, Vec<&'static str>)>;
    /// Reads the fields of a code.
    ///
    /// # Errors
    /// If the script has no such code, or its fields are not those of the header.
    fn decode(code: &str, fields: &mut Fields) -> Result<Self, RedisError>;
    /// The code, as in the script's header and in metrics.
    fn code(&self) -> &'static str;
    /// The booking of a reply that shows one.
    fn booking(&self) -> Option<&Booking>;
    /// The booking of a reply that shows one.
    fn into_booking(self) -> Option<Booking>;
}

/// A reply of a script that works on one generation of an event.
pub trait EventReply: ScriptReply {
    /// The event's generation in Redis, if the script refused the caller's.
    fn other_generation(&self) -> Option<u64>;
}

/// A field of a reply: one value, or several that belong together.
pub(in crate::redis) trait ReplyField: Sized {
    /// Its names in the header; `field` is the name of the variant's field.
    fn names(field: &'static str) -> Vec<&'static str> {
        vec![field]
    }
    /// Reads it.
    fn read(fields: &mut Fields) -> Result<Self, RedisError>;
    /// The field, if it is a booking.
    fn booking(&self) -> Option<&Booking> {
        None
    }
    /// The field, if it is a booking.
    fn into_booking(self) -> Option<Booking> {
        None
    }
}

/// Declares the replies of a script.
macro_rules! script_reply {
    (
        $(#[$doc:meta])*
        $vis:vis enum $reply:ident {
            $(
                $(#[$variant_doc:meta])*
                $code:literal => $variant:ident $({
                    $( $(#[$field_doc:meta])* $field:ident: $type:ty ),* $(,)?
                })?
            ),* $(,)?
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq)]
        $vis enum $reply {
            $( $(#[$variant_doc])* $variant $({ $( $(#[$field_doc])* $field: $type ),* })? ),*
        }

        impl $crate::redis::scripts::ScriptReply for $reply {
            fn variants() -> Vec<(&'static str, Vec<&'static str>)> {
                vec![$({
                    let names: Vec<Vec<&'static str>> = vec![$( $(
                        <$type as $crate::redis::scripts::reply::ReplyField>::names(
                            stringify!($field),
                        )
                    ),* )?];
                    ($code, names.concat())
                }),*]
            }

            fn decode(
                code: &str,
                fields: &mut $crate::redis::scripts::reply::Fields,
            ) -> Result<Self, $crate::redis::RedisError> {
                let _ = &fields;
                Ok(match code {
                    $( $code => Self::$variant $({
                        $( $field: $crate::redis::scripts::reply::ReplyField::read(fields)? ),*
                    })?, )*
                    other => {
                        let text = format!("reply code {other:?} of {}", stringify!($reply));
                        return Err($crate::redis::RedisError::Unexpected(text));
                    }
                })
            }

            fn code(&self) -> &'static str {
                match self { $( Self::$variant { .. } => $code ),* }
            }

            fn booking(&self) -> Option<&$crate::domain::Booking> {
                match self { $(
                    Self::$variant $({ $($field),* })? => {
                        None $( $( .or_else(|| {
                            $crate::redis::scripts::reply::ReplyField::booking($field)
                        }) )* )?
                    }
                ),* }
            }

            fn into_booking(self) -> Option<$crate::domain::Booking> {
                match self { $(
                    Self::$variant $({ $($field),* })? => {
                        None $( $( .or_else(|| {
                            $crate::redis::scripts::reply::ReplyField::into_booking($field)
                        }) )* )?
                    }
                ),* }
            }
        }
    };
}
pub(in crate::redis) use script_reply;

/// Declares a struct whose second block of fields is read from consecutive fields of a reply; the
/// first block is filled in by the caller.
macro_rules! reply_group {
    (
        $(#[$doc:meta])*
        $vis:vis struct $group:ident {
            $( $(#[$extra_doc:meta])* $extra:ident: $extra_type:ty ),* $(,)?
        } {
            $( $(#[$field_doc:meta])* $field:ident: $type:ty ),* $(,)?
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq)]
        $vis struct $group {
            $( $(#[$extra_doc])* pub $extra: $extra_type, )*
            $( $(#[$field_doc])* pub $field: $type, )*
        }

        impl $crate::redis::scripts::reply::ReplyField for $group {
            fn names(_: &'static str) -> Vec<&'static str> {
                let names: Vec<Vec<&'static str>> = vec![$(
                    <$type as $crate::redis::scripts::reply::ReplyField>::names(
                        stringify!($field),
                    )
                ),*];
                names.concat()
            }

            fn read(
                fields: &mut $crate::redis::scripts::reply::Fields,
            ) -> Result<Self, $crate::redis::RedisError> {
                Ok($group {
                    $( $extra: Default::default(), )*
                    $( $field: $crate::redis::scripts::reply::ReplyField::read(fields)?, )*
                })
            }
        }
    };
}
pub(in crate::redis) use reply_group;

/// Declares the replies of a script that works on one generation of an event: those that are
/// listed, and the three refusals that all such scripts share.
macro_rules! event_reply {
    (
        $(#[$doc:meta])*
        $vis:vis enum $reply:ident { $($variants:tt)* }
    ) => {
        $crate::redis::scripts::reply::script_reply! {
            $(#[$doc])*
            $vis enum $reply {
                $($variants)*
                /// `not_after` had passed; nothing was changed.
                "too_late" => TooLate,
                /// Redis does not have the event open.
                "event_not_loaded" => EventNotLoaded,
                /// Redis has another generation of the event than the caller.
                "generation_mismatch" => GenerationMismatch {
                    /// The generation in Redis.
                    generation: u64,
                },
            }
        }

        impl $crate::redis::scripts::EventReply for $reply {
            fn other_generation(&self) -> Option<u64> {
                match self {
                    Self::GenerationMismatch { generation } => Some(*generation),
                    _ => None,
                }
            }
        }
    };
}
pub(in crate::redis) use event_reply;

impl<R: ScriptReply> Timed<R> {
    /// Reads `[code, now, fields...]`.
    pub(in crate::redis) fn parse(value: Value) -> Result<Self, RedisError> {
        let Value::Array(values) = value else {
            return Err(unexpected(format!("a reply that is no list: {value:?}")));
        };
        let mut fields = Fields(values.into_iter());
        let code = text(fields.0.next())?;
        let now_ms = i64::read(&mut fields)?;
        let reply = R::decode(&code, &mut fields)?;
        match fields.0.next() {
            None => Ok(Timed { reply, now_ms }),
            Some(more) => Err(unexpected(format!("{more:?} after the fields of {code}"))),
        }
    }

    /// The reply's code.
    pub fn code(&self) -> &'static str {
        self.reply.code()
    }

    /// The booking of a reply that shows one.
    pub fn booking(&self) -> Option<&Booking> {
        self.reply.booking()
    }

    /// The booking of a reply that must show one.
    ///
    /// # Errors
    /// If it shows none.
    pub fn into_booking(self) -> Result<Booking, RedisError> {
        let code = self.code();
        let booking = self.reply.into_booking();
        booking.ok_or_else(|| unexpected(format!("{code} without a booking")))
    }
}

impl Fields {
    /// Whether a field is left.
    pub(in crate::redis) fn has_more(&self) -> bool {
        !self.0.as_slice().is_empty()
    }

    /// The next field; null if none is left.
    pub(super) fn next(&mut self) -> Value {
        self.0.next().unwrap_or(Value::Null)
    }
}

impl<T: ReplyField> ReplyField for Box<T> {
    fn names(field: &'static str) -> Vec<&'static str> {
        T::names(field)
    }

    fn read(fields: &mut Fields) -> Result<Self, RedisError> {
        T::read(fields).map(Box::new)
    }

    fn booking(&self) -> Option<&Booking> {
        (**self).booking()
    }

    fn into_booking(self) -> Option<Booking> {
        (*self).into_booking()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{SeatId, SeatState};
    use crate::redis::HoldReply;

    fn parse(values: &[&str]) -> Result<Timed<HoldReply>, RedisError> {
        Timed::parse(Value::Array(values.iter().map(|text| Value::from(*text)).collect()))
    }

    #[test]
    fn reply_with_fields_is_decoded_by_code() {
        let reply = |values| parse(values).unwrap().reply;
        assert_eq!(reply(&["too_late", "5"]), HoldReply::TooLate);
        let early = parse(&["not_on_sale", "5", "7"]).unwrap();
        assert_eq!((early.now_ms, early.reply), (5, HoldReply::NotOnSale { on_sale_at_ms: 7 }));
        let states = vec![(SeatId(3), SeatState::Hold), (SeatId(4), SeatState::Booked)];
        let unavailable = reply(&["seats_unavailable", "5", "3:h,4:b"]);
        assert_eq!(unavailable, HoldReply::SeatsUnavailable { states });
    }

    #[test]
    fn malformed_reply_is_refused() {
        assert!(Timed::<HoldReply>::parse(Value::Null).is_err());
        for values in [
            &["no_such_code", "5"][..],
            &["too_late"],
            &["too_late", "5", "6"],
            &["not_on_sale", "5"],
            &["ok", "5"],
        ] {
            assert!(parse(values).is_err(), "{values:?}");
        }
    }
}
