//! The WebSocket of an execution: opening it, and what its end means.

use std::time::Duration;

use crabbox_provider_kit::{Error, Result};
use futures_util::StreamExt as _;
use futures_util::stream::{SplitSink, SplitStream};
use hyper::StatusCode;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};

use super::as_json;
use crate::api::{Api, Stream, one_line};

/// How long the agent may take to answer the handshake.
const HANDSHAKE: Duration = Duration::from_secs(30);

/// The longest message that is read. The agent's have some kilobytes.
const LONGEST: usize = 8 << 20;

/// An open execution.
pub(super) struct Socket {
    pub(super) sink: Sending,
    pub(super) stream: SplitStream<WebSocketStream<Stream>>,
}

/// The half that sends.
pub(super) type Sending = SplitSink<WebSocketStream<Stream>, Message>;

impl Socket {
    /// Asks for a command to be executed. That the agent agrees means nothing yet: what is wrong with the
    /// allocation, the task or the command comes as the first message.
    pub(super) async fn open(api: &Api, allocation: &str, task: &str, command: &[&str]) -> Result<Self> {
        let path = format!("/v1/client/allocation/{allocation}/exec");
        let query = [("task", task), ("command", &as_json(command)), ("tty", "false")];
        let (stream, request) = api.upgrade(&path, &query).await?;
        let internal = |error: &dyn std::fmt::Display| {
            Error::internal("the request to execute something could not be made").cause(error)
        };
        let (parts, ()) = request.into_parts();
        let mut request = parts.uri.into_client_request().map_err(|error| internal(&error))?;
        request.headers_mut().extend(parts.headers);
        let config = WebSocketConfig::default().max_message_size(Some(LONGEST)).max_frame_size(Some(LONGEST));
        let shaking = tokio_tungstenite::client_async_with_config(request, stream, Some(config));
        let late = || Error::unavailable("the agent did not answer the request to execute something");
        let opened = timeout(HANDSHAKE, shaking).await.map_err(|_| late())?;
        let (socket, _) = opened.map_err(|error| match error {
            tungstenite::Error::Http(response) => {
                let body = response.body().as_deref().unwrap_or_default();
                refused(api, response.status(), body)
            }
            other => {
                Error::transport("the connection broke before anything was executed").cause(cause(&other))
            }
        })?;
        let (sink, stream) = socket.split();
        Ok(Self { sink, stream })
    }
}

fn refused(api: &Api, status: StatusCode, body: &[u8]) -> Error {
    let refusal = api.refusal(status, body);
    let error = api.error(&refusal);
    if refusal.is_denial() { denied(error) } else { error }
}

/// What the end of the connection means before anything was heard of the script around the command. Nomad closes with
/// the cause in the reason; without one it may be a text that was too long for a close frame, or a broken connection.
pub(super) fn closed_early(reason: &str) -> Error {
    if reason.is_empty() {
        let error = Error::transport(
            "the agent ended the connection before anything was heard of the shell around the command",
        );
        return error.hint("the agent's log has the cause, if it has one");
    }
    let said = |texts: &[&str]| texts.iter().any(|text| reason.contains(text));
    let error = |make: fn(String) -> Error| make(format!("Nomad executes nothing: {reason}"));
    if said(&["ermission denied", "signed token"]) {
        denied(error(Error::auth))
    } else if said(&[
        "nknown allocation",
        "not possible, client status",
        "not running",
        "not started yet",
        "No path to node",
    ]) {
        error(Error::unavailable).retryable(true)
    } else if said(&["unknown task name", "task not found", "not found in allocation"]) {
        error(Error::config_invalid).hint("`task` in the block `nomad` has to name a task of the job")
    } else if said(&["failed to start command"]) {
        error(Error::prerequisite).hint("a lease needs `/bin/sh`; choose an image that has it")
    } else {
        // Such as the end of the task, which may come at any time.
        let error = Error::transport(
            "the connection ended before anything was heard of the shell around the command",
        );
        error.cause(format!("the agent closed it: {reason}"))
    }
}

fn denied(error: Error) -> Error {
    error.hint(
        "to execute something a token needs `alloc-exec` in the namespace, and with the driver raw_exec \
         `alloc-node-exec` as well; the agent may also have `disable_remote_exec`",
    )
}

/// What broke a connection, in a few words.
pub(super) fn cause(error: &tungstenite::Error) -> String {
    match error {
        tungstenite::Error::Io(error) => error.to_string(),
        other => one_line(&other.to_string()),
    }
}
