//! Schemas of bounded fields. The document takes their bounds from their types: `#[schema(inline)]`.

use utoipa::openapi::schema::{KnownFormat, Schema, SchemaFormat, Type};
use utoipa::openapi::{ObjectBuilder, RefOr};
use utoipa::{PartialSchema, ToSchema};

use crate::http::fields::{Amount, Text, Time, Whole};

impl<const MIN: u32, const MAX: u32> PartialSchema for Whole<MIN, MAX> {
    fn schema() -> RefOr<Schema> {
        let whole = ObjectBuilder::new().schema_type(Type::Integer);
        whole.format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
            .minimum(Some(MIN))
            .maximum(Some(MAX))
            .into()
    }
}

impl<const MIN: u32, const MAX: u32> ToSchema for Whole<MIN, MAX> {}

impl<const MAX: i64> PartialSchema for Amount<MAX> {
    fn schema() -> RefOr<Schema> {
        let amount = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0));
        let amount = amount.format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)));
        // The largest of all is no bound that a document could express exactly.
        match MAX {
            i64::MAX => amount.into(),
            max => amount.maximum(Some(max)).into(),
        }
    }
}

impl<const MAX: i64> ToSchema for Amount<MAX> {}

impl<const MIN: usize, const MAX: usize> PartialSchema for Text<MIN, MAX> {
    /// The bounds are in bytes; the document has them in characters, of which there are as many or fewer.
    fn schema() -> RefOr<Schema> {
        let text = ObjectBuilder::new().schema_type(Type::String);
        text.min_length(Some(MIN)).max_length(Some(MAX)).into()
    }
}

impl<const MIN: usize, const MAX: usize> ToSchema for Text<MIN, MAX> {}

impl PartialSchema for Time {
    fn schema() -> RefOr<Schema> {
        let time = ObjectBuilder::new().schema_type(Type::String);
        time.format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime))).into()
    }
}

impl ToSchema for Time {}
