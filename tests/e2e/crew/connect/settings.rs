//! What the user's own settings make of a connection.

use std::fs;

use crabbox_tests::wait_for;

use super::site::{Site, accepts, local};

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
