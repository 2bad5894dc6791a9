//! Rounds: random trees, random edits here, random changes by the command there, SIGKILL at a random moment of
//! applying. After the next sync managed paths are exactly ours and everything else is untouched.
//!
//! `CRABBOX_TEST_ROUNDS` says how many for each toolbox, `CRABBOX_TEST_SEED` repeats one that failed.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use fastrand::Rng;
use rustix::process::{Pid, Signal, kill_process_group};

use super::harness::{Lease, make_way, members, remove, remove_and_write, tree_at};
use super::*;
use crate::testing::toolbox;

/// How many rounds where nothing else is said.
const ROUNDS: usize = 60;

/// A tree: what `tree_at` says of each path.
type Tree = BTreeMap<Vec<u8>, Vec<u8>>;

/// What is never managed has this at the end of its name.
const CACHE: &str = ".cache";

#[test]
fn rounds_with_sh() {
    rounds("sh");
}

#[test]
fn rounds_with_dash() {
    rounds("dash");
}

#[test]
fn rounds_with_bash() {
    rounds("bash");
}

#[test]
fn rounds_with_busybox() {
    rounds("busybox");
}

#[test]
fn rounds_with_bsd() {
    rounds("bsd");
}

fn rounds(name: &str) {
    let Some(toolbox) = toolbox(name) else { return };
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let seed = number("CRABBOX_TEST_SEED").unwrap_or_else(|| fastrand::u64(..));
    let count = number("CRABBOX_TEST_ROUNDS").map_or(ROUNDS, |count| usize::try_from(count).unwrap());
    let mut game = Game::new(Lease::of(toolbox), seed);
    for round in 0..count {
        let played = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| game.round()));
        if let Err(panic) = played {
            eprintln!("{name}: round {round} of CRABBOX_TEST_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
    let Seen { kills, staged, committed, resent, .. } = game.seen;
    eprintln!(
        "{name}: {count} rounds, {kills} kills ({staged} while staging, {committed} after the commit), {resent} resent"
    );
    if count >= ROUNDS {
        assert!(
            staged > 0 && committed > 0 && resent > 0,
            "a part of the game was never played: {:?}",
            game.seen
        );
    }
}

/// What happened, so that a test which tests nothing shows.
#[derive(Debug, Default)]
struct Seen {
    kills: usize,
    staged: usize,
    committed: usize,
    resent: usize,
    kept: usize,
}

struct Game {
    lease: Lease,
    random: Rng,
    seen: Seen,
    /// How long a sync takes that nobody kills.
    usual: Duration,
    /// What the lease received last, if that is certain.
    last: Option<Tree>,
}

impl Game {
    fn new(lease: Lease, seed: u64) -> Self {
        for name in ["x", "a", "top", "file.cache"] {
            fs::write(lease.outside().join(name), "theirs").unwrap();
        }
        let usual = Duration::from_millis(40);
        Self { lease, random: Rng::with_seed(seed), seen: Seen::default(), usual, last: None }
    }

    fn round(&mut self) {
        let theirs = tree_at(&self.lease.outside());
        self.edit();
        let touched = self.command();
        let before = self.stamps();
        let caches = self.caches();
        let mut ours = self.ours();
        let killed = self.random.f64() < 0.6;
        // A cache may go only where a path of ours has to be.
        let mut lost = in_the_way(&caches, &ours);
        if killed {
            self.kill_a_sync();
            if self.random.f64() < 0.3 {
                self.edit();
                ours = self.ours();
                lost.extend(in_the_way(&caches, &ours));
            }
        }
        let begun = Instant::now();
        let sent = self.lease.sync();
        self.usual = (self.usual * 3 + begun.elapsed()) / 4;
        self.seen.resent += usize::from(!killed && sent.len() > 1);

        let there = self.lease.tree();
        let managed: Tree = there.iter().filter(|(path, _)| !is_cache(path)).map(clone).collect();
        assert_eq!(shown(&managed), shown(&ours));
        let kept: Tree = there.iter().filter(|(path, _)| is_cache(path)).map(clone).collect();
        for (path, content) in &caches {
            let name = String::from_utf8_lossy(path);
            match kept.get(path) {
                Some(now) => assert_eq!(now, content, "{name}"),
                None => assert!(lost.contains(path), "{name} is lost"),
            }
        }
        assert!(kept.keys().all(|path| caches.contains_key(path)));
        assert_eq!(tree_at(&self.lease.outside()), theirs, "something was written outside");
        // What is the same on both sides was not touched.
        if let (Some(last), false) = (&self.last, killed) {
            let after = self.stamps();
            for (path, _) in last.iter().filter(|(path, what)| ours.get(*path) == Some(what)) {
                let line = first_line(Path::new(OsStr::from_bytes(path)));
                let near = |touched: &Vec<u8>| path == touched || is_below(path, touched);
                let alike = |other: &Vec<u8>| {
                    other != path && line == first_line(Path::new(OsStr::from_bytes(other)))
                };
                if !touched.iter().any(near) && !ours.keys().chain(last.keys()).any(alike) {
                    assert_eq!(
                        after.get(path),
                        before.get(path),
                        "{} {sent:?} {touched:?}",
                        String::from_utf8_lossy(path)
                    );
                    self.seen.kept += 1;
                }
            }
        }
        let own: Vec<_> = fs::read_dir(self.lease.there().join(".crabbox/sync")).unwrap().flatten().collect();
        assert_eq!(own.len(), 4, "{own:?}");
        self.last = Some(ours);
    }

    /// Starts a sync and kills all of it after a while.
    fn kill_a_sync(&mut self) {
        let engine = self.lease.engine(Apply::Update);
        engine.announce();
        let input = self.lease.input(&engine);
        let mut child = self.lease.start(input);
        std::thread::sleep(self.usual.mul_f64(self.random.f64() * 1.2));
        let group = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        let _ = kill_process_group(group, Signal::KILL);
        child.wait().unwrap();
        while members(group) > 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.seen.kills += 1;
        let own = self.lease.there().join(".crabbox/sync");
        self.seen.staged += usize::from(own.join("stage").exists());
        self.seen.committed += usize::from(own.join("redo").exists());
    }

    /// What the user does to the tree.
    fn edit(&mut self) {
        let here = self.lease.here();
        for _ in 0..self.random.usize(1..6) {
            let path = self.name();
            let at = here.join(&path);
            match self.random.u8(0..10) {
                0..2 => remove(&at),
                2 => self.link(&here, &path),
                3 if at.is_file() && !at.is_symlink() => {
                    fs::set_permissions(&at, fs::Permissions::from_mode(self.mode())).unwrap();
                }
                _ => self.file(&here, &path),
            }
        }
        // A tree without a file is not played: it would never have been synced.
        self.file(&here, Path::new("always"));
    }

    /// What the command does on the lease; returns what of ours it touched.
    fn command(&mut self) -> BTreeSet<Vec<u8>> {
        let ws = self.lease.ws();
        let mut touched = BTreeSet::new();
        let ours: Vec<PathBuf> = self.ours().keys().map(|path| OsStr::from_bytes(path).into()).collect();
        if !ws.is_dir() {
            return touched;
        }
        for _ in 0..self.random.usize(0..4) {
            // Beside what is ours, and elsewhere.
            let path = self.name();
            let parent = if self.random.bool() { Path::new("target") } else { path.parent().unwrap() };
            let real = ws
                .join(parent)
                .canonicalize()
                .ok()
                .is_none_or(|real| real == ws.canonicalize().unwrap().join(parent));
            if real && fs::create_dir_all(ws.join(parent)).is_ok() {
                let name = format!("{}{CACHE}", self.random.u8(0..5));
                fs::write(ws.join(parent).join(name), self.content()).unwrap();
            }
        }
        for _ in 0..self.random.usize(0..3) {
            let path = &ours[self.random.usize(0..ours.len())];
            // Only through directories: not through a link that was planted a moment ago.
            let parent = path.parent().unwrap();
            let real = ws.canonicalize().unwrap().join(parent);
            if ws.join(parent).canonicalize().ok() != Some(real.clone()) || !real.is_dir() {
                continue;
            }
            let at = ws.join(path);
            let upper = path.iter().next().unwrap();
            match self.random.u8(0..9) {
                0 => remove(&at),
                1 => {
                    remove(&at);
                    symlink(self.lease.outside().join("x"), &at).unwrap();
                }
                2 => {
                    remove(&at);
                    fs::create_dir(&at).unwrap();
                    fs::write(at.join(format!("in{CACHE}")), "1").unwrap();
                }
                3 if path.components().count() > 1 => {
                    // The whole directory becomes a link out of the workspace.
                    remove(&ws.join(upper));
                    symlink(self.lease.outside(), ws.join(upper)).unwrap();
                    touched.insert(upper.as_bytes().to_vec());
                }
                4 if path.components().count() > 1 => {
                    remove(&ws.join(upper));
                    fs::write(ws.join(upper), "in the way").unwrap();
                    touched.insert(upper.as_bytes().to_vec());
                }
                5 if at.is_file() && !at.is_symlink() => {
                    fs::set_permissions(&at, fs::Permissions::from_mode(0o600)).unwrap();
                }
                6 if at.is_file() && !at.is_symlink() => {
                    // Other bytes, the same size and the same time.
                    let time = fs::metadata(&at).unwrap().modified().unwrap();
                    let content = vec![b'!'; fs::read(&at).unwrap().len()];
                    remove_and_write(&at, &content);
                    fs::File::options().write(true).open(&at).unwrap().set_modified(time).unwrap();
                }
                _ if at.is_dir() || at.is_symlink() => remove(&at),
                _ => remove_and_write(&at, b"changed by the command"),
            }
            touched.insert(path.as_os_str().as_bytes().to_vec());
        }
        touched
    }

    fn name(&mut self) -> PathBuf {
        const DIRECTORIES: &[&[u8]] = &[b"", b"a", b"b", b"a/b", b"c d", b"-r", b"new\nline", b"\xff\xfe"];
        const NAMES: &[&[u8]] = &[
            b"x",
            b"y",
            b"a",
            b"b",
            b"q r",
            b"\xc3\xa9",
            b"one\ntwo",
            b"one",
            b"$(id)",
            b"'",
            b"*",
            b"\\n",
            b"-n",
            b"\xff",
            b".hidden",
        ];
        let directory = DIRECTORIES[self.random.usize(0..DIRECTORIES.len())];
        let name = NAMES[self.random.usize(0..NAMES.len())];
        Path::new(OsStr::from_bytes(directory)).join(OsStr::from_bytes(name))
    }

    fn mode(&mut self) -> u32 {
        [0o644, 0o755, 0o600, 0o444, 0o711][self.random.usize(0..5)]
    }

    fn content(&mut self) -> Vec<u8> {
        (0..self.random.usize(0..40)).map(|_| self.random.u8(b'a'..b'd')).collect()
    }

    fn file(&mut self, root: &Path, path: &Path) {
        make_way(root, path);
        let content = self.content();
        remove_and_write(&root.join(path), &content);
        fs::set_permissions(root.join(path), fs::Permissions::from_mode(self.mode())).unwrap();
    }

    fn link(&mut self, root: &Path, path: &Path) {
        make_way(root, path);
        remove(&root.join(path));
        let far = "f".repeat(140);
        let target = ["x", "../a", "/nowhere", "a//./b/", &far][self.random.usize(0..5)];
        symlink(target, root.join(path)).unwrap();
    }

    /// What the workspace has to be, but for what is not ours.
    fn ours(&self) -> Tree {
        tree_at(&self.lease.here()).into_iter().filter(|(path, _)| !path.starts_with(b".git/")).collect()
    }

    fn caches(&self) -> Tree {
        self.lease.tree().into_iter().filter(|(path, _)| is_cache(path)).collect()
    }

    /// What tells whether a path of the workspace was touched.
    fn stamps(&self) -> BTreeMap<Vec<u8>, (u64, i64, i64)> {
        let stamp = |path: Vec<u8>| {
            let metadata = fs::symlink_metadata(self.lease.ws().join(OsStr::from_bytes(&path))).unwrap();
            (path, (metadata.ino(), metadata.mtime(), metadata.mtime_nsec()))
        };
        self.lease.tree().into_keys().map(stamp).collect()
    }
}

/// The caches that stand where one of our paths has to be, or where one of its directories has to be.
fn in_the_way(caches: &Tree, ours: &Tree) -> BTreeSet<Vec<u8>> {
    let hit = |cache: &&Vec<u8>| ours.keys().any(|path| is_below(cache, path) || is_below(path, cache));
    caches.keys().filter(hit).cloned().collect()
}

fn is_below(path: &[u8], directory: &[u8]) -> bool {
    path.strip_prefix(directory).is_some_and(|rest| rest.starts_with(b"/"))
}

fn is_cache(path: &[u8]) -> bool {
    path.ends_with(CACHE.as_bytes())
}

fn clone((path, what): (&Vec<u8>, &Vec<u8>)) -> (Vec<u8>, Vec<u8>) {
    (path.clone(), what.clone())
}

/// A tree that a person can read.
fn shown(tree: &Tree) -> BTreeMap<String, String> {
    let text = |bytes: &Vec<u8>| bytes.escape_ascii().to_string();
    tree.iter().map(|(path, what)| (text(path), text(what))).collect()
}
