//! Connections, faults, and where a request goes.

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
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use super::answer::{Answer, Answered};
use super::faults::{Effect, Late};
use super::log::{KEPT, Request};
use super::query::{Query, segments};
use super::{Cloud, background, edge, exec, files, firewall, lock, power, tls, v1, vms};

/// The body of an answer. Its error is a connection that is cut.
pub(super) type Body = BoxBody<Bytes, std::io::Error>;

/// A request that is on its way through an endpoint.
pub(super) struct Call {
    pub(super) cloud: Arc<Cloud>,
    pub(super) request: Request,
    /// The body, all of it.
    pub(super) body: Bytes,
    pub(super) query: Query,
    /// After how long the request may go on in the background, if at all.
    pub(super) window: Option<Duration>,
}

/// Serves connections until it is dropped.
pub(super) async fn serve(cloud: Arc<Cloud>, listener: std::net::TcpListener) {
    let Ok(listener) = TcpListener::from_std(listener) else { return };
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            // Without it, small answers wait.
            let _ = stream.set_nodelay(true);
            tokio::spawn(connection(Arc::clone(&cloud), stream));
        }
    }
}

async fn connection(cloud: Arc<Cloud>, stream: TcpStream) {
    let service = service_fn(move |request| handle(Arc::clone(&cloud), request));
    let connection = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    // A connection that is cut is an error here, and meant.
    let _ = connection.await;
}

async fn handle(
    cloud: Arc<Cloud>,
    request: hyper::Request<Incoming>,
) -> Result<Response<Body>, std::io::Error> {
    if let Some(domain) = edge::domain(&cloud, &request) {
        return Ok(edge::pass(cloud, domain, request).await);
    }
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
        length: 0,
        status: 0,
    };
    let number = {
        let mut log = lock(&cloud.log);
        log.requests.push(logged.clone());
        log.requests.len() - 1
    };
    let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
    logged.body = body[..body.len().min(KEPT)].to_vec();
    logged.length = body.len();
    cloud.logged(number, |it| (it.body, it.length) = (logged.body.clone(), logged.length));
    let effect = cloud.faults().effect(&logged.method, &logged.path, &body);
    let cut = || std::io::Error::other("the connection is cut");
    match &effect {
        Some(Effect::Answer { status, headers, body }) => {
            let body = body.replace("{token}", logged.token().unwrap_or_default());
            let body = body.replace("{request}", &String::from_utf8_lossy(&logged.body));
            let headers = headers.clone();
            return Ok(told(&cloud, number, Answer { status: *status, headers, body: body.into() }));
        }
        Some(Effect::Cut) => return Err(cut()),
        Some(Effect::Silence) => std::future::pending().await,
        _ => {}
    }
    if let Err(refusal) = allowed(&cloud, &logged) {
        return Ok(told(&cloud, number, refusal));
    }
    let window = logged.headers.get(background::AFTER).and_then(|text| text.parse().ok());
    let v1 = !logged.path.starts_with("/v5/");
    let call = Call {
        query: Query::parse(&logged.query),
        window: window.map(Duration::from_secs),
        cloud: Arc::clone(&cloud),
        request: logged,
        body,
    };
    if let Some(late) = late_create(&call) {
        // Dropped with this future, which is dropped when the client hangs up.
        let (_here, gone) = oneshot::channel::<()>();
        // What is begun is finished, whether or not the client waits for it.
        let work = tokio::spawn(async move {
            match late {
                Late::AfterRequest(time) => tokio::time::sleep(time).await,
                Late::AfterHangUp(time) => {
                    let _ = gone.await;
                    tokio::time::sleep(time).await;
                }
                Late::WhenHealed => {
                    let _ = gone.await;
                    while matches!(call.cloud.faults().late_create, Some(Late::WhenHealed)) {
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                }
            }
            let _ = route(call).await;
        });
        let _ = work.await;
        return Err(cut());
    }
    let window = call.window.filter(|_| !call.request.path.contains("/background-requests/"));
    let work = tokio::spawn(route(call));
    let answer = background::wait(&cloud, work, window, v1).await;
    match effect {
        Some(Effect::CutAfter) => Err(cut()),
        Some(Effect::Delay(time)) => {
            tokio::time::sleep(time).await;
            Ok(told(&cloud, number, answer))
        }
        Some(Effect::Half) => {
            let length = answer.body.len();
            let half = answer.body.slice(..length / 2);
            let mut response = told(&cloud, number, answer);
            response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
            let pause = futures_util::stream::once(async {
                tokio::time::sleep(Duration::from_millis(20)).await;
                Err(std::io::Error::other("the body is cut"))
            });
            let parts = futures_util::stream::iter([Ok(Frame::data(half))]).chain(pause);
            *response.body_mut() = BoxBody::new(StreamBody::new(parts));
            Ok(response)
        }
        _ => Ok(told(&cloud, number, answer)),
    }
}

/// Says when a create takes effect, if it is one, and late.
fn late_create(call: &Call) -> Option<Late> {
    let create = call.request.method == "POST" && matches!(&*call.request.path, "/v5/vms" | "/v1/vms");
    call.cloud.faults().late_create.clone().filter(|_| create)
}

/// Says whether the key is good.
fn allowed(cloud: &Cloud, request: &Request) -> Result<(), Answer> {
    match request.token() {
        // They are the only ones without a key.
        _ if matches!(&*request.path, "/status" | "/openapi.json") => Ok(()),
        None => Err(Answer::error(401, "MISSING_CREDENTIALS", "no credentials were provided")),
        Some(key) if cloud.options.keys.iter().any(|it| it == key) => Ok(()),
        Some(_) => Err(Answer::error(401, "INVALID_API_KEY", "the API key is invalid")),
    }
}

fn told(cloud: &Cloud, number: usize, answer: Answer) -> Response<Body> {
    cloud.logged(number, |it| it.status = answer.status);
    answer.response()
}

/// A body of known length.
pub(super) fn whole(bytes: Bytes) -> Body {
    BoxBody::new(Full::new(bytes).map_err(|never| match never {}))
}

async fn route(call: Call) -> Answered {
    let path = segments(&call.request.path);
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let method = call.request.method.as_str();
    match (method, &*path) {
        ("GET", ["status"]) => Ok(Answer::ok(&serde_json::json!({"status": "ok"}))),
        ("POST", ["v5", "vms"]) => vms::create(&call).await,
        ("GET", ["v5", "vms"]) => vms::list(&call),
        ("GET", ["v5", "vms", vm]) => vms::get(&call, vm),
        ("PATCH", ["v5", "vms", vm]) => vms::patch(&call, vm),
        ("DELETE", ["v5", "vms", vm]) => vms::delete(&call, vm).await,
        ("POST", ["v5", "vms", vm, "start"]) => power::start(&call, vm).await,
        ("POST", ["v5", "vms", vm, "pause"]) => power::pause(&call, vm),
        ("POST", ["v5", "vms", vm, "resize"]) => power::resize(&call, vm),
        ("POST", ["v5", "vms", vm, "exec-await"]) => exec::exec(&call, vm).await,
        (_, ["v5", "vms", vm, "fs", rest @ ..]) => files::route(&call, vm, rest).await,
        (_, ["v5", "firewall", "rules", rest @ ..]) => firewall::route(&call, rest),
        (_, ["v5", "tls", rest @ ..]) => tls::route(&call, rest),
        ("GET", ["v5", "background-requests", id]) => background::poll(&call.cloud, id),
        _ => v1::route(&call, &path).await,
    }
}
