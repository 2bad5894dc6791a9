//! What the user's own settings make of a connection.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;

use crabbox_tests::{ended, skip, wait_for};

use super::site::{Site, accepts, local};
use crate::support::assert_has;

/// One that an older ssh takes, too.
const FORKS: &str = "Host *\n  IgnoreUnknown UseKeychain,ForkAfterAuthentication\n  UseKeychain yes\n  ForkAfterAuthentication yes\n";

#[test]
fn an_ssh_that_goes_into_the_background_elsewhere_stays_with_its_guard_here() {
    let Some(site) = Site::new() else { return };
    site.client.configure(FORKS);
    site.warm("one", &[4040], &[]);
    let (code, stdout, stderr) = site.world.run(&["run", "--id", "one", "--", "echo", "there"]);
    assert_eq!((code, stdout.as_str()), (0, "there\n"), "{stderr}");
    let mut child = site.connected(&[]);
    assert_eq!(site.ssh().len(), 1);
    let port = local(&site.record().unwrap())[0];
    child.kill().unwrap();
    child.wait().unwrap();
    wait_for("the end of ssh", || site.ssh().is_empty() && !accepts(port));
    site.world.ok(&["crew", "disconnect", "shop"]);
    site.is_disconnected();
    site.release();
}

#[test]
fn an_ssh_that_has_no_such_option_is_not_given_it() {
    let Some(site) = Site::new() else { return };
    let bin = site.world.bin();
    fs::rename(bin.join("ssh"), bin.join("real-ssh")).unwrap();
    let script = format!(
        "#!/bin/sh\ncase $* in *ForkAfterAuthentication*) echo 'command-line: line 0: Bad configuration option: \
         forkafterauthentication' >&2; exit 255 ;; '-G '*) {0}/real-ssh \"$@\" | grep -v -e ^sessiontype -e ^fork; exit ;; \
         esac\nexec {0}/real-ssh \"$@\"\n",
        bin.display()
    );
    site.world.script("ssh", &script);
    site.client.configure("Host *\n  IgnoreUnknown UseKeychain\n  UseKeychain yes\n");
    site.warm("one", &[4041], &[]);
    let record = site.connected_aside();
    assert!(accepts(local(&record)[0]));
    site.world.ok(&["crew", "disconnect", "shop"]);
    site.is_disconnected();
    site.release();
}

#[test]
fn a_state_directory_that_no_record_can_name_is_refused_before_anything_is_connected() {
    let Some(site) = Site::new() else { return };
    let state = site.world.root().join(OsStr::from_bytes(b"st\xff"));
    if let Err(error) = fs::create_dir(&state) {
        return skip("names that are not UTF-8", &format!("no directory has such a name here: {error}"));
    }
    let run = |words: &[&str]| ended(site.world.crabbox(words).env("XDG_STATE_HOME", &state));
    let (code, _, stderr) = run(&["warmup", "--slug", "one", "--crew", "shop", "--expose", "4042"]);
    assert_eq!(code, 0, "{stderr}");
    let before = site.sshd.connections();
    for more in [&["--export"][..], &[]] {
        let (code, stdout, stderr) = run(&[&["crew", "connect", "shop"], more].concat());
        assert_eq!((code, stdout.as_str()), (2, ""), "{stderr}");
        assert_has(&stderr, &["is not UTF-8", "XDG_STATE_HOME"]);
    }
    assert_eq!(site.sshd.connections(), before);
    assert!(!state.join("crabbox/crews").exists());
    assert_eq!(run(&["crew", "release", "shop"]).0, 0);
    wait_for("the end of all connections", || site.sshd.open_connections() == 0);
}
