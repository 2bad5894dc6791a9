//! A lease whose `tar` sends what no tar of a tree sends.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use super::Demo;
use crate::support::files;

/// What a lease may send in the place of `tree`, by steps that add to an archive, and why it is refused.
const CASES: &[(&str, &str, &str)] = &[
    ("above", "mkdir tree; add tree; echo theirs >../victim; add tree/../../victim", "leads out"),
    ("by its name", "echo theirs >../victim; add ../victim", "is not what was asked for"),
    (
        "absolute",
        "mkdir tree; add tree; echo theirs >../victim; add \"$PWD/../victim\"",
        "not what was asked for",
    ),
    ("a link above", "mkdir tree; ln -s ../../victim tree/l; add tree tree/l", "leads out of what is copied"),
    (
        "through a link",
        "mkdir tree tree/d; ln -s d tree/l; add tree tree/d tree/l; rm tree/l; mkdir tree/l
             echo theirs >tree/l/victim; add tree/l/victim",
        "what it is in is no directory",
    ),
    ("a pipe", "mkdir tree; mkfifo tree/f; add tree tree/f", "it is a named pipe"),
];

/// Makes an archive by steps, each of which adds something, and has the lease send it whatever it is asked for.
fn sends(demo: &Demo, steps: &str) {
    let root = demo.world.root();
    let make = root.join("make");
    let _ = fs::remove_dir_all(&make);
    let _ = fs::remove_file(root.join("archive.tar"));
    fs::create_dir(&make).unwrap();
    let add = "add() { tar -rPf ../archive.tar --no-recursion \"$@\"; }";
    let status =
        Command::new("sh").args(["-ec", &format!("{add}; {steps}")]).current_dir(&make).status().unwrap();
    assert!(status.success(), "{steps}");
    demo.world.script("tar", &format!("#!/bin/sh\nexec cat '{}'\n", root.join("archive.tar").display()));
}

#[test]
fn nothing_that_a_lease_sends_is_written_outside_of_the_destination() {
    for demo in Demo::all() {
        demo.cp(&["src", "demo:tree"]);
        let victim = demo.world.root().join("victim");
        demo.world.write("victim", "ours");
        symlink("../victim", demo.here("l")).unwrap();
        let before = files(&demo.world.repo());
        for (what, steps, said) in CASES {
            sends(&demo, steps);
            fs::write(&victim, "ours").unwrap();
            for to in [".", "new"] {
                demo.fails(&["demo:tree", to], 6, &["error: ", said]);
                assert_eq!(files(&demo.world.repo()), before, "{:?}: {what}", demo.plugin);
                assert_eq!(fs::read(&victim).unwrap(), b"ours", "{:?}: {what}", demo.plugin);
            }
        }
        fs::remove_file(demo.world.bin().join("tar")).unwrap();
        demo.nothing_is_staged();
    }
}

#[test]
fn an_archive_that_ends_too_early_leaves_what_was_there() {
    for demo in Demo::all() {
        demo.cp(&["src", "demo:tree"]);
        demo.world.write("tree/main.c", "older\n");
        let before = files(&demo.world.repo());
        let tar = which::which("tar").unwrap().display().to_string();
        for (does, said) in [
            (format!("'{tar}' \"$@\" | head -c 1030"), "error: what the lease sent is cut short\n"),
            (format!("'{tar}' \"$@\"; echo 'tar: no more' >&2; exit 2"), "caused by: tar: no more\n"),
            ("echo hello".to_owned(), "error: what the lease sent is cut short\n"),
            ("yes | head -c 5000000".to_owned(), "error: what the lease sent is not understood\n"),
            (":".to_owned(), "error: what the lease sent is cut short\n"),
        ] {
            demo.world.script("tar", &format!("#!/bin/sh\n{does}\n"));
            demo.fails(&["demo:tree", "."], 6, &[said]);
            assert_eq!(files(&demo.world.repo()), before, "{:?}: {does}", demo.plugin);
        }
        // A file that grows while it is read comes as it was.
        demo.world.script(
            "tar",
            &format!("#!/bin/sh\n'{tar}' \"$@\"\necho 'tar: ./tree/main.c: file changed as we read it' >&2\nexit 1\n"),
        );
        assert!(
            demo.cp(&["demo:tree", "."])
                .contains("warning: the lease says: tar: ./tree/main.c: file changed")
        );
        assert_eq!(files(&demo.here("tree")), files(&demo.here("src")), "{:?}", demo.plugin);
        fs::remove_file(demo.world.bin().join("tar")).unwrap();
        demo.nothing_is_staged();
    }
}
