//! A repository here, a lease there, and the engine between them: what the tests of the engine need.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crabbox_protocol::LeaseId;
use rustix::process::Pid;

use super::super::{Filter, manifest_of};
use super::*;
use crate::paths::Paths;
use crate::testing::{TOOLBOXES, Toolbox, toolbox};

/// A repository here and a lease there, on the same machine.
pub(super) struct Lease {
    pub(super) directory: tempfile::TempDir,
    pub(super) toolbox: Toolbox,
}

/// What a request came to.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) code: Option<i32>,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
}

impl Lease {
    pub(super) fn of(toolbox: Toolbox) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for name in ["here", "there", "outside"] {
            fs::create_dir(directory.path().join(name)).unwrap();
        }
        let lease = Self { directory, toolbox };
        assert!(Command::new("git").args(["init", "-q"]).arg(lease.here()).status().unwrap().success());
        lease
    }

    pub(super) fn new() -> Self {
        Self::of(toolbox("sh").unwrap())
    }

    pub(super) fn here(&self) -> PathBuf {
        self.directory.path().join("here")
    }

    pub(super) fn there(&self) -> PathBuf {
        self.directory.path().join("there")
    }

    pub(super) fn ws(&self) -> PathBuf {
        self.there().join("ws")
    }

    /// What no sync may touch.
    pub(super) fn outside(&self) -> PathBuf {
        self.directory.path().join("outside")
    }

    pub(super) fn paths(&self) -> Paths {
        let path = |name: &str| self.directory.path().join(name);
        Paths { state: path("state"), cache: path("cache"), config: path("config") }
    }

    pub(super) fn write(&self, path: &str, content: &str) {
        let path = self.here().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub(super) fn engine(&self, how: Apply) -> Engine {
        let tree = Tree::read(&self.here(), &Filter::default()).unwrap();
        let manifest = manifest_of(&tree, &self.paths()).unwrap();
        let bases = Bases::of(&self.paths(), &LeaseId::from_bytes([1; 6]));
        Engine::new(tree, manifest, how, Some(bases))
    }

    pub(super) fn input(&self, engine: &Engine) -> Vec<u8> {
        let bundle = engine.bundle();
        let way = Way { alone: true, file: None };
        let mut input = engine.script(None, &run_id(), &way, bundle.as_ref());
        if let Some(bundle) = bundle {
            engine.write(&bundle, &mut input, &mut |_| ()).unwrap();
        }
        input
    }

    /// Starts the shell with the loader, as a provider would, as leader of its group.
    pub(super) fn start(&self, input: Vec<u8>) -> Child {
        use std::os::unix::process::CommandExt;
        let argv = crate::remote::argv();
        let mut child = self.toolbox.command(&self.there());
        let child = child.args(&argv[1..]).process_group(0).stdin(Stdio::piped());
        let mut child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        std::thread::spawn(move || std::io::Write::write_all(&mut stdin, &input));
        child
    }

    pub(super) fn send(&self, input: Vec<u8>) -> Answer {
        let output = self.start(input).wait_with_output().unwrap();
        Answer { code: output.status.code(), stdout: output.stdout, stderr: output.stderr }
    }

    pub(super) fn request(&self, engine: &Engine) -> Answer {
        engine.announce();
        self.send(self.input(engine))
    }

    /// Syncs as the host does, and says what the requests sent: how many files each, or nothing.
    pub(super) fn sync_as(&self, how: Apply) -> Result<Vec<Option<usize>>> {
        let mut engine = self.engine(how);
        let mut sent = Vec::new();
        loop {
            sent.push(engine.bundle().map(|bundle| bundle.count()));
            let Answer { code, stdout, stderr } = self.request(&engine);
            if engine.heard(code, &stdout, &stderr)? == Heard::Done {
                return Ok(sent);
            }
        }
    }

    pub(super) fn sync(&self) -> Vec<Option<usize>> {
        self.sync_as(Apply::Update).unwrap()
    }

    /// Everything in the workspace but directories: permissions and content, or where a link leads.
    pub(super) fn tree(&self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        tree_at(&self.ws())
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.tree().into_keys().map(|name| String::from_utf8(name).unwrap()).collect()
    }
}

/// Everything below a directory but directories.
pub(super) fn tree_at(directory: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    fn walk(directory: &Path, under: &[u8], tree: &mut BTreeMap<Vec<u8>, Vec<u8>>) {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let name = [under, entry.file_name().as_bytes()].concat();
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                walk(&entry.path(), &[&name[..], b"/"].concat(), tree);
            } else if kind.is_symlink() {
                let target = fs::read_link(entry.path()).unwrap();
                tree.insert(name, [b"-> ", target.as_os_str().as_bytes()].concat());
            } else {
                let mode = entry.metadata().unwrap().mode() & 0o7777;
                let content = fs::read(entry.path()).unwrap();
                tree.insert(name, [format!("{mode:o} ").as_bytes(), &content].concat());
            }
        }
    }
    let mut tree = BTreeMap::new();
    walk(directory, b"", &mut tree);
    tree
}

pub(super) fn run_id() -> RunId {
    let mut bytes = [0; 6];
    getrandom::fill(&mut bytes).unwrap();
    RunId::from_bytes(bytes)
}

pub(super) fn each_toolbox(test: impl Fn(&str, Lease)) {
    for name in TOOLBOXES {
        if let Some(toolbox) = toolbox(name) {
            test(name, Lease::of(toolbox));
        }
    }
}

/// What the workspace has to be.
pub(super) fn without_git(lease: &Lease) -> BTreeMap<Vec<u8>, Vec<u8>> {
    tree_at(&lease.here()).into_iter().filter(|(path, _)| !path.starts_with(b".git/")).collect()
}

/// Removes whatever is there.
pub(super) fn remove(path: &Path) {
    if path.is_dir() && !path.is_symlink() {
        fs::remove_dir_all(path).unwrap();
    } else {
        let _ = fs::remove_file(path);
    }
}

/// Writes a new file.
pub(super) fn remove_and_write(path: &Path, content: &[u8]) {
    remove(path);
    fs::write(path, content).unwrap();
}

/// Makes the directories that a path is in, whatever is there.
pub(super) fn make_way(root: &Path, path: &Path) {
    let mut at = root.to_owned();
    for name in path.parent().unwrap() {
        at.push(name);
        if at.is_symlink() || at.is_file() {
            remove(&at);
        }
        if !at.exists() {
            fs::create_dir(&at).unwrap();
        }
    }
}

/// How many processes of a group are alive.
pub(super) fn members(group: Pid) -> usize {
    let alive = |stat: String| {
        let mut fields = stat.rsplit(')').next().unwrap().split_whitespace();
        let state = fields.next();
        !matches!(state, Some("Z" | "X")) && fields.nth(1) == Some(&group.as_raw_nonzero().to_string())
    };
    let stats = fs::read_dir("/proc").unwrap().flatten();
    stats
        .filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok())
        .filter(|stat| alive(stat.clone()))
        .count()
}
