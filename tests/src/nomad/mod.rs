//! An emulator of the Nomad HTTP API, as far as a provider needs it: jobs, evaluations, allocations, exec.
//!
//! It really runs what it is told to: the task of an allocation is a process in a directory of its own, and an exec
//! is a process beside it. Everything that a cluster can do to a client can be made to happen: see [`Faults`] and
//! [`Options`]. What was asked of it is in [`Emulator::requests`] and [`Emulator::execs`].
//!
//! It was written from the behaviour of agents 2.0.5 and 1.11.3 and held against a real one of version 2.0.5.
//! Where the versions differ, it does what 2.0.5 does. It shares no code with the provider.
//!
//! What it leaves out: deployments and the health of allocations, templates, volumes, artifacts, logs, statistics,
//! a terminal for an exec, and containers. A docker task is a process with a container's environment, in the host's
//! file system; its exec ends as docker's does, and it dies with everything in it.

mod acl;
pub mod agent;
mod allocation;
mod answer;
pub mod cluster;
mod decode;
mod driver;
mod evaluations;
mod exec;
mod faults;
mod filter;
mod frames;
mod info;
mod job;
mod jobs;
mod log;
mod nodes;
mod options;
mod pipes;
mod process;
mod query;
mod register;
mod relay;
mod scheduler;
mod server;
mod state;
mod task;
mod tls;
mod validate;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::{oneshot, watch};

pub use faults::{Effect, Faults, Late, Rule};
pub use log::{Exec, Request};
pub use options::{Acl, Grants, Options, WRITE};
pub use tls::{Certificates, Tls};

use self::log::Log;
use self::state::State;

/// An emulated agent, which is a server and a client, in a thread of its own. It ends when it is dropped, and every
/// process that it has started ends with it.
pub struct Emulator {
    agent: Arc<Agent>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    runtime: tokio::runtime::Handle,
    certificates: Option<Certificates>,
    _directory: TempDir,
}

/// What all parts of the emulator share.
struct Agent {
    options: Options,
    address: SocketAddr,
    directory: PathBuf,
    state: Mutex<State>,
    /// Says that the state is another.
    changed: watch::Sender<()>,
    faults: Mutex<Faults>,
    log: Mutex<Log>,
}

impl Emulator {
    /// Starts an emulator that is like `nomad agent -dev`.
    ///
    /// # Panics
    ///
    /// When it cannot listen.
    pub fn start() -> Self {
        Self::with(Options::default())
    }

    /// Starts an emulator.
    ///
    /// # Panics
    ///
    /// When it cannot listen.
    pub fn with(options: Options) -> Self {
        Self::try_with(options).expect("the emulator can listen")
    }

    /// Starts an emulator.
    ///
    /// # Errors
    ///
    /// When it cannot listen.
    pub fn try_with(options: Options) -> std::io::Result<Self> {
        let directory = TempDir::with_prefix("nomad-emulator-")?;
        let listener = std::net::TcpListener::bind(("127.0.0.1", options.port))?;
        listener.set_nonblocking(true)?;
        let socket = options.socket.as_ref().map(std::os::unix::net::UnixListener::bind).transpose()?;
        if let Some(socket) = &socket {
            socket.set_nonblocking(true)?;
        }
        let agent = Arc::new(Agent {
            address: listener.local_addr()?,
            directory: directory.path().to_owned(),
            options,
            state: Mutex::new(State::new()),
            changed: watch::Sender::new(()),
            faults: Mutex::default(),
            log: Mutex::default(),
        });
        let (acceptor, certificates) = match &agent.options.tls {
            Some(tls) => Some(tls::acceptor(tls, directory.path())?).unzip(),
            None => (None, None),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name("nomad-emulator".to_owned()).spawn({
            let agent = Arc::clone(&agent);
            move || {
                runtime.block_on(async {
                    tokio::select! {
                        () = server::serve(agent, listener, socket, acceptor) => {}
                        _ = stopped => {}
                    }
                });
                runtime.shutdown_background();
            }
        })?;
        Ok(Self {
            agent,
            stop: Some(stop),
            thread: Some(thread),
            runtime: handle,
            certificates,
            _directory: directory,
        })
    }

    /// The address, for `NOMAD_ADDR`.
    pub fn address(&self) -> String {
        let scheme = if self.certificates.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.agent.address)
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.agent.address.port()
    }

