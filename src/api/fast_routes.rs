//! Paths that are asked for most, found by comparison: those without parameters, and the seats of
//! an event. actix's table of routes tries its patterns one after another, which takes longer than
//! refusing a hold does: these stand in front of it. Everything else, other methods of these paths
//! too, is left to the table.

use std::future::Future;
use std::rc::Rc;

use actix_web::body::MessageBody;
use actix_web::dev::{ResourceDef, Service, ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::web::{Data, Payload};
use actix_web::{Error, FromRequest};
use futures_util::TryFutureExt;
use futures_util::future::Either;

use super::endpoint::{Endpoint, Served};
use super::state::{RequestContext, State};

/// The paths of one HTTP thread.
#[derive(Clone)]
pub struct FastRoutes {
    paths: Rc<[Entry]>,
    state: Data<State>,
}

struct Entry {
    path: Path,
    method: Method,
    served: Served,
}

enum Path {
    Plain(&'static str),
    /// What stands before and after its one parameter, and who reads that.
    Pattern(&'static str, &'static str, ResourceDef),
}

impl Path {
    fn of(pattern: &'static str) -> Self {
        let parts = pattern.split_once('{').and_then(|(before, rest)| {
            let (_, after) = rest.split_once('}')?;
            Some(Path::Pattern(before, after, ResourceDef::new(pattern)))
        });
        parts.unwrap_or(Path::Plain(pattern))
    }

    /// Whether a request is for this path; its parameter is where handlers find it then.
    fn takes(&self, request: &mut ServiceRequest) -> bool {
        match self {
            Path::Plain(path) => request.path() == *path,
            Path::Pattern(before, after, pattern) => {
                let path = request.path();
                path.starts_with(before)
                    && path.ends_with(after)
                    && pattern.capture_match_info(request.match_info_mut())
            }
        }
    }
}

impl FastRoutes {
    /// Those of these endpoints that can stand in front.
    pub fn of(endpoints: &[Endpoint], state: &Data<State>) -> Self {
        let paths = endpoints.iter().flat_map(|endpoint| {
            let served = endpoint.hot().iter();
            served.map(|(method, served)| Entry {
                path: Path::of(endpoint.path),
                method: method.clone(),
                served: served.clone(),
            })
        });
        FastRoutes { paths: paths.collect(), state: state.clone() }
    }

    /// One that leaves all to the table.
    pub fn none(state: &Data<State>) -> Self {
        FastRoutes { paths: Rc::default(), state: state.clone() }
    }

    /// Serves a request, or hands it to the table.
    pub fn serve<T, B>(
        &self,
        mut request: ServiceRequest,
        table: &T,
    ) -> impl Future<Output = Result<ServiceResponse, Error>> + use<T, B>
    where
        T: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
        B: MessageBody + 'static,
    {
        let Some(served) = self.find(&mut request) else {
            return Either::Left(table.call(request).map_ok(ServiceResponse::map_into_boxed_body));
        };
        let (request, mut payload) = request.into_parts();
        // It takes the payload over and cannot fail.
        let payload = Payload::from_request(&request, &mut payload).into_inner();
        let context = RequestContext::new(request.clone(), self.state.clone());
        let answer = payload.map(|payload| served(context, payload));
        Either::Right(async move { Ok(ServiceResponse::new(request, answer?.await)) })
    }

    fn find(&self, request: &mut ServiceRequest) -> Option<&Served> {
        let mut entries = self.paths.iter();
        let found = entries.find(|one| one.method == request.method() && one.path.takes(request));
        found.map(|one| &one.served)
    }
}
