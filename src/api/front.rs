//! Paths without parameters, found by comparison. actix's table of routes tries its patterns one
//! after another, which takes longer than refusing a hold does: what is asked for most stands in
//! front of it. Everything else, other methods of these paths too, is left to the table.

use std::future::Future;
use std::rc::Rc;

use actix_web::body::MessageBody;
use actix_web::dev::{Service, ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::web::{Data, Payload};
use actix_web::{Error, FromRequest};
use futures_util::TryFutureExt;
use futures_util::future::Either;

use super::endpoint::{Endpoint, Served};
use super::state::{Call, State};

/// The paths of one HTTP thread.
#[derive(Clone)]
pub struct Front {
    paths: Rc<[(&'static str, Method, Served)]>,
    state: Data<State>,
}

impl Front {
    /// Those of these endpoints that can stand in front.
    pub fn of(endpoints: &[Endpoint], state: &Data<State>) -> Self {
        let paths = endpoints.iter().flat_map(|endpoint| {
            let served = endpoint.plain().iter();
            served.map(|(method, served)| (endpoint.path, method.clone(), served.clone()))
        });
        Front { paths: paths.collect(), state: state.clone() }
    }

    /// One that leaves all to the table.
    pub fn none(state: &Data<State>) -> Self {
        Front { paths: Rc::default(), state: state.clone() }
    }

    /// Serves a request, or hands it to the table.
    pub fn serve<T, B>(
        &self,
        request: ServiceRequest,
        table: &T,
    ) -> impl Future<Output = Result<ServiceResponse, Error>> + use<T, B>
    where
        T: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
        B: MessageBody + 'static,
    {
        let Some(served) = self.find(request.method(), request.path()) else {
            return Either::Left(table.call(request).map_ok(ServiceResponse::map_into_boxed_body));
        };
        let (request, mut payload) = request.into_parts();
        // It takes the payload over and cannot fail.
        let payload = Payload::from_request(&request, &mut payload).into_inner();
        let call = Call::new(request.clone(), self.state.clone());
        let answer = payload.map(|payload| served(call, payload));
        Either::Right(async move { Ok(ServiceResponse::new(request, answer?.await)) })
    }

    fn find(&self, method: &Method, path: &str) -> Option<&Served> {
        let found = self.paths.iter().find(|(of, by, _)| *of == path && by == method);
        found.map(|(_, _, served)| served)
    }
}
