//! `crabbox cp`: files to a lease and back, by providers that print through messages and through paths.

mod broken;
mod hostile;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, UNIX_EPOCH};

use crabbox_tests::{Ended, Plugin, World, ended};
use serde_json::json;

use crate::support::{ALL, assert_has, end, files, go, long_run, warm};
use crate::sync::size::{asked, narrow, noise};

/// A world with a lease called `demo`, whose workspace is a directory on this machine.
struct Demo {
    world: World,
    plugin: Plugin,
    id: String,
}

impl Demo {
    fn on(plugin: Plugin) -> Option<Self> {
        let world = World::with(plugin)?;
        let id = warm(&world, plugin);
        Some(Self { world, plugin, id })
    }

    /// One for each provider that is at hand.
    fn all() -> impl Iterator<Item = Self> {
        ALL.into_iter().filter_map(Self::on)
    }

    fn here(&self, path: &str) -> PathBuf {
        self.world.repo().join(path)
    }

    fn ws(&self, path: &str) -> PathBuf {
        self.plugin.leases(&self.world).join(&self.id).join("ws").join(path)
    }

    /// Copies, and says what crabbox said. Nothing of that is data.
    fn cp(&self, words: &[&str]) -> String {
        let (code, stdout, stderr) = self.world.run(&[&["cp"], words].concat());
        assert_eq!((code, stdout.as_str()), (0, ""), "{:?}: {words:?}: {stderr}", self.plugin);
        stderr
    }

    /// Copies, which fails with this code.
    fn fails(&self, words: &[&str], code: i32, parts: &[&str]) {
        let (was, stdout, stderr) = self.world.run(&[&["cp"], words].concat());
        assert_eq!((was, stdout.as_str()), (code, ""), "{:?}: {words:?}: {stderr}", self.plugin);
        assert_has(&stderr, parts);
    }

    /// Fails unless nothing of a copy that is over is left on either side, and the lease can be used.
    fn nothing_is_staged(&self) {
        let (code, _, stderr) = self.world.run(&["run", "--id", "demo", "--no-sync", "--", "true"]);
        assert_eq!(code, 0, "{:?}: {stderr}", self.plugin);
        let lease = self.plugin.leases(&self.world).join(&self.id);
        let staged = [self.world.repo(), lease.join("ws")].map(|directory| {
            let entries = fs::read_dir(directory).unwrap().flatten().map(|entry| entry.file_name());
            entries.filter(|name| name.as_bytes().starts_with(b".crabbox-cp-")).collect::<Vec<_>>()
        });
        assert!(staged.iter().all(Vec::is_empty), "{staged:?} {:?}", self.plugin);
        assert_eq!(fs::read_dir(self.world.state().join("runs")).unwrap().count(), 0, "{:?}", self.plugin);
    }
}

/// A tree of 309 files with links, modes, and names that make trouble.
fn plant(world: &World, name: &str) {
    let at = |path: &str| format!("{name}/{path}");
    let here = world.repo().join(name);
    for path in ["a/file", "a/b/c/-rf", ".hidden", "two\nlines", "with space/'\"$`\\*", "-"] {
        world.write(&at(path), path);
    }
    fs::write(here.join(OsStr::from_bytes(b"\xff\xfe")), noise(1000)).unwrap();
    for n in 0..300 {
        world.write(&at(&format!("many/{n}")), format!("{n}"));
    }
    symlink("b/c", here.join("a/link")).unwrap();
    symlink("b/nowhere", here.join("a/dangling")).unwrap();
    fs::create_dir(here.join("empty")).unwrap();
    for (path, mode) in [("a/file", 0o755), (".hidden", 0o600)] {
        fs::set_permissions(here.join(path), fs::Permissions::from_mode(mode)).unwrap();
    }
}

