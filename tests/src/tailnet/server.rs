//! Requests: looked at by somebody strict, and answered.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Response, header};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::{HEADSCALE_KEY, KEY, Kind, Request, Shared, Trouble, plain};

/// The one thing that there is.
const PATH: &str = "/api/v2/tailnet/-/acl";

/// What a client says in any case, and what it says when it writes.
const SAID: [&str; 4] = ["accept", "authorization", "host", "user-agent"];
const SAID_WITH_A_POLICY: [&str; 3] = ["content-length", "content-type", "if-match"];

/// Serves connections until it is dropped.
pub(super) async fn serve(shared: Arc<Shared>, listener: std::net::TcpListener, tls: Option<TlsAcceptor>) {
    let Ok(listener) = TcpListener::from_std(listener) else { return };
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let (shared, tls) = (Arc::clone(&shared), tls.clone());
        tokio::spawn(async move {
            match tls {
                None => connection(shared, stream).await,
                // Who does not trust us hangs up.
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        connection(shared, stream).await;
                    }
                }
            }
        });
    }
}

async fn connection(shared: Arc<Shared>, stream: impl AsyncRead + AsyncWrite + Unpin) {
    let service = service_fn(|request| handle(Arc::clone(&shared), request));
    let connection = hyper::server::conn::http1::Builder::new();
    // Who hangs up has had enough.
    let _ = connection.serve_connection(TokioIo::new(stream), service).await;
}

async fn handle(
    shared: Arc<Shared>,
    request: hyper::Request<Incoming>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let method = parts.method.to_string();
    let complaints = look(&parts, &body);
    shared.state().complaints.extend(complaints.iter().map(|complaint| format!("{method}: {complaint}")));
    let trouble = shared.state().trouble.clone();
    let silent = matches!(trouble, Trouble::WriteSilence) && parts.method == Method::POST;
    if silent || matches!(trouble, Trouble::Silence) {
        shared.state().requests.push(Request { method, status: 0 });
        return std::future::pending().await;
    }
    let response = match trouble {
        Trouble::Answer(status, body) => answer(status, &body),
        Trouble::Redirect(place) => {
            let mut response = answer(307, "");
            if let Ok(place) = format!("{place}{PATH}").parse() {
                response.headers_mut().insert(header::LOCATION, place);
            }
            response
        }
        _ if !complaints.is_empty() => refuse(400, &complaints.join("; ")),
        _ if shared.kind == Kind::HeadscaleBefore => match is_known(&shared, &parts) {
            true => answer(404, "404 page not found\n"),
            false => answer(401, "Unauthorized"),
        },
        _ if !is_known(&shared, &parts) => refuse(401, "API token invalid"),
        trouble if parts.method == Method::GET => read(&shared, &trouble).await,
        Trouble::WriteAnswer(status, body) => answer(status, &body),
        _ => write(&shared, header_of(&parts, "if-match"), &body),
    };
    shared.state().requests.push(Request { method, status: response.status().as_u16() });
    Ok(response)
}

/// Whether a request has the key, as those say it who have such keys: Tailscale's own client by basic authentication.
fn is_known(shared: &Shared, parts: &hyper::http::request::Parts) -> bool {
    let expected = match shared.kind {
        Kind::Tailscale => format!("Basic {}", STANDARD.encode(format!("{KEY}:"))),
        Kind::Headscale | Kind::HeadscaleBefore => format!("Bearer {HEADSCALE_KEY}"),
    };
    header_of(parts, "authorization") == expected
}

fn header_of<'a>(parts: &'a hyper::http::request::Parts, name: &str) -> &'a str {
    parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// What is wrong with a request.
fn look(parts: &hyper::http::request::Parts, body: &[u8]) -> Vec<String> {
    let mut wrong = Vec::new();
    let writes = parts.method == Method::POST;
    if !writes && parts.method != Method::GET {
        wrong.push("the method is neither GET nor POST".to_owned());
    }
    if parts.uri != PATH {
        wrong.push(format!("nothing is at {}", parts.uri));
    }
    if header_of(parts, "accept") != "application/hujson" {
        wrong.push("`Accept` is not application/hujson".to_owned());
    }
    for name in parts.headers.keys() {
        let known = SAID.contains(&name.as_str()) || writes && SAID_WITH_A_POLICY.contains(&name.as_str());
        if !known {
            wrong.push(format!("nobody wants to know `{name}`"));
        }
        if parts.headers.get_all(name).iter().count() > 1 {
            wrong.push(format!("`{name}` is there more than once"));
        }
    }
    if !writes && !body.is_empty() {
        wrong.push("there is a body".to_owned());
    }
    if writes && header_of(parts, "content-type") != "application/hujson" {
        wrong.push("`Content-Type` is not application/hujson".to_owned());
    }
    if writes && header_of(parts, "if-match").is_empty() {
        wrong.push("there is no `If-Match`".to_owned());
    }
    wrong
}

async fn read(shared: &Shared, trouble: &Trouble) -> Response<Full<Bytes>> {
    let (policy, etag, meeting) = {
        let mut state = shared.state();
        let expected = state.expected > 0;
        state.expected = state.expected.saturating_sub(1);
        (state.policy.clone(), state.etag(), state.meeting.clone().filter(|_| expected))
    };
    if let Some(meeting) = meeting {
        meeting.wait().await;
    }
    let mut response = Response::new(Full::new(Bytes::from(policy)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/hujson"));
    if let (false, Ok(etag)) = (matches!(trouble, Trouble::NoEtag), etag.parse()) {
        headers.insert(header::ETAG, etag);
    }
    response
}

fn write(shared: &Shared, if_match: &str, body: &[u8]) -> Response<Full<Bytes>> {
    let mut state = shared.state();
    if let Some(policy) = state.overtaking.pop_front() {
        state.policy = policy;
    }
    if if_match != state.etag() {
        return refuse(412, "precondition failed, invalid old hash");
    }
    let policy = str::from_utf8(body).ok().and_then(plain);
    let policy = policy.and_then(|policy| serde_json::from_str::<Value>(&policy).ok());
    if !policy.as_ref().is_some_and(Value::is_object) {
        state.complaints.push("POST: the policy is no HuJSON".to_owned());
        return refuse(400, "the policy is no HuJSON");
    }
    let owners = policy.as_ref().and_then(|policy| policy["tagOwners"].as_object());
    let owners = owners.into_iter().flatten().flat_map(|(_, owners)| owners.as_array().into_iter().flatten());
    let mut groups = owners.filter_map(Value::as_str).filter(|owner| owner.starts_with("autogroup:"));
    if let (Kind::Headscale, Some(group)) = (shared.kind, groups.next()) {
        let why = json!({"errors": [format!("parsing policy: invalid owner format: {group:?}")]});
        return answer(400, &json!({"message": "setting policy", "data": [why], "status": 400}).to_string());
    }
    state.policy = body.to_vec();
    Response::new(Full::new(Bytes::copy_from_slice(body)))
}

fn refuse(status: u16, message: &str) -> Response<Full<Bytes>> {
    answer(status, &json!({"message": message}).to_string())
}

fn answer(status: u16, body: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::copy_from_slice(body.as_bytes())));
    *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or_default();
    response
}
