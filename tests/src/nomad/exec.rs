//! The exec endpoint: the upgrade, who may, and what can be wrong with what is asked.
//!
//! Facts: `command/agent/alloc_endpoint.go`, `command/agent/websockets.go` and `client/alloc_endpoint.go` of 2.0.5.

use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use hyper::body::Incoming;
use hyper::{Response, header};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::acl::Caller;
use super::answer::Answer;
use super::log::{Exec, Request};
use super::query::{Query, decoded, parse_bool};
use super::server::{Body, whole};
use super::{Agent, frames, lock, relay};

/// The connection of an exec.
pub(super) type Socket = WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>;

/// What an exec ends with that could not be begun.
pub(super) struct Refusal {
    code: u16,
    text: String,
}

impl Refusal {
    /// An error that the API has a status for, which becomes "policy violation" whichever it is.
    pub(super) fn policy(text: impl Into<String>) -> Self {
        Self { code: 1008, text: text.into() }
    }

    /// An error without a status, or with 500.
    pub(super) fn internal(text: impl Into<String>) -> Self {
        Self { code: 1011, text: text.into() }
    }
}

/// Answers an upgrade, and runs the exec in the background.
pub(super) fn upgrade(
    agent: &Arc<Agent>,
    request: &Request,
    mut upgrade: hyper::Request<Incoming>,
) -> Result<Response<Body>, Answer> {
    let header = |name: &str| request.headers.get(name).map_or("", String::as_str);
    let has =
        |name: &str, token: &str| header(name).split(',').any(|it| it.trim().eq_ignore_ascii_case(token));
    let refused = |status: u16, reason: &str, why: &str| {
        let text = format!("{reason}\nfailed to upgrade connection: websocket: {why}");
        Err(Answer::error(status, text).header("sec-websocket-version", "13"))
    };
    if !has("connection", "upgrade") || !has("upgrade", "websocket") {
        return Err(no_upgrade(request));
    }
    if request.method != "GET" {
        let why = "the client is not using the websocket protocol: request method is not GET";
        return refused(405, "Method Not Allowed", why);
    }
    if header("sec-websocket-version") != "13" {
        return refused(
            400,
            "Bad Request",
            "unsupported version: 13 not found in 'Sec-Websocket-Version' header",
        );
    }
    let origin = header("origin").split_once("://").map_or("", |(_, host)| host);
    if !header("origin").is_empty() && !origin.eq_ignore_ascii_case(header("host")) {
        return refused(403, "Forbidden", "request origin not allowed by Upgrader.CheckOrigin");
    }
    let key = header("sec-websocket-key");
    if key.len() != 24 {
        let why = "not a websocket handshake: 'Sec-WebSocket-Key' header must be Base64 encoded value of 16-byte \
                   in length";
        return refused(400, "Bad Request", why);
    }
    let accept = derive_accept_key(key.as_bytes());
    let (agent, request) = (Arc::clone(agent), request.clone());
    let upgraded = hyper::upgrade::on(&mut upgrade);
    tokio::spawn(async move {
        let Ok(upgraded) = upgraded.await else { return };
        let mut socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
        if let Err(refusal) = exec(&agent, &request, &mut socket).await
            && let Some(frame) = frames::close(refusal.code, &refusal.text)
        {
            // The client may have gone.
            let _ = socket.send(frame).await;
        }
    });
    let response = Response::builder()
        .status(101)
        .header(header::UPGRADE, "websocket")
        .header(header::CONNECTION, "Upgrade")
        .header(header::SEC_WEBSOCKET_ACCEPT, accept)
        .body(whole(bytes::Bytes::new()));
    response.map_err(|error| Answer::error(500, error.to_string()))
}

/// The answer to a request that is no upgrade, though the endpoint speaks nothing but WebSocket.
pub(super) fn no_upgrade(request: &Request) -> Answer {
    let query = Query::parse(&request.query);
    match command_of(&query) {
        Ok(_) => Answer::error(500, "websocket connection not found in context"),
        Err(refusal) => Answer::error(500, refusal.text),
    }
}

/// The command that is asked for.
fn command_of(query: &Query) -> Result<Vec<String>, Refusal> {
    serde_json::from_str(query.get("command")).map_err(|error| {
        let why = match query.get("command") {
            "" => "unexpected end of JSON input".to_owned(),
            text => super::decode::syntax(text.as_bytes(), &error),
        };
        Refusal::internal(format!("failed to marshal command into json: {why}"))
    })
}

