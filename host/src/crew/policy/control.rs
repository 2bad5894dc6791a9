//! The control plane of a tailnet, as far as policies go.
//!
//! Facts (github.com/tailscale/tailscale, api.md): `GET` and `POST` on `/api/v2/tailnet/{tailnet}/acl`; the key is the
//! user of basic authentication, the password is empty; an `ETag` comes in quotes and goes back as it came; a policy
//! that changed in between is a 412, one whose tests fail a 400 with `message` and `data`.
//!
//! headscale has no such API up to 0.29.1, which answers 404 to its own key as a bearer token, and 401 to anything else.
//! Its next version has the same one (seen at f20f1f12 of github.com/juanfont/headscale): writing is a 400 unless its
//! policy is in its database.

use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use ureq::http::{Method, Uri};

use super::super::API_KEY;
use super::edit::edit;
use super::{Owners, Standing};
use crate::Exit;
use crate::config::Env;
use crate::error::{Error, Result};
use crate::http::{Answer, Failure, Request, ask, is_loopback};
use crate::output::{foreign, hide};

/// The variable that names the control plane that leases log in to.
const CONTROL_URL: &str = "TS_CONTROL_URL";

/// How Tailscale's keys begin, and headscale's since 0.28.
const TAILSCALES: &str = "tskey-";
pub(super) const HEADSCALES: &str = "hskey-";

/// Where it is unless somebody says otherwise.
const PUBLIC: &str = "https://api.tailscale.com";

/// How long a request may take.
const PATIENCE: Duration = Duration::from_secs(6);

/// How long a policy may be, in bytes.
const LONGEST: usize = 256 * 1024;

/// What is to be said where the answer to a written policy did not come.
pub(crate) const MAYBE_WRITTEN: &str =
    "the tailnet's policy may have been written: `crabbox doctor --crew NAME` looks";

/// What is not escaped in a path.
const PLAIN: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A control plane and the key to it. The key is never shown.
#[derive(Clone)]
pub(crate) struct Control {
    api: String,
    tailnet: String,
    authorization: String,
    owners: Owners,
    patience: Duration,
    /// Why it has no API that we know of.
    elsewhere: Option<String>,
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control")
            .field("api", &self.api)
            .field("tailnet", &self.tailnet)
            .finish_non_exhaustive()
    }
}

/// A policy as it was read, and what it is called.
struct Read {
    policy: Vec<u8>,
    etag: String,
}

/// What came of an attempt to write.
enum Attempt {
    Standing(Standing),
    Overtaken,
}

impl Control {
    /// The control plane that the environment names. Without `TS_API_KEY` there is none.
    pub(crate) fn of(env: &Env) -> Result<Option<Self>> {
        let text = |name: &str| env.text(name).map_err(|why| Error::usage(format!("`{name}`: {why}")));
        let Some(key) = text(API_KEY)? else { return Ok(None) };
        let basic = STANDARD.encode(format!("{key}:"));
        hide(key);
        hide(&basic);
        let authorization = match key.starts_with(TAILSCALES) {
            true => format!("Basic {basic}"),
            false => format!("Bearer {key}"),
        };
        if key.contains(|c: char| c == ':' || c.is_whitespace() || c.is_control()) {
            return Err(Error::usage("`TS_API_KEY` is no key: there is a colon or a blank in it"));
        }
        let mut api = ("", PUBLIC);
        for name in ["TS_API_URL", "CRABBOX_TS_API_URL"] {
            if let Some(url) = text(name)? {
                api = (name, url);
            }
        }
        // The key of another control plane is none of Tailscale's business.
        let control = control_url(env)?.filter(|url| api.0.is_empty() && !is_tailscales(url));
        let elsewhere = control.map(|url| {
            format!(
                "{CONTROL_URL} names {}, and CRABBOX_TS_API_URL does not say where its API is",
                foreign(url)
            )
        });
        let api = base(api.1).map_err(|why| Error::usage(format!("`{}` cannot be used: {why}", api.0)))?;
        let tailnet = text("TS_TAILNET")?.unwrap_or("-");
        if [".", ".."].contains(&tailnet) {
            return Err(Error::usage(format!("`TS_TAILNET`: `{tailnet}` is no tailnet")));
        }
        let tailnet = utf8_percent_encode(tailnet, &PLAIN).to_string();
        let owners = Owners::of(env);
        Ok(Some(Self { api, tailnet, authorization, owners, patience: PATIENCE, elsewhere }))
    }

