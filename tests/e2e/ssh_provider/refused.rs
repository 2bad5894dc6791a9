//! What is refused: before anything is made, and with what to do about it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use super::Site;
use crate::support::assert_has;

#[test]
fn a_machine_whose_host_key_is_another_or_unknown_is_refused() {
    let Some(site) = Site::new() else { return };
    let port = site.sshd.port();
    site.configure(&json!({"host": "new", "hosts": {"new": {"host": "127.0.0.1", "port": port, "identityFile": site.key.path()}}}));
    let (code, _, stderr) = site.run(&["run", "--", "true"]);
    assert_eq!(code, 3, "{stderr}");
    assert_has(&stderr, &["its host key is not known", "connect once by hand"]);
    site.configure(&json!({"host": "box"}));
    site.sshd.replace_host_key();
    let (code, _, stderr) = site.run(&["run", "--", "true"]);
    assert_eq!(code, 3, "{stderr}");
    assert_has(&stderr, &["it shows another host key than the one that is known"]);
    site.nothing_is_left();
}

#[test]
fn a_machine_that_is_not_there_leaves_no_claim() {
    let Some(mut site) = Site::new() else { return };
    site.sshd.stop();
    let (code, _, stderr) = site.run(&["run", "--", "true"]);
    assert_eq!(code, 5, "{stderr}");
    assert_has(&stderr, &["cannot connect to", "nobody listens there", "Connection refused"]);
    site.nothing_is_left();
}

#[test]
fn leases_are_not_made_just_anywhere() {
    let Some(site) = Site::new() else { return };
    let link = site.sshd.home().join("link");
    let (code, _, stderr) = site.run(&["run", "--ssh-work-root", "/tmp", "--", "true"]);
    assert_eq!(code, 2, "{stderr}");
    assert_has(&stderr, &["`ssh.workRoot`", "is a directory of the system"]);
    assert_eq!(site.sshd.connections(), 0, "before anything else");
    std::os::unix::fs::symlink("/usr", &link).unwrap();
    let (code, _, stderr) = site.run(&["run", "--ssh-work-root", "~/link", "--", "true"]);
    assert_eq!(code, 2, "{stderr}");
    assert_has(&stderr, &["`/usr` is a directory of the system"]);
    let open = site.sshd.home().join("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, Permissions::from_mode(0o777)).unwrap();
    let (code, _, stderr) = site.run(&["run", "--ssh-work-root", "~/open", "--", "true"]);
    assert_eq!(code, 2, "{stderr}");
    assert_has(&stderr, &["everybody can write to"]);
    site.nothing_is_left();
}

#[test]
fn doctor_says_what_is_there_and_changes_nothing() {
    let Some(mut site) = Site::new() else { return };
    let rows = |site: &Site| {
        let (code, stdout, stderr) = site.run(&["doctor", "--json"]);
        let report: Value = serde_json::from_str(&stdout).unwrap_or_else(|_| panic!("{stdout}{stderr}"));
        let rows: Vec<_> = report["checks"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|row| row["provider"] == "ssh")
            .cloned()
            .collect();
        (code, rows)
    };
    let status = |rows: &[Value], name: &str| {
        let row = rows.iter().find(|row| row["check"] == name || row["name"] == name);
        row.unwrap_or_else(|| panic!("{name} in {rows:?}"))["status"].clone()
    };
    let (code, good) = rows(&site);
    assert_eq!(code, 0, "{good:?}");
    for name in ["destination", "connection", "workRoot", "programs"] {
        assert_eq!(status(&good, name), "ok", "{good:?}");
    }
    assert!(!site.sshd.home().join(".crabbox").exists());
    site.sshd.stop();
    let (code, bad) = rows(&site);
    assert_eq!((code, status(&bad, "connection")), (1, json!("fail")), "{bad:?}");
}
