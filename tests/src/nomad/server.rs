//! Connections, and where a request goes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Response, header};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

use super::acl::Caller;
use super::answer::{Answer, Answered};
use super::faults::Effect;
use super::log::Request;
use super::query::{Query, decoded};
use super::{Agent, evaluations, exec, info, jobs, lock};

/// The body of an answer. Its error is a connection that is cut.
pub(super) type Body = BoxBody<Bytes, std::io::Error>;

/// A request that is on its way through an endpoint.
pub(super) struct Call {
    pub(super) agent: Arc<Agent>,
    pub(super) request: Request,
    /// The path, decoded.
    pub(super) path: String,
    pub(super) query: Query,
    pub(super) caller: Caller,
    /// Comes when the client has hung up, or has its answer.
    pub(super) gone: oneshot::Receiver<()>,
}

/// Serves connections until it is dropped.
pub(super) async fn serve(
    agent: Arc<Agent>,
    listener: std::net::TcpListener,
    socket: Option<std::os::unix::net::UnixListener>,
    tls: Option<TlsAcceptor>,
) {
    let Ok(listener) = TcpListener::from_std(listener) else { return };
    let socket = socket.and_then(|it| UnixListener::from_std(it).ok());
    let accept_local = async || match &socket {
        Some(socket) => socket.accept().await,
        None => std::future::pending().await,
    };
    loop {
        tokio::select! {
            Ok((stream, _)) = listener.accept() => {
                // Without it, small frames wait for each other.
                let _ = stream.set_nodelay(true);
                match &tls {
                    Some(tls) => tokio::spawn(secured(Arc::clone(&agent), tls.clone(), stream)),
                    None => tokio::spawn(connection(Arc::clone(&agent), stream)),
                };
            }
            Ok((stream, _)) = accept_local() => {
                tokio::spawn(connection(Arc::clone(&agent), stream));
            }
        }
    }
}

/// Serves a connection that must speak TLS.
async fn secured(agent: Arc<Agent>, tls: TlsAcceptor, mut stream: TcpStream) {
    let mut first = [0];
    // A handshake begins with this byte; what begins otherwise is told so, as Go's server does.
    if matches!(stream.peek(&mut first).await, Ok(1)) && first != [0x16] {
        let text = "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";
        // What is not read would reset the connection, and the text with it.
        let _ = stream.read(&mut [0; 64 * 1024]).await;
        let _ = stream.write_all(text.as_bytes()).await;
        return;
    }
    // A client that does not trust the certificate ends the handshake.
    if let Ok(stream) = tls.accept(stream).await {
        connection(agent, stream).await;
    }
}

async fn connection<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(agent: Arc<Agent>, stream: S) {
    let service = service_fn(move |request| handle(Arc::clone(&agent), request));
    let connection = hyper::server::conn::http1::Builder::new()
        // Go's default for the header of a request, with which the query of an exec is limited.
        .max_buf_size(1 << 20)
        .title_case_headers(true)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    // A connection that is cut is an error here, and meant.
    let _ = connection.await;
}

