//! The JSON-RPC 2.0 envelope, as it is written.

use serde::{Deserialize, Serialize};

use crate::{ErrorObject, RequestId};

/// The value of `jsonrpc` in every message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[schemars(inline)]
pub enum Version {
    /// JSON-RPC 2.0.
    #[default]
    #[serde(rename = "2.0")]
    V2,
}

/// A request, host to plugin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Request<P> {
    /// `2.0`.
    pub jsonrpc: Version,
    /// The request's number; the response carries it.
    pub id: RequestId,
    /// The method's name.
    pub method: String,
    /// The method's parameters.
    pub params: P,
}

/// A notification: nobody answers it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Note<P> {
    /// `2.0`.
    pub jsonrpc: Version,
    /// The notification's name.
    pub method: String,
    /// Its parameters; `request` says which request it belongs to.
    pub params: P,
}

/// The response to a request that succeeded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Success<R> {
    /// `2.0`.
    pub jsonrpc: Version,
    /// The number of the request.
    pub id: RequestId,
    /// The method's result.
    pub result: R,
}

/// The response to a request that failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Failure {
    /// `2.0`.
    pub jsonrpc: Version,
    /// The number of the request.
    pub id: RequestId,
    /// What went wrong.
    pub error: ErrorObject,
}

impl<P> Request<P> {
    /// Makes a request.
    pub fn new(id: RequestId, method: impl Into<String>, params: P) -> Self {
        Self { jsonrpc: Version::V2, id, method: method.into(), params }
    }
}

impl<P> Note<P> {
    /// Makes a notification.
    pub fn new(method: impl Into<String>, params: P) -> Self {
        Self { jsonrpc: Version::V2, method: method.into(), params }
    }
}

impl<R> Success<R> {
    /// Makes a response that carries a result.
    pub fn new(id: RequestId, result: R) -> Self {
        Self { jsonrpc: Version::V2, id, result }
    }
}

impl Failure {
    /// Makes a response that carries an error.
    pub fn new(id: RequestId, error: ErrorObject) -> Self {
        Self { jsonrpc: Version::V2, id, error }
    }
}

/// Encodes a message as one line with its LF.
///
/// # Errors
///
/// Only what the message's own `Serialize` returns; the types of this crate return none.
pub fn encode(message: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    Ok(line)
}
