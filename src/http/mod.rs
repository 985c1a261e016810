//! The HTTP toolkit: connections, request heads and bodies, problems and responses. It imports no
//! route.

pub mod body;
pub mod connections;
pub mod cors;
pub mod fields;
pub mod head;
pub mod headers;
pub mod live_cors;
pub mod monitoring;
pub mod origin;
pub mod outgoing;
pub mod params;
pub mod per_client;
pub mod problem;
pub mod reply;
pub mod request_head;
pub mod response_memory;
pub mod transport;
pub mod upgrade;
pub mod words;

/// What a handler returns: a response, or the problem that is rendered in its place.
pub type HandlerResult = Result<actix_web::HttpResponse, problem::Problem>;
