//! Requests. Each has a deadline; what takes longer than some seconds goes on at Freestyle's side and is asked for.

use std::time::Duration;

use crabbox_provider_kit::http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use crabbox_provider_kit::http::{Answer, Bytes, HeaderMap, Http, Method, Query, Refusal, with_query};
use crabbox_provider_kit::protocol::Secret;
use crabbox_provider_kit::{Error, Result};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{background, refused};
use crate::settings::Settings;

/// How long a request may take that only looks or orders.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// How long a request may take that makes, starts or enlarges a machine.
pub(super) const CREATING: Duration = Duration::from_secs(300);

/// How long a request may take that moves bytes.
pub(super) const MOVING: Duration = Duration::from_secs(300);

/// After how many seconds work that a request began goes on without its connection. The official clients say 5.
const BACKGROUND_AFTER: HeaderName = HeaderName::from_static("x-freestyle-background-after-secs");

/// What the versions do differently with every request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dialect {
    /// Where the results of work in the background are.
    pub(super) results: &'static str,
    /// Whether also what is no `POST` may go on in the background.
    pub(super) all_in_background: bool,
}

/// The API, and the key to it.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) http: Http,
    pub(super) dialect: Dialect,
    key: Secret<String>,
}

impl Client {
    /// Connects to nothing yet.
    pub(super) fn new(settings: &Settings, dialect: Dialect) -> Self {
        let name = format!("Freestyle's API at {}", settings.origin);
        let http = Http::new(name, &settings.origin, settings.place.clone()).conceal(settings.key.clone());
        Self { http, dialect, key: settings.key.clone() }
    }

    /// Reads something.
    ///
    /// # Errors
    ///
    /// What was refused, or happened on the way.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str, query: &Query<'_>) -> Result<T> {
        let target = with_query(path, query.iter().copied());
        let answer = self.call(Method::GET, &target, self.headers()?, None, PATIENCE).await?;
        self.decode(path, &answer.map_err(|refusal| refused::error(&refusal))?)
    }

    /// Reads something that may not be there: `None` on the statuses 404 and 410, and on nothing else.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub(super) async fn find<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>> {
        match self.call(Method::GET, path, self.headers()?, None, PATIENCE).await? {
            Ok(answer) => self.decode(path, &answer).map(Some),
            Err(refusal) if refused::is_absent(&refusal) => Ok(None),
            Err(refusal) => Err(refused::error(&refusal)),
        }
    }

    /// Orders something. The inner error is what was refused.
    ///
    /// # Errors
    ///
    /// What happened on the way: then nobody knows whether it was done.
    pub(super) async fn order<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &Value,
        patience: Duration,
    ) -> Result<Result<T, Refusal>> {
        self.order_as(path, self.headers()?, body, patience).await
    }

    /// Orders something, with headers of one's own.
    ///
    /// # Errors
    ///
    /// As [`order`](Self::order).
    pub(super) async fn order_as<T: DeserializeOwned>(
        &self,
        path: &str,
        headers: HeaderMap,
        body: &Value,
        patience: Duration,
    ) -> Result<Result<T, Refusal>> {
        match self.call(Method::POST, path, headers, Some(body), patience).await? {
            Ok(answer) => self.decode(path, &answer).map(Ok),
            Err(refusal) => Ok(Err(refusal)),
        }
    }

    /// Orders something and needs no answer.
    ///
    /// # Errors
    ///
    /// What was refused, or happened on the way.
    pub(super) async fn tell(&self, path: &str, body: &Value, patience: Duration) -> Result<()> {
        let answer = self.call(Method::POST, path, self.headers()?, Some(body), patience).await?;
        answer.map(drop).map_err(|refusal| refused::error(&refusal))
    }

    /// Deletes something; what is not there is no error.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub(super) async fn delete(&self, path: &str) -> Result<()> {
        match self.call(Method::DELETE, path, self.headers()?, None, PATIENCE).await? {
            Ok(_) => Ok(()),
            Err(refusal) if refused::is_absent(&refusal) => Ok(()),
            Err(refusal) => Err(refused::error(&refusal)),
        }
    }

    /// Sends a request with a JSON body, or none, and waits for its answer, however it comes.
    pub(super) async fn call(
        &self,
        method: Method,
        target: &str,
        mut headers: HeaderMap,
        body: Option<&Value>,
        patience: Duration,
    ) -> Result<Result<Answer, Refusal>> {
        if self.dialect.all_in_background || method == Method::POST {
            headers.insert(BACKGROUND_AFTER, HeaderValue::from_static("5"));
        }
        let body = body.map(|body| Bytes::from(body.to_string()));
        if body.is_some() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        self.carry(method, target, headers, body.unwrap_or_default(), patience).await
    }

    /// Sends any request and waits for its answer, however it comes, for as long as `patience`.
    pub(super) async fn carry(
        &self,
        method: Method,
        target: &str,
        headers: HeaderMap,
        body: Bytes,
        patience: Duration,
    ) -> Result<Result<Answer, Refusal>> {
        let begun = tokio::time::Instant::now();
        let answer = self.http.send(method, target, headers, body, patience).await?;
        match answer {
            Ok(answer) if background::is_pending(&answer) => {
                let left = patience.saturating_sub(begun.elapsed());
                background::result(self, &answer, left).await
            }
            answer => Ok(answer),
        }
    }

    /// The headers of every request.
    pub(super) fn headers(&self) -> Result<HeaderMap> {
        let mut value = HeaderValue::from_str(&format!("Bearer {}", self.key.expose()))
            .map_err(|_| Error::config_invalid("the API key has characters that no key has"))?;
        value.set_sensitive(true);
        Ok(HeaderMap::from_iter([(AUTHORIZATION, value)]))
    }

    fn decode<T: DeserializeOwned>(&self, path: &str, answer: &Answer) -> Result<T> {
        // An answer without a body is one without content.
        let body: &[u8] = if answer.body.is_empty() { b"null" } else { &answer.body };
        serde_json::from_slice(body).map_err(|error| {
            Error::provider(format!("the answer to {path} is not what Freestyle answers"))
                .cause(error)
                .hint(format!("is {} Freestyle's API, in the version of `apiVersion`?", self.http.origin()))
        })
    }
}
