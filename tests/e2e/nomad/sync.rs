//! The tree on a lease: what is sent, what stays, and what is put right.

use std::fs;

use super::Site;
use crate::support::assert_has;

/// Syncs to `demo`, and says what was sent.
fn sync(site: &Site, arguments: &[&str]) -> String {
    let (code, stdout, stderr) = site.run(&[&["run", "--id", "demo", "--sync-only"], arguments].concat());
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.starts_with("synced "), "{stdout}");
    let line = stderr.lines().find(|line| line.starts_with("sync complete in ")).unwrap();
    line.split_once(": ").unwrap().1.to_owned()
}

/// The lease's files, with the content of each.
fn there(site: &Site) -> String {
    let list = "find . -type f | sort | while read -r file; do echo \"$file: $(cat \"$file\")\"; done";
    let (code, stdout, stderr) = site.on_demo(&["sh", "-c", list]);
    assert_eq!(code, 0, "{stderr}");
    stdout
}

#[test]
fn only_what_changed_is_sent_and_what_a_build_left_stays() {
    let site = Site::new();
    site.warm();
    site.world.write("src/old.c", "old\n");
    assert_eq!(sync(&site, &[]), "3 files, 39 B sent");
    let uploads = |site: &Site| site.agent.execs().iter().map(|exec| exec.stdin_bytes).sum::<u64>();
    assert_eq!(sync(&site, &[]), "nothing sent");
    let (code, _, stderr) =
        site.run(&["run", "--id", "demo", "--", "sh", "-c", "mkdir target; echo built >target/out"]);
    assert_eq!(code, 0, "{stderr}");
    site.world.write("src/main.c", "changed\n");
    fs::remove_file(site.world.repo().join("src/old.c")).unwrap();
    // A file that stays here is not on its way again.
    site.world.write("large", "x".repeat(1 << 20));
    sync(&site, &[]);
    site.agent.forget();
    site.world.write("src/main.c", "once more\n");
    assert_eq!(sync(&site, &[]), "1 file, 10 B sent");
    assert!(uploads(&site) < 1 << 18, "{}", uploads(&site));
    fs::remove_file(site.world.repo().join("large")).unwrap();
    sync(&site, &[]);
    let expected = "./README.md: hello\n./src/main.c: once more\n./target/out: built\n";
    assert_eq!(there(&site), expected);
    // None of it takes another job, nor registers this one again.
    assert_eq!((site.agent.jobs().len(), site.asked("PUT"), site.asked("DELETE")), (1, 0, 0));
}

#[test]
fn what_a_command_did_to_our_files_is_undone() {
    let site = Site::new();
    site.warm();
    let spoil = "echo theirs >README.md; rm -r src; mkdir target; echo built >target/out";
    assert_eq!(site.run(&["run", "--id", "demo", "--", "sh", "-c", spoil]).0, 0);
    let (code, stdout, stderr) = site.run(&["run", "--id", "demo", "--", "cat", "README.md", "target/out"]);
    assert_eq!((code, stdout.as_str()), (0, "hello\nbuilt\n"), "{stderr}");
    assert_has(&there(&site), &["./src/main.c: int main", "./target/out: built"]);
    assert_eq!(sync(&site, &[]), "nothing sent");
}

#[test]
fn a_full_resync_replaces_everything() {
    let site = Site::new();
    site.warm();
    let (code, _, stderr) = site.run(&["run", "--id", "demo", "--", "touch", "built"]);
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(sync(&site, &["--full-resync"]), "2 files, 35 B sent");
    assert!(!there(&site).contains("built"));
}

#[test]
fn without_a_sync_the_workspace_is_there_and_empty() {
    let site = Site::new();
    let (code, stdout, stderr) =
        site.run(&["run", "--no-sync", "--", "sh", "-c", "ls -A; basename \"$PWD\""]);
    assert_eq!((code, stdout.as_str()), (0, "ws\n"), "{stderr}");
    let (code, stdout, stderr) = site.run(&["run", "--sync-only"]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.starts_with("synced "), "{stdout}");
    site.nothing_is_left();
}

#[test]
fn a_tree_of_many_megabytes_arrives_as_it_is() {
    let site = Site::new();
    let mut state = 1_u32;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    });
    site.world.write("noise", noise.take(8 << 20).collect::<Vec<u8>>());
    let (code, stdout, stderr) = site.run(&["run", "--", "cksum", "noise"]);
    let here = crabbox_tests::ended(site.world.command("cksum").arg("noise")).1;
    assert_eq!((code, stdout), (0, here), "{stderr}");
}

#[test]
fn a_sync_that_fails_is_no_exit_code_and_releases_the_lease() {
    let site = Site::new();
    // The first exec is the sync's.
    site.agent.faults(|faults| faults.exec_cut = Some(1));
    let (code, stdout, stderr) = site.run(&["run", "--", "echo", "never"]);
    assert!(code == 6 || code == 7, "{code}: {stderr}");
    assert_eq!(stdout, "");
    site.nothing_is_left();
}
