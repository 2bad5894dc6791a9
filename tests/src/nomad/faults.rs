//! What can be made to go wrong, at any time.

use std::time::Duration;

/// Everything that can be made to go wrong. Change it with [`Emulator::faults`](super::Emulator::faults).
///
/// What is said of "the next" happens that often, the rest until it is changed.
#[derive(Clone, Default)]
pub struct Faults {
    /// Answers that take the place of the real ones; the first that fits a request is used.
    pub rules: Vec<Rule>,

    /// How long the scheduler takes to place an allocation.
    pub placement_delay: Duration,
    /// No allocation is placed: the nodes are exhausted. Blocked evaluations are tried again when it ends.
    pub no_capacity: bool,
    /// The evaluation ends as `failed` or `canceled`, with this description.
    pub evaluation: Option<(&'static str, String)>,
    /// How long a task takes to start (a slow image pull).
    pub start_delay: Duration,
    /// The next tasks fail to start, with this text of the driver.
    pub start_failure: Option<(usize, String)>,
    /// The next tasks are killed this long after their start.
    pub task_dies: Option<(usize, Duration)>,
    /// In place of the job's delay between restarts of a task.
    pub restart_delay: Option<Duration>,
    /// In place of the job's delay before a failed allocation is replaced.
    pub reschedule_delay: Option<Duration>,
    /// A register is accepted, but takes effect later, and no answer is sent.
    pub late_register: Option<Late>,
    /// A deregister is answered, but takes effect this much later.
    pub late_deregister: Option<Duration>,
    /// A deregister is answered, but has no effect.
    pub ignored_deregister: bool,

    /// The connection is cut after this many bytes of output.
    pub exec_cut: Option<u64>,
    /// A close frame is sent after this many bytes of output.
    pub exec_close: Option<(u64, u16, String)>,
    /// The exit frame is never sent; the connection stays.
    pub exec_no_exit: bool,
    /// The connection is dropped where the exit frame is due.
    pub exec_drop_at_exit: bool,
    /// The next execs end with the driver's error.
    pub exec_failure: Option<(usize, String)>,
    /// The next execs in containers are said to have ended, with 0 and without output, before they have begun; they
    /// begin all the same. With docker 20.10 it is one in 300 (2.0.5 and 1.11.3).
    pub exec_early: usize,
    /// There is no such program as is to be exec'd in a container.
    pub exec_no_program: bool,
    /// What was exec'd on raw_exec survives the end of its task, as it does now and then.
    pub execs_survive: bool,
    /// The agent notices nothing of the client any more: what it sends is not read, as in a partition.
    pub exec_deaf: bool,
}

/// When something takes effect that was asked for.
#[derive(Clone, Debug)]
pub enum Late {
    /// This long after the request. The connection is silent until then, and then cut.
    AfterRequest(Duration),
    /// This long after the client has hung up. The connection is silent.
    AfterHangUp(Duration),
}

/// An answer that takes the place of the real one.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The method, or any.
    pub method: Option<&'static str>,
    /// What the path contains.
    pub path: String,
    /// How often the rule is still used; without it, always.
    pub times: Option<usize>,
    /// What happens.
    pub effect: Effect,
}

/// What a [`Rule`] does with a request.
#[derive(Clone, Debug)]
pub enum Effect {
    /// This is the answer, and nothing else happens. `{token}` in the body becomes the request's token.
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
        Self { method: None, path: path.to_owned(), times: None, effect }
    }

    /// A rule that answers with a status and a text.
    pub fn status(path: &str, status: u16, body: &str) -> Self {
        Self::new(path, Effect::Answer { status, headers: Vec::new(), body: body.to_owned() })
    }

    /// A rule that redirects.
    pub fn redirect(path: &str, status: u16, location: &str) -> Self {
        let headers = vec![("location".to_owned(), location.to_owned())];
        Self::new(path, Effect::Answer { status, headers, body: String::new() })
    }

    /// As what a server without a leader answers.
    pub fn no_leader(times: usize) -> Self {
        Self::status("/v1/", 500, "No cluster leader").times(times)
    }

    /// As what an agent answers that has too many connections from one address.
    pub fn too_many_requests(times: usize) -> Self {
        Self::status(
            "/v1/",
            429,
            "Your IP is issuing too many concurrent connections, please rate limit your calls\n",
        )
        .times(times)
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
}

impl Faults {
    /// The effect of the first rule that fits, which is counted.
    pub(super) fn effect(&mut self, method: &str, path: &str) -> Option<Effect> {
        let rule = self.rules.iter_mut().find(|rule| {
            rule.times != Some(0) && rule.method.is_none_or(|it| it == method) && path.contains(&rule.path)
        })?;
        rule.times = rule.times.map(|times| times - 1);
        Some(rule.effect.clone())
    }

    /// The text of a task's failure to start, which is counted.
    pub(super) fn start_failure(&mut self) -> Option<String> {
        next(&mut self.start_failure)
    }

    /// When the task that starts now is killed, which is counted.
    pub(super) fn task_dies(&mut self) -> Option<Duration> {
        next(&mut self.task_dies)
    }

    /// Whether the exec in a container that begins now is said to have ended, which is counted.
    pub(super) fn exec_early(&mut self) -> bool {
        let early = self.exec_early > 0;
        self.exec_early -= usize::from(early);
        early
    }

    /// The text of an exec's failure, which is counted.
    pub(super) fn exec_failure(&mut self) -> Option<String> {
        next(&mut self.exec_failure)
    }
}

fn next<T: Clone>(fault: &mut Option<(usize, T)>) -> Option<T> {
    let (times, it) = fault.as_mut().filter(|(times, _)| *times > 0)?;
    *times -= 1;
    Some(it.clone())
}