async fn handle(
    agent: Arc<Agent>,
    request: hyper::Request<Incoming>,
) -> Result<Response<Body>, std::io::Error> {
    let (parts, body) = request.into_parts();
    let header = |(name, value): (&header::HeaderName, &header::HeaderValue)| {
        (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let mut logged = Request {
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: parts.headers.iter().map(header).collect(),
        body: Vec::new(),
        status: 0,
    };
    let number = {
        let mut log = lock(&agent.log);
        log.requests.push(logged.clone());
        log.requests.len() - 1
    };
    let upgrade = parts.headers.contains_key(header::UPGRADE);
    let mut request = hyper::Request::from_parts(parts, body);
    if !upgrade {
        logged.body = request.body_mut().collect().await.map_err(std::io::Error::other)?.to_bytes().to_vec();
        if let Some(it) = lock(&agent.log).requests.get_mut(number) {
            it.body.clone_from(&logged.body);
        }
    }
    let effect = agent.faults().effect(&logged.method, &logged.path);
    let cut = || std::io::Error::other("the connection is cut");
    match &effect {
        Some(Effect::Answer { status, headers, body }) => {
            let body = body.replace("{token}", logged.token().unwrap_or_default());
            let headers = headers.clone();
            return Ok(told(&agent, number, Answer { status: *status, headers, body: body.into() }));
        }
        Some(Effect::Cut) => return Err(cut()),
        Some(Effect::Silence) => std::future::pending().await,
        _ => {}
    }
    if upgrade && logged.is_exec() && logged.path.starts_with("/v1/client/allocation/") {
        return Ok(match exec::upgrade(&agent, &logged, request) {
            Ok(response) => {
                record(&agent, number, 101);
                response
            }
            Err(answer) => told(&agent, number, answer),
        });
    }
    // Dropped with this future, which is dropped when the client hangs up.
    let (_here, gone) = oneshot::channel();
    let call = Call {
        path: decoded(&logged.path),
        query: Query::parse(&logged.query),
        caller: Caller::of(&agent, &logged),
        agent: Arc::clone(&agent),
        request: logged,
        gone,
    };
    // As with the real one, what is begun is finished, whether or not the client waits for it.
    let answer = match tokio::spawn(route(call)).await {
        Ok(Ok(answer) | Err(answer)) => answer,
        Err(panic) => Answer::error(500, format!("the emulator has failed: {panic}")),
    };
    match effect {
        _ if answer.status == 0 => Err(cut()),
        Some(Effect::CutAfter) => Err(cut()),
        Some(Effect::Delay(time)) => {
            tokio::time::sleep(time).await;
            Ok(told(&agent, number, answer))
        }
        Some(Effect::Half) => {
            let length = answer.body.len();
            let half = answer.body.slice(..length / 2);
            let mut response = told(&agent, number, answer);
            response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
            let pause = futures_util::stream::once(async {
                tokio::time::sleep(Duration::from_millis(20)).await;
                Err(std::io::Error::other("the body is cut"))
            });
            let parts = futures_util::stream::iter([Ok(Frame::data(half))]).chain(pause);
            *response.body_mut() = BoxBody::new(StreamBody::new(parts));
            Ok(response)
        }
        _ => Ok(told(&agent, number, answer)),
    }
}

fn told(agent: &Agent, number: usize, mut answer: Answer) -> Response<Body> {
    record(agent, number, answer.status);
    let zipped = lock(&agent.log).requests.get(number).is_some_and(|it| {
        it.headers
            .get("accept-encoding")
            .is_some_and(|it| it.split(',').any(|it| it.trim().starts_with("gzip")))
    });
    if zipped {
        answer = answer.zipped();
    }
    answer.response()
}

fn record(agent: &Agent, number: usize, status: u16) {
    if let Some(it) = lock(&agent.log).requests.get_mut(number) {
        it.status = status;
    }
}

/// A body of known length.
pub(super) fn whole(bytes: Bytes) -> Body {
    BoxBody::new(Full::new(bytes).map_err(|never| match never {}))
}

async fn route(mut call: Call) -> Answered {
    let path = call.path.clone();
    let region = call.query.get("region");
    let own = &call.agent.options.region;
    let forwarded = !path.starts_with("/v1/agent/") && path != "/v1/regions";
    if forwarded && !region.is_empty() && region != own {
        let known = call.agent.options.regions.iter().any(|it| it == region);
        return Err(Answer::error(500, if known { "No cluster leader" } else { "No path to region" }));
    }
    let rest = |prefix: &str| path.strip_prefix(prefix).map(str::to_owned);
    match &*path {
        "/v1/jobs" => return jobs::jobs(&mut call).await,
        "/v1/evaluations" => return evaluations::list(&call).await,
        "/v1/allocations" => return evaluations::allocations(&call).await,
        _ => {}
    }
    if let Some(rest) = rest("/v1/job/") {
        return jobs::job(&mut call, &rest).await;
    }
    if let Some(rest) = rest("/v1/evaluation/") {
        return evaluations::evaluation(&call, &rest).await;
    }
    if let Some(id) = rest("/v1/allocation/") {
        return evaluations::allocation(&call, &id).await;
    }
    if path.starts_with("/v1/client/allocation/") && path.ends_with("/exec") {
        return Err(exec::no_upgrade(&call.request));
    }
    if path.starts_with("/v1/client/allocation/") {
        return Err(Answer::error(404, "resource not found"));
    }
    if path == "/" || path == "/v1/job" {
        // The agent's own redirects, of the pattern with a slash at its end.
        let to = if path == "/" { "/ui/" } else { "/v1/job/" };
        return Err(Answer::error(307, format!("<a href=\"{to}\">Temporary Redirect</a>.\n\n"))
            .header("location", to));
    }
    info::route(&call, &path)
}

impl Call {
    /// The namespace that the request is about.
    pub(super) fn namespace(&self) -> String {
        match self.query.get("namespace") {
            "" => "default".to_owned(),
            other => other.to_owned(),
        }
    }

    /// Refuses all methods but GET.
    pub(super) fn only_get(&self) -> Result<(), Answer> {
        if self.request.method == "GET" { Ok(()) } else { Err(Answer::invalid_method()) }
    }

    /// Reads, and reads again until the index of what is read is higher than the one that the client has.
    pub(super) async fn blocking(
        &self,
        mut read: impl FnMut(&super::state::State) -> (u64, Answered),
    ) -> Answered {
        let wait = self.query.wait()?;
        let end = tokio::time::Instant::now() + wait.at_most;
        let mut changed = self.agent.changed.subscribe();
        loop {
            let (index, answered) = self.agent.read(&mut read);
            if wait.index == 0 || index > wait.index {
                return answered;
            }
            let more = tokio::time::timeout_at(end, changed.changed()).await;
            if !matches!(more, Ok(Ok(()))) {
                return self.agent.read(&mut read).1;
            }
        }
    }
}
