//! Requests to the agent. Each has a deadline, carries region, namespace and token, and follows no redirect.

use std::time::Duration;

use crabbox_provider_kit::http::header::{CONTENT_TYPE, HeaderValue};
use crabbox_provider_kit::http::{
    Answer, Bytes, HeaderMap, Http, Method, Place, Query, Refusal, StatusCode, Stream, with_query,
};
use crabbox_provider_kit::protocol::Secret;
use crabbox_provider_kit::{Error, Result};
use hyper::Request;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::sleep;

use super::{refused, types};
use crate::address::Address;
use crate::settings::Settings;

/// How long a request may take that has nothing to wait for.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long to wait before an agent is asked again that has too much to do, or whose cluster elects a leader.
const PAUSES: &[Duration] = &[
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
];

/// A Nomad agent, and as whom and where we speak to it.
#[derive(Debug)]
pub(crate) struct Api {
    http: Http,
    region: Option<String>,
    namespace: String,
    token: Option<Secret<String>>,
    token_env: String,
}

/// A successful answer.
#[derive(Debug)]
pub(crate) struct Reply<T> {
    /// What it said.
    pub(crate) body: T,
    /// The index to wait after (`X-Nomad-Index`).
    pub(crate) index: u64,
}

impl Api {
    /// Connects to nothing yet.
    pub(crate) fn new(settings: &Settings) -> Self {
        let place = match &settings.address {
            Address::Tcp { host, port, .. } => {
                Place::Tcp { host: host.clone(), port: *port, tls: settings.tls.clone() }
            }
            Address::Unix(path) => Place::Unix(path.clone()),
        };
        let name = format!("the Nomad agent at {}", settings.address);
        let mut http = Http::new(name, settings.address.origin(), place).tls_hint(
            "check `caCert`, `caPath` and `tlsServerName`, and `clientCert` and `clientKey` if the agent wants them",
        );
        if let Some(token) = &settings.token {
            http = http.conceal(token.clone());
        }
        Self {
            http,
            region: settings.configured_region.clone(),
            namespace: settings.namespace.clone(),
            token: settings.token.clone(),
            token_env: settings.token_env.clone(),
        }
    }

