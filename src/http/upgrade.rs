//! Upgrades connections from HTTP to another protocol (WebSocket).
//!
//! The application handles an upgrade request like any other. After a 101, the [`Successor`] that the
//! handler attached to the response takes over the connection, and everything else is freed: the request,
//! and the dispatcher's buffers of 8 KiB for each direction. (A WebSocket as the body of its response would
//! keep them.) Any other response closes the connection.

use std::pin::pin;
use std::time::Duration;

use actix_codec::{Framed, FramedParts};
use actix_http::body::{BodySize, MessageBody};
use actix_http::h1::{Codec, Message};
use actix_http::{Request, Response};
use actix_service::Service;
use actix_web::HttpResponse;
use actix_web::dev::ServiceResponse;
use actix_web::http::{ConnectionType, StatusCode};
use actix_web::web::BytesMut;
use futures_util::future::{LocalBoxFuture, poll_fn};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::codec::Encoder;

use super::transport::Transport;

/// How long a client may take to close a connection that the server has closed.
pub const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(1);

type TakeOver = dyn FnOnce(TcpStream, BytesMut) -> LocalBoxFuture<'static, ()>;

/// Takes over a connection after a 101.
pub struct Successor(Box<TakeOver>);

impl Successor {
    /// Calls this with the connection, and with the bytes that the client sent after its request.
    pub fn new<F, Fut>(take_over: F) -> Self
    where
        F: FnOnce(TcpStream, BytesMut) -> Fut + 'static,
        Fut: Future<Output = ()> + 'static,
    {
        Successor(Box::new(move |stream, read| Box::pin(take_over(stream, read))))
    }

    /// Attaches it to the response.
    pub fn attach_to(self, response: &mut HttpResponse) {
        response.extensions_mut().insert(self);
    }
}

/// Serves one upgrade request, and the connection until it is closed.
///
/// # Errors
/// If the application fails. A broken connection is not an error.
pub async fn serve<S, B>(
    app: &S,
    request: Request,
    framed: Framed<Transport, Codec>,
) -> Result<(), actix_web::Error>
where
    S: Service<Request, Response = ServiceResponse<B>, Error = actix_web::Error>,
    B: MessageBody,
{
    match Box::pin(respond(app, request, framed)).await? {
        Outcome::Upgraded(Successor(take_over), stream, read) => take_over(stream, read).await,
        Outcome::Closing(stream) => close(stream).await,
    }
    Ok(())
}

/// The connection after the response.
enum Outcome {
    /// It is upgraded, with the bytes that were read already.
    Upgraded(Successor, TcpStream, BytesMut),
    /// It has to be closed.
    Closing(TcpStream),
}

/// Calls the application and sends its response. All buffers of HTTP are freed when it returns.
async fn respond<S, B>(
    app: &S,
    request: Request,
    framed: Framed<Transport, Codec>,
) -> Result<Outcome, actix_web::Error>
where
    S: Service<Request, Response = ServiceResponse<B>, Error = actix_web::Error>,
    B: MessageBody,
{
    let (_, mut response) = app.call(request).await?.into_parts();
    let successor = response.extensions_mut().remove::<Successor>();
    let mut parts = framed.into_parts();
    // A send that fails means that the client is gone.
    let sent = send(response, &mut parts).await.is_ok();
    Ok(match successor.filter(|_| sent) {
        // The bytes are copied, so that the large buffer is freed.
        Some(successor) => {
            Outcome::Upgraded(successor, parts.io.into_stream(), parts.read_buf[..].into())
        }
        None => Outcome::Closing(parts.io.into_stream()),
    })
}

/// Sends the whole response, with the limits of all responses.
async fn send<B: MessageBody>(
    response: HttpResponse<B>,
    parts: &mut FramedParts<Transport, Codec>,
) -> std::io::Result<()> {
    let (mut head, body) = Response::from(response).into_parts();
    if head.status() != StatusCode::SWITCHING_PROTOCOLS {
        head.head_mut().set_connection_type(ConnectionType::Close);
        // The codec treats an upgrade as an endless stream; the body ends with the connection.
        head.head_mut().no_chunking(true);
    }
    let (codec, out) = (&mut parts.codec, &mut parts.write_buf);
    let size = body.size();
    codec.encode(Message::Item((head, size)), out)?;
    if !matches!(size, BodySize::None | BodySize::Sized(0)) {
        let mut body = pin!(body);
        while let Some(bytes) = poll_fn(|context| body.as_mut().poll_next(context)).await {
            let broke = |_| std::io::Error::other("the body ended too soon");
            let bytes = bytes.map_err(broke)?;
            codec.encode(Message::Chunk(Some(bytes)), out)?;
            parts.io.write_all(out).await?;
            out.clear();
        }
        codec.encode(Message::Chunk(None), out)?;
    }
    parts.io.write_all(out).await
}

/// Closes a connection so that the client can read everything that was sent: if unread bytes of the
/// client remained, the kernel would reset the connection and drop what was sent.
pub async fn close(mut stream: TcpStream) {
    let drained = async {
        stream.shutdown().await?;
        let mut ignored = [0; 512];
        while stream.read(&mut ignored).await? > 0 {}
        Ok::<_, std::io::Error>(())
    };
    // It is closed in any case.
    let _ = tokio::time::timeout(DISCONNECT_TIMEOUT, drained).await;
}
