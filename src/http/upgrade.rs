//! Connections that leave HTTP: WebSockets.
//!
//! A request to upgrade passes the application like any other. If it is answered 101, what the handler
//! left in the answer ([`Successor`]) gets the connection, and nothing else is kept: not the request,
//! and not the dispatcher's buffers of 8 KiB for each direction, which the other way (a WebSocket as the
//! body of its answer) would stay as long as the socket. Any other answer ends the connection.

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

/// How long a client may take to close a connection that we closed.
pub const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(1);

type Takes = dyn FnOnce(TcpStream, BytesMut) -> LocalBoxFuture<'static, ()>;

/// What goes on with a connection after a 101.
pub struct Successor(Box<Takes>);

impl Successor {
    /// Calls this with the connection, and with what the client has sent behind its request.
    pub fn new<F, Fut>(takes: F) -> Self
    where
        F: FnOnce(TcpStream, BytesMut) -> Fut + 'static,
        Fut: Future<Output = ()> + 'static,
    {
        Successor(Box::new(move |stream, read| Box::pin(takes(stream, read))))
    }

    /// Leaves it in the answer.
    pub fn succeed(self, answer: &mut HttpResponse) {
        answer.extensions_mut().insert(self);
    }
}

/// Answers one request to upgrade; lasts as long as the connection does.
///
/// # Errors
/// If the application fails. A connection that breaks is no error.
pub async fn serve<S, B>(
    app: &S,
    request: Request,
    framed: Framed<Transport, Codec>,
) -> Result<(), actix_web::Error>
where
    S: Service<Request, Response = ServiceResponse<B>, Error = actix_web::Error>,
    B: MessageBody,
{
    match Box::pin(answer(app, request, framed)).await? {
        Answered::Upgraded(Successor(takes), stream, read) => takes(stream, read).await,
        Answered::Ends(stream) => close(stream).await,
    }
    Ok(())
}

/// What is left of a request that was answered.
enum Answered {
    /// The connection goes on, with what has come of it already.
    Upgraded(Successor, TcpStream, BytesMut),
    /// It does not.
    Ends(TcpStream),
}

/// Has the application answer, and sends that. All that this needs is gone when it returns.
async fn answer<S, B>(
    app: &S,
    request: Request,
    framed: Framed<Transport, Codec>,
) -> Result<Answered, actix_web::Error>
where
    S: Service<Request, Response = ServiceResponse<B>, Error = actix_web::Error>,
    B: MessageBody,
{
    let (_, mut answer) = app.call(request).await?.into_parts();
    let successor = answer.extensions_mut().remove::<Successor>();
    let mut parts = framed.into_parts();
    // A client that is gone notices nothing any more.
    let sent = send(answer, &mut parts).await.is_ok();
    Ok(match successor.filter(|_| sent) {
        // Not the buffer itself, which is large.
        Some(successor) => {
            Answered::Upgraded(successor, parts.io.into_stream(), parts.read_buf[..].into())
        }
        None => Answered::Ends(parts.io.into_stream()),
    })
}

/// Sends the whole answer, at the pace that all responses have.
async fn send<B: MessageBody>(
    answer: HttpResponse<B>,
    parts: &mut FramedParts<Transport, Codec>,
) -> std::io::Result<()> {
    let (mut head, body) = Response::from(answer).into_parts();
    if head.status() != StatusCode::SWITCHING_PROTOCOLS {
        head.head_mut().set_connection_type(ConnectionType::Close);
        // The codec has set itself to a stream without an end; the end of the connection is the body's.
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

/// Ends a connection so that the client can read all that was sent: a client's bytes that nobody has
/// read would have the system throw away ours.
pub async fn close(mut stream: TcpStream) {
    let ends = async {
        stream.shutdown().await?;
        let mut ignored = [0; 512];
        while stream.read(&mut ignored).await? > 0 {}
        Ok::<_, std::io::Error>(())
    };
    // Gone either way.
    let _ = tokio::time::timeout(DISCONNECT_TIMEOUT, ends).await;
}