/// A tree goes to a lease and comes back, and so do bytes through standard streams: for a provider whose lease need
/// not be on this machine.
pub(crate) fn both_ways(world: &World, lease: &str) {
    let cp = |words: &[&str], input: Option<&[u8]>| {
        let mut child = world.crabbox(&[&["cp"], words].concat());
        let child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = child.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.unwrap_or_default().to_owned();
        let writer = std::thread::spawn(move || _ = stdin.write_all(&input));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        (output.status.code(), output.stdout, String::from_utf8_lossy(&output.stderr).into_owned())
    };
    plant(world, "tree");
    let to = format!("{lease}:");
    let (code, stdout, stderr) = cp(&["tree", &to], None);
    assert_eq!((code, stdout.len()), (Some(0), 0), "{stderr}");
    let (code, stdout, stderr) = cp(&[&format!("{lease}:tree"), "back"], None);
    assert_eq!((code, stdout.len()), (Some(0), 0), "{stderr}");
    assert_eq!(files(&world.repo().join("back")), files(&world.repo().join("tree")));
    let bytes = noise(3_000_000);
    let (code, _, stderr) = cp(&["-", &format!("{lease}:bytes")], Some(&bytes));
    assert_eq!(code, Some(0), "{stderr}");
    let (code, stdout, stderr) = cp(&[&format!("{lease}:bytes"), "-"], None);
    assert_eq!((code, stdout == bytes), (Some(0), true), "{stderr}");
    let (code, _, stderr) = cp(&[&format!("{lease}:none"), "."], None);
    assert_eq!(code, Some(6), "{stderr}");
    assert_has(&stderr, &["error: no such file on the lease: none\n"]);
}

#[test]
fn a_tree_goes_to_the_lease_and_comes_back() {
    for demo in Demo::all() {
        plant(&demo.world, "tree");
        let said = demo.cp(&["tree", "demo:"]);
        assert_has(&said, &["copied 309 files, "]);
        let ours = files(&demo.here("tree"));
        assert_eq!(ours.len(), 309);
        assert_eq!(files(&demo.ws("tree")), ours, "{:?}", demo.plugin);
        assert!(demo.ws("tree/empty").is_dir(), "{:?}", demo.plugin);
        demo.cp(&["demo:tree", "back"]);
        assert_eq!(files(&demo.here("back")), ours, "{:?}", demo.plugin);
        assert!(demo.here("back/empty").is_dir(), "{:?}", demo.plugin);
        // Into a directory that is there, by the id, with several sources.
        fs::create_dir(demo.here("into")).unwrap();
        let many = [format!("{}:tree/many", demo.id), format!("{}:tree/a", demo.id)];
        demo.cp(&[&many[0], &many[1], "into"]);
        assert_eq!(files(&demo.here("into/a")), files(&demo.here("tree/a")), "{:?}", demo.plugin);
        demo.cp(&["tree/many/1", "tree/many/2", "demo:tree/empty/"]);
        assert_eq!(files(&demo.ws("tree/empty")).len(), 2, "{:?}", demo.plugin);
        demo.nothing_is_staged();
    }
}

#[test]
fn a_file_keeps_its_time_here_and_gets_the_leases_there() {
    for demo in Demo::all() {
        let past = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let file = demo.world.write("old", "old");
        File::options().write(true).open(file).unwrap().set_modified(past).unwrap();
        demo.cp(&["old", "demo:new"]);
        assert!(fs::metadata(demo.ws("new")).unwrap().modified().unwrap() > past, "{:?}", demo.plugin);
        File::options().write(true).open(demo.ws("new")).unwrap().set_modified(past).unwrap();
        demo.cp(&["demo:new", "again"]);
        assert_eq!(fs::metadata(demo.here("again")).unwrap().modified().unwrap(), past, "{:?}", demo.plugin);
    }
}

