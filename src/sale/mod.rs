//! The use cases of a sale: what the API, the worker and the operator's tool ask for.

pub mod error;
pub mod types;

pub use error::SaleError;
pub use types::*;
