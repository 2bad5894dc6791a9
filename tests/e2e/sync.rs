//! Sync: what is sent, what becomes of the lease's files, and who waits for whom.

mod crash;
mod progress;
pub(crate) mod size;
pub(crate) mod trouble;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::Stdio;

use crabbox_tests::{Plugin, World, wait_for};

use crate::support::{ALL, assert_has, claim, end, files, go, long_run, long_run_that, timing, warm};

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

    /// Runs a shell command on the lease, after a sync, and says what crabbox said.
    fn run(&self, command: &str) -> String {
        self.run_with(&["--", "sh", "-c", command])
    }

    fn run_with(&self, arguments: &[&str]) -> String {
        let (code, _, stderr) = self.world.run(&[&["run", "--id", "demo"], arguments].concat());
        assert_eq!(code, 0, "{:?}: {stderr}", self.plugin);
        stderr
    }

    /// Syncs, and says what was sent.
    fn sync(&self) -> String {
        let said = self.run_with(&["--sync-only"]);
        let line = said.lines().find(|line| line.starts_with("sync complete in ")).unwrap();
        line.split_once(": ").unwrap().1.to_owned()
    }

    fn ws(&self) -> PathBuf {
        self.plugin.leases(&self.world).join(&self.id).join("ws")
    }

    fn here(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        files(&self.world.repo())
    }

    /// Fails unless the lease has our files, and besides only these.
    fn has_ours_and(&self, others: &[(&str, &str)]) {
        let mut ours = self.here();
        ours.extend(others.iter().map(|(path, is)| (path.into(), is.as_bytes().to_vec())));
        assert_eq!(files(&self.ws()), ours, "{:?}", self.plugin);
    }
}

#[test]
fn a_tree_that_did_not_change_is_not_sent_again_and_of_a_changed_one_only_the_change() {
    for demo in Demo::all() {
        for n in 0..50 {
            demo.world.write(&format!("many/file{n}"), format!("{n}\n"));
        }
        assert_eq!(demo.sync(), "52 files, 175 B sent", "{:?}", demo.plugin);
        assert_eq!(demo.sync(), "nothing sent", "{:?}", demo.plugin);
        demo.world.write("many/file7", "another\n");
        assert_eq!(demo.sync(), "1 file, 8 B sent", "{:?}", demo.plugin);
        demo.has_ours_and(&[]);
    }
}

