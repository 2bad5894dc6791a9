//! A client for the HTTP API of a backend: one address, no redirects, no secrets in any text.
//!
//! A credential goes to the place that the user has configured and nowhere else. So there is nothing here that
//! follows a redirect or a URL from an answer, or that asks the environment for a proxy.

mod client;
mod connect;
mod failure;
mod path;

pub use bytes::Bytes;
pub use client::{Answer, Http};
pub use connect::{Io, Place, Stream, Tls, authorities};
pub use failure::{Refusal, one_line};
pub use hyper::header;
pub use hyper::{HeaderMap, Method, StatusCode};
pub use path::{Query, segment, with_query};
pub use tokio_rustls::rustls;
