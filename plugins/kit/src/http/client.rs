//! Requests. Each has a deadline, and none is redirected.

use std::time::Duration;

use bytes::Bytes;
use crabbox_protocol::Secret;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{HeaderMap, Method, Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::timeout;

use super::connect::{Connector, Place, Stream};
use super::failure::{self, Refusal};
use crate::{Error, Result};

/// The longest answer that is read: a list of many things has megabytes.
const LONGEST: usize = 64 << 20;

/// An HTTP API. Connections are kept and used again.
#[derive(Debug)]
pub struct Http {
    client: Client<Connector, Full<Bytes>>,
    connector: Connector,
    /// What the other side is called in messages: `the Nomad agent at http://127.0.0.1:4646`.
    pub(super) name: String,
    /// What stands before the path of a request.
    origin: String,
    secrets: Vec<Secret<String>>,
    /// What to do when TLS fails.
    pub(super) tls_hint: String,
}

/// An answer whose status says that it worked (200 to 299).
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, all of it.
    pub body: Bytes,
}

impl Answer {
    /// A header's value, if it is there and text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

impl Http {
    /// A client for the API at `place`, which connects to nothing yet. `name` is what the other side is called in
    /// messages; `origin` is `http://HOST:PORT` or `https://HOST:PORT`, for the header `Host`.
    pub fn new(name: impl Into<String>, origin: impl Into<String>, place: Place) -> Self {
        let connector = Connector(place.into());
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(30))
            .build(connector.clone());
        let tls_hint = "is its certificate one that this machine trusts?".to_owned();
        Self { client, connector, name: name.into(), origin: origin.into(), secrets: Vec::new(), tls_hint }
    }

    /// Takes a secret out of every text that comes from the other side.
    pub fn conceal(mut self, secret: Secret<String>) -> Self {
        self.secrets.push(secret);
        self
    }

    /// What the user can do when TLS fails.
    pub fn tls_hint(mut self, hint: impl Into<String>) -> Self {
        self.tls_hint = hint.into();
        self
    }

    /// What stands before the path of a request.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Sends a request for `target`, a path with its query, and reads all of the answer within `patience`. The outer
    /// error is one of the way, the inner one an answer with another status than 200 to 299.
    ///
    /// # Errors
    ///
    /// `unavailable` when there is no connection or no answer in time, or the connection breaks; `configInvalid`
    /// when TLS fails.
    pub async fn send(
        &self,
        method: Method,
        target: &str,
        headers: HeaderMap,
        body: Bytes,
        patience: Duration,
    ) -> Result<Result<Answer, Refusal>> {
        let request = Request::builder().method(method).uri(format!("{}{target}", self.origin));
        let mut request = request
            .body(Full::new(body))
            .map_err(|error| Error::internal("a request could not be made").cause(error))?;
        *request.headers_mut() = headers;
        let exchange = async {
            let response =
                self.client.request(request).await.map_err(|error| failure::sending(self, &error))?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, LONGEST).collect().await;
            Ok((head, body.map_err(|error| failure::reading(self, &*error))?.to_bytes()))
        };
        let late = |_| {
            let message = format!("{} did not answer within {} s", self.name, patience.as_secs());
            Err(Error::unavailable(message).retryable(true))
        };
        let (head, body) = timeout(patience, exchange).await.unwrap_or_else(late)?;
        match head.status.is_success() {
            true => Ok(Ok(Answer { status: head.status, headers: head.headers, body })),
            false => Ok(Err(self.concealed(head.status, head.headers, &body))),
        }
    }

    /// A connection of its own, for what is not a request: a WebSocket.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub async fn connect(&self) -> Result<Stream> {
        self.connector.connect().await.map_err(|error| failure::connecting(self, &error))
    }

    /// Text of the other side for a message: one short line without the secrets.
    pub fn shown(&self, text: &str) -> String {
        self.refusal(StatusCode::OK, text.as_bytes()).text
    }

    /// A refusal, from its status and body: without the secrets, and short.
    pub fn refusal(&self, status: StatusCode, body: &[u8]) -> Refusal {
        self.concealed(status, HeaderMap::new(), body)
    }

    fn concealed(&self, status: StatusCode, headers: HeaderMap, body: &[u8]) -> Refusal {
        let secrets = self.secrets.iter().map(|secret| secret.expose().as_str());
        Refusal::concealing(status, headers, body, secrets)
    }
}
