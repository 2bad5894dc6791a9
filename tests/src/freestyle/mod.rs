//! An emulator of the Freestyle HTTP API, v5 and v1, as far as a provider needs it.
//!
//! It really runs what it is told to: a VM is a directory and a process with namespaces of its own, where the kernel
//! allows it ([`Isolation`]), commands run in there as root or as uid 1000, and files that come by the API belong to
//! root. Everything that the cloud can do to a client can be made to happen: see [`Faults`] and [`Options`]. What was
//! asked of it is in [`Emulator::requests`] and [`Emulator::execs`].
//!
//! There is no public description of the API's server. What is known of it is what the official client's source says
//! (npm `freestyle@0.2.17` for v5; `freestyle-sandboxes@0.1.46` and `freestyle@0.1.63` for v1), so that a test drives
//! that very client against the emulator. Where nothing is known, the emulator is strict. It shares no code with the
//! provider.

mod answer;
mod background;
mod body;
mod catalogue;
mod edge;
mod exec;
mod faults;
mod files;
mod firewall;
mod guest;
mod isolation;
mod log;
mod options;
mod paths;
mod power;
mod process;
mod query;
mod server;
mod state;
mod tls;
mod uploads;
mod v1;
mod vms;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};

pub use faults::{Effect, Faults, Late, RangeAtEnd, Rule};
pub use isolation::Isolation;
pub use log::{Exec, Request};
pub use options::{KEY, Options};

use self::log::Log;
use self::state::State;

/// An emulated Freestyle, in a thread of its own. It ends when it is dropped, and everything in its VMs with it.
pub struct Emulator {
    cloud: Arc<Cloud>,
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    _directory: TempDir,
}

/// What all parts of the emulator share.
struct Cloud {
    options: Options,
    isolation: Isolation,
    address: SocketAddr,
    directory: PathBuf,
    state: Mutex<State>,
    /// Says that the state is another.
    changed: watch::Sender<()>,
    faults: Mutex<Faults>,
    log: Mutex<Log>,
}

impl Emulator {
    /// Starts an emulator without VMs.
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
        let directory = TempDir::with_prefix("freestyle-emulator-")?;
        let listener = std::net::TcpListener::bind(("127.0.0.1", options.port))?;
        listener.set_nonblocking(true)?;
        let cloud = Arc::new(Cloud {
            isolation: if options.isolate { Isolation::detect() } else { Isolation::None },
            address: listener.local_addr()?,
            directory: directory.path().to_owned(),
            options,
            state: Mutex::default(),
            changed: watch::Sender::new(()),
            faults: Mutex::default(),
            log: Mutex::default(),
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name("freestyle-emulator".to_owned()).spawn({
            let cloud = Arc::clone(&cloud);
            move || {
                runtime.block_on(async {
                    tokio::select! {
                        () = server::serve(cloud, listener) => {}
                        _ = stopped => {}
                    }
                });
                runtime.shutdown_background();
            }
        })?;
        Ok(Self { cloud, handle, stop: Some(stop), thread: Some(thread), _directory: directory })
    }

    /// The base of the API's URLs.
    pub fn url(&self) -> String {
        format!("http://{}", self.cloud.address)
    }

    /// The port, on 127.0.0.1, of the API and of the edge: what has a published name as its `Host` goes to its VM.
    pub fn port(&self) -> u16 {
        self.cloud.address.port()
    }

    /// How guests are kept from each other and from the host.
    pub fn isolation(&self) -> Isolation {
        self.cloud.isolation
    }

    /// Changes what goes wrong.
    pub fn faults(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.cloud.faults());
    }

    /// Adds an answer that takes the place of the real one.
    pub fn rule(&self, rule: Rule) {
        self.faults(|faults| faults.rules.push(rule));
    }

    /// Undoes all faults.
    pub fn heal(&self) {
        self.faults(|faults| *faults = Faults::default());
    }

