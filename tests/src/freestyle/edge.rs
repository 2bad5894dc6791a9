//! The edge: what has a published name as its `Host` goes to the port of the VM that the name stands for.
//!
//! The real one ends TLS on port 443. Here it is plain HTTP on the emulator's own port.

use std::sync::Arc;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::{Request, Response, header};
use hyper_util::rt::TokioIo;

use super::answer::Answer;
use super::server::Body;
use super::tls::FREE_DOMAIN;
use super::{Cloud, power};

/// The published name that a request is for, if it is for one.
pub(super) fn domain(cloud: &Cloud, request: &Request<Incoming>) -> Option<String> {
    let host = request.headers().get(header::HOST)?.to_str().ok()?;
    let host = host.rsplit_once(':').map_or(host, |(name, _)| name).to_ascii_lowercase();
    let known = || cloud.read(|state| state.destination(&host).is_some());
    (host.ends_with(FREE_DOMAIN) || known()).then_some(host)
}

/// Passes a request on, and everything after an upgrade.
pub(super) async fn pass(
    cloud: Arc<Cloud>,
    domain: String,
    mut request: Request<Incoming>,
) -> Response<Body> {
    let text = |status: u16, text: &str| Answer::bytes(status, text.into()).response();
    let Some((vm, port)) = cloud.read(|state| state.destination(&domain)) else {
        return text(404, "no such domain\n");
    };
    if power::awake(&cloud, &vm, true).await.is_err() {
        return text(502, "the VM does not run\n");
    }
    // Guests share the host's network.
    let Ok(stream) = tokio::net::TcpStream::connect(("127.0.0.1", port)).await else {
        return text(502, "nothing listens on the VM's port\n");
    };
    let Ok((mut sender, connection)) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await
    else {
        return text(502, "the VM's port does not speak HTTP\n");
    };
    tokio::spawn(connection.with_upgrades());
    let upgrade = request.headers().contains_key(header::UPGRADE).then(|| hyper::upgrade::on(&mut request));
    let Ok(mut response) = sender.send_request(request).await else {
        return text(502, "the VM's port does not answer\n");
    };
    if response.status() == 101
        && let Some(client) = upgrade
    {
        let server = hyper::upgrade::on(&mut response);
        tokio::spawn(async move {
            let (Ok(client), Ok(server)) = (client.await, server.await) else { return };
            // Either side may end it.
            let (mut client, mut server) = (TokioIo::new(client), TokioIo::new(server));
            let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
        });
    }
    response.map(|body| body.map_err(std::io::Error::other).boxed())
}

impl super::state::State {
    /// The VM and the port that a published name stands for.
    fn destination(&self, domain: &str) -> Option<(String, u16)> {
        let mapped = || self.mappings.get(domain).cloned();
        self.tls.iter().find_map(|rule| rule.lands_on(domain)).or_else(mapped)
    }
}
