//! Runs the tasks of an allocation as a client does: start, restart, stop.

use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tokio::process::Child;
use tokio::sync::watch;

use super::allocation::{Allocation, Event, TaskState};
use super::driver::{self, Unstartable};
use super::process::{code_of, kill_all, kill_group, signal};
use super::{Agent, scheduler};

/// Starts the tasks of an allocation, in the background.
pub(super) fn start(agent: &Arc<Agent>, allocation: &str) {
    let tasks: Vec<String> = agent.read(|state| {
        let group = state.allocations.get(allocation).and_then(Allocation::group);
        let tasks = group.and_then(|group| group["Tasks"].as_array()).into_iter().flatten();
        tasks.filter_map(|it| it["Name"].as_str().map(str::to_owned)).collect()
    });
    for task in tasks {
        let run = Run { agent: Arc::clone(agent), allocation: allocation.to_owned(), task };
        tokio::spawn(run.run());
    }
}

/// One task of one allocation.
struct Run {
    agent: Arc<Agent>,
    allocation: String,
    task: String,
}

/// What ended a task's process, or kept it from starting.
enum Ended {
    /// It is not wanted any more.
    Stopped,
    /// It could not be started.
    Unstartable(Unstartable),
    /// It ended by itself.
    Exited { code: i32, signal: i32 },
}

