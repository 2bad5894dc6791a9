//! The bundle and the script that applies it, without a provider between.

use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::*;

struct Lease {
    here: tempfile::TempDir,
    there: tempfile::TempDir,
}

impl Lease {
    fn new() -> Self {
        let lease = Self { here: tempfile::tempdir().unwrap(), there: tempfile::tempdir().unwrap() };
        assert!(Command::new("git").args(["init", "-q"]).arg(lease.here.path()).status().unwrap().success());
        lease
    }

    fn ws(&self) -> PathBuf {
        self.there.path().join("ws")
    }

    fn write(&self, path: &str, content: &str) {
        let path = self.here.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn input(&self) -> Vec<u8> {
        self.input_of(Apply::Update)
    }

    fn input_of(&self, how: Apply) -> Vec<u8> {
        let mut input = apply_script(None, how);
        write_bundle(&Tree::read(self.here.path(), &Default::default()).unwrap(), &mut input).unwrap();
        input
    }

    fn sync_with(&self, shell: &[&str], input: &[u8]) -> (bool, String) {
        let argv = crate::remote::argv();
        let mut child = Command::new(shell[0])
            .args(&shell[1..])
            .args(&argv[1..])
            .current_dir(self.there.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let _ = child.stdin.take().unwrap().write_all(input);
        let output = child.wait_with_output().unwrap();
        (
            output.status.success(),
            String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
        )
    }

    fn sync(&self) {
        let (success, said) = self.sync_with(&["sh"], &self.input());
        assert!(success && said == "applied\n", "{said}");
    }

    /// Everything in the workspace: content, or where a link leads, and the executable bit.
    fn tree(&self) -> BTreeMap<String, String> {
        fn walk(directory: &Path, under: &str, tree: &mut BTreeMap<String, String>) {
            for entry in fs::read_dir(directory).unwrap().flatten() {
                let name = format!("{under}{}", entry.file_name().to_string_lossy());
                let kind = entry.file_type().unwrap();
                if kind.is_dir() {
                    walk(&entry.path(), &format!("{name}/"), tree);
                } else if kind.is_symlink() {
                    tree.insert(name, format!("-> {}", fs::read_link(entry.path()).unwrap().display()));
                } else {
                    let executable = entry.metadata().unwrap().mode() & 0o111 != 0;
                    let content = String::from_utf8_lossy(&fs::read(entry.path()).unwrap()).into_owned();
                    tree.insert(name, if executable { format!("x {content}") } else { content });
                }
            }
        }
        let mut tree = BTreeMap::new();
        walk(&self.ws(), "", &mut tree);
        tree
    }
}

fn tree_of(files: &[(&str, &str)]) -> BTreeMap<String, String> {
    files.iter().map(|(path, content)| ((*path).to_owned(), (*content).to_owned())).collect()
}

#[test]
fn managed_paths_are_ours_and_everything_else_is_left_alone() {
    for shell in crate::testing::shells() {
        let lease = Lease::new();
        lease.write("a", "1");
        lease.write("dir/b c", "2");
        lease.write("dir/new\nline", "3");
        lease.write("gone/deep/file", "4");
        lease.write("was-file", "5");
        lease.write("was-dir/file", "6");
        lease.write("run.sh", "7");
        let long = format!("{}/{}", "d".repeat(90), "f".repeat(90));
        lease.write(&long, "8");
        fs::set_permissions(lease.here.path().join("run.sh"), fs::Permissions::from_mode(0o700)).unwrap();
        symlink("a", lease.here.path().join("link")).unwrap();
        let (success, said) = lease.sync_with(shell, &lease.input());
        assert!(success, "{shell:?}: {said}");
        let first = tree_of(&[
            ("a", "1"),
            ("dir/b c", "2"),
            ("dir/new\nline", "3"),
            ("gone/deep/file", "4"),
            ("was-file", "5"),
            ("was-dir/file", "6"),
            ("run.sh", "x 7"),
            (&long, "8"),
            ("link", "-> a"),
        ]);
        assert_eq!(lease.tree(), first, "{shell:?}");

        // What a command does on the lease.
        fs::create_dir_all(lease.ws().join("target")).unwrap();
        fs::write(lease.ws().join("target/cache"), "kept").unwrap();
        fs::write(lease.ws().join("a"), "changed there").unwrap();
        fs::remove_file(lease.ws().join("link")).unwrap();
        // What the user does here.
        for path in ["gone", "was-dir", &long] {
            let path = lease.here.path().join(path);
            let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        }
        fs::remove_file(lease.here.path().join("was-file")).unwrap();
        lease.write("was-file/inside", "9");
        lease.write("was-dir", "10");
        let (success, said) = lease.sync_with(shell, &lease.input());
        assert!(success, "{shell:?}: {said}");
        let second = tree_of(&[
            ("a", "1"),
            ("dir/b c", "2"),
            ("dir/new\nline", "3"),
            ("was-file/inside", "9"),
            ("was-dir", "10"),
            ("run.sh", "x 7"),
            ("link", "-> a"),
            ("target/cache", "kept"),
        ]);
        assert_eq!(lease.tree(), second, "{shell:?}");
        assert!(!lease.there.path().join(".crabbox/sync/redo").exists());
    }
}

#[test]
fn a_bundle_that_is_cut_short_leaves_the_old_tree() {
    let lease = Lease::new();
    lease.write("a", "1");
    lease.sync();
    lease.write("a", "2");
    lease.write("b", &"x".repeat(100_000));
    let input = lease.input();
    // In the middle of a file, and between two entries, where tar sees nothing wrong.
    for missing in [60_000, 1024 + 512] {
        let (success, said) = lease.sync_with(&["sh"], &input[..input.len() - missing]);
        assert!(!success && said.contains("bundle"), "{missing}: {said}");
        assert_eq!(lease.tree(), tree_of(&[("a", "1")]));
    }
    lease.sync();
    assert_eq!(lease.tree().len(), 2);
}

#[test]
fn a_link_in_the_place_of_a_directory_leads_nowhere() {
    let lease = Lease::new();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("old"), "theirs").unwrap();
    lease.write("dir/old", "1");
    lease.write("dir/kept", "1");
    lease.sync();
    fs::remove_dir_all(lease.ws().join("dir")).unwrap();
    symlink(outside.path(), lease.ws().join("dir")).unwrap();
    fs::remove_file(lease.here.path().join("dir/old")).unwrap();
    lease.sync();
    assert_eq!(lease.tree(), tree_of(&[("dir/kept", "1")]));
    assert_eq!(fs::read_to_string(outside.path().join("old")).unwrap(), "theirs");
    assert!(!outside.path().join("kept").exists());
}

#[test]
fn what_is_gone_here_stays_there_where_that_is_wanted() {
    let lease = Lease::new();
    lease.write("a", "1");
    lease.write("b", "2");
    lease.sync();
    fs::remove_file(lease.here.path().join("b")).unwrap();
    let (success, said) = lease.sync_with(&["sh"], &lease.input_of(Apply::Add));
    assert!(success, "{said}");
    assert_eq!(lease.tree(), tree_of(&[("a", "1"), ("b", "2")]));
}

#[test]
fn a_full_resync_leaves_nothing_else() {
    let lease = Lease::new();
    lease.write("a", "1");
    lease.sync();
    fs::create_dir_all(lease.ws().join("target")).unwrap();
    fs::write(lease.ws().join("target/cache"), "stale").unwrap();
    let (success, said) = lease.sync_with(&["sh"], &lease.input_of(Apply::Replace));
    assert!(success, "{said}");
    assert_eq!(lease.tree(), tree_of(&[("a", "1")]));
    assert!(!lease.there.path().join(".crabbox/sync/redo").exists());
}

#[test]
fn a_file_that_changes_while_it_is_read_is_named() {
    let lease = Lease::new();
    lease.write("grows", "1");
    let tree = Tree::read(lease.here.path(), &Default::default()).unwrap();
    lease.write("grows", "12");
    let error = write_bundle(&tree, &mut Vec::new()).unwrap_err();
    assert!(error.message.contains("`grows`"), "{error}");
    assert_eq!(error.exit, crate::Exit::Sync);
}
