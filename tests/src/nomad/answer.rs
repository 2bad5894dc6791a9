//! Answers in the agent's form: JSON with the index in headers, errors as plain text.

use std::io::Write;

use bytes::Bytes;
use hyper::{Response, StatusCode, header};
use serde_json::Value;

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
    pub(super) fn json(value: &Value) -> Self {
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        Self { status: 200, headers, body: value.to_string().into() }
    }

    /// An error: a bare text, without an end of line.
    pub(super) fn error(status: u16, text: impl Into<String>) -> Self {
        let headers = vec![("content-type".to_owned(), "text/plain; charset=utf-8".to_owned())];
        Self { status, headers, body: text.into().into() }
    }

    /// No answer: the connection is cut.
    pub(super) fn cut() -> Self {
        Self { status: 0, headers: Vec::new(), body: Bytes::new() }
    }

    /// The error of a method that the endpoint does not have.
    pub(super) fn invalid_method() -> Self {
        Self::error(405, "Invalid method")
    }

    /// The error of a token that may not do this, or that there is not.
    pub(super) fn permission_denied() -> Self {
        Self::error(403, "Permission denied")
    }

    /// What a write says of itself.
    #[must_use]
    pub(super) fn written_at(self, index: u64) -> Self {
        self.header("x-nomad-index", index.to_string())
    }

    /// What a read says of itself.
    #[must_use]
    pub(super) fn read_at(self, index: u64) -> Self {
        self.written_at(index).header("x-nomad-knownleader", "true").header("x-nomad-lastcontact", "0")
    }

    #[must_use]
    pub(super) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// The answer for a client that takes gzip, as which every answer is sent then.
    pub(super) fn zipped(mut self) -> Self {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        // Writing to memory does not fail.
        if encoder.write_all(&self.body).is_ok()
            && let Ok(zipped) = encoder.finish()
        {
            self.body = zipped.into();
            return self.header("content-encoding", "gzip");
        }
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
        response.headers_mut().append(header::VARY, header::HeaderValue::from_static("Accept-Encoding"));
        response
    }
}