#[test]
fn a_large_file_goes_through_standard_streams_byte_for_byte_and_not_through_memory() {
    const SIZE: usize = 50_000_000;
    for demo in Demo::all() {
        let bytes = noise(SIZE);
        let source = demo.world.write("large", &bytes);
        let mut up = demo.world.crabbox(&["cp", "-", "demo:large"]);
        let (code, _, stderr) = ended(up.stdin(File::open(&source).unwrap()));
        assert_eq!(code, 0, "{:?}: {stderr}", demo.plugin);
        assert_eq!(stderr, "copied 1 file, 47.7 MiB\n", "{:?}", demo.plugin);
        assert!(fs::read(demo.ws("large")).unwrap() == bytes, "{:?}", demo.plugin);
        let out = demo.world.root().join("out");
        let mut down = demo.world.crabbox(&["cp", "demo:large", "-"]);
        let mut down = down.stdin(Stdio::null()).stdout(File::create(&out).unwrap()).spawn().unwrap();
        assert!(down.wait().unwrap().success(), "{:?}", demo.plugin);
        assert!(fs::read(&out).unwrap() == bytes, "{:?}", demo.plugin);
        // And as an archive, which is unpacked while it comes.
        let down = Ended::of(&mut demo.world.crabbox(&["cp", "demo:large", "back"]));
        assert_eq!(down.code, 0, "{:?}: {}", demo.plugin, down.stderr);
        assert!(fs::read(demo.here("back")).unwrap() == bytes, "{:?}", demo.plugin);
        assert!(down.peak < 32 * 1024, "{:?}: {} KiB", demo.plugin, down.peak);
        demo.nothing_is_staged();
    }
}

#[test]
fn a_reader_that_goes_away_ends_the_copy_quietly() {
    for demo in Demo::all() {
        demo.world.write("large", noise(5_000_000));
        demo.cp(&["large", "demo:"]);
        let mut shell = demo.world.command("sh");
        let program = demo.world.crabbox(&[]).get_program().to_owned();
        shell.args(["-c", "{ \"$0\" cp demo:large -; echo $? >code; } | head -c 3"]).arg(program);
        let output = shell.output().unwrap();
        assert_eq!(output.stdout, &noise(5_000_000)[..3], "{:?}", demo.plugin);
        assert_eq!(fs::read_to_string(demo.here("code")).unwrap(), "141\n", "{:?}", demo.plugin);
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{:?}", demo.plugin);
        demo.nothing_is_staged();
    }
}

#[test]
fn a_copy_goes_in_beside_a_run() {
    for demo in Demo::all() {
        let run = long_run(&demo.world);
        demo.cp(&["src", "demo:copied"]);
        demo.cp(&["demo:copied", "back"]);
        assert_eq!(files(&demo.here("back")), files(&demo.here("src")), "{:?}", demo.plugin);
        assert_eq!(demo.world.json(&["list", "--json"])[0]["running"], 1, "{:?}", demo.plugin);
        go(&demo.world);
        assert_eq!(end(run).0, 0, "{:?}", demo.plugin);
    }
}

#[test]
fn the_next_sync_puts_right_what_a_copy_did_to_our_files_and_leaves_the_rest() {
    for demo in Demo::all() {
        let sync = || {
            let (code, _, stderr) = demo.world.run(&["run", "--id", "demo", "--sync-only"]);
            assert_eq!(code, 0, "{:?}: {stderr}", demo.plugin);
            stderr
        };
        sync();
        let other = demo.world.root().join("other");
        fs::write(&other, "other\n").unwrap();
        let other = other.to_str().unwrap();
        demo.cp(&[other, "demo:README.md"]);
        demo.cp(&[other, "demo:src/"]);
        assert_eq!(fs::read(demo.ws("README.md")).unwrap(), b"other\n", "{:?}", demo.plugin);
        assert_has(&sync(), &["1 file, 6 B sent"]);
        assert_eq!(fs::read(demo.ws("README.md")).unwrap(), b"hello\n", "{:?}", demo.plugin);
        assert_eq!(fs::read(demo.ws("src/other")).unwrap(), b"other\n", "{:?}", demo.plugin);
        assert_has(&sync(), &["nothing sent"]);
    }
}