#[test]
fn the_timing_record_has_the_phases() {
    for demo in Demo::all() {
        let names = || {
            let record = timing(&demo.run_with(&["--sync-only", "--timing-json"]));
            let phases = record["syncPhases"].as_array().unwrap().clone();
            phases.iter().map(|phase| phase["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(names(), ["read", "bundle", "apply"], "{:?}", demo.plugin);
        assert_eq!(names(), ["read", "check"], "{:?}", demo.plugin);
    }
}

#[test]
fn what_a_command_did_to_our_files_is_undone_and_what_it_made_stays() {
    for demo in Demo::all() {
        for path in ["changed", "deleted", "replaced", "dir/gone", "dir/linked", "was/a/directory", "run.sh"]
        {
            demo.world.write(path, path);
        }
        symlink("changed", demo.world.repo().join("link")).unwrap();
        let run_sh = demo.world.repo().join("run.sh");
        fs::set_permissions(run_sh, fs::Permissions::from_mode(0o750)).unwrap();
        demo.run(
            "echo theirs >changed; rm deleted; rm replaced; mkdir replaced; echo in >replaced/in
             ln -sf /elsewhere link; rm -r dir; ln -s src dir; rm -r was; echo now a file >was
             chmod 600 run.sh; mkdir -p target src/out; echo built >target/out; echo built >src/out/x",
        );
        demo.sync();
        let outputs = [("target/out", "644 built\n"), ("src/out/x", "644 built\n")];
        demo.has_ours_and(&outputs);
        assert_eq!(demo.sync(), "nothing sent", "{:?}", demo.plugin);
        demo.has_ours_and(&outputs);
    }
}

#[test]
fn what_is_gone_here_goes_there_also_where_a_file_became_a_directory() {
    for demo in Demo::all() {
        for path in ["deep/er/gone", "file", "directory/inside", "directory/more/inside"] {
            demo.world.write(path, path);
        }
        demo.run("echo built >directory/out; mkdir -p deep/er/cache; echo built >deep/er/cache/x");
        for path in ["deep", "directory"] {
            fs::remove_dir_all(demo.world.repo().join(path)).unwrap();
        }
        fs::remove_file(demo.world.repo().join("file")).unwrap();
        demo.world.write("file/is/now/a", "directory");
        symlink("README.md", demo.world.repo().join("directory")).unwrap();
        demo.sync();
        // Where a file of ours stands now, what a build left cannot stay.
        demo.has_ours_and(&[("deep/er/cache/x", "644 built\n")]);
    }
}

#[test]
fn names_may_have_any_bytes() {
    let names: [&[u8]; 7] =
        [b"new\nline", b"\xff\xfe", b"-n", b" blank ", b"'\"$HOME`id`\\", b"d\n/\xff", b"*"];
    for demo in Demo::all() {
        let path = |name: &[u8]| demo.world.repo().join(OsStr::from_bytes(name));
        fs::create_dir(path(b"d\n")).unwrap();
        for (n, name) in names.into_iter().enumerate() {
            fs::write(path(name), format!("{n}")).unwrap();
        }
        symlink(OsStr::from_bytes(b"to\n\xff"), path(b"li\nnk")).unwrap();
        demo.sync();
        demo.has_ours_and(&[]);
        for name in names {
            fs::write(path(name), "changed").unwrap();
        }
        fs::remove_file(path(b"\xff\xfe")).unwrap();
        demo.run("for file in *; do [ ! -f \"$file\" ] || echo theirs >\"./$file\"; done");
        demo.sync();
        demo.has_ours_and(&[]);
        assert_eq!(demo.sync(), "nothing sent", "{:?}", demo.plugin);
    }
}

#[test]
fn a_full_resync_replaces_everything() {
    for demo in Demo::all() {
        demo.run("mkdir target; echo built >target/out; echo theirs >README.md");
        demo.run_with(&["--sync-only", "--full-resync"]);
        demo.has_ours_and(&[]);
        assert_eq!(demo.sync(), "nothing sent", "{:?}", demo.plugin);
    }
}

#[test]
fn what_is_gone_here_stays_there_where_the_setting_says_so() {
    for demo in Demo::all() {
        demo.world.write("crabbox.yaml", "sync: {delete: false}\n");
        demo.world.write("kept", "kept");
        demo.sync();
        fs::remove_file(demo.world.repo().join("kept")).unwrap();
        demo.sync();
        demo.has_ours_and(&[("kept", "644 kept")]);
    }
}

#[test]
fn a_run_whose_tree_the_lease_has_goes_in_beside_another() {
    for demo in Demo::all() {
        demo.sync();
        let first = long_run(&demo.world);
        let said = demo.run("echo beside >beside");
        assert!(said.contains("nothing sent") && !said.contains("waiting"), "{:?}: {said}", demo.plugin);
        demo.has_ours_and(&[("beside", "644 beside\n")]);
        assert_eq!(demo.world.json(&["list", "--json"])[0]["running"], 1);
        go(&demo.world);
        assert_eq!(end(first).0, 0, "{:?}", demo.plugin);
    }
}

#[test]
fn a_run_whose_files_another_run_has_changed_waits_for_it_and_then_restores_them() {
    for demo in Demo::all() {
        demo.sync();
        let first = long_run_that(&demo.world, "echo theirs >README.md;");
        let run = claim(&demo.world).1["runs"].as_object().unwrap().keys().next().unwrap().clone();
        let seen = demo.world.root().join("seen");
        let mut second = demo.world.crabbox(&["run", "--id", "demo", "--", "cat", "README.md"]);
        let second = second.stdout(Stdio::piped()).stderr(fs::File::create(&seen).unwrap()).spawn().unwrap();
        let waits = format!("waiting for lease demo: run {run} is on it");
        wait_for("the second run's wait", || fs::read_to_string(&seen).unwrap().contains(&waits));
        assert_eq!(fs::read_to_string(demo.ws().join("README.md")).unwrap(), "theirs\n");
        go(&demo.world);
        assert_eq!(end(first).0, 0, "{:?}", demo.plugin);
        let (code, stdout, _) = end(second);
        assert_eq!((code, stdout.as_str()), (0, "hello\n"), "{:?}", demo.plugin);
        assert_has(&fs::read_to_string(&seen).unwrap(), &["1 file, 6 B sent"]);
    }
}
