//! Answers in the API's form: JSON, errors as `{"code", "message"}`.

use bytes::Bytes;
use hyper::{Response, StatusCode, header};
use serde_json::{Value, json};

/// An answer, or an error as an answer.
pub(super) type Answered = Result<Answer, Answer>;

/// An answer.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Bytes,
}

impl Answer {
    /// An answer that is JSON.
    pub(super) fn json(status: u16, value: &Value) -> Self {
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        Self { status, headers, body: value.to_string().into() }
    }

    /// An answer that is JSON, with 200.
    pub(super) fn ok(value: &Value) -> Self {
        Self::json(200, value)
    }

    /// An answer without a body.
    pub(super) fn empty() -> Self {
        Self { status: 204, headers: Vec::new(), body: Bytes::new() }
    }

    /// The bytes of a file.
    pub(super) fn bytes(status: u16, body: Vec<u8>) -> Self {
        let headers = vec![("content-type".to_owned(), "application/octet-stream".to_owned())];
        Self { status, headers, body: body.into() }
    }

    /// An error.
    pub(super) fn error(status: u16, code: &str, message: impl Into<String>) -> Self {
        Self::json(status, &json!({"code": code, "message": message.into()}))
    }

    /// The error of a request that makes no sense. The official client names no code for it.
    pub(super) fn bad(message: impl Into<String>) -> Self {
        Self::error(400, "INVALID_REQUEST", message)
    }

    /// The error of something that is not there.
    pub(super) fn not_found(what: &str) -> Self {
        Self::error(404, "NOT_FOUND", format!("{what} not found"))
    }

    /// The error of a route that is not there.
    pub(super) fn no_route(method: &str, path: &str) -> Self {
        Self::error(404, "ROUTE_NOT_FOUND", format!("no route for {method} {path}"))
    }

    #[must_use]
    pub(super) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// The answer for hyper.
    pub(super) fn response(self) -> Response<super::server::Body> {
        let mut response = Response::new(super::server::whole(self.body));
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        for (name, value) in self.headers {
            let name = header::HeaderName::from_bytes(name.as_bytes());
            if let (Ok(name), Ok(value)) = (name, header::HeaderValue::from_bytes(value.as_bytes())) {
                response.headers_mut().append(name, value);
            }
        }
        response
    }
}
