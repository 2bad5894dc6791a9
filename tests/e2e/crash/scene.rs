//! Hosts that are killed while another one runs a command of its own, and what must be left afterwards: nothing.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crabbox_tests::{Ended, Plugin, World, wait_for};

/// In the environment of whoever is to be killed, and of what it starts: plugins and commands get `LC_*`.
const MARK: &str = "LC_CRABBOX_VICTIM";

/// A lease appears when it was asked for, and whatever becomes of the plugin.
pub(super) const PROMPT: &str = "unhurried acquire 100";

/// It appears only when the locks of a host that was killed meanwhile are free already.
pub(super) const SLOW: &str = "unhurried acquire 2600";

/// The same, and it is never answered.
pub(super) const NEVER: &str = "late acquire 1000";

/// How many hosts are killed at once.
pub(super) const AT_ONCE: usize = 8;

/// A world in which hosts are killed.
pub(super) struct Scene {
    pub(super) world: World,
    pub(super) plugin: Plugin,
    /// A run that must not notice.
    bystander: Child,
    /// What belongs to it.
    its: BTreeSet<PathBuf>,
    /// How many hosts have been killed so far.
    pub(super) kills: usize,
}

impl Scene {
    /// A world with this provider, in which a run is under way; `None` where its language is absent.
    pub(super) fn new(plugin: Plugin) -> Option<Self> {
        let world = World::with(plugin)?;
        if plugin == Plugin::Rude {
            world.be(PROMPT);
        }
        std::fs::create_dir(world.root().join("tmp")).unwrap();
        world.ok(&["plugins", "list"]);
        let wait = format!("echo up; while [ ! -e {} ]; do sleep 0.2; done; echo end; exit 5", go(&world));
        let mut run =
            world.crabbox(&["run", "--provider", plugin.name(), "--no-sync", "--", "sh", "-c", &wait]);
        let mut bystander =
            run.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = Vec::new();
        while line != *b"up\n" {
            // A byte at a time: the rest is read at the end.
            let mut one = BufReader::with_capacity(1, bystander.stdout.as_mut().unwrap());
            assert!(one.read_until(b'\n', &mut line).unwrap() > 0, "{plugin:?}");
        }
        let its = world.leftovers(plugin).into_iter().collect();
        Some(Self { world, plugin, bystander, its, kills: 0 })
    }

    /// crabbox, to be killed at the Nth step; at none with 0.
    pub(super) fn victim(&self, step: usize, arguments: &[&str]) -> Command {
        let mut command = self.world.crabbox(arguments);
        command.env(MARK, "1").env("TMPDIR", self.world.root().join("tmp"));
        command.env("CRABBOX_FAULT_AT", step.to_string());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// The steps that a command takes when nobody kills it.
    pub(super) fn steps_of(&self, arguments: &[&str]) -> Vec<String> {
        let log = self.world.root().join("steps");
        let _ = std::fs::remove_file(&log);
        let status = self.victim(0, arguments).env("CRABBOX_FAULT_LOG", &log).status().unwrap();
        assert!(status.success(), "{:?}: {arguments:?}: {status}", self.plugin);
        std::fs::read_to_string(&log).unwrap().lines().map(str::to_owned).collect()
    }

    /// Runs commands beside each other, each to be killed at a step of its own, and says which of them were. One
    /// that has not so many steps ends by itself.
    pub(super) fn kill(&mut self, commands: &[(usize, Vec<String>)]) -> Vec<bool> {
        let start = |(step, arguments): &(usize, Vec<String>)| {
            let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
            self.victim(*step, &arguments).spawn().unwrap()
        };
        let hosts: Vec<_> = commands.iter().map(start).collect();
        let ended = hosts.into_iter().map(|mut host| host.wait().unwrap());
        let killed: Vec<_> = ended.map(|status| status.signal() == Some(9)).collect();
        self.kills += killed.iter().filter(|killed| **killed).count();
        killed
    }

    /// Cleans up, until nothing is left but what belongs to the bystander. The guards of the dead hold their locks
    /// for two seconds, and a lease that lands late takes what it takes.
    pub(super) fn assert_cleaned_up(&self, what: &str) {
        let begun = Instant::now();
        loop {
            // Not only once everybody is gone: what still lands then must not be forgotten before.
            let (code, stdout, stderr) = self.world.run(&["cleanup", "--wait"]);
            let (left, alive) = (self.leftovers(), self.world.processes_with(MARK));
            if code == 0 && left.is_empty() && alive.is_empty() {
                break;
            }
            let late = begun.elapsed() > Duration::from_secs(60);
            assert!(!late, "{:?}, {what}: {code}: {left:#?}, {alive:#?}\n{stdout}{stderr}", self.plugin);
            std::thread::sleep(Duration::from_millis(300));
        }
        let tmp: Vec<_> = std::fs::read_dir(self.world.root().join("tmp")).unwrap().collect();
        assert!(tmp.is_empty(), "{:?}, {what}: {tmp:?}", self.plugin);
    }

    /// Waits until the guards of the dead have let go of their locks.
    pub(super) fn wait_for_guards(&self) {
        let inside =
            |directory: PathBuf| std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        wait_for("the locks", || {
            let runs = inside(self.world.state().join("runs")).filter(|path| !self.its.contains(path));
            let locks = inside(self.world.state().join("locks")).filter(|path| !self.its.contains(path));
            let mut files =
                runs.map(|path| path.join("lock")).chain(locks).filter_map(|path| File::open(path).ok());
            files.all(|file| file.try_lock().is_ok())
        });
    }

    /// What is there of leases and runs, and of files that were never finished, and is not the bystander's.
    pub(super) fn leftovers(&self) -> Vec<PathBuf> {
        let all = self.world.leftovers(self.plugin).into_iter().chain(self.world.unfinished());
        all.filter(|path| !self.its.contains(path)).collect()
    }

    /// The ids of the leases that are not the bystander's.
    pub(super) fn leases(&self) -> Vec<String> {
        let claims = self.world.state().join("claims");
        let names = std::fs::read_dir(claims).unwrap().map(|entry| entry.unwrap().path());
        let others = names.filter(|path| !self.its.contains(path));
        others.filter_map(|path| path.file_stem()?.to_str()?.parse().ok()).collect()
    }

    /// The bystander goes on as if nothing had been, and then nothing at all is left.
    pub(super) fn end(self) {
        std::fs::write(go(&self.world), "").unwrap();
        let ended = Ended::of_child(self.bystander, || ());
        assert_eq!((ended.code, ended.stdout.as_str()), (5, "end\n"), "{:?}: {}", self.plugin, ended.stderr);
        crate::support::assert_nothing_left(&self.world, self.plugin);
        wait_for("the end of every process", || self.world.processes().is_empty());
        // Not by `eprintln!`, which the harness keeps to itself when a test passes.
        let test = std::thread::current().name().unwrap_or("a test").to_owned();
        let _ = writeln!(std::io::stderr(), "{test}: {} hosts were killed", self.kills);
    }
}

fn go(world: &World) -> String {
    world.root().join("go").display().to_string()
}
