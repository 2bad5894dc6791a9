//! crabbox and the provider of a Flue project, with real Flue of every generation.

mod check;
mod doctor;
mod ends;
mod one_shot;
mod outcomes;
mod output;
mod runner;
mod setup;
mod trust;

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Stdio};

use crabbox_tests::flue::{Flue, Project};
use crabbox_tests::wait_for;

/// Does something with each generation.
fn each(test: impl Fn(Project)) {
    Flue::ALL.into_iter().filter_map(Project::new).for_each(test);
}

/// Starts `crabbox run -- sh -c COMMAND` and leaves it going.
fn start(project: &Project, flags: &[&str], command: &str) -> Child {
    let words = [&["run"], flags, &["--", "sh", "-c", command]].concat();
    let mut run = project.world.crabbox(&words);
    run.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// A file that a command makes to say that it is there.
fn up(project: &Project) -> PathBuf {
    project.world.root().join("up")
}

/// Waits until a command that was started has said that it is there.
fn wait_until_up(project: &Project) {
    wait_for("the command", || up(project).exists());
}

/// Nothing of a run is left: no process, no directory, nothing in the project that was not there before.
fn assert_nothing_left(project: &Project) {
    let what = project.flue;
    wait_for("the end of every process", || project.world.processes().is_empty());
    let runs = fs::read_dir(project.world.state().join("runs")).into_iter().flatten().flatten();
    let runs = runs.map(|entry| entry.path());
    assert_eq!(runs.collect::<Vec<_>>(), Vec::<PathBuf>::new(), "{what:?}");
    for part in project.files() {
        let there = [".env", "node_modules", "package.json"].iter().any(|name| part.as_os_str() == *name);
        let ours = there || part.starts_with("src");
        assert!(ours, "{what:?} left {}", part.display());
    }
    assert!(!project.root.join("node_modules/.cache").exists(), "{what:?}");
}