/// Checks what is asked, and runs it.
async fn exec(agent: &Arc<Agent>, request: &Request, socket: &mut Socket) -> Result<(), Refusal> {
    let query = Query::parse(&request.query);
    let token = handshake(&query, request, socket).await?;
    let path = decoded(&request.path);
    let id = path.trim_start_matches("/v1/client/allocation/").trim_end_matches("/exec");
    let command = command_of(&query)?;
    if !query.get("tty").is_empty() && parse_bool(query.get("tty")).is_none() {
        let why = format!("strconv.ParseBool: parsing {:?}: invalid syntax", query.get("tty"));
        return Err(Refusal::internal(format!("tty value is not a boolean: {why}")));
    }
    let task = query.get("task").to_owned();
    let number = {
        let mut log = lock(&agent.log);
        let exec = Exec {
            allocation: id.to_owned(),
            task: task.clone(),
            command: command.clone(),
            ..Exec::default()
        };
        log.execs.push(exec);
        log.execs.len() - 1
    };
    let denied = || Refusal::internal("Permission denied");
    if !agent.options.remote_exec {
        return Err(denied());
    }
    if !query.get("region").is_empty() && query.get("region") != agent.options.region {
        // The real one looks for a way there, and tells nothing of having found none.
        std::future::pending::<()>().await;
    }
    if id.len() != 36 {
        return Err(Refusal::internal("alloc lookup failed: index error: UUID must be 36 characters"));
    }
    let allocation = agent.read(|state| state.allocations.get(id).filter(|it| !it.purged).cloned());
    let Some(allocation) = allocation else {
        return Err(Refusal::policy(format!("Unknown allocation {id:?}")));
    };
    let caller = Caller::with_token(agent, token.as_deref());
    if matches!(caller, Caller::Unknown) {
        let junk = super::acl::junk(token.as_deref().unwrap_or_default());
        return Err(Refusal::policy(format!("rpc error: {}", junk.unwrap_or("Permission denied"))));
    }
    if !caller.may(|grants| grants.may(&allocation.namespace, "alloc-exec")) {
        return Err(denied());
    }
    if task.is_empty() {
        return Err(Refusal::policy("must provide task name"));
    }
    if command.is_empty() {
        return Err(Refusal::policy("command is not present"));
    }
    let Some(driver) = allocation.task_of_job(&task).map(|it| it["Driver"].clone()) else {
        return Err(Refusal::internal("task not found"));
    };
    let isolated = driver != "raw_exec";
    if !isolated && !caller.may(|grants| grants.may(&allocation.namespace, "alloc-node-exec")) {
        return Err(denied());
    }
    let Some(state) = allocation.tasks.get(&task) else {
        return Err(Refusal::policy(format!("unknown task name {task:?}")));
    };
    if state.started.is_none() {
        return Err(Refusal::policy(format!("task {task:?} not started yet.")));
    }
    if state.state != "running" || state.pid.is_none() {
        return Err(Refusal::policy(format!("task {task:?} is not running.")));
    }
    if let Some(text) = agent.faults().exec_failure() {
        return Err(Refusal::internal(text));
    }
    let relay = relay::Relay { agent: Arc::clone(agent), allocation, task, command, isolated, number };
    relay.run(socket).await
}

/// The token of the request, or that of a handshake if one is announced.
async fn handshake(query: &Query, request: &Request, socket: &mut Socket) -> Result<Option<String>, Refusal> {
    let of_request = request.token().map(str::to_owned);
    match query.get("ws_handshake") {
        "" => return Ok(of_request),
        text => match parse_bool(text) {
            Some(true) => {}
            Some(false) => return Ok(of_request),
            None => {
                let why = format!("strconv.ParseBool: parsing {text:?}: invalid syntax");
                return Err(Refusal::policy(format!("ws_handshake value is not a boolean: {why}")));
            }
        },
    }
    let first =
        socket.next().await.and_then(Result::ok).and_then(|it| it.into_text().ok()).unwrap_or_default();
    let first: serde_json::Value = serde_json::from_str(&first).unwrap_or_default();
    let token = first["auth_token"].as_str().unwrap_or_default().to_owned();
    if of_request.is_some_and(|it| it != token) {
        return Err(Refusal::policy("handshake auth token mismatched auth header token"));
    }
    if first["version"] != 1 {
        let version = first["version"].as_i64().unwrap_or_default();
        return Err(Refusal::policy(format!("unexpected handshake value: {version}")));
    }
    Ok(Some(token))
}
