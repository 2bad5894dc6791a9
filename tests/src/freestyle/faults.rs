//! What can be made to go wrong, at any time.

use std::time::Duration;

/// Everything that can be made to go wrong. Change it with [`Emulator::faults`](super::Emulator::faults).
#[derive(Clone, Default)]
pub struct Faults {
    /// Answers that take the place of the real ones; the first that fits a request is used.
    pub rules: Vec<Rule>,

    /// How long a VM is `starting`.
    pub boot_delay: Duration,
    /// A create takes effect later, and no answer is sent.
    pub late_create: Option<Late>,
    /// The most that a page of a list has, whatever is asked for.
    pub page_size: Option<usize>,
    /// Fields that are left out of every VM that is told.
    pub dropped_fields: Vec<&'static str>,

    /// What a range beyond the end of a file is answered with.
    pub range_at_end: RangeAtEnd,
    /// A file that is written is not there afterwards, though the answer says so.
    pub lost_writes: bool,

    /// Every request that may be answered in the background is, at once.
    pub always_background: bool,
    /// The result of a command that ran in the background cannot be stored.
    pub unstorable: bool,
    /// A background request's URL, in place of the real one.
    pub result_url: Option<String>,

    /// What a command leaves behind in its process group is killed when the command ends.
    pub exec_kills_group: bool,
    /// A command does not wake a VM that is paused (it was told of v1).
    pub exec_does_not_wake: bool,
}

/// What a range beyond the end of a file is answered with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RangeAtEnd {
    /// 416, with the size.
    #[default]
    NotSatisfiable,
    /// 206 without bytes.
    Empty,
    /// 200 without bytes.
    EmptyWhole,
    /// 404.
    NotFound,
}

/// When something takes effect that was asked for.
#[derive(Clone, Debug)]
pub enum Late {
    /// This long after the request. The connection is silent until then, and then cut.
    AfterRequest(Duration),
    /// This long after the client has hung up. The connection is silent.
    AfterHangUp(Duration),
    /// After the client has hung up, and not before [`Faults::late_create`] is another. The connection is silent.
    WhenHealed,
}

/// An answer that takes the place of the real one.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The method, or any.
    pub method: Option<&'static str>,
    /// What the path contains.
    pub path: String,
    /// Whether the path must be this, not only contain it.
    pub exact: bool,
    /// What the body contains.
    pub body: String,
    /// How many requests that fit are let through before.
    pub skip: usize,
    /// How often the rule is still used; without it, always.
    pub times: Option<usize>,
    /// What happens.
    pub effect: Effect,
}

/// What a [`Rule`] does with a request.
#[derive(Clone, Debug)]
pub enum Effect {
    /// This is the answer, and nothing else happens. In the body, `{token}` becomes the request's key, and
    /// `{request}` the request's body.
    Answer {
        /// The status.
        status: u16,
        /// Headers.
        headers: Vec<(String, String)>,
        /// The body.
        body: String,
    },
    /// The connection is cut, and nothing else happens.
    Cut,
    /// The request is carried out, and the connection is cut instead of an answer.
    CutAfter,
    /// The answer comes this much later; the request is carried out at once.
    Delay(Duration),
    /// No answer comes, ever.
    Silence,
    /// The answer's body is cut in the middle.
    Half,
}

impl Rule {
    /// A rule for requests whose path contains `path`; all of them, if it is empty.
    pub fn new(path: &str, effect: Effect) -> Self {
        Self {
            method: None,
            path: path.to_owned(),
            exact: false,
            body: String::new(),
            skip: 0,
            times: None,
            effect,
        }
    }

    /// A rule that answers with a status and an error.
    pub fn error(path: &str, status: u16, code: &str, message: &str) -> Self {
        Self::status(path, status, &serde_json::json!({"code": code, "message": message}).to_string())
    }

    /// A rule that answers with a status and a body.
    pub fn status(path: &str, status: u16, body: &str) -> Self {
        Self::new(path, Effect::Answer { status, headers: Vec::new(), body: body.to_owned() })
    }

    /// A rule that redirects.
    pub fn redirect(path: &str, status: u16, location: &str) -> Self {
        let headers = vec![("location".to_owned(), location.to_owned())];
        Self::new(path, Effect::Answer { status, headers, body: String::new() })
    }

    /// A rule that answers with an error whose text tells the key.
    pub fn echo(path: &str, status: u16) -> Self {
        Self::error(path, status, "KEY_RESOLVER_UNAVAILABLE", "cannot resolve Bearer {token} ({token})")
    }

    /// Polls of background requests fail, as they do while a gateway is replaced.
    pub fn poll_unavailable(times: usize) -> Self {
        Self::status("/background-requests/", 503, "upstream connect error").times(times)
    }

    /// Only requests with this method.
    #[must_use]
    pub fn method(mut self, method: &'static str) -> Self {
        self.method = Some(method);
        self
    }

    /// Only so often.
    #[must_use]
    pub fn times(mut self, times: usize) -> Self {
        self.times = Some(times);
        self
    }

    /// Only after so many requests that fit.
    #[must_use]
    pub fn after(mut self, requests: usize) -> Self {
        self.skip = requests;
        self
    }

    /// Only requests with exactly this path.
    #[must_use]
    pub fn exact(mut self) -> Self {
        self.exact = true;
        self
    }

    /// Only requests whose body contains this.
    #[must_use]
    pub fn saying(mut self, text: &str) -> Self {
        text.clone_into(&mut self.body);
        self
    }

    fn fits(&self, method: &str, path: &str, body: &[u8]) -> bool {
        let says = || body.windows(self.body.len()).any(|part| part == self.body.as_bytes());
        self.times != Some(0)
            && (self.body.is_empty() || says())
            && self.method.is_none_or(|it| it == method)
            && if self.exact { path == self.path } else { path.contains(&self.path) }
    }
}

impl Faults {
    /// The effect of the first rule that fits, which is counted.
    pub(super) fn effect(&mut self, method: &str, path: &str, body: &[u8]) -> Option<Effect> {
        for rule in &mut self.rules {
            if !rule.fits(method, path, body) {
                continue;
            }
            if rule.skip > 0 {
                rule.skip -= 1;
                continue;
            }
            rule.times = rule.times.map(|times| times - 1);
            return Some(rule.effect.clone());
        }
        None
    }
}
