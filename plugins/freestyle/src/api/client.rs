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
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// After how many seconds work that a request began goes on without its connection. The official client says 5.
const BACKGROUND_AFTER: HeaderName = HeaderName::from_static("x-freestyle-background-after-secs");

/// The API, and the key to it.
#[derive(Debug)]
pub(crate) struct Api {
    pub(super) http: Http,
    key: Secret<String>,
}

impl Api {
    /// Connects to nothing yet.
    pub(crate) fn new(settings: &Settings) -> Self {
        let name = format!("Freestyle's API at {}", settings.origin);
        let http = Http::new(name, &settings.origin, settings.place.clone()).conceal(settings.key.clone());
        Self { http, key: settings.key.clone() }
    }

    /// Reads something.
    ///
    /// # Errors
    ///
    /// What was refused, or happened on the way.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str, query: &Query<'_>) -> Result<T> {
        let target = with_query(path, query.iter().copied());
        let answer = self.call(Method::GET, &target, None, PATIENCE).await?;
        self.decode(path, &answer.map_err(|refusal| refused::error(&refusal))?)
    }

    /// Reads something that may not be there: `None` on the status 404, and on nothing else.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub(crate) async fn find<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>> {
        match self.call(Method::GET, path, None, PATIENCE).await? {
            Ok(answer) => self.decode(path, &answer).map(Some),
            Err(refusal) if refusal.status.as_u16() == 404 => Ok(None),
            Err(refusal) => Err(refused::error(&refusal)),
        }
    }

    /// Orders something. The inner error is what was refused.
    ///
    /// # Errors
    ///
    /// What happened on the way: then nobody knows whether it was done.
    pub(crate) async fn order<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &Value,
        patience: Duration,
    ) -> Result<Result<T, Refusal>> {
        match self.call(Method::POST, path, Some(body), patience).await? {
            Ok(answer) => self.decode(path, &answer).map(Ok),
            Err(refusal) => Ok(Err(refusal)),
        }
    }

    /// Deletes something; what is not there is no error.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub(crate) async fn delete(&self, path: &str) -> Result<()> {
        match self.call(Method::DELETE, path, None, PATIENCE).await? {
            Ok(_) => Ok(()),
            Err(refusal) if refusal.status.as_u16() == 404 => Ok(()),
            Err(refusal) => Err(refused::error(&refusal)),
        }
    }

    /// What a refusal means to the host.
    pub(crate) fn error(&self, refusal: &Refusal) -> Error {
        refused::error(refusal)
    }

    /// Sends a request with a JSON body, or none, and waits for its answer, however it comes.
    async fn call(
        &self,
        method: Method,
        target: &str,
        body: Option<&Value>,
        patience: Duration,
    ) -> Result<Result<Answer, Refusal>> {
        let mut headers = self.headers()?;
        headers.insert(BACKGROUND_AFTER, HeaderValue::from_static("5"));
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
                .hint(format!("is {} Freestyle's API?", self.http.origin()))
        })
    }
}