#[test]
fn what_cannot_be_copied_is_said_and_changes_nothing() {
    for demo in Demo::all() {
        demo.cp(&["src", "demo:"]);
        let before = (files(&demo.world.repo()), files(&demo.ws("")));
        for (words, code, said) in [
            (&["none", "demo:"][..], 6, "error: no such file here: none\n"),
            (&["src", "none/x", "demo:"], 6, "error: no such file here: none/x\n"),
            (&["README.md", "demo:none/x"], 6, "error: no such directory on the lease: none/\n"),
            (&["README.md", "demo:none/"], 6, "error: no such directory on the lease: none/\n"),
            (&["README.md", "demo:src/main.c/x"], 6, "error: no such directory on the lease: src/main.c/\n"),
            (
                &["src", "demo:src/main.c"],
                6,
                "error: on the lease, this is not a directory as ours is: main.c\n",
            ),
            (&["demo:none", "."], 6, "error: no such file on the lease: none\n"),
            (&["demo:src", "demo:none", "."], 6, "error: no such file on the lease: none\n"),
            (&["demo:none/", "x"], 6, "error: no such directory on the lease: none/\n"),
            (&["demo:none", "-"], 6, "error: no such file on the lease: none\n"),
            (&["demo:src", "-"], 6, "error: a directory does not go to standard output: src\n"),
            (&["demo:src", "none/x"], 6, "error: no such directory here: none\n"),
            (&["demo:src", "none/"], 6, "error: no such directory here: none/\n"),
            (&["demo:src/main.c", "demo:src", "none"], 6, "error: no such directory here: none\n"),
            (
                &["demo:src", "README.md"],
                6,
                "error: here, this is not a directory as the lease's is: ./README.md\n",
            ),
            (&["demo:src/main.c", "/dev/null"], 6, "error: neither a file nor a directory: /dev/null\n"),
            (&["none:src", "."], 4, "error: no lease `none`\n"),
            (&["src", "."], 2, "error: neither side is on a lease\n"),
        ] {
            demo.fails(words, code, &[said]);
        }
        let input = demo.world.crabbox(&["cp", "-", "demo:src"]).stdin(Stdio::null()).output().unwrap();
        assert_eq!(input.status.code(), Some(6), "{:?}", demo.plugin);
        assert_has(
            &String::from_utf8_lossy(&input.stderr),
            &["a directory is in the place of the file: src"],
        );
        assert_eq!((files(&demo.world.repo()), files(&demo.ws(""))), before, "{:?}", demo.plugin);
        demo.nothing_is_staged();
    }
}

#[test]
fn a_file_whose_name_looks_like_a_lease_is_named_by_its_path() {
    let demo = Demo::on(Plugin::Local).unwrap();
    demo.world.write("a:b", "content");
    demo.fails(&["a:b", "."], 4, &["error: no lease `a`", "hint: the file here is written `./a:b`"]);
    demo.cp(&["./a:b", "demo:c:d"]);
    assert_eq!(fs::read(demo.ws("c:d")).unwrap(), b"content");
}

#[test]
fn a_provider_without_leases_is_refused() {
    let world = World::new();
    world.provider("oneshot", &json!({"lifecycle": "one-shot"}), "");
    let (code, _, stderr) = world.run(&["cp", "--provider", "oneshot", "README.md", "demo:"]);
    assert_eq!(code, 2, "{stderr}");
    assert_has(&stderr, &["`cp` is not supported for provider=oneshot: it has no leases"]);
}

#[test]
fn what_standard_input_does_not_take_goes_by_put_or_is_refused() {
    let world = World::new();
    narrow(&world, &json!({"stdinMax": 200_000}), true);
    world.ok(&["warmup", "--provider", "narrow", "--slug", "demo"]);
    let id = world.json(&["list", "--json"])[0]["id"].as_str().unwrap().to_owned();
    let demo = Demo { world, plugin: Plugin::Local, id };
    let puts = || asked(&demo.world).iter().filter(|request| request["method"] == "put").count();
    demo.cp(&["src", "demo:"]);
    assert_eq!(puts(), 0);
    demo.world.write("large", noise(300_000));
    demo.cp(&["large", "demo:"]);
    assert_eq!((puts(), fs::read(demo.ws("large")).unwrap() == noise(300_000)), (1, true));
    let put = demo.ws("..").join(".crabbox/cp");
    assert_eq!(fs::read_dir(put).unwrap().count(), 0);

    let world = World::new();
    narrow(&world, &json!({"stdinMax": 200_000}), false);
    world.ok(&["warmup", "--provider", "narrow", "--slug", "demo"]);
    world.write("large", noise(300_000));
    let (code, _, stderr) = world.run(&["cp", "large", "demo:"]);
    assert_eq!(code, 6, "{stderr}");
    assert_has(&stderr, &["makes an archive of ", " KiB, and the provider takes at most "]);
}
