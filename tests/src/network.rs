//! Several machines with a network between them, on one: a network namespace for each, and a link between every two.
//!
//! A namespace has no name. It is there while the [`Place`] is, or something runs in it, so nothing is left of it when
//! a test's process is gone, however it ended. Everything else (files, users, processes) is this machine's.

use std::fs::File;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::process::{Command, Stdio};
use std::sync::Arc;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::{ended, skip, tool};

/// Where something runs: this machine's own network, or one of a test's.
#[derive(Debug, Clone)]
pub struct Place {
    address: Ipv4Addr,
    namespace: Option<Arc<File>>,
}

/// Machines that reach each other, at first. Dropped, they are gone as soon as nothing runs on them any more.
#[derive(Debug)]
pub struct Network {
    places: Vec<Place>,
}

impl Place {
    /// This machine, as tests usually have it: at 127.0.0.1.
    pub fn here() -> Self {
        Self { address: Ipv4Addr::LOCALHOST, namespace: None }
    }

    /// The address by which the others reach it.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Does something there. What is started by it, threads and processes, is there, too, and stays.
    ///
    /// # Panics
    ///
    /// When that does, or when the network cannot be entered.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let Some(namespace) = &self.namespace else { return work() };
        let enter = || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                .expect("a thread can enter a network");
            work()
        };
        let done = std::thread::scope(|scope| scope.spawn(enter).join());
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// The namespace, for `ip`.
    fn path(&self) -> String {
        let namespace = self.namespace.as_ref().expect("it is a test's");
        format!("/proc/{}/fd/{}", std::process::id(), namespace.as_raw_fd())
    }

    fn ip(&self, line: &str) -> Result<(), String> {
        let ip = tool("ip").ok_or("there is no ip")?;
        match self.within(|| ended(Command::new(ip).args(line.split_whitespace()))) {
            (0, ..) => Ok(()),
            (_, _, stderr) => Err(format!("ip {line}: {}", stderr.trim())),
        }
    }
}

impl Network {
    /// Some machines, two to nine, each with a link to each of the others. `None` where such a thing cannot be had, and
    /// the test is skipped: it takes root, and a kernel with veth.
    pub fn of(count: u8) -> Option<Self> {
        tool("ip")?;
        tool("unshare")?;
        let made = (1..=count).map(|n| namespace(Ipv4Addr::new(10, 77, 0, n))).collect::<Result<Vec<_>, _>>();
        let linked = made.map_err(|error| error.to_string()).and_then(|places| {
            let network = Self { places };
            network.connect().map(|()| network)
        });
        linked.map_err(|why| skip("netns", &format!("networks of its own cannot be had: {why}"))).ok()
    }

    /// A machine.
    pub fn place(&self, n: usize) -> &Place {
        &self.places[n]
    }

    /// Cuts the link between two machines, or mends it. The first of them has it cut: its system knows at once.
    ///
    /// # Panics
    ///
    /// When it cannot.
    pub fn link(&self, one: usize, other: usize, up: bool) {
        let set =
            self.places[one].ip(&format!("link set {} {}", name(other), if up { "up" } else { "down" }));
        set.and_then(|()| if up { self.route(one, other) } else { Ok(()) }).expect("a link can be set");
    }

    fn connect(&self) -> Result<(), String> {
        for place in &self.places {
            place.ip("link set lo up")?;
            place.ip(&format!("address add {}/32 dev lo", place.address))?;
        }
        for one in 0..self.places.len() {
            for other in 0..one {
                let [a, b] = [one, other].map(|n| self.places[n].path());
                let [to_b, to_a] = [name(other), name(one)];
                let link = format!("link add name {to_b} netns {a} type veth peer name {to_a} netns {b}");
                self.places[one].ip(&link)?;
                for (from, to) in [(one, other), (other, one)] {
                    self.places[from].ip(&format!("link set {} up", name(to)))?;
                }
                self.route(one, other)?;
                self.route(other, one)?;
            }
        }
        Ok(())
    }

    /// The way from one machine to another is their link. It goes when that is cut, and does not come back by itself.
    fn route(&self, from: usize, to: usize) -> Result<(), String> {
        let [source, target] = [from, to].map(|n| self.places[n].address);
        self.places[from].ip(&format!("route replace {target}/32 dev {} src {source}", name(to)))
    }
}

/// What a link is called where it begins, by where it leads.
fn name(to: usize) -> String {
    format!("to{to}")
}

/// A new namespace, which lasts as long as its file is open.
fn namespace(address: Ipv4Addr) -> io::Result<Place> {
    let mut command = Command::new("unshare");
    // It says that it is there, and ends with its input.
    command.args(["--net", "sh", "-c", "echo; cat"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut there = [0];
    let stdout = child.stdout.as_mut().expect("it is a pipe");
    let opened = match io::Read::read(stdout, &mut there) {
        Ok(1) => File::open(format!("/proc/{}/ns/net", child.id())),
        _ => Err(io::ErrorKind::Unsupported.into()),
    };
    drop(child.stdin.take());
    let said = String::from_utf8_lossy(&child.wait_with_output()?.stderr).trim().to_owned();
    let namespace = opened.map_err(|error| if said.is_empty() { error } else { io::Error::other(said) })?;
    Ok(Place { address, namespace: Some(Arc::new(namespace)) })
}
