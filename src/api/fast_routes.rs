//! Finds the busiest routes by comparing paths: routes without path parameters, and those that are
//! marked fast. actix's router tries its patterns one after another, which takes longer than refusing
//! a hold does. All other requests go to the router.

use std::future::Future;
use std::rc::Rc;

use actix_web::body::MessageBody;
use actix_web::dev::{Service as InnerService, ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::web::{Data, Payload};
use actix_web::{Error, FromRequest};
use futures_util::TryFutureExt;
use futures_util::future::Either;

use super::endpoint::{Route, Service};
use super::state::{RequestContext, State};

/// The fast routes of one HTTP thread.
#[derive(Clone)]
pub struct FastRoutes {
    routes: Rc<[FastRoute]>,
    state: Data<State>,
}

struct FastRoute {
    path: Path,
    method: Method,
    service: Service,
}

enum Path {
    Plain(String),
    /// A path with one parameter.
    Pattern {
        before: String,
        name: String,
        after: String,
    },
}

impl Path {
    fn new(pattern: &str) -> Self {
        let parts = pattern.split_once('{').and_then(|(before, rest)| {
            let (name, after) = rest.split_once('}')?;
            let [before, name, after] = [before, name, after].map(str::to_owned);
            Some(Path::Pattern { before, name, after })
        });
        parts.unwrap_or_else(|| Path::Plain(pattern.to_owned()))
    }

    /// Whether a request is for this path; its parameter is captured as the router would. A parameter
    /// with escapes is left to the router.
    fn matches(&self, request: &mut ServiceRequest) -> bool {
        match self {
            Path::Plain(path) => request.path() == path,
            Path::Pattern { before, name, after } => {
                let value = request.path().strip_prefix(before.as_str());
                let value = value.and_then(|rest| rest.strip_suffix(after.as_str()));
                let is_plain = |value: &&str| !value.is_empty() && !value.contains(['/', '%']);
                let Some(value) = value.filter(is_plain).map(str::to_owned) else { return false };
                request.match_info_mut().add_static(name.clone(), value);
                true
            }
        }
    }
}

impl FastRoutes {
    /// The fast ones of these routes.
    pub fn new(routes: &[Route], state: &Data<State>) -> Self {
        let is_fast = |route: &&Route| {
            let options = route.options;
            !options.is_compressed && (options.is_fast || !route.path.contains('{'))
        };
        let fast = routes.iter().filter(is_fast).map(|route| FastRoute {
            path: Path::new(&route.path),
            method: route.method.clone(),
            service: route.service.clone(),
        });
        FastRoutes { routes: fast.collect(), state: state.clone() }
    }

    /// Serves a request of a fast route, if `is_here`, and passes every other one to the router.
    pub fn serve<T, B>(
        &self,
        is_here: bool,
        mut request: ServiceRequest,
        router: &T,
    ) -> impl Future<Output = Result<ServiceResponse, Error>> + use<T, B>
    where
        T: InnerService<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
        B: MessageBody + 'static,
    {
        let Some(service) = is_here.then(|| self.find(&mut request)).flatten() else {
            return Either::Left(router.call(request).map_ok(ServiceResponse::map_into_boxed_body));
        };
        let (request, mut payload) = request.into_parts();
        // The extractor takes the payload over and cannot fail.
        let payload = Payload::from_request(&request, &mut payload).into_inner();
        let context = RequestContext::new(request.clone(), self.state.clone());
        let response = payload.map(|payload| service(context, payload));
        Either::Right(async move { Ok(ServiceResponse::new(request, response?.await)) })
    }

    fn find(&self, request: &mut ServiceRequest) -> Option<&Service> {
        let mut routes = self.routes.iter();
        let found = routes.find(|one| one.method == request.method() && one.path.matches(request));
        found.map(|one| &one.service)
    }
}