impl Run {
    async fn run(self) {
        let mut restarts = 0;
        self.update(|it| {
            it.event(&Event::Received);
            it.event(&Event::Setup);
        });
        loop {
            match self.once().await {
                Ended::Stopped => return self.end(false),
                Ended::Unstartable(why) => {
                    self.update(|it| {
                        it.event(&match &why {
                            Unstartable::Driver(text) => Event::DriverFailure(text),
                            Unstartable::Validation(text) => Event::FailedValidation(text),
                        });
                        it.event(&Event::NotRestarting("Error was unrecoverable"));
                    });
                    return self.end(true);
                }
                Ended::Exited { code, signal } => {
                    self.update(|it| {
                        (it.pid, it.executor) = (None, None);
                        it.event(&Event::Terminated { code, signal });
                    });
                    if code == 0 && self.is_batch() {
                        return self.end(false);
                    }
                }
            }
            let policy = self.of_task("RestartPolicy");
            let attempts = policy["Attempts"].as_u64().unwrap_or_default();
            if restarts >= attempts && policy["Mode"] != "delay" {
                let interval = policy["Interval"].as_u64().unwrap_or_default() / 1_000_000_000;
                let (hours, minutes, seconds) = (interval / 3600, interval / 60 % 60, interval % 60);
                let hours = if hours > 0 { format!("{hours}h") } else { String::new() };
                let reason = match attempts {
                    0 => "Policy allows no restarts".to_owned(),
                    _ => format!(
                        "Exceeded allowed attempts {attempts} in interval {hours}{minutes}m{seconds}s and mode is \"fail\""
                    ),
                };
                self.update(|it| it.event(&Event::NotRestarting(&reason)));
                return self.end(true);
            }
            restarts += 1;
            let delay = Duration::from_nanos(policy["Delay"].as_u64().unwrap_or_default());
            let jittered = delay + delay.mul_f64(fastrand::f64() / 4.0);
            let delay = self.agent.faults().restart_delay.unwrap_or(jittered);
            self.update(|it| {
                it.state = "pending";
                it.restarts = restarts;
                it.last_restart = Some(jiff::Timestamp::now());
                it.event(&Event::Restarting(delay));
            });
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                () = self.stopped() => return self.end(false),
            }
        }
    }

    /// Runs the task's process, once.
    async fn once(&self) -> Ended {
        let (delay, failure) = {
            let mut faults = self.agent.faults();
            (faults.start_delay, faults.start_failure())
        };
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            () = self.stopped() => return Ended::Stopped,
        }
        let child = match failure {
            Some(text) => Err(Unstartable::Driver(text)),
            None => self.spawn(),
        };
        let mut child = match child {
            Ok(child) => child,
            Err(why) => return Ended::Unstartable(why),
        };
        let pid = child.id();
        let mut executor = match driver::executor() {
            Ok(executor) => executor,
            Err(error) => return Ended::Unstartable(Unstartable::Driver(error.to_string())),
        };
        let leader = executor.id();
        // Held open: the executor ends with it, and a wait would close it.
        let _open = executor.stdin.take();
        self.update(|it| {
            it.state = "running";
            it.pid = pid;
            it.executor = leader;
            it.started = Some(jiff::Timestamp::now());
            it.event(&Event::Started);
        });
        let dies = self.agent.faults().task_dies();
        let death = async {
            match dies {
                Some(after) => tokio::time::sleep(after).await,
                None => std::future::pending().await,
            }
            pid.into_iter().for_each(kill_group);
            std::future::pending::<()>().await;
        };
        tokio::select! {
            status = child.wait() => {
                let (code, signal) = status.map_or((-1, 0), code_of);
                // What the task has left behind in its group goes with it, as the executor has it.
                pid.into_iter().for_each(kill_group);
                self.forget_execs();
                Ended::Exited { code, signal }
            }
            () = self.stopped() => {
                self.kill(&mut child).await;
                Ended::Stopped
            }
            _ = executor.wait() => {
                // What was exec'd has killed its own group, and the executor with it.
                pid.into_iter().for_each(kill_group);
                let _ = child.wait().await;
                Ended::Exited { code: -1, signal: 0 }
            }
            () = death => Ended::Stopped,
        }
    }

    fn spawn(&self) -> Result<Child, Unstartable> {
        let gone = || Unstartable::Driver("unknown allocation".to_owned());
        driver::start(&self.agent, &self.snapshot().ok_or_else(gone)?, &self.task)
    }

    /// Stops the process: the signal, the time that it has, then by force; what was exec'd only where it is contained.
    async fn kill(&self, child: &mut Child) {
        // A client caps what a job asks for.
        let timeout = Duration::from_nanos(
            self.of_task("KillTimeout").as_u64().unwrap_or(5_000_000_000).min(30_000_000_000),
        );
        self.update(|it| it.event(&Event::Killing(timeout)));
        let Some(pid) = child.id() else { return };
        let docker = self.of_task("Driver") == "docker";
        let kill_signal = match self.of_task("KillSignal").as_str() {
            Some("SIGTERM") => Signal::TERM,
            Some("SIGKILL") => Signal::KILL,
            Some("SIGHUP") => Signal::HUP,
            Some("SIGQUIT") => Signal::QUIT,
            // A container is stopped with SIGTERM, unless it says otherwise.
            Some("") if docker => Signal::TERM,
            _ => Signal::INT,
        };
        signal(pid, kill_signal);
        // `child.wait` is used up by whoever asked for the stop, so that it is waited for again here.
        let status = match tokio::time::timeout(timeout, child.wait()).await {
            Ok(status) => status,
            Err(_) => {
                signal(pid, Signal::KILL);
                child.wait().await
            }
        };
        kill_group(pid);
        self.forget_execs();
        let (code, signal) = status.map_or((-1, 0), code_of);
        self.update(|it| {
            (it.pid, it.executor) = (None, None);
            it.event(&Event::Terminated { code, signal });
            it.event(&Event::Killed);
        });
    }

    /// Kills what was exec'd, where it is in the container or in the task's cgroup.
    fn forget_execs(&self) {
        if self.of_task("Driver") == "docker" || self.agent.options.cgroups {
            kill_all(std::slice::from_ref(&self.allocation));
        }
    }

    fn end(&self, failed: bool) {
        self.update(|it| {
            it.state = "dead";
            it.failed = failed;
            (it.pid, it.executor) = (None, None);
            it.finished = Some(jiff::Timestamp::now());
        });
        if let Some(allocation) = self.snapshot().filter(|it| it.purged && it.is_terminal()) {
            // The client forgets it, too. What still runs in there keeps what it has open.
            let _ = std::fs::remove_dir_all(allocation.directory);
        }
        if failed {
            scheduler::reschedule(&self.agent, &self.allocation);
        }
    }

    /// Returns when the allocation is not wanted any more.
    async fn stopped(&self) {
        let mut changed: watch::Receiver<()> = self.agent.changed.subscribe();
        while self.snapshot().is_some_and(|it| it.desired == "run") && changed.changed().await.is_ok() {}
    }

    fn snapshot(&self) -> Option<Allocation> {
        self.agent.read(|state| state.allocations.get(&self.allocation).cloned())
    }

    fn of_task(&self, key: &str) -> Value {
        let allocation = self.snapshot();
        allocation.and_then(|it| Some(it.task_of_job(&self.task)?[key].clone())).unwrap_or_default()
    }

    fn is_batch(&self) -> bool {
        self.snapshot().is_some_and(|it| matches!(it.job.text("Type"), "batch" | "sysbatch"))
    }

    fn update(&self, change: impl FnOnce(&mut TaskState)) {
        self.agent.change(|state| {
            state.update(&self.allocation, |allocation| {
                change(allocation.task(&self.task));
                allocation.settle();
            });
        });
    }
}