    /// The same, with less time for a request.
    pub(crate) fn within(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Where it is.
    pub(crate) fn api(&self) -> &str {
        &self.api
    }

    /// Whether the rows of a tag are in the policy. Nothing is changed.
    pub(crate) async fn look(&self, tag: &str) -> Result<Standing> {
        match self.read().await? {
            Err(why) => Ok(Standing::NoApi(why)),
            Ok(read) => Ok(match self.edited(&read, tag)? {
                None => Standing::There,
                Some(_) => Standing::Missing,
            }),
        }
    }

    /// Sees to it that the rows of a tag are in the policy. Who is overtaken by somebody else tries again, once. While
    /// `writing` is true, an answer to what was written is waited for.
    pub(crate) async fn ensure(&self, tag: &str, writing: &AtomicBool) -> Result<Standing> {
        for _ in 0..2 {
            if let Attempt::Standing(standing) = self.attempt(tag, writing).await? {
                return Ok(standing);
            }
        }
        let message =
            "the tailnet's policy was changed by somebody else twice while crabbox was about to write it";
        Err(Error::new(Exit::NotFound, message).hint("try again"))
    }

    async fn attempt(&self, tag: &str, writing: &AtomicBool) -> Result<Attempt> {
        let read = match self.read().await? {
            Ok(read) => read,
            Err(why) => return Ok(Attempt::Standing(Standing::NoApi(why))),
        };
        let Some(edited) = self.edited(&read, tag)? else {
            return Ok(Attempt::Standing(Standing::There));
        };
        let headers = vec![("If-Match", read.etag), ("Content-Type", "application/hujson".to_owned())];
        writing.store(true, Relaxed);
        let answer = self.send(Method::POST, headers, edited).await;
        writing.store(false, Relaxed);
        let answer =
            answer.map_err(|failure| self.failed("write", &failure.to_string()).hint(MAYBE_WRITTEN))?;
        match answer.status {
            200..=299 => Ok(Attempt::Standing(Standing::Written)),
            412 => Ok(Attempt::Overtaken),
            _ => Err(self.refused("write", &answer)),
        }
    }

    /// Reads the policy. The inner error is why there is no policy to read.
    async fn read(&self) -> Result<Result<Read, String>> {
        if let Some(why) = &self.elsewhere {
            return Ok(Err(why.clone()));
        }
        let answer = self.send(Method::GET, Vec::new(), String::new()).await;
        let answer = answer.map_err(|failure| match failure {
            Failure::TooLong(most) => self.failed("edit", &format!("it is longer than {} KiB", most / 1024)),
            failure => self.failed("read", &failure.to_string()),
        })?;
        match answer.status {
            200..=299 => {}
            404 | 501 => {
                let said = message(&answer).map(|said| format!(" ({said})")).unwrap_or_default();
                return Ok(Err(format!("{} answered {}{said}", self.api, answer.status)));
            }
            _ => return Err(self.refused("read", &answer)),
        }
        match answer.headers.get("ETag").and_then(|etag| etag.to_str().ok()).filter(|etag| !etag.is_empty()) {
            Some(etag) => Ok(Ok(Read { etag: etag.to_owned(), policy: answer.body })),
            None => Ok(Err(format!("{} answered without an ETag", self.api))),
        }
    }

    fn edited(&self, read: &Read, tag: &str) -> Result<Option<String>> {
        edit(&read.policy, tag, self.owners).map_err(|why| self.failed("edit", &foreign(&why)))
    }

    async fn send(
        &self,
        method: Method,
        mut headers: Vec<(&'static str, String)>,
        body: String,
    ) -> Result<Answer, Failure> {
        let url = format!("{}/api/v2/tailnet/{}/acl", self.api, self.tailnet);
        let url: Uri = url.parse().map_err(|error| Failure::Broken(format!("{error}")))?;
        headers.push(("Authorization", self.authorization.clone()));
        headers.push(("Accept", "application/hujson".to_owned()));
        // It sends the policy back that it was sent.
        let most = if body.is_empty() { LONGEST } else { 2 * LONGEST };
        ask(Request { method, url, headers, body, within: self.patience, most }).await
    }

    fn failed(&self, what: &str, why: &str) -> Error {
        Error::failure(format!("cannot {what} the policy of the tailnet at {}", self.api)).cause(why)
    }

    fn refused(&self, what: &str, answer: &Answer) -> Error {
        let said = message(answer).map(|said| format!(": {said}")).unwrap_or_default();
        let error = self.failed(what, &format!("it answered {}{said}", answer.status));
        match answer.status {
            401 | 403 => Error { exit: Exit::Auth, ..error }
                .hint("the key in `TS_API_KEY` has to be valid, and may have to be an administrator's"),
            300..=399 => {
                error.hint("redirects are not followed: `CRABBOX_TS_API_URL` names the place itself")
            }
            400 if what == "write" => error.hint(
                "without CRABBOX_CREW_ACL_BOOTSTRAP the lease is made, and the rows are printed for you to add",
            ),
            429 | 500.. => Error { exit: Exit::Unavailable, ..error },
            _ => error,
        }
    }
}

/// What the API says of itself, and of each test of the policy that failed.
fn message(answer: &Answer) -> Option<String> {
    let said: Value = serde_json::from_slice(&answer.body).ok()?;
    let mut message = said["message"].as_str().filter(|text| !text.is_empty())?.to_owned();
    let tests = said["data"].as_array().into_iter().flatten();
    for error in tests.flat_map(|test| test["errors"].as_array().into_iter().flatten()) {
        message += &error.as_str().map(|error| format!("; {error}")).unwrap_or_default();
    }
    Some(foreign(&message))
}

/// The control plane that leases log in to, if the environment names one. What is none is not shown: a credential may
/// be in it.
pub(crate) fn control_url(env: &Env) -> Result<Option<&str>> {
    let wrong = |why: &str| {
        Error::usage(format!("{CONTROL_URL} {why}"))
            .hint("it is an address such as https://headscale.example.com")
    };
    let Some(url) = env.text(CONTROL_URL).map_err(|why| wrong(&why))? else { return Ok(None) };
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    match rest {
        Some(rest) if rest.contains('@') => Err(wrong("has a credential in it")),
        Some(rest) if !rest.is_empty() && !rest.contains(|c: char| c.is_whitespace() || c.is_control()) => {
            Ok(Some(url))
        }
        _ => Err(wrong("is no address")),
    }
}

/// Whether a control plane is Tailscale's own, of which the public API is.
pub(super) fn is_tailscales(url: &str) -> bool {
    let url = url.parse::<Uri>().ok();
    url.as_ref().and_then(Uri::host).is_some_and(|host| host.ends_with(".tailscale.com"))
}

/// The beginning of the API's URLs. The key goes there, so it has to be a place that nobody else can be.
fn base(text: &str) -> Result<String, String> {
    let url: Uri = text.parse().map_err(|_| "it is no URL".to_owned())?;
    let authority = url.authority().ok_or("it is no URL with a host")?;
    if authority.as_str().contains('@') {
        return Err("there are credentials in it".to_owned());
    }
    if url.query().is_some() || text.contains('#') {
        return Err("there is more in it than a host and a path".to_owned());
    }
    match url.scheme_str() {
        Some("https") => {}
        Some("http") if is_loopback(&url) => {}
        Some("http") => return Err("a key is sent by https only, except to this machine".to_owned()),
        _ => return Err("it is neither https nor http".to_owned()),
    }
    Ok(text.trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(vars: &[(&str, &str)]) -> Result<Option<Control>> {
        Control::of(&Env::new("/", vars.iter().copied()))
    }

    #[test]
    fn the_environment_says_where_and_as_whom() {
        assert!(of(&[("TS_API_URL", "nonsense")]).unwrap().is_none(), "no key, no questions");
        let key = ("TS_API_KEY", "tskey-api-secret");
        let control = of(&[key]).unwrap().unwrap();
        assert_eq!((control.api(), control.tailnet.as_str()), ("https://api.tailscale.com", "-"));
        let basic = control.authorization.strip_prefix("Basic ").unwrap();
        assert_eq!(STANDARD.decode(basic).unwrap(), b"tskey-api-secret:");
        assert!(
            !format!("{control:?}").contains("secret")
                && !format!("{control:?}").contains(&control.authorization)
        );
        let ours = ("CRABBOX_TS_API_URL", "http://[::1]:1/base//");
        let control =
            of(&[key, ours, ("TS_API_URL", "https://b"), ("TS_TAILNET", "me@a.b/c")]).unwrap().unwrap();
        assert_eq!((control.api(), control.tailnet.as_str()), ("http://[::1]:1/base", "me%40a.b%2Fc"));
        assert_eq!(of(&[key, ("TS_API_URL", "https://b/")]).unwrap().unwrap().api(), "https://b");
    }

    #[tokio::test]
    async fn the_key_of_another_control_plane_goes_there_or_nowhere() {
        let key = ("TS_API_KEY", "tskey-api-secret");
        let head = (CONTROL_URL, "https://head.example.com");
        let control = of(&[key, head]).unwrap().unwrap();
        for asked in [control.look("tag:a").await, control.ensure("tag:a", &AtomicBool::new(false)).await] {
            let Ok(Standing::NoApi(why)) = asked else { panic!("{asked:?}") };
            assert!(why.contains("https://head.example.com"), "{why}");
        }
        for (url, why) in [
            ("https://me:hunter2@head.example", "has a credential in it"),
            ("me:hunter2@head.example", "is no address"),
            ("https://head.example/\thunter2", "is no address"),
        ] {
            for api in [("", ""), ("TS_API_URL", "https://b")] {
                let error = of(&[key, (CONTROL_URL, url), api]).unwrap_err();
                assert!(
                    error.to_string() == format!("{CONTROL_URL} {why}") && error.exit == Exit::Usage,
                    "{error}"
                );
                assert!(error.hints.iter().all(|hint| !hint.contains("hunter2")), "{:?}", error.hints);
            }
        }
        for vars in [
            [key, (CONTROL_URL, "https://controlplane.tailscale.com"), ("", "")],
            [key, head, ("TS_API_URL", "https://b")],
        ] {
            assert!(of(&vars).unwrap().unwrap().elsewhere.is_none(), "{vars:?}");
        }
    }

    #[test]
    fn a_key_goes_nowhere_else() {
        for (url, why) in [
            ("http://api.example", "by https only"),
            ("http://127.0.0.1.example", "by https only"),
            ("http://localhost.example", "by https only"),
            ("https://me:hunter2@api.example", "credentials"),
            ("https://api.example?a=b", "more in it"),
            ("https://api.example/#a", "more in it"),
            ("ftp://api.example", "neither"),
            ("api.example", "neither"),
            ("/a", "it is no"),
            ("https://", "it is no"),
        ] {
            let error = of(&[("TS_API_KEY", "tskey-api-secret"), ("TS_API_URL", url)]).unwrap_err();
            assert!(error.to_string().starts_with("`TS_API_URL` cannot be used: "), "{error}");
            assert!(error.to_string().contains(why), "{url}: {error}");
            assert!(!error.to_string().contains("hunter2") && error.exit == Exit::Usage, "{error}");
        }
        for key in ["x:y", "x y", "x\ny"] {
            let error = of(&[("TS_API_KEY", key)]).unwrap_err();
            assert!(!error.to_string().contains(key), "{error}");
        }
        assert!(of(&[("TS_API_KEY", "k"), ("TS_TAILNET", "..")]).is_err());
    }
}
