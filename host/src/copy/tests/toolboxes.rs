//! The scripts under each shell and tar that a lease may have.

use std::io::Write;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Child, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use super::*;
use crate::testing::{TOOLBOXES, Toolbox, toolbox};

/// A directory here, and a lease's root.
struct Lease {
    directory: tempfile::TempDir,
    toolbox: Toolbox,
}

impl Drop for Lease {
    fn drop(&mut self) {
        // What nobody may write to cannot be removed, unless by root.
        let _ = std::process::Command::new("chmod").args(["-R", "u+rwx"]).arg(self.directory.path()).status();
    }
}

fn each_toolbox(test: impl Fn(&str, &Lease)) {
    for name in TOOLBOXES {
        if let Some(toolbox) = toolbox(name) {
            let directory = tempfile::tempdir().unwrap();
            fs::create_dir(directory.path().join("here")).unwrap();
            fs::create_dir_all(directory.path().join("there/ws")).unwrap();
            test(name, &Lease { directory, toolbox });
        }
    }
}

impl Lease {
    fn here(&self, path: &str) -> PathBuf {
        self.directory.path().join("here").join(path)
    }

    fn root(&self) -> PathBuf {
        self.directory.path().join("there")
    }

    fn ws(&self, path: &str) -> PathBuf {
        self.root().join("ws").join(path)
    }

    fn start(&self) -> Child {
        use std::os::unix::process::CommandExt;
        let argv = crate::remote::argv();
        let mut child = self.toolbox.command(&self.root());
        let child = child.args(&argv[1..]).process_group(0).stdin(Stdio::piped());
        child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    fn run(&self, input: &[u8]) -> Output {
        let mut child = self.start();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_owned();
        let writer = std::thread::spawn(move || {
            // A script that fails does not read all of it.
            let _ = stdin.write_all(&input);
        });
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        let left = |directory: &str| {
            let entries = fs::read_dir(self.root().join(directory)).into_iter().flatten().flatten();
            entries.map(|entry| entry.file_name()).collect::<Vec<_>>()
        };
        assert_eq!(left(".crabbox/runs"), Vec::<OsString>::new(), "{output:?}");
        assert!(!left("ws").iter().any(|name| name.as_bytes().starts_with(b".crabbox-cp-")), "{output:?}");
        output
    }

    fn up(&self, from: &[&str], to: &Remote) -> Output {
        let sources: Vec<_> = from.iter().map(|path| Source::of(self.here(path))).collect();
        let pack = Pack::look(&sources).unwrap();
        let names: Vec<_> = sources.into_iter().map(|source| source.name).collect();
        let mut input = receive_script(None, &run_id(), to, &names, &pack.late, None);
        pack.write(&mut input, &mut |_| ()).unwrap();
        self.run(&input)
    }

    fn down(&self, from: &Remote, to: &str) -> Result<Unpacked, String> {
        let how = Sending::of(from);
        let output = self.run(&send_script(None, &run_id(), from, how));
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        let called = from.spot().name.map(|name| name.into_string().unwrap());
        let name = called.as_deref().filter(|_| how == Sending::Whole);
        land(&output.stdout, &self.here(to), name, called.as_deref()).map_err(|error| error.to_string())
    }
}

fn placed(name: &str, output: &Output) {
    assert!(output.status.success() && output.stdout == b"placed\n", "{name}: {output:?}");
}

fn fails(name: &str, output: &Output, why: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && stderr.contains(why), "{name}: {output:?}");
}

/// A tree with what trees have, and names that make trouble.
fn plant(root: &Path) {
    for path in
        ["dir/sub/deep/file", "dir/-rf", ".hidden", "..two", "dir/.also", "with space/'quoted\"", "*", "a\\b"]
    {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, path.file_name().unwrap().as_bytes()).unwrap();
    }
    fs::write(root.join("dir/new\nline"), "newline").unwrap();
    let long = root.join("n".repeat(120)).join("m".repeat(130));
    fs::create_dir_all(&long).unwrap();
    fs::write(long.join("o".repeat(140)), "far").unwrap();
    fs::write(root.join("large"), vec![7; 300_000]).unwrap();
    // Which some tars have forms of their own for.
    fs::hard_link(root.join("large"), root.join("dir/same")).unwrap();
    fs::File::create(root.join("holes")).unwrap().set_len(2_000_000).unwrap();
    fs::create_dir(root.join("empty")).unwrap();
    symlink("sub/deep", root.join("dir/link")).unwrap();
    symlink("nowhere", root.join("dir/dangling")).unwrap();
    for (path, mode) in [("dir/-rf", 0o755), (".hidden", 0o600), ("empty", 0o700), ("dir/sub", 0o555)] {
        fs::set_permissions(root.join(path), fs::Permissions::from_mode(mode)).unwrap();
    }
}

