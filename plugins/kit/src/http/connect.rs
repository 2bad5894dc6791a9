//! A connection to the one address: TCP, TLS over it, or a socket of this machine. Nothing else is ever connected to.

use std::fmt;
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
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::{Error, Result};

/// How long a connection may take.
const CONNECTING: Duration = Duration::from_secs(10);

/// Where an API is served.
#[derive(Debug, Clone)]
pub enum Place {
    /// A port of a machine.
    Tcp {
        /// A name or an IP address; one of version 6 has no brackets.
        host: String,
        /// The port.
        port: u16,
        /// How TLS is spoken there, if it is.
        tls: Option<Tls>,
    },
    /// A socket on this machine, over which plain HTTP is spoken.
    Unix(PathBuf),
}

/// How TLS is spoken.
#[derive(Clone)]
pub struct Tls {
    /// Whom we trust, and who we are. It must not offer HTTP/2.
    pub client: Arc<ClientConfig>,
    /// The name that the certificate has to bear, where it is not the host's.
    pub server_name: Option<ServerName<'static>>,
}

impl Tls {
    /// TLS 1.2 at least, with the authorities that this machine trusts.
    ///
    /// # Errors
    ///
    /// `internal`, should the cryptography not be there.
    pub fn of_this_machine() -> Result<Self> {
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::internal("TLS does not work").cause(error))?;
        let client = builder.with_root_certificates(authorities()).with_no_client_auth();
        Ok(Self { client: Arc::new(client), server_name: None })
    }
}

/// The certificate authorities that this machine trusts. Reading them takes some milliseconds.
pub fn authorities() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

/// Makes connections to one place.
#[derive(Debug, Clone)]
pub(super) struct Connector(pub(super) Arc<Place>);

/// Bytes both ways.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A connection.
pub type Stream = Box<dyn Io>;

impl Connector {
    /// Connects.
    ///
    /// # Errors
    ///
    /// `TimedOut` after ten seconds, `InvalidData` when TLS fails.
    pub(super) async fn connect(&self) -> io::Result<Stream> {
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, "no connection within 10 s");
        timeout(CONNECTING, self.0.connect()).await.unwrap_or_else(|elapsed| Err(late(elapsed)))
    }
}

impl Place {
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
pub(super) struct Pooled(TokioIo<Stream>);

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
