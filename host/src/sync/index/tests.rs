//! What is read again and what is not.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::super::Filter;
use super::*;

struct Repository {
    directory: tempfile::TempDir,
    paths: Paths,
}

impl Repository {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let paths = Paths { state: path("state"), cache: path("cache"), config: path("config") };
        fs::create_dir(path("repo")).unwrap();
        assert!(Command::new("git").args(["init", "-q"]).arg(path("repo")).status().unwrap().success());
        Self { directory, paths }
    }

    fn root(&self) -> PathBuf {
        self.directory.path().join("repo")
    }

    fn write(&self, path: &str, content: &str) {
        fs::write(self.root().join(path), content).unwrap();
    }

    fn tree(&self) -> Tree {
        Tree::read(&self.root(), &Filter::default()).unwrap()
    }

    fn manifest(&self) -> Manifest {
        manifest_of(&self.tree(), &self.paths).unwrap()
    }

    fn known(&self) -> Vec<Known> {
        Index::load(&file_of(&self.paths, &self.root()), &self.root()).known
    }

    /// Changes what is remembered, so that a test sees whether it is used.
    fn tamper(&self, change: impl FnOnce(&mut Index)) {
        let file = file_of(&self.paths, &self.root());
        let mut index = Index::load(&file, &self.root());
        change(&mut index);
        index.save(&file);
    }
}

fn sha256(content: &str) -> Hash {
    Sha256::digest(content.as_bytes()).into()
}

/// A file that changed two seconds ago or more.
fn wait_until_settled() {
    std::thread::sleep(SETTLED + Duration::from_millis(100));
}

#[test]
fn a_file_is_read_again_only_when_it_changed() {
    let repository = Repository::new();
    repository.write("a", "1");
    repository.write("b", "2");
    std::os::unix::fs::symlink("a", repository.root().join("c")).unwrap();
    let hashes = |manifest: &Manifest| manifest.items.iter().map(|item| item.hash).collect::<Vec<_>>();
    assert_eq!(hashes(&repository.manifest()), [sha256("1"), sha256("2"), sha256("a")]);
    assert_eq!(repository.known(), [], "files this young are not remembered");

    wait_until_settled();
    repository.manifest();
    assert_eq!(repository.known().len(), 3);
    repository.tamper(|index| index.known.iter_mut().for_each(|known| known.hash = [7; 32]));
    assert_eq!(hashes(&repository.manifest()), [[7; 32]; 3], "nothing was read");

    // The same size, and the time put back: the change of the inode still tells.
    let b = repository.root().join("b");
    let modified = fs::metadata(&b).unwrap().modified().unwrap();
    repository.write("b", "3");
    File::options().write(true).open(&b).unwrap().set_modified(modified).unwrap();
    assert_eq!(hashes(&repository.manifest()), [[7; 32], sha256("3"), [7; 32]]);
    assert_eq!(repository.known().len(), 2, "what changed is young again");
}

#[test]
fn a_change_that_leaves_no_trace_in_the_times_is_seen_while_a_file_is_young() {
    let repository = Repository::new();
    repository.write("a", "1");
    let tree = repository.tree();
    let before = manifest_of(&tree, &repository.paths).unwrap();
    repository.write("a", "2");
    // As if the clock had not moved between the two.
    let mut later = repository.tree();
    later.files[0].stamp = tree.files[0].stamp;
    let index = Index::load(&file_of(&repository.paths, &later.root), &later.root);
    assert_eq!(index.look_up(&later.files).1, [0], "it is read again");
    assert_ne!(repository.manifest(), before);
}

#[test]
fn an_index_that_is_broken_or_of_another_repository_is_not_used() {
    let repository = Repository::new();
    repository.write("a", "1");
    wait_until_settled();
    let right = repository.manifest();
    repository.tamper(|index| index.known[0].hash = [7; 32]);
    assert_ne!(repository.manifest(), right);
    repository.tamper(|index| index.root = "/elsewhere".into());
    assert_eq!(repository.manifest(), right);
    repository.tamper(|index| index.version += 1);
    assert_eq!(repository.manifest(), right);
    fs::write(file_of(&repository.paths, &repository.root()), b"\xff\xff\xff\xff").unwrap();
    assert_eq!(repository.manifest(), right);
    fs::remove_dir_all(&repository.paths.cache).unwrap();
    fs::write(&repository.paths.cache, "in the way").unwrap();
    assert_eq!(repository.manifest(), right, "a cache that cannot be kept is done without");
}

#[test]
fn a_file_that_changes_vanishes_or_cannot_be_read_is_named() {
    let repository = Repository::new();
    for n in 0..200 {
        repository.write(&format!("f{n:03}"), "1");
    }
    let tree = repository.tree();
    let failure = || manifest_of(&tree, &repository.paths).unwrap_err();
    repository.write("f100", "longer");
    let error = failure();
    assert_eq!((error.exit, error.message.as_str()), (crate::Exit::Sync, "cannot read `f100`"));
    assert!(error.causes[0].contains("changed while it was read"), "{error:?}");
    fs::remove_file(repository.root().join("f100")).unwrap();
    assert!(failure().message.contains("`f100`"));
    std::os::unix::fs::symlink("/etc/passwd", repository.root().join("f100")).unwrap();
    assert!(failure().message.contains("`f100`"), "a link is not followed");

    let tree = repository.tree();
    fs::set_permissions(repository.root().join("f050"), fs::Permissions::from_mode(0o000)).unwrap();
    let unreadable = manifest_of(&tree, &repository.paths);
    // The superuser reads everything: there it is the changed mode that is seen.
    assert!(unreadable.unwrap_err().message.contains("`f050`"));
}

#[test]
fn indexes_of_repositories_that_are_gone_are_forgotten() {
    let repository = Repository::new();
    repository.write("a", "1");
    wait_until_settled();
    repository.manifest();
    forget_lost_repositories(&repository.paths);
    assert_eq!(repository.known().len(), 1);
    fs::remove_dir_all(repository.root()).unwrap();
    forget_lost_repositories(&repository.paths);
    assert_eq!(fs::read_dir(directory(&repository.paths)).unwrap().count(), 0);
}