#[test]
fn a_tree_goes_over_and_comes_back_as_it_was() {
    each_toolbox(|name, lease| {
        plant(&lease.here("tree"));
        let not_utf8 = lease.here("tree").join(OsString::from_vec(b"\xff\xfe".to_vec()));
        fs::write(not_utf8, "bytes").unwrap();
        placed(name, &lease.up(&["tree"], &remote("")));
        assert_eq!(shape(&lease.ws("tree")), shape(&lease.here("tree")), "{name}");
        let back = lease.down(&remote("tree"), "back").unwrap();
        assert_eq!((back.files, back.bytes > 2_000_000), (16, true), "{name}");
        assert_eq!(tree(&lease.here("back")), tree(&lease.ws("tree")), "{name}");

        // Over what is there, where one file has changed and one is theirs.
        fs::write(lease.ws("tree/large"), "short").unwrap();
        fs::write(lease.ws("tree/dir/theirs"), "theirs").unwrap();
        placed(name, &lease.up(&["tree"], &remote("tree/..")));
        let mut both = shape(&lease.here("tree"));
        both.insert("dir/theirs".into(), b"644 theirs".to_vec());
        assert_eq!(shape(&lease.ws("tree")), both, "{name}");
        // What is in a directory, into one that is there and to a name that is new.
        placed(name, &lease.up(&["tree/."], &remote("new")));
        assert_eq!(shape(&lease.ws("new")), shape(&lease.here("tree")), "{name}");
        placed(name, &lease.up(&["tree/dir/."], &remote("new/")));
        assert_eq!(shape(&lease.ws("new/sub")), shape(&lease.here("tree/dir/sub")), "{name}");
        assert_eq!(fs::read(lease.ws("new/-rf")).unwrap(), b"-rf", "{name}");
        fs::create_dir(lease.here("all")).unwrap();
        lease.down(&remote("new/."), "all").unwrap();
        assert_eq!(shape(&lease.here("all/dir")), shape(&lease.here("tree/dir")), "{name}");
        lease.down(&remote("new/dir/"), "all").unwrap();
        assert_eq!(shape(&lease.here("all/dir")), shape(&lease.here("tree/dir")), "{name}");
    });
}

#[test]
fn a_file_gets_the_name_or_goes_into_the_directory() {
    each_toolbox(|name, lease| {
        fs::write(lease.here("-a"), "a").unwrap();
        fs::write(lease.here("b"), "b").unwrap();
        symlink("-a", lease.here("link")).unwrap();
        let old = fs::File::open(lease.here("-a")).unwrap();
        old.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000)).unwrap();
        placed(name, &lease.up(&["-a"], &remote("-x")));
        assert_eq!(fs::read(lease.ws("-x")).unwrap(), b"a", "{name}");
        assert!(
            fs::metadata(lease.ws("-x")).unwrap().mtime() > 1_500_000_000,
            "{name}: the lease's own time"
        );
        fs::create_dir(lease.ws("-d")).unwrap();
        symlink("-d", lease.ws("way")).unwrap();
        placed(name, &lease.up(&["-a", "b", "link"], &remote("way")));
        assert_eq!(fs::read(lease.ws("-d/-a")).unwrap(), b"a", "{name}");
        assert_eq!(fs::read(lease.ws("-d/b")).unwrap(), b"b", "{name}");
        assert_eq!(fs::read_link(lease.ws("-d/link")).unwrap(), Path::new("-a"), "{name}");
        let far = lease.directory.path().join("far");
        placed(name, &lease.up(&["b"], &remote(far.to_str().unwrap())));
        assert_eq!(fs::read(&far).unwrap(), b"b", "{name}");
        // In the place of a link comes the file.
        placed(name, &lease.up(&["b"], &remote("-d/link")));
        assert_eq!(fs::read_link(lease.ws("-d/link")).ok(), None, "{name}");
        assert_eq!(fs::read(lease.ws("-d/-a")).unwrap(), b"a", "{name}");

        lease.down(&remote("-d/-a"), "c").unwrap();
        assert_eq!(fs::read(lease.here("c")).unwrap(), b"a", "{name}");
        lease.down(&remote(far.to_str().unwrap()), ".").unwrap();
        assert_eq!(fs::read(lease.here("far")).unwrap(), b"b", "{name}");
        let sent = lease.run(&send_script(None, &run_id(), &remote("way/b"), Sending::Bytes));
        assert_eq!((sent.status.code(), sent.stdout), (Some(0), b"b".to_vec()), "{name}");
    });
}