    /// The requests so far, in the order in which they came. What went through the edge is not among them.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.cloud.log).requests.clone()
    }

    /// The commands so far.
    pub fn execs(&self) -> Vec<Exec> {
        lock(&self.cloud.log).execs.clone()
    }

    /// Forgets the requests and the commands so far.
    pub fn forget(&self) {
        *lock(&self.cloud.log) = Log::default();
    }

    /// The VMs of both versions, as v5 tells them, the oldest first.
    pub fn vms(&self) -> Vec<Value> {
        self.cloud.read(|state| state.vms.iter().map(state::Vm::value).collect())
    }

    /// The TLS rules, as they are told.
    pub fn tls_rules(&self) -> Vec<Value> {
        self.cloud.read(|state| state.tls.iter().map(state::Rule::value).collect())
    }

    /// The rules of the firewall, as they are told.
    pub fn firewall_rules(&self) -> Vec<Value> {
        self.cloud.read(|state| state.firewall.iter().map(state::Rule::value).collect())
    }

    /// The domains that v1 maps to a VM and its port.
    pub fn mappings(&self) -> Vec<(String, String, u16)> {
        self.cloud.read(|state| {
            let told = |(domain, (vm, port)): (&String, &(String, u16))| (domain.clone(), vm.clone(), *port);
            state.mappings.iter().map(told).collect()
        })
    }

    /// The live processes of all VMs, whatever they have become since they were started.
    pub fn processes(&self) -> Vec<u32> {
        self.guests().iter().flat_map(|guest| guest.processes()).collect()
    }

    /// Where a VM's `/` is on the host. What is the host's in there (`/usr`, `/etc`) is not beneath it.
    pub fn root(&self, id: &str) -> PathBuf {
        self.cloud.directory.join(id).join("root")
    }

    /// The directory that all VMs are in.
    pub fn directory(&self) -> &Path {
        &self.cloud.directory
    }

    /// Loses a VM: it is deleted, and nobody has asked for it.
    pub fn vanish(&self, id: &str) {
        self.wait_for(|cloud, id| async move { power::remove(&cloud, &id).await }, id);
    }

    /// Pauses a VM, as a timeout for idleness does.
    pub fn pause(&self, id: &str) {
        // One that does not run stays as it is.
        let _ = power::pause_vm(&self.cloud, id);
    }

    /// Powers a VM off from within.
    pub fn power_off(&self, id: &str) {
        self.wait_for(|cloud, id| async move { power::power_off(&cloud, &id).await }, id);
    }

    /// Changes a VM's metadata behind everybody's back; an empty value deletes.
    pub fn tamper(&self, id: &str, key: &str, value: &str) {
        self.cloud.change(|state| {
            state.update(id, |vm| match value {
                "" => _ = vm.metadata.remove(key),
                _ => _ = vm.metadata.insert(key.to_owned(), value.to_owned()),
            });
        });
    }

    /// Ends it.
    pub fn stop(mut self) {
        self.end();
    }

    fn wait_for<F: Future<Output = ()> + Send + 'static>(
        &self,
        work: impl FnOnce(Arc<Cloud>, String) -> F,
        id: &str,
    ) {
        let (done, wait) = std::sync::mpsc::channel();
        let work = work(Arc::clone(&self.cloud), id.to_owned());
        self.handle.spawn(async move {
            work.await;
            // Whoever waits is there.
            let _ = done.send(());
        });
        let _ = wait.recv();
    }

    fn guests(&self) -> Vec<Arc<guest::Guest>> {
        self.cloud.read(|state| state.vms.iter().map(|vm| Arc::clone(&vm.guest)).collect())
    }

    fn end(&mut self) {
        if let Some(stop) = self.stop.take() {
            // The thread may have ended by itself.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let guests = self.guests();
        let processes: Vec<u32> = guests.iter().flat_map(|guest| guest.everything()).collect();
        guests.iter().for_each(|guest| guest.kill());
        for _ in 0..process::LOOKS {
            if !processes.iter().any(|&pid| process::is_running(pid)) {
                return;
            }
            std::thread::sleep(process::PAUSE);
        }
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.end();
    }
}

impl Cloud {
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

    fn logged(&self, number: usize, change: impl FnOnce(&mut Request)) {
        if let Some(request) = lock(&self.log).requests.get_mut(number) {
            change(request);
        }
    }
}

/// Locks, whether or not a test has panicked with the lock.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