    /// Reads something.
    ///
    /// # Errors
    ///
    /// What the agent refused or what happened on the way.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str, query: &Query<'_>) -> Result<T> {
        self.call(Method::GET, path, query, None::<&Value>, PATIENCE).await.map(|reply| reply.body)
    }

    /// Reads something that may not be there: `None` where the agent itself says so, by the status 404 and in its
    /// own words. A 404 of somebody on the way, such as a proxy without a backend, proves nothing.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub(crate) async fn find<T: DeserializeOwned>(&self, path: &str, absent: &str) -> Result<Option<T>> {
        match self.send(Method::GET, path, &[], None, PATIENCE).await? {
            Ok(answer) => Ok(Some(self.decode(path, &answer.body)?)),
            Err(refusal) if refusal.status == StatusCode::NOT_FOUND && refusal.text == absent => Ok(None),
            Err(refusal) if refusal.status == StatusCode::NOT_FOUND => {
                Err(Error::provider(format!("a 404 that is not Nomad's: {}", refusal.text))
                    .hint(format!("does {} lead to the agent?", self.http.origin())))
            }
            Err(refusal) => Err(self.error(&refusal)),
        }
    }

    /// Reads something once it is newer than `index`, or after `wait`. With index 0 at once.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub(crate) async fn watch<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &Query<'_>,
        index: u64,
        wait: Duration,
    ) -> Result<Reply<T>> {
        let (index, wait_ms) = (index.to_string(), format!("{}ms", wait.as_millis().max(1)));
        let query = [query, &[("index", &index), ("wait", &wait_ms)]].concat();
        // The agent adds up to a sixteenth to what it is asked to wait.
        let patience = PATIENCE + wait + wait / 8;
        self.call(Method::GET, path, &query, None::<&Value>, patience).await
    }

    /// Reads without making an error of what the agent refuses: for questions whose refusal is an answer.
    ///
    /// # Errors
    ///
    /// What happened on the way.
    pub(crate) async fn ask<T: DeserializeOwned>(&self, path: &str) -> Result<Result<T, Refusal>> {
        match self.send(Method::GET, path, &[], None, PATIENCE).await? {
            Ok(answer) => Ok(Ok(self.decode(path, &answer.body)?)),
            Err(refusal) => Ok(Err(refusal)),
        }
    }

    /// Registers a job that must not exist. The outer error says that nobody knows whether it does now.
    pub(crate) async fn register(&self, job: &Value) -> Result<Result<types::Registered, Refusal>> {
        let body = serde_json::json!({"Job": job, "EnforceIndex": true, "JobModifyIndex": 0});
        match self.send(Method::PUT, "/v1/jobs", &[], Some(encode(&body)?), PATIENCE).await? {
            Ok(answer) => Ok(Ok(self.decode("/v1/jobs", &answer.body)?)),
            Err(refusal) => Ok(Err(refusal)),
        }
    }

    /// Stops a job, and with `purge` takes it away, with all that is remembered of it. One that is not there is no
    /// error to Nomad.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub(crate) async fn deregister(&self, path: &str, purge: bool) -> Result<()> {
        let purge = if purge { "true" } else { "false" };
        self.call::<_, Value>(Method::DELETE, path, &[("purge", purge)], None::<&Value>, PATIENCE)
            .await
            .map(drop)
    }

    /// A new connection to the agent, and the request target and headers for a WebSocket over it.
    pub(crate) async fn upgrade(&self, path: &str, query: &Query<'_>) -> Result<(Stream, Request<()>)> {
        let websocket =
            format!("{}{}", self.http.origin().replacen("http", "ws", 1), self.target(path, query));
        let mut request = Request::get(websocket)
            .body(())
            .map_err(|error| Error::internal("a request could not be made").cause(error))?;
        self.sign(request.headers_mut())?;
        Ok((self.http.connect().await?, request))
    }

    /// Whether there is a token.
    pub(crate) fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// The variable that the token is looked for in.
    pub(crate) fn token_env(&self) -> &str {
        &self.token_env
    }

    /// What a refusal means to the host.
    pub(crate) fn error(&self, refusal: &Refusal) -> Error {
        refused::error(refusal, self.has_token(), &self.token_env)
    }

    /// Text of the agent's for a message: one short line without the token.
    pub(crate) fn shown(&self, text: &str) -> String {
        self.http.shown(text)
    }

    /// A refusal, from its status and body: without the token, short, in one line.
    pub(crate) fn refusal(&self, status: StatusCode, body: &[u8]) -> Refusal {
        self.http.refusal(status, body)
    }

    async fn call<B: Serialize, T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        query: &Query<'_>,
        body: Option<&B>,
        patience: Duration,
    ) -> Result<Reply<T>> {
        let body = body.map(encode).transpose()?;
        match self.send(method, path, query, body, patience).await? {
            Ok(answer) => {
                let index = answer.header("x-nomad-index").and_then(|value| value.parse().ok()).unwrap_or(0);
                Ok(Reply { body: self.decode(path, &answer.body)?, index })
            }
            Err(refusal) => Err(self.error(&refusal)),
        }
    }

    /// Sends a request, again if the agent says that it could not look at it yet. The outer error is one of the way,
    /// the inner one the agent's answer.
    async fn send(
        &self,
        method: Method,
        path: &str,
        query: &Query<'_>,
        body: Option<Bytes>,
        patience: Duration,
    ) -> Result<Result<Answer, Refusal>> {
        let target = self.target(path, query);
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self.sign(&mut headers)?;
        let body = body.unwrap_or_default();
        for pause in PAUSES {
            match self.http.send(method.clone(), &target, headers.clone(), body.clone(), patience).await? {
                Err(refusal) if refused::is_too_early(&refusal) => sleep(*pause).await,
                answer => return Ok(answer),
            }
        }
        self.http.send(method, &target, headers, body, patience).await
    }

    fn target(&self, path: &str, query: &Query<'_>) -> String {
        let region = self.region.as_deref().map(|region| ("region", region));
        let whose = region.into_iter().chain([("namespace", self.namespace.as_str())]);
        // What is asked for explicitly comes first and wins: Go takes the first of two.
        with_query(path, query.iter().copied().chain(whose))
    }

    fn sign(&self, headers: &mut HeaderMap) -> Result<()> {
        if let Some(token) = &self.token {
            let mut value = HeaderValue::from_str(token.expose()).map_err(|_| {
                Error::config_invalid(format!(
                    "the token in {} has characters that no token has",
                    self.token_env
                ))
            })?;
            value.set_sensitive(true);
            headers.insert("x-nomad-token", value);
        }
        Ok(())
    }

    fn decode<T: DeserializeOwned>(&self, path: &str, body: &[u8]) -> Result<T> {
        serde_json::from_slice(body).map_err(|error| {
            // Not what it says: it may repeat what we sent.
            let place = format!("line {}, column {}", error.line(), error.column());
            Error::provider(format!("the answer to {path} is not what a Nomad agent answers"))
                .cause(place)
                .hint(format!("is {} a Nomad agent?", self.http.origin()))
        })
    }
}

fn encode<B: Serialize>(body: &B) -> Result<Bytes> {
    serde_json::to_vec(body)
        .map(Bytes::from)
        .map_err(|error| Error::internal("a request could not be made").cause(error))
}
