//! The port: a thread that accepts, and a `sshd -i` for each connection.

use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use super::{Faults, Machine, processes};
use crate::Place;

/// What outlives a listener: connections, and what goes wrong with them.
pub(super) struct Shared {
    machine: Machine,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    faults: Faults,
    accepted: usize,
    open: Vec<Connection>,
}

/// A connection whose server has not ended.
struct Connection {
    number: usize,
    socket: TcpStream,
    /// Of the `sshd -i`, once there is one.
    pid: Option<u32>,
    cut: bool,
}

/// A thread that accepts connections, until it is dropped.
pub(super) struct Listener {
    place: Place,
    port: u16,
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Shared {
    pub(super) fn new(machine: Machine) -> Self {
        Self { machine, state: Mutex::default() }
    }

    pub(super) fn faults(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.lock().faults);
    }

    pub(super) fn connections(&self) -> usize {
        self.lock().accepted
    }

    pub(super) fn open(&self) -> usize {
        self.lock().open.len()
    }

    /// Shuts every socket down, which its server takes for the client's end.
    pub(super) fn cut(&self) {
        self.freeze(false);
        for connection in &mut self.lock().open {
            connection.cut = true;
            // The client may have done it already.
            let _ = connection.socket.shutdown(Shutdown::Both);
        }
    }

    /// Stops or continues the servers, and no process of a session.
    pub(super) fn freeze(&self, stop: bool) {
        for pid in self.lock().open.iter().filter_map(|it| it.pid) {
            for pid in processes::servers(pid) {
                processes::pause(pid, stop);
            }
        }
    }

    /// Ends the servers.
    pub(super) fn end(&self) {
        let pids: Vec<u32> = self.lock().open.iter().filter_map(|it| it.pid).collect();
        pids.into_iter().flat_map(processes::servers).for_each(processes::kill);
    }

    fn accept(self: &Arc<Self>, socket: TcpStream) -> io::Result<()> {
        let mut state = self.lock();
        state.accepted += 1;
        if state.faults.drops > 0 {
            state.faults.drops -= 1;
            return Ok(());
        }
        let (number, delay) = (state.accepted, state.faults.delay);
        state.open.push(Connection { number, socket: socket.try_clone()?, pid: None, cut: false });
        drop(state);
        let shared = Arc::clone(self);
        std::thread::spawn(move || {
            std::thread::sleep(delay);
            if let Ok(Some(mut child)) = shared.serve(number, socket) {
                // Its end is all that is of interest.
                let _ = child.wait();
            }
            shared.lock().open.retain(|it| it.number != number);
        });
        Ok(())
    }

    /// Starts a server for a connection, unless it has been cut while nothing was said.
    fn serve(&self, number: usize, socket: TcpStream) -> io::Result<Option<Child>> {
        let mut state = self.lock();
        let Some(connection) = state.open.iter_mut().find(|it| it.number == number && !it.cut) else {
            return Ok(None);
        };
        let [stdin, stdout] = [socket.try_clone()?, socket].map(|it| Stdio::from(OwnedFd::from(it)));
        let child = self.machine.server().stdin(stdin).stdout(stdout).stderr(Stdio::null()).spawn()?;
        connection.pid = Some(child.id());
        Ok(Some(child))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listener {
    /// Listens on a port of this place, or on any that is free.
    pub(super) fn new(shared: Arc<Shared>, place: Place, port: u16) -> io::Result<Self> {
        // What is started there serves there.
        place.clone().within(|| Self::start(shared, place, port))
    }

    fn start(shared: Arc<Shared>, place: Place, port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((place.address(), port))?;
        let port = listener.local_addr()?.port();
        let stopped = Arc::new(AtomicBool::new(false));
        let thread = std::thread::Builder::new().name("sshd".to_owned()).spawn({
            let stopped = Arc::clone(&stopped);
            move || {
                for socket in listener.incoming().flatten() {
                    if stopped.load(Ordering::SeqCst) {
                        return;
                    }
                    // The client learns by the end of the connection.
                    let _ = shared.accept(socket);
                }
            }
        })?;
        Ok(Self { place, port, stopped, thread: Some(thread) })
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        // The thread waits for a connection, and looks then.
        let _ = self.place.within(|| TcpStream::connect((self.place.address(), self.port)));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
