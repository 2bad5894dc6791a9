//! Nomad's HTTP API as a test asks for it: one blocking request at a time, without TLS.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

/// Who is asked, and as whom.
#[derive(Clone)]
pub struct Client {
    host: String,
    port: u16,
    token: Option<String>,
    namespace: Option<String>,
    region: Option<String>,
}

/// A secret is not for the output of a test that has failed.
impl std::fmt::Debug for Client {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Client")
            .field("host", &self.host)
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Asks this host without a token.
    pub fn new(host: &str, port: u16) -> Self {
        Self { host: host.to_owned(), port, token: None, namespace: None, region: None }
    }

    /// Asks an address such as `http://127.0.0.1:4646`. `None`: it is not one for plain HTTP over TCP.
    pub fn of_address(address: &str) -> Option<Self> {
        let authority = address.strip_prefix("http://")?.trim_end_matches('/');
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().ok()?),
            None => (authority, 80),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let plain = !host.is_empty() && !host.contains(['/', '@', '?', '#']);
        plain.then(|| Self::new(host, port))
    }

    /// The same, with a token.
    #[must_use]
    pub fn with_token(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self
    }

    /// The same, for a namespace and a region other than the agent's own.
    #[must_use]
    pub fn within(mut self, namespace: Option<String>, region: Option<String>) -> Self {
        (self.namespace, self.region) = (namespace, region);
        self
    }

    /// The token that it asks with.
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// Asks, and returns the status and the text.
    ///
    /// # Panics
    ///
    /// When there is no answer.
    pub fn request(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, String) {
        self.try_request(method, path, body).unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// Reads, and returns `None` where there is nothing.
    ///
    /// # Panics
    ///
    /// When the answer is neither 200 with JSON nor 404.
    pub fn get(&self, path: &str) -> Option<Value> {
        match self.request("GET", path, None) {
            (404, _) => None,
            (status, text) => Some(parsed("GET", path, status, &text)),
        }
    }

    /// Writes.
    ///
    /// # Panics
    ///
    /// When the answer is not 200.
    pub fn post(&self, path: &str, body: &Value) -> Value {
        let (status, text) = self.request("POST", path, Some(body));
        parsed("POST", path, status, &text)
    }

    /// Registers a job that must not be there yet, and says under which evaluation.
    ///
    /// # Panics
    ///
    /// When it is refused.
    pub fn register(&self, job: &Value) -> String {
        let body = serde_json::json!({"Job": job, "EnforceIndex": true, "JobModifyIndex": 0});
        self.post("/v1/jobs", &body)["EvalID"].as_str().unwrap_or_default().to_owned()
    }

    /// Stops a job and forgets it. One that is not there is no error.
    ///
    /// # Panics
    ///
    /// When it is refused.
    pub fn purge(&self, id: &str) {
        let path = format!("/v1/job/{id}?purge=true");
        let (status, text) = self.request("DELETE", &path, None);
        parsed("DELETE", &path, status, &text);
    }

    /// A job, or `None` where it is not there.
    pub fn job(&self, id: &str) -> Option<Value> {
        self.get(&format!("/v1/job/{id}"))
    }

    /// The jobs whose id begins so, with their metadata, in a namespace or in all (`*`); stopped ones, too.
    pub fn jobs(&self, prefix: &str, namespace: &str) -> Vec<Value> {
        list(self.get(&format!("/v1/jobs?meta=true&prefix={prefix}&namespace={namespace}")))
    }

    /// The allocations of a job, as they are listed. Those of a job that was purged are gone at once, although their
    /// processes may not be.
    pub fn allocations(&self, job: &str) -> Vec<Value> {
        list(self.get(&format!("/v1/job/{job}/allocations?all=true")))
    }

    /// Asks, and says what went wrong where there is no answer.
    pub(in crate::nomad) fn try_request(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(u16, String), String> {
        self.ask(method, path, body).map_err(|error| error.to_string()).and_then(|answer| {
            let (head, text) = answer.split_once("\r\n\r\n").ok_or("the answer is not HTTP")?;
            let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
            Ok((status.ok_or("the answer has no status")?, text.to_owned()))
        })
    }

    /// HTTP/1.0, to which neither chunks nor a connection that is kept are an answer.
    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> std::io::Result<String> {
        let mut path = path.to_owned();
        for (name, value) in [("namespace", &self.namespace), ("region", &self.region)] {
            if let Some(value) = value.as_ref().filter(|_| !path.contains(&format!("{name}="))) {
                path += if path.contains('?') { "&" } else { "?" };
                path += &format!("{name}={value}");
            }
        }
        let body = body.map(Value::to_string).unwrap_or_default();
        let token =
            self.token.as_ref().map(|token| format!("X-Nomad-Token: {token}\r\n")).unwrap_or_default();
        let mut stream = TcpStream::connect((&*self.host, self.port))?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\nHost: {}\r\n{token}Content-Length: {length}\r\n\r\n{body}",
            self.host
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }
}

fn parsed(method: &str, path: &str, status: u16, text: &str) -> Value {
    assert_eq!(status, 200, "{method} {path}: {text}");
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{method} {path}: {error}: {text}"))
}

fn list(value: Option<Value>) -> Vec<Value> {
    match value {
        Some(Value::Array(all)) => all,
        _ => Vec::new(),
    }
}