    /// The certificates, if it speaks TLS.
    pub fn certificates(&self) -> Option<&Certificates> {
        self.certificates.as_ref()
    }

    /// The address of the unix socket, if there is one.
    pub fn socket_address(&self) -> Option<String> {
        self.agent.options.socket.as_ref().map(|path| format!("unix://{}", path.display()))
    }

    /// Changes what goes wrong.
    pub fn faults(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.agent.faults());
        self.agent.changed.send_replace(());
    }

    /// Adds an answer that takes the place of the real one.
    pub fn rule(&self, rule: Rule) {
        self.faults(|faults| faults.rules.push(rule));
    }

    /// Undoes all faults.
    pub fn heal(&self) {
        self.faults(|faults| *faults = Faults::default());
    }

    /// The requests so far, in the order in which they came.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.agent.log).requests.clone()
    }

    /// The execs so far.
    pub fn execs(&self) -> Vec<Exec> {
        lock(&self.agent.log).execs.clone()
    }

    /// Forgets the requests and the execs so far.
    pub fn forget(&self) {
        *lock(&self.agent.log) = Log::default();
    }

    /// The jobs, as they are read, of all namespaces; stopped ones, too.
    pub fn jobs(&self) -> Vec<Value> {
        self.agent.read(|state| state.jobs.values().map(|job| Value::Object(job.body.clone())).collect())
    }

    /// The allocations, as they are listed, of all jobs; terminal ones, too, but none of a purged job.
    pub fn allocations(&self) -> Vec<Value> {
        self.agent.read(|state| state.visible().map(|it| it.stub(&state.node)).collect())
    }

    /// The live processes of all allocations, those that were exec'd among them, whatever they have become since.
    pub fn processes(&self) -> Vec<u32> {
        process::processes_of(&self.agent.allocation_ids())
    }

    /// The directory of an allocation; a task's directory is beneath it.
    pub fn allocation_directory(&self, id: &str) -> PathBuf {
        self.agent.directory.join(id)
    }

    /// The directory that all allocations are in.
    pub fn directory(&self) -> &Path {
        &self.agent.directory
    }

    /// Changes a job behind everybody's back, as another who writes to it would.
    pub fn tamper(&self, namespace: &str, id: &str, change: impl FnOnce(&mut Value)) {
        self.agent.change(|state| {
            let index = state.next();
            if let Some(job) = state.job_mut(namespace, id) {
                let mut body = Value::Object(std::mem::take(&mut job.body));
                change(&mut body);
                job.body = state::object(body);
                job.set("ModifyIndex", index.into());
                job.set("JobModifyIndex", index.into());
                state.tables.jobs = index;
            }
        });
    }

    /// Puts a job there, running, as if somebody else had registered it, and says under which evaluation.
    ///
    /// # Panics
    ///
    /// When the agent would refuse it.
    pub fn register(&self, job: &Value) -> String {
        let body = serde_json::json!({ "Job": job }).to_string();
        let (sender, receiver) = std::sync::mpsc::channel();
        let agent = Arc::clone(&self.agent);
        self.runtime.spawn(async move {
            // Nobody is there who would not wait for it.
            let _ = sender.send(register::own(&agent, body.as_bytes()));
        });
        let answer = receiver.recv().expect("the emulator runs");
        answer.unwrap_or_else(|why| panic!("the job is refused: {why}"))
    }

    /// Loses an allocation with its node, as the servers see it: its processes are killed, and nothing replaces it.
    pub fn lose(&self, allocation: &str) {
        process::kill_all(&[allocation.to_owned()]);
        self.agent.change(|state| {
            state.update(allocation, |it| {
                (it.client, it.client_description) = ("lost", "alloc is lost since its node is down");
                it.desired = "stop";
            });
        });
    }

    /// Ends it.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if let Some(stop) = self.stop.take() {
            // The thread may have ended by itself.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        process::kill_all(&self.agent.allocation_ids());
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.end();
    }
}

impl Agent {
    fn read<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        read(&lock(&self.state))
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut lock(&self.state));
        self.changed.send_replace(());
        result
    }

    fn faults(&self) -> MutexGuard<'_, Faults> {
        lock(&self.faults)
    }

    fn authority(&self) -> String {
        self.address.to_string()
    }

    fn allocation_ids(&self) -> Vec<String> {
        self.read(|state| state.allocations.keys().cloned().collect())
    }
}

/// Locks, whether or not a test has panicked with the lock.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
