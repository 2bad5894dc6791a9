//! The provider that misbehaves, from the test's side: which mode it is in, and what it came to.

use std::fs;
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::{Plugin, World};

impl World {
    /// A world with the provider that misbehaves, in a mode: lines `WORD METHOD [NUMBER] [once]`.
    pub fn rude(mode: &str) -> Self {
        let world = Self::with(Plugin::Rude).expect("it needs nothing that may be absent");
        world.be(mode);
        world
    }

    /// From now on the provider that misbehaves is in this mode.
    pub fn be(&self, mode: &str) {
        let place = self.bin().join(".rude");
        fs::write(place.join("mode"), mode).expect("a file can be written");
        let _ = fs::remove_file(place.join("reached"));
    }

    /// What the provider has done wrong so far: `WORD METHOD` for each time.
    pub fn reached(&self) -> Vec<String> {
        let text = fs::read_to_string(self.bin().join(".rude/reached")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

/// What a command came to.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code; -1 when a signal ended it.
    pub code: i32,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
    /// The most memory that it had, in KiB; 0 where there is no `/proc`.
    pub peak: u64,
}

impl Ended {
    /// Runs a command to its end, and watches its memory meanwhile.
    pub fn of(command: &mut Command) -> Self {
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self::of_child(command.spawn().expect("a command can be started"), || ())
    }

    /// Waits for the end of a process whose output goes to pipes. `meanwhile` is done again and again.
    pub fn of_child(mut child: Child, mut meanwhile: impl FnMut()) -> Self {
        let stdout = child.stdout.take().map(read);
        let stderr = child.stderr.take().map(read);
        let mut peak = 0;
        let status = loop {
            peak = peak.max(peak_of(child.id()));
            if let Some(status) = child.try_wait().expect("a process can be waited for") {
                break status;
            }
            meanwhile();
            std::thread::sleep(Duration::from_millis(5));
        };
        let text = |reader: Option<std::thread::JoinHandle<String>>| {
            reader.map_or_else(String::new, |reader| reader.join().expect("a reader ends"))
        };
        Self { code: status.code().unwrap_or(-1), stdout: text(stdout), stderr: text(stderr), peak }
    }
}

fn read(mut from: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = from.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// The most memory that a process has had so far, in KiB, without the pages of its executable, of which a debug
/// build has many.
pub fn peak_of(pid: u32) -> u64 {
    // A child that was just started may still be seen with the memory of this process, before its own program has it.
    let program = |process: &str| fs::read_link(format!("/proc/{process}/exe")).ok();
    if program(&pid.to_string()) == program("self") {
        return 0;
    }
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let kib = |name: &str| -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
    };
    kib("VmHWM:").saturating_sub(kib("RssFile:"))
}
