//! Opens connections without the client library: TCP, TLS or a Unix socket, and the login.

use std::io;

use bytes::BytesMut;
use fred::clients::Client;
use fred::interfaces::ClientLike;
use fred::types::Value;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use super::address::{Deployment, NodeAddress, RedisAddress};
use super::resp::{Reply, take_reply, write_command};

/// A connection that has logged in, to a server that answers.
pub(super) struct Stream {
    pub(super) reader: ReadHalf<Box<dyn Transport>>,
    pub(super) writer: WriteHalf<Box<dyn Transport>>,
}

/// What bytes go over.
pub(super) trait Transport: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Transport for T {}

/// Opens connections to one server.
pub(super) struct Dialer {
    address: RedisAddress,
    /// A Cluster's node.
    node: Option<NodeAddress>,
    /// Knows which server the Sentinels name.
    library: Client,
}

impl Dialer {
    /// Connections to a Cluster's node, or to the server that `library` is connected to.
    pub(super) fn new(address: &RedisAddress, node: Option<&NodeAddress>, library: Client) -> Self {
        Dialer { address: address.clone(), node: node.cloned(), library }
    }

    /// Opens one.
    ///
    /// # Errors
    /// If the server cannot be reached, is not believed, or refuses the login.
    pub(super) async fn connect(&self) -> io::Result<Stream> {
        let transport: Box<dyn Transport> = match (&self.node, self.address.deployment()) {
            (Some(node), _) => self.tcp(node).await?,
            (None, Deployment::Unix(path)) => Box::new(UnixStream::connect(path).await?),
            (None, Deployment::Centralised(node)) => self.tcp(node).await?,
            (None, Deployment::Sentinel { .. } | Deployment::Cluster(_)) => {
                let server = self.library.active_connections().into_iter().next();
                let server = server.ok_or_else(|| io::Error::other("no server is known"))?;
                let node = NodeAddress { host: server.host.to_string(), port: server.port };
                self.tcp(&node).await?
            }
        };
        let (reader, writer) = split(transport);
        let mut stream = Stream { reader, writer };
        for (name, args) in self.address.login() {
            stream.command(name, &args).await?;
        }
        // A frozen server accepts connections, too.
        stream.command("PING", &[]).await?;
        Ok(stream)
    }

    async fn tcp(&self, node: &NodeAddress) -> io::Result<Box<dyn Transport>> {
        // The brackets of IPv6 belong to URLs.
        let host = node.host.trim_matches(['[', ']']);
        let stream = TcpStream::connect((host, node.port)).await?;
        stream.set_nodelay(true)?;
        let Some(tls) = self.address.tls().map_err(io::Error::other)? else {
            return Ok(Box::new(stream));
        };
        let name = ServerName::try_from(tls.server_name.unwrap_or_else(|| host.to_owned()));
        let connector = TlsConnector::from(tls.config);
        Ok(Box::new(connector.connect(name.map_err(io::Error::other)?, stream).await?))
    }
}

impl Stream {
    /// Sends one command and waits for its reply, before others are sent.
    async fn command(&mut self, name: &str, args: &[Value]) -> io::Result<()> {
        let mut command = Vec::new();
        write_command(&mut command, name, args).map_err(io::Error::other)?;
        self.writer.write_all(&command).await?;
        self.writer.flush().await?;
        let mut input = BytesMut::new();
        loop {
            match take_reply(&mut input).map_err(io::Error::other)? {
                Some(Reply::Value(_)) => return Ok(()),
                Some(Reply::Error(text)) => return Err(io::Error::other(text)),
                None if self.reader.read_buf(&mut input).await? == 0 => {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                None => {}
            }
        }
    }
}
