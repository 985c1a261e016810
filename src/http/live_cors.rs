//! CORS by the settings in effect: `actix-cors` takes its settings when it is built, so each HTTP thread
//! builds it again once they have changed.

use std::cell::RefCell;
use std::future::{Ready, ready};
use std::rc::Rc;
use std::sync::Arc;

use actix_cors::Cors;
use actix_web::Error;
use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{Service, ServiceRequest, ServiceResponse, Transform, forward_ready};
use futures_util::future::{FutureExt, LocalBoxFuture};

use super::cors;
use crate::config::{Config, LiveConfig};

/// The middleware. Without any allowed site it does nothing.
pub struct LiveCors(pub LiveConfig);

type Built<S> = <Cors as Transform<Rc<S>, ServiceRequest>>::Transform;

/// What was built last, and of which settings.
type Latest<S> = RefCell<Option<(Arc<Config>, Rc<Built<S>>)>>;

/// The middleware around a service of one HTTP thread.
pub struct LiveCorsService<S, B>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    S::Future: 'static,
    B: MessageBody + 'static,
{
    config: LiveConfig,
    inner: Rc<S>,
    built: Latest<S>,
}

impl<S, B> Transform<S, ServiceRequest> for LiveCors
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    S::Future: 'static,
    B: MessageBody + 'static,
{
    type Response = ServiceResponse<EitherBody<B>>;
    type Error = Error;
    type Transform = LiveCorsService<S, B>;
    type InitError = ();
    type Future = Ready<Result<Self::Transform, ()>>;

    fn new_transform(&self, inner: S) -> Self::Future {
        let (config, inner) = (self.0.clone(), Rc::new(inner));
        ready(Ok(LiveCorsService { config, inner, built: RefCell::default() }))
    }
}

impl<S, B> LiveCorsService<S, B>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    S::Future: 'static,
    B: MessageBody + 'static,
{
    /// `actix-cors` for these settings.
    fn built_of(&self, config: &Arc<Config>) -> Option<Rc<Built<S>>> {
        let mut built = self.built.borrow_mut();
        if let Some((of, cors)) = &*built
            && Arc::ptr_eq(of, config)
        {
            return Some(cors.clone());
        }
        let made = cors::middleware(config).new_transform(self.inner.clone());
        // Ready at once, and wrong only with credentials, which are never allowed.
        let made = Rc::new(made.now_or_never()?.ok()?);
        *built = Some((config.clone(), made.clone()));
        Some(made)
    }
}

impl<S, B> Service<ServiceRequest> for LiveCorsService<S, B>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    S::Future: 'static,
    B: MessageBody + 'static,
{
    type Response = ServiceResponse<EitherBody<B>>;
    type Error = Error;
    type Future = LocalBoxFuture<'static, Result<Self::Response, Error>>;

    forward_ready!(inner);

    fn call(&self, request: ServiceRequest) -> Self::Future {
        let config = self.config.load();
        let cors = cors::has_origins(&config).then(|| self.built_of(&config)).flatten();
        match cors {
            Some(cors) => cors.call(request),
            None => {
                let response = self.inner.call(request);
                Box::pin(async move { Ok(response.await?.map_into_left_body()) })
            }
        }
    }
}