#[test]
fn what_does_not_fit_changes_nothing_on_the_lease() {
    each_toolbox(|name, lease| {
        for path in ["tree/file", "tree/sub/file", "other"] {
            fs::create_dir_all(lease.here(path).parent().unwrap()).unwrap();
            fs::write(lease.here(path), "ours").unwrap();
        }
        fs::create_dir_all(lease.ws("tree/file")).unwrap();
        fs::write(lease.ws("afile"), "theirs").unwrap();
        fs::create_dir_all(lease.ws("second/tree")).unwrap();
        fs::create_dir(lease.ws("outside")).unwrap();
        symlink("../../outside", lease.ws("second/tree/sub")).unwrap();
        let before = shape(&lease.ws(""));
        let up = |from: &[&str], to: &str| lease.up(from, &remote(to));
        fails(name, &up(&["tree"], ""), "on the lease, this is not a file as ours is: tree/file");
        fails(name, &up(&["other", "tree"], ""), "on the lease, this is not a file as ours is: tree/file");
        fails(name, &up(&["tree"], "second"), "on the lease, this is not a directory as ours is: tree/sub");
        fails(name, &up(&["tree"], "afile"), "on the lease, this is not a directory as ours is: afile");
        fails(name, &up(&["tree"], "afile/"), "no such directory on the lease: afile/");
        fails(name, &up(&["other"], "none/x"), "no such directory on the lease: none/");
        fails(name, &up(&["other"], "none/"), "no such directory on the lease: none/");
        fails(name, &up(&["other", "tree"], "none"), "no such directory on the lease: none");
        assert_eq!(shape(&lease.ws("")), before, "{name}");
        let down = |from: &str| lease.down(&remote(from), ".").unwrap_err();
        assert_eq!(down("none"), "no such file on the lease: none\n", "{name}");
        assert_eq!(down("none/"), "no such directory on the lease: none/\n", "{name}");
        assert_eq!(down("afile/"), "no such directory on the lease: afile/\n", "{name}");
        let sent = lease.run(&send_script(None, &run_id(), &remote("tree"), Sending::Bytes));
        fails(name, &sent, "a directory does not go to standard output: tree");
    });
}

#[test]
fn an_archive_that_is_cut_short_changes_nothing_on_the_lease() {
    each_toolbox(|name, lease| {
        for n in 0..5 {
            fs::write(lease.here(&format!("file{n}")), vec![n; 2000]).unwrap();
        }
        let pack = Pack::look(&[Source::of(lease.here("."))]).unwrap();
        let mut archive = Vec::new();
        pack.write(&mut archive, &mut |_| ()).unwrap();
        let script = receive_script(None, &run_id(), &remote("new"), &[None], &pack.late, None);
        // In the middle of a file, in that of a header, and between two files, where tar sees nothing wrong.
        for length in [4_000, 3_300, 512 + 2560, 0] {
            let output = lease.run(&[&script[..], &archive[..length]].concat());
            assert_eq!(output.status.code(), Some(1), "{name}: {output:?}");
            assert_eq!(shape(&lease.ws("")).len(), 1, "{name}: {length}");
        }
        placed(name, &lease.run(&[script, archive].concat()));
    });
}

#[test]
fn what_a_killed_copy_has_staged_is_removed_by_the_next_one_and_what_a_live_one_has_is_not() {
    each_toolbox(|name, lease| {
        fs::write(lease.here("file"), vec![7; 20_000]).unwrap();
        let pack = Pack::look(&[Source::of(lease.here("file"))]).unwrap();
        // A copy of which half has come.
        let begin = |run: &str, to: &str| {
            let directory = lease.ws(to);
            fs::create_dir(&directory).unwrap();
            let run: RunId = run.parse().unwrap();
            let script = receive_script(None, &run, &remote(to), &[None], &pack.late, None);
            let mut input = script.clone();
            pack.write(&mut input, &mut |_| ()).unwrap();
            let mut child = lease.start();
            child.stdin.as_mut().unwrap().write_all(&input[..script.len() + 15_000]).unwrap();
            let stage = directory.join(format!(".crabbox-cp-{run}"));
            until(|| stage.join("0").exists());
            (child, stage)
        };
        let again = || {
            let mut input = receive_script(None, &run_id(), &remote("new"), &[None], &pack.late, None);
            pack.write(&mut input, &mut |_| ()).unwrap();
            let mut child = lease.start();
            child.stdin.take().unwrap().write_all(&input).unwrap();
            placed(name, &child.wait_with_output().unwrap());
        };
        let (mut killed, left) = begin("run_000000000001", "odd name\n");
        let (mut alive, staged) = begin("run_000000000002", "other");
        kill_process_group(Pid::from_child(&killed), Signal::KILL).unwrap();
        killed.wait().unwrap();
        assert!(left.exists(), "{name}");
        // What it has started takes a moment to die.
        until(|| {
            again();
            !left.exists()
        });
        assert!(staged.join("0").exists(), "{name}");
        drop(alive.stdin.take());
        fails(name, &alive.wait_with_output().unwrap(), "cannot unpack on the lease");
        assert!(!staged.exists(), "{name}");
        for directory in [".crabbox/cp", ".crabbox/runs"] {
            assert_eq!(fs::read_dir(lease.root().join(directory)).unwrap().count(), 0, "{name}: {directory}");
        }
    });
}

fn until(mut is: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !is() {
        assert!(Instant::now() < end, "waited for too long");
        std::thread::sleep(Duration::from_millis(10));
    }
}
