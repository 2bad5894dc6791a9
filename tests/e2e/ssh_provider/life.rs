//! The life of a lease: a directory of its own, and nothing else of the machine.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crabbox_tests::sshd::Options;
use serde_json::json;

use super::Site;
use crate::support::assert_has;

#[test]
fn a_run_leaves_nothing_on_the_machine() {
    let Some(site) = Site::new() else { return };
    let script = "cat README.md; pwd; echo err >&2; exit 7";
    let (code, stdout, stderr) = site.run(&["run", "--", "sh", "-c", script]);
    assert_eq!(code, 7, "{stderr}");
    let (first, directory) = stdout.split_once('\n').unwrap();
    assert_eq!(first, "hello");
    assert!(
        directory.starts_with(site.root().to_str().unwrap()) && directory.ends_with("/ws\n"),
        "{directory}"
    );
    assert_has(&stderr, &["err\n", "a directory on "]);
    site.nothing_is_left();
}

#[test]
fn leases_are_beside_each_other_and_private_and_each_ends_by_itself() {
    let Some(site) = Site::new() else { return };
    let one = site.warm(&["--slug", "one"]);
    let other = site.warm(&["--slug", "other"]);
    assert_eq!(site.leases().len(), 2);
    for id in [&one, &other] {
        let directory = site.root().join(id);
        assert_eq!(fs::metadata(&directory).unwrap().permissions().mode() & 0o777, 0o700);
        let marker = fs::read_to_string(directory.join(".crabbox-lease")).unwrap();
        assert!(marker.starts_with(&format!("lease {id}\n")), "{marker}");
    }
    let (code, _, stderr) = site.run(&["run", "--id", "one", "--", "sh", "-c", "echo kept >out"]);
    assert_eq!(code, 0, "{stderr}");
    let (code, stdout, stderr) = site.run(&["run", "--id", "one", "--", "cat", "out"]);
    assert_eq!((code, stdout.as_str()), (0, "kept\n"), "{stderr}");
    assert_eq!(site.run(&["run", "--id", "other", "--", "test", "-e", "out"]).0, 1);
    assert_eq!(site.world.json(&["list", "--json"]).as_array().unwrap().len(), 2);
    assert_eq!(site.run(&["stop", "one"]).0, 0);
    assert_eq!(site.leases(), [site.root().join(&other)]);
    assert_eq!(site.run(&["stop", "other"]).0, 0);
    site.nothing_is_left();
}

/// Commands would have it in their output, so the host refuses the machine; the provider has to end the lease there.
#[test]
fn a_lease_ends_also_where_start_up_files_say_something() {
    let Some(quiet) = Site::new() else { return };
    let script = "#!/bin/sh\necho Welcome; echo to the box >&2\nexec /bin/sh \"$@\"\n";
    let shell = quiet.world.script("chatty-shell", script);
    let Some(site) = Site::with(Options { shell: Some(shell), ..Options::default() }) else { return };
    let (code, _, stderr) = site.run(&["run", "--", "true"]);
    assert_eq!(code, 3, "{stderr}");
    assert_has(&stderr, &["says something before every command"]);
    assert!(site.root().exists(), "there was a lease");
    site.nothing_is_left();
}

#[test]
fn what_is_not_the_leases_is_left_alone() {
    let Some(site) = Site::new() else { return };
    let id = site.warm(&[]);
    let directory = site.root().join(&id);
    let marker = directory.join(".crabbox-lease");
    let ours = fs::read_to_string(&marker).unwrap();
    fs::write(&marker, "lease cbx_000000000000\n").unwrap();
    site.cut();
    for arguments in [&["run", "--id", &id, "--no-sync", "--", "true"][..], &["stop", &id]] {
        let (code, _, stderr) = site.run(arguments);
        assert_eq!(code, 4, "{arguments:?}: {stderr}");
        assert_has(&stderr, &["is not the directory of this lease", "names another"]);
    }
    let elsewhere = site.sshd.home().join("elsewhere");
    fs::rename(&directory, &elsewhere).unwrap();
    fs::write(elsewhere.join(".crabbox-lease"), &ours).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &directory).unwrap();
    let (code, _, stderr) = site.run(&["stop", &id]);
    assert_eq!(code, 4, "{stderr}");
    assert_has(&stderr, &["it is a link"]);
    assert!(elsewhere.join(".crabbox-lease").exists());
    fs::remove_file(&directory).unwrap();
    fs::rename(&elsewhere, &directory).unwrap();
    let (code, _, stderr) = site.run(&["stop", &id]);
    assert_eq!(code, 0, "{stderr}");
    site.nothing_is_left();
}

#[test]
fn a_lease_is_gone_only_when_the_machine_says_so() {
    let Some(mut site) = Site::new() else { return };
    let id = site.warm(&[]);
    site.sshd.stop();
    for arguments in [&["run", "--id", &id, "--", "true"][..], &["stop", &id]] {
        let (code, _, stderr) = site.run(arguments);
        assert_eq!(code, 5, "{arguments:?}: {stderr}");
        assert_has(&stderr, &["cannot connect to", "nobody listens there"]);
        assert_eq!(site.world.json(&["list", "--json"])[0]["id"], json!(id));
    }
    site.sshd.resume();
    // What the first `stop` began, the next one ends.
    let (code, _, stderr) = site.run(&["stop", &id]);
    assert_eq!(code, 0, "{stderr}");
    let id = site.warm(&[]);
    fs::remove_dir_all(site.root().join(&id)).unwrap();
    site.cut();
    let (code, _, stderr) = site.run(&["run", "--id", &id, "--", "true"]);
    assert_eq!(code, 4, "{stderr}");
    assert_has(&stderr, &["is gone"]);
    site.nothing_is_left();
}
