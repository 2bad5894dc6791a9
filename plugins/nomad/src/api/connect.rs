//! A connection to the agent: TCP, TLS over it, or a socket of this machine. Nothing else is ever connected to.

use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::Tls;
use crate::address::Address;

/// How long a connection may take.
const CONNECTING: Duration = Duration::from_secs(10);

/// Makes connections to the one address.
#[derive(Debug, Clone)]
pub(crate) struct Connector(Arc<Way>);

#[derive(Debug)]
enum Way {
    Tcp { host: String, port: u16, tls: Option<Tls> },
    Unix(PathBuf),
}

/// Bytes both ways.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A connection to the agent.
pub(crate) type Stream = Box<dyn Io>;

impl Connector {
    pub(crate) fn new(address: &Address, tls: Option<Tls>) -> Self {
        Self(Arc::new(match address {
            Address::Tcp { host, port, .. } => Way::Tcp { host: host.clone(), port: *port, tls },
            Address::Unix(path) => Way::Unix(path.clone()),
        }))
    }

    /// Connects.
    ///
    /// # Errors
    ///
    /// `TimedOut` after ten seconds, `InvalidData` when TLS fails.
    pub(crate) async fn connect(&self) -> io::Result<Stream> {
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, "no connection within 10 s");
        timeout(CONNECTING, self.0.connect()).await.unwrap_or_else(|elapsed| Err(late(elapsed)))
    }
}

impl Way {
    async fn connect(&self) -> io::Result<Stream> {
        let (host, port, tls) = match self {
            Self::Unix(path) => return Ok(Box::new(UnixStream::connect(path).await?)),
            Self::Tcp { host, port, tls } => (host, *port, tls),
        };
        let tcp = TcpStream::connect((host.as_str(), port)).await?;
        tcp.set_nodelay(true)?;
        let Some(tls) = tls else {
            return Ok(Box::new(tcp));
        };
        let name = match &tls.server_name {
            Some(name) => name.clone(),
            None => ServerName::try_from(host.clone()).map_err(io::Error::other)?,
        };
        Ok(Box::new(TlsConnector::from(Arc::clone(&tls.client)).connect(name, tcp).await?))
    }
}

/// For hyper's pool, which knows of one address only.
impl tower_service::Service<Uri> for Connector {
    type Response = Pooled;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Pooled>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move { Ok(Pooled(TokioIo::new(connector.connect().await?))) })
    }
}

/// A connection in hyper's pool.
pub(crate) struct Pooled(TokioIo<Stream>);

impl Connection for Pooled {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Pooled {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl Write for Pooled {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
