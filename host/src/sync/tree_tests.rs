use std::process::Command;

use super::super::git::git;
use super::*;

fn run(directory: &Path, arguments: &[&str]) -> String {
    let output = git(directory, arguments).unwrap();
    assert!(output.status.success(), "git {arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn names(tree: &Tree) -> Vec<String> {
    tree.files.iter().map(|entry| entry.path.to_str().unwrap().to_owned()).collect()
}

fn repository(files: &[&str]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    run(directory.path(), &["init", "-q"]);
    for file in files {
        let path = directory.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, file).unwrap();
    }
    directory
}

#[test]
fn tracked_and_new_files_are_in_and_ignored_and_deleted_ones_are_not() {
    let directory = repository(&["a", "b/c d", "new\nline", "target/x", ".gitignore", "gone"]);
    fs::write(directory.path().join(".gitignore"), "target\n").unwrap();
    run(directory.path(), &["add", "-A"]);
    fs::remove_file(directory.path().join("gone")).unwrap();
    fs::write(directory.path().join("untracked"), "1").unwrap();
    std::os::unix::fs::symlink("/nowhere", directory.path().join("link")).unwrap();
    let tree = Tree::read(directory.path(), &Filter::default()).unwrap();
    assert_eq!(names(&tree), [".gitignore", "a", "b/c d", "link", "new\nline", "untracked"]);
    assert_eq!(tree.files[3].kind, Kind::Link);
}

#[test]
fn nothing_is_read_through_a_link_that_took_a_directorys_place() {
    let directory = repository(&["d/f", "e"]);
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("f"), "theirs").unwrap();
    run(directory.path(), &["add", "-A"]);
    fs::remove_dir_all(directory.path().join("d")).unwrap();
    std::os::unix::fs::symlink(outside.path(), directory.path().join("d")).unwrap();
    let tree = Tree::read(directory.path(), &Filter::default()).unwrap();
    let names: Vec<_> = tree.files.iter().map(|entry| (entry.path.to_str().unwrap(), entry.kind)).collect();
    assert_eq!(names, [("d", Kind::Link), ("e", Kind::File { mode: 0o644 })]);
}

#[test]
fn a_repository_in_the_repository_is_named_and_not_brought_over() {
    let directory = repository(&["a", "sub/inner/b"]);
    run(&directory.path().join("sub/inner"), &["init", "-q"]);
    run(&directory.path().join("sub/inner"), &["add", "-A"]);
    let tree = Tree::read(directory.path(), &Filter::default()).unwrap();
    assert_eq!(tree.files.len(), 1);
    assert_eq!(tree.left_out, [PathBuf::from("sub/inner")]);
    let without = Filter::of(directory.path(), &["sub/inner".to_owned()], &[]).unwrap();
    assert!(Tree::read(directory.path(), &without).unwrap().left_out.is_empty());
}

#[test]
fn what_only_built_in_patterns_leave_out_is_protected_where_git_tracks_it() {
    let directory = repository(&["dist/a.js", "node_modules/b", "src/c"]);
    run(directory.path(), &["add", "-A"]);
    fs::write(directory.path().join("dist/new.js"), "").unwrap();
    fs::create_dir(directory.path().join("target")).unwrap();
    fs::write(directory.path().join("target/d"), "").unwrap();
    let tree = Tree::read(directory.path(), &Filter::default()).unwrap();
    assert_eq!(names(&tree), ["dist/a.js", "src/c"]);
    assert_eq!(tree.protected, [(PathBuf::from("dist/a.js"), "dist")]);
}

#[test]
fn a_directory_in_the_place_of_a_file_is_what_is_in_it() {
    let directory = repository(&["d"]);
    run(directory.path(), &["add", "-A"]);
    fs::remove_file(directory.path().join("d")).unwrap();
    fs::create_dir(directory.path().join("d")).unwrap();
    fs::write(directory.path().join("d/f"), "").unwrap();
    let tree = Tree::read(directory.path(), &Filter::default()).unwrap();
    assert_eq!((names(&tree), tree.left_out.len()), (vec!["d/f".to_owned()], 0));
}

#[test]
fn what_a_sparse_checkout_hides_is_no_deletion() {
    let directory = repository(&["a", "b/c", "b/d"]);
    run(directory.path(), &["add", "-A"]);
    run(directory.path(), &["update-index", "--skip-worktree", "a", "b/c", "b/d"]);
    fs::remove_dir_all(directory.path().join("b")).unwrap();
    let read = |exclude: &[String]| {
        let filter = Filter::of(directory.path(), exclude, &[]).unwrap();
        Tree::read(directory.path(), &filter)
    };
    let error = read(&[]).unwrap_err();
    assert_eq!(error.exit, Exit::Sync);
    assert!(error.message.starts_with("`b/c` and 1 more"), "{error}");
    assert_eq!(names(&read(&["b".to_owned()]).unwrap()), ["a"]);
}

#[test]
fn a_merge_of_a_file_and_a_repository_is_refused_where_it_is_wanted() {
    let directory = repository(&["a"]);
    run(directory.path(), &["add", "-A"]);
    let object = run(directory.path(), &["rev-parse", ":a"]);
    let object = object.trim();
    let info = format!("100644 {object} 2\tmixed\n160000 {object} 3\tmixed\n");
    fs::write(directory.path().join("info"), info).unwrap();
    let update = "git update-index --index-info <info && rm info";
    let ran = Command::new("sh").args(["-c", update]).current_dir(directory.path()).status().unwrap();
    assert!(ran.success());
    let error = Tree::read(directory.path(), &Filter::default()).unwrap_err();
    assert!(error.message.contains("`mixed`") && error.exit == Exit::Sync, "{error}");
    let without = Filter::of(directory.path(), &["mixed".to_owned()], &[]).unwrap();
    assert_eq!(names(&Tree::read(directory.path(), &without).unwrap()), ["a"]);
}

#[test]
fn a_tree_that_several_threads_read_is_in_order() {
    let directory = repository(&[]);
    let paths: Vec<_> = (0..3 * SHARE).map(|n| format!("d{}/f{n:05}", n % 7)).collect();
    for n in 0..7 {
        fs::create_dir(directory.path().join(format!("d{n}"))).unwrap();
    }
    paths.iter().for_each(|path| fs::write(directory.path().join(path), "").unwrap());
    let tree = Tree::read(directory.path(), &Filter::default()).unwrap();
    let mut sorted = paths;
    sorted.sort();
    assert_eq!(names(&tree), sorted);
}

#[test]
fn an_unreadable_directory_is_named_unless_it_is_not_wanted() {
    let unread = vec![(PathBuf::from("target"), "Permission denied".to_owned())];
    let mut listing = Listing::of(repository(&[]).path()).unwrap();
    listing.unread = unread;
    check_unread(&listing, &Filter::default()).unwrap();
    listing.unread.push(("a\nb".into(), "Permission denied".to_owned()));
    let error = check_unread(&listing, &Filter::default()).unwrap_err();
    assert_eq!(error.to_string(), "git cannot read the directory `a\\nb`: Permission denied");
}
