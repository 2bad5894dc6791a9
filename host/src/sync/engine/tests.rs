//! The engine and the script on the lease, without a provider between.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crabbox_protocol::LeaseId;

use super::super::{Filter, manifest_of};
use super::*;
use crate::paths::Paths;
use crate::testing::{TOOLBOXES, Toolbox, toolbox};

/// A repository here and a lease there, on the same machine.
pub(super) struct Lease {
    directory: tempfile::TempDir,
    toolbox: Toolbox,
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

    fn new() -> Self {
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

    fn send(&self, input: Vec<u8>) -> Answer {
        let output = self.start(input).wait_with_output().unwrap();
        Answer { code: output.status.code(), stdout: output.stdout, stderr: output.stderr }
    }

    fn request(&self, engine: &Engine) -> Answer {
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

    fn names(&self) -> Vec<String> {
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

fn run_id() -> RunId {
    let mut bytes = [0; 6];
    getrandom::fill(&mut bytes).unwrap();
    RunId::from_bytes(bytes)
}

fn each_toolbox(test: impl Fn(&str, Lease)) {
    for name in TOOLBOXES {
        if let Some(toolbox) = toolbox(name) {
            test(name, Lease::of(toolbox));
        }
    }
}

#[test]
fn only_what_changed_is_sent_and_everything_else_is_left_alone() {
    each_toolbox(|name, lease| {
        let long = format!("{}/{}", "d".repeat(90), "f".repeat(90));
        for (path, content) in [
            ("a", "1"),
            ("dir/b c", "2"),
            ("dir/new\nline", "3"),
            ("gone/deep/file", "4"),
            ("was-file", "5"),
            ("was-dir/file", "6"),
            ("run.sh", "7"),
            ("-n", "8"),
            (&long, "9"),
        ] {
            lease.write(path, content);
        }
        fs::set_permissions(lease.here().join("run.sh"), fs::Permissions::from_mode(0o750)).unwrap();
        for (target, link) in [("a", "link"), ("x//./y/", "odd"), (&format!("{long}/{long}"), "far")] {
            symlink(target, lease.here().join(link)).unwrap();
        }
        assert_eq!(lease.sync(), [Some(12)], "{name}");
        assert_eq!(lease.tree(), without_git(&lease), "{name}");
        assert_eq!(lease.sync(), [None], "{name}: nothing changed");

        // What a command does on the lease.
        fs::create_dir_all(lease.ws().join("target")).unwrap();
        fs::write(lease.ws().join("target/cache"), "kept").unwrap();
        fs::write(lease.ws().join("a"), "!").unwrap();
        fs::remove_file(lease.ws().join("link")).unwrap();
        fs::write(lease.ws().join("dir/new\nline"), "!").unwrap();
        let kept = fs::metadata(lease.ws().join("run.sh")).unwrap();
        assert_eq!(lease.sync(), [None, Some(3)], "{name}: what the command changed");
        let mut expected = without_git(&lease);
        expected.insert(b"target/cache".to_vec(), b"644 kept".to_vec());
        assert_eq!(lease.tree(), expected, "{name}");

        // What the user does here.
        for path in ["gone", "was-dir", &long] {
            let path = lease.here().join(path);
            let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        }
        fs::remove_file(lease.here().join("was-file")).unwrap();
        lease.write("was-file/inside", "10");
        lease.write("was-dir", "11");
        assert_eq!(lease.sync(), [Some(2)], "{name}");
        let mut expected = without_git(&lease);
        expected.insert(b"target/cache".to_vec(), b"644 kept".to_vec());
        assert_eq!(lease.tree(), expected, "{name}");
        assert!(!lease.ws().join("gone").exists(), "{name}: an emptied directory goes, too");
        let now = fs::metadata(lease.ws().join("run.sh")).unwrap();
        assert_eq!((now.ino(), now.mtime_nsec()), (kept.ino(), kept.mtime_nsec()), "{name}");
        let left: Vec<_> = fs::read_dir(lease.there().join(".crabbox/sync")).unwrap().flatten().collect();
        assert_eq!(left.len(), 4, "{name}: {left:?}");
        assert_eq!(fs::read_dir(lease.there().join(".crabbox/runs")).unwrap().count(), 0, "{name}");
    });
}

/// What the workspace has to be.
fn without_git(lease: &Lease) -> BTreeMap<Vec<u8>, Vec<u8>> {
    tree_at(&lease.here()).into_iter().filter(|(path, _)| !path.starts_with(b".git/")).collect()
}

#[test]
fn a_bundle_that_is_cut_short_leaves_the_old_tree() {
    let lease = Lease::new();
    lease.write("a", "1");
    lease.sync();
    lease.write("a", "2");
    lease.write("b", &"x".repeat(10_000));
    let engine = lease.engine(Apply::Update);
    let input = lease.input(&engine);
    // In the middle of a file, and between two entries, where tar sees nothing wrong.
    for missing in [6_000, 1024 + 512] {
        let answer = lease.send(input[..input.len() - missing].to_vec());
        let error =
            lease.engine(Apply::Update).heard(answer.code, &answer.stdout, &answer.stderr).unwrap_err();
        assert_eq!(error.exit, Exit::Sync);
        assert!(error.causes[0].contains("bundle"), "{missing}: {error:?}");
        assert_eq!(lease.names(), ["a"]);
    }
    lease.sync();
    assert_eq!(lease.tree(), without_git(&lease));
}

#[test]
fn links_in_the_place_of_what_is_ours_lead_nowhere() {
    each_toolbox(|name, lease| {
        let outside = lease.outside();
        fs::create_dir(outside.join("sub")).unwrap();
        for path in ["old", "kept", "sub/file", "top"] {
            fs::write(outside.join(path), "theirs").unwrap();
        }
        let theirs = tree_at(&outside);
        for path in ["dir/old", "dir/kept", "dir/sub/file", "top", "other/file"] {
            lease.write(path, "1");
        }
        lease.sync();
        let ws = lease.ws();
        // A directory, a file, a directory that nothing here changes in, and the workspace itself.
        fs::remove_dir_all(ws.join("dir")).unwrap();
        symlink(&outside, ws.join("dir")).unwrap();
        fs::remove_file(ws.join("top")).unwrap();
        symlink(outside.join("top"), ws.join("top")).unwrap();
        fs::rename(ws.join("other"), ws.join("elsewhere")).unwrap();
        symlink("elsewhere", ws.join("other")).unwrap();
        fs::remove_file(lease.here().join("dir/old")).unwrap();
        lease.write("top", "2");
        lease.sync();
        let mut expected = without_git(&lease);
        expected.insert(b"elsewhere/file".to_vec(), b"644 1".to_vec());
        assert_eq!(lease.tree(), expected, "{name}");
        assert_eq!(tree_at(&outside), theirs, "{name}");

        fs::rename(&ws, lease.there().join("moved")).unwrap();
        symlink(&outside, &ws).unwrap();
        lease.write("top", "3");
        lease.sync();
        assert_eq!(lease.tree(), without_git(&lease), "{name}");
        assert!(!fs::symlink_metadata(&ws).unwrap().is_symlink(), "{name}");
        assert_eq!(tree_at(&outside), theirs, "{name}");

        let own = lease.there().join(".crabbox/sync");
        fs::rename(&own, lease.there().join("own")).unwrap();
        symlink(&outside, &own).unwrap();
        lease.write("top", "4");
        assert!(lease.sync_as(Apply::Update).unwrap_err().causes[0].contains("symbolic link"), "{name}");
        assert_eq!(tree_at(&outside), theirs, "{name}");
    });
}

#[test]
fn what_is_gone_here_stays_there_where_that_is_wanted() {
    let lease = Lease::new();
    lease.write("a", "1");
    lease.write("b", "2");
    lease.sync();
    fs::remove_file(lease.here().join("b")).unwrap();
    assert_eq!(lease.sync_as(Apply::Add).unwrap(), [Some(0)]);
    assert_eq!(lease.names(), ["a", "b"]);
    assert_eq!(lease.sync(), [None], "what is not managed any more is left alone");
    assert_eq!(lease.names(), ["a", "b"]);
}

#[test]
fn a_full_resync_leaves_nothing_else() {
    let lease = Lease::new();
    lease.write("a", "1");
    lease.sync();
    fs::create_dir_all(lease.ws().join("target")).unwrap();
    fs::write(lease.ws().join("target/cache"), "stale").unwrap();
    assert_eq!(lease.sync_as(Apply::Replace).unwrap(), [Some(1)]);
    assert_eq!(lease.names(), ["a"]);
    assert_eq!(lease.sync(), [None]);
}

#[test]
fn the_leases_marker_is_believed_and_not_what_is_known_here() {
    let lease = Lease::new();
    lease.write("a", "1");
    lease.write("b", "1");
    lease.sync();
    let cache = lease.directory.path().join("cache/leases");
    let older = lease.directory.path().join("older");
    fs::rename(&cache, &older).unwrap();
    // What the lease has is not known: it gets everything.
    lease.write("a", "2");
    assert_eq!(lease.sync(), [Some(2)]);
    // Something older is known, and by it the lease lacks `a`: it says what it has, which is not known either.
    fs::remove_dir_all(&cache).unwrap();
    fs::rename(&older, &cache).unwrap();
    lease.write("a", "3");
    assert_eq!(lease.sync(), [Some(1), Some(2)]);
    // The host dies after the lease's answer: both trees are known, and the lease says which it has.
    lease.write("a", "4");
    let engine = lease.engine(Apply::Update);
    assert_eq!(lease.request(&engine).stdout, b"applied\n");
    lease.write("a", "5");
    assert_eq!(lease.sync(), [Some(1)]);
    lease.write("a", "6");
    lease.engine(Apply::Update).announce();
    lease.write("a", "7");
    assert_eq!(lease.sync(), [Some(1), Some(1)], "one that was announced and never sent");
    // The lease's own records are lost.
    fs::remove_file(lease.there().join(".crabbox/sync/index")).unwrap();
    assert_eq!(lease.sync(), [None, Some(2)]);
    assert_eq!(lease.tree(), without_git(&lease));
}

#[test]
fn what_a_lease_holds_is_told_and_left_as_it_is() {
    let lease = Lease::new();
    let compare = || {
        let mut engine = lease.engine(Apply::Update);
        loop {
            let Answer { code, stdout, stderr } = lease.send(engine.question(None, &run_id()));
            if let Some(difference) = engine.answered(code, &stdout, &stderr)? {
                return Ok::<_, Error>(difference);
            }
        }
    };
    for path in ["a", "b", "gone"] {
        lease.write(path, "12345");
    }
    let nothing = compare().unwrap();
    assert_eq!((nothing.base, nothing.send), (None, (3, 15)));
    assert!(!lease.ws().exists());
    lease.sync();
    let marker = lease.engine(Apply::Update).marker;
    assert_eq!(compare().unwrap(), Difference { base: Some(marker.clone()), ..Difference::default() });
    fs::write(lease.ws().join("b"), "!").unwrap();
    lease.write("a", "1234567");
    fs::remove_file(lease.here().join("gone")).unwrap();
    let before = lease.tree();
    let expected = Difference {
        base: Some(marker.clone()),
        send: (2, 12),
        remove: vec!["gone".into()],
        dirty: vec!["b".into()],
    };
    assert_eq!(compare().unwrap(), expected);
    // Another tree is thought to be there.
    lease.engine(Apply::Update).announce();
    assert_eq!(compare().unwrap(), expected);
    fs::remove_dir_all(lease.directory.path().join("cache/leases")).unwrap();
    let unknown = compare().unwrap();
    assert_eq!((unknown.base, unknown.send), (Some(marker), (2, 12)), "everything, as far as is known");
    assert_eq!(lease.tree(), before);
    fs::rename(lease.there().join(".crabbox/sync"), lease.there().join(".crabbox/redo")).unwrap();
    fs::create_dir(lease.there().join(".crabbox/sync")).unwrap();
    fs::rename(lease.there().join(".crabbox/redo"), lease.there().join(".crabbox/sync/redo")).unwrap();
    assert!(compare().unwrap_err().message.contains("not finished"));
}

#[test]
fn an_unfinished_sync_is_finished_alone_before_anything_else() {
    let lease = Lease::new();
    lease.write("a", "1");
    lease.sync();
    lease.write("a", "2");
    let engine = lease.engine(Apply::Update);
    // Up to the commit, and no further.
    let input = String::from_utf8(lease.input(&engine)).unwrap();
    let committed = "|| cbx_fail 'cannot commit the sync'\n";
    let input = input.replace(committed, &format!("{committed}exit 1\n"));
    engine.announce();
    lease.send(input.into_bytes());
    assert!(lease.there().join(".crabbox/sync/redo").exists());
    assert_eq!(lease.tree()[&b"a"[..]], b"644 1");

    let mut beside = lease.engine(Apply::Update);
    assert!(beside.is_up_to_date());
    let answer = lease.send(beside.script(None, &run_id(), &Way::default(), None));
    assert_eq!(answer.stdout, b"pending\n");
    assert_eq!(beside.heard(answer.code, &answer.stdout, b"").unwrap(), Heard::Again);
    assert_eq!(lease.tree()[&b"a"[..]], b"644 1", "it was not alone");
    assert_eq!(lease.send(finish_script(None, &run_id())).stdout, b"applied\n");
    assert_eq!(lease.tree()[&b"a"[..]], b"644 2");
    assert_eq!(lease.sync(), [None]);
}

#[test]
fn times_are_ours_at_first_and_the_leases_afterwards_but_never_in_the_future() {
    each_toolbox(|name, lease| {
        let age = |path: &str, seconds: i64| {
            let time = std::time::SystemTime::now();
            let shift = std::time::Duration::from_secs(seconds.unsigned_abs());
            let time = if seconds < 0 { time - shift } else { time + shift };
            fs::File::options()
                .write(true)
                .open(lease.here().join(path))
                .unwrap()
                .set_modified(time)
                .unwrap();
        };
        let there = |path: &str| fs::metadata(lease.ws().join(path)).unwrap().mtime();
        let here = |path: &str| fs::metadata(lease.here().join(path)).unwrap().mtime();
        let now = || fs::metadata(lease.there().join(".crabbox/sync/id")).unwrap().mtime();
        for (path, seconds) in [("old", -1000), ("older", -2000), ("ahead", 1000)] {
            lease.write(path, "1");
            age(path, seconds);
        }
        lease.sync();
        assert_eq!((there("old"), there("older")), (here("old"), here("older")), "{name}");
        assert!((now() - there("ahead")).abs() < 100, "{name}: {}", there("ahead"));
        // Changed here, with a time that is older than anything built there.
        lease.write("old", "2");
        age("old", -900);
        lease.sync();
        assert!((now() - there("old")).abs() < 100, "{name}");
        assert_eq!(there("older"), here("older"), "{name}: it was not touched");
    });
}

#[test]
fn a_lease_without_a_tool_says_which() {
    let lease = Lease::of(toolbox("sh").unwrap());
    let tools = tempfile::tempdir().unwrap();
    for tool in ["sh", "mkdir", "rm", "mv", "find", "xargs", "cp", "sort", "uniq", "sed", "cmp", "setsid"] {
        if let Ok(path) = which::which(tool) {
            symlink(path, tools.path().join(tool)).unwrap();
        }
    }
    let toolbox = Toolbox { path: tools.path().into(), ..toolbox("sh").unwrap() };
    let lease = Lease { toolbox, ..lease };
    lease.write("a", "1");
    let error = lease.sync_as(Apply::Update).unwrap_err();
    assert_eq!(error.message, "this lease lacks what sync needs: tar stat");
    assert_eq!(error.exit, Exit::Sync);
    assert!(!lease.ws().exists());
}

#[test]
fn a_large_bundle_is_compressed_where_the_lease_can_read_that() {
    let lease = Lease::new();
    lease.write("large", &"x".repeat(100_000));
    let engine = lease.engine(Apply::Update);
    let bundle = engine.bundle().unwrap();
    assert!(bundle.is_compressed());
    let [mut one, mut two] = [Vec::new(), Vec::new()];
    engine.write(&bundle, &mut one, &mut |_| ()).unwrap();
    engine.write(&bundle, &mut two, &mut |_| ()).unwrap();
    assert!(one == two && (one.len() as u64) < bundle.size / 10, "{} of {}", one.len(), bundle.size);
    lease.sync();
    assert_eq!(lease.tree(), without_git(&lease));

    let no_gzip = Lease::new();
    let tools = tempfile::tempdir().unwrap();
    for directory in std::env::split_paths(&std::env::var_os("PATH").unwrap()) {
        for tool in fs::read_dir(directory).into_iter().flatten().flatten() {
            let _ = symlink(tool.path(), tools.path().join(tool.file_name()));
        }
    }
    fs::remove_file(tools.path().join("gzip")).unwrap();
    let toolbox = Toolbox { path: tools.path().into(), ..toolbox("sh").unwrap() };
    let no_gzip = Lease { toolbox, ..no_gzip };
    no_gzip.write("large", &"x".repeat(100_000));
    assert_eq!(no_gzip.sync(), [Some(1), Some(1)]);
    assert_eq!(no_gzip.tree(), without_git(&no_gzip));
}

#[test]
fn a_bundle_is_never_larger_than_was_said() {
    let lease = Lease::new();
    for n in [1, 90, 94, 95, 99, 100, 101, 150, 200] {
        lease.write(&"f".repeat(n), &"x".repeat(n * 7));
        symlink("t".repeat(n), lease.here().join(format!("l{n}"))).unwrap();
    }
    let mut engine = lease.engine(Apply::Update);
    engine.uncompressed();
    let bundle = engine.bundle().unwrap();
    let mut written = Vec::new();
    engine.write(&bundle, &mut written, &mut |_| ()).unwrap();
    assert_eq!(bundle.size, written.len() as u64);
}

#[test]
fn what_a_formatter_changed_there_is_sent_again_and_nothing_else_however_much_it_is() {
    let lease = Lease::new();
    let name = |n: usize| format!("{}/{n:04}", "d".repeat(80));
    for n in 0..1_000 {
        lease.write(&name(n), "1");
    }
    lease.sync();
    for n in 100..1_000 {
        fs::write(lease.ws().join(name(n)), "formatted").unwrap();
    }
    assert_eq!(lease.sync(), [None, Some(900)]);
    assert_eq!(lease.tree(), without_git(&lease));
}

#[test]
fn a_lease_that_never_stands_still_is_given_up() {
    let lease = Lease::new();
    lease.write("a", "1");
    lease.sync();
    let mut engine = lease.engine(Apply::Update);
    let answers = (0..10).map(|_| engine.heard(Some(0), b"dirty\na\n", b""));
    let error = answers.take_while(|answer| answer.as_ref().is_ok()).count();
    assert_eq!(error, TRIES as usize - 1);
}

/// A lease whose `cp` does what the script says before it is the real one.
fn with_cp(script: &str) -> (Lease, tempfile::TempDir) {
    let tools = tempfile::tempdir().unwrap();
    let (cp, real) = (tools.path().join("cp"), which::which("cp").unwrap());
    fs::write(&cp, format!("#!/bin/sh\n{script}\nexec {} \"$@\"\n", real.display())).unwrap();
    fs::set_permissions(&cp, fs::Permissions::from_mode(0o755)).unwrap();
    let path = std::env::var_os("PATH").unwrap();
    let path = std::iter::once(tools.path().to_owned()).chain(std::env::split_paths(&path));
    let toolbox = Toolbox { path: std::env::join_paths(path).unwrap(), ..toolbox("sh").unwrap() };
    (Lease::of(toolbox), tools)
}

#[test]
fn a_file_system_without_hard_links_gets_copies() {
    let (lease, _tools) = with_cp("case $1 in *l*) echo 'not supported' >&2; exit 1 ;; esac");
    lease.write("a", "1");
    lease.write("dir/b", "1");
    lease.sync();
    fs::hard_link(lease.ws().join("a"), lease.ws().join("theirs")).unwrap();
    lease.write("a", "2");
    lease.write("dir/b", "2");
    assert_eq!(lease.sync(), [Some(2)]);
    assert_eq!(fs::read(lease.ws().join("theirs")).unwrap(), b"1", "nothing is written through a link");
    fs::remove_file(lease.ws().join("theirs")).unwrap();
    assert_eq!(lease.tree(), without_git(&lease));
    assert_eq!(lease.sync(), [None]);
}

#[test]
fn what_fails_after_the_commit_is_finished_by_the_next_sync() {
    let (lease, tools) =
        with_cp("[ ! -e \"${0%/*}/full\" ] || { echo 'No space left on device' >&2; exit 1; }");
    lease.write("a", "1");
    lease.write("b", "1");
    lease.sync();
    lease.write("a", "2");
    fs::remove_file(lease.here().join("b")).unwrap();
    fs::write(tools.path().join("full"), "").unwrap();
    let error = lease.sync_as(Apply::Update).unwrap_err();
    assert_eq!(error.exit, Exit::Sync);
    assert!(error.causes[0].contains("No space left on device"), "{error:?}");
    assert!(error.causes[0].contains("the next sync goes on from here"), "{error:?}");
    let error = lease.sync_as(Apply::Update).unwrap_err();
    assert!(error.causes[0].contains("cannot finish the last sync"), "{error:?}");
    fs::remove_file(tools.path().join("full")).unwrap();
    lease.sync();
    assert_eq!(lease.tree(), without_git(&lease));
}

#[test]
fn a_disk_that_fills_up_leaves_the_old_tree_or_the_new_one() {
    let lease = Lease::new();
    lease.write("a", "1");
    lease.sync();
    lease.write("b", &"x".repeat(200_000));
    let engine = lease.engine(Apply::Update);
    engine.announce();
    // No file may grow beyond 50 KiB: to tar it is as if the disk were full.
    let mut input = b"ulimit -f 100; trap '' XFSZ\n".to_vec();
    input.extend(lease.input(&engine));
    let answer = lease.send(input);
    let error = lease.engine(Apply::Update).heard(answer.code, &answer.stdout, &answer.stderr).unwrap_err();
    assert!(error.causes[0].contains("cannot unpack the bundle"), "{error:?}");
    assert_eq!(lease.names(), ["a"]);
    assert!(!lease.there().join(".crabbox/sync/stage").exists());
    lease.sync();
    assert_eq!(lease.tree(), without_git(&lease));
}
