//! How a run is ended before its time, and that nothing of it is alive then.

use std::io::Read as _;
use std::process::Child;

use crabbox_tests::flue::{Flue, Project};
use crabbox_tests::{ended, wait_for};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::{assert_nothing_left, each, start, up, wait_until_up};
use crate::support::assert_has;

/// A command with children, one of which is in a session of its own.
fn family(project: &Project) -> String {
    format!("setsid sleep 600 & sleep 600 & touch {}; sleep 600; echo no", up(project).display())
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// The exit code and what was said.
fn end(mut child: Child) -> (Option<i32>, String) {
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    (child.wait().unwrap().code(), said)
}

#[test]
fn ctrl_c_ends_the_command_with_all_its_children_on_every_generation() {
    each(|project| {
        let run = start(&project, &[], &family(&project));
        wait_until_up(&project);
        signal(&run, Signal::INT);
        let (code, said) = end(run);
        assert_eq!(code, Some(130), "{:?}: {said}", project.flue);
        assert_nothing_left(&project);
    });
}

#[test]
fn a_command_that_ignores_signals_is_killed() {
    let Some(project) = Project::new(Flue::Workflow) else { return };
    let command =
        format!("trap '' TERM INT HUP; touch {}; while :; do sleep 0.1; done", up(&project).display());
    let run = start(&project, &[], &command);
    wait_until_up(&project);
    signal(&run, Signal::TERM);
    let (code, said) = end(run);
    assert_eq!(code, Some(143), "{said}");
    assert_nothing_left(&project);
}

#[test]
fn a_command_may_use_its_time_to_clean_up_after_flue_is_gone_on_every_generation() {
    each(|project| {
        // Told once, it says so once.
        let command = format!(
            "trap 'sleep 0.5; echo cleaned' TERM; touch {}; sleep 600 & wait; wait; exit 3",
            up(&project).display()
        );
        let run = start(&project, &[], &command);
        wait_until_up(&project);
        signal(&run, Signal::INT);
        let output = run.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130), "{:?}", project.flue);
        assert_eq!(String::from_utf8_lossy(&output.stdout), "cleaned\n", "{:?}", project.flue);
        assert_nothing_left(&project);
    });
}

#[test]
fn a_timeout_ends_the_command_on_every_generation() {
    each(|project| {
        let run = start(&project, &["--timeout", "4s"], &family(&project));
        let (code, said) = end(run);
        assert_eq!(code, Some(124), "{:?}: {said}", project.flue);
        assert_has(&said, &["its time was over"]);
        assert_nothing_left(&project);
    });
}

#[test]
fn the_providers_own_timeout_covers_all_of_flue() {
    let Some(project) = Project::new(Flue::Agent) else { return };
    project.configure(json!({"timeout": "50ms"}));
    let (code, _, said) = project.world.run(&["run", "--", "sleep", "600"]);
    assert_eq!(code, 5, "{said}");
    assert_has(&said, &["longer than 0.05 s", "`timeout`"]);
    assert_nothing_left(&project);
    project.configure(json!({}));
    let mut run = project.world.crabbox(&["run", "--", "sleep", "600"]);
    let (code, _, said) = ended(run.env("CRABBOX_FLUE_TIMEOUT_SECS", "1"));
    assert_eq!(code, 5, "{said}");
    assert_has(&said, &["longer than 1 s"]);
}

#[test]
fn what_a_command_leaves_in_the_background_ends_with_it() {
    let Some(project) = Project::new(Flue::Workflow) else { return };
    let command = "sleep 600 & setsid sleep 600 & (trap '' TERM; exec sleep 600) & exit 4";
    let (code, _, said) = project.world.run(&["run", "--", "sh", "-c", command]);
    assert_eq!(code, 4, "{said}");
    assert_nothing_left(&project);
}

#[test]
fn a_command_that_signals_its_group_ends_by_that_signal() {
    let Some(project) = Project::new(Flue::Workflow) else { return };
    let (code, stdout, said) =
        project.world.run(&["run", "--", "sh", "-c", "echo before; kill 0; sleep 600"]);
    assert_eq!((code, stdout.as_str()), (143, "before\n"), "{said}");
    assert_nothing_left(&project);
}

/// crabbox cannot do anything any more: the guard ends the plugin, and the leader of the run's group the rest.
#[test]
fn sigkill_of_crabbox_leaves_no_process_on_any_generation_and_cleanup_removes_the_directory() {
    each(|project| {
        let command = format!("sleep 600 & touch {}; sleep 600", up(&project).display());
        let mut run = start(&project, &[], &command);
        wait_until_up(&project);
        signal(&run, Signal::KILL);
        run.wait().unwrap();
        let world = &project.world;
        wait_for("the end of everything", || world.processes().is_empty());
        wait_for("cleanup", || {
            world.ok(&["cleanup"]).contains("checked=0")
                && world.leftovers(crabbox_tests::Plugin::Local).is_empty()
        });
        assert_nothing_left(&project);
    });
}

#[test]
fn sigkill_of_crabbox_and_the_plugin_at_once_leaves_no_process() {
    let Some(project) = Project::new(Flue::Payload) else { return };
    let command =
        format!("trap '' TERM; sleep 600 & touch {}; while :; do sleep 0.1; done", up(&project).display());
    let mut run = start(&project, &[], &command);
    wait_until_up(&project);
    signal(&run, Signal::STOP);
    for pid in plugins(&project) {
        kill_process(pid, Signal::KILL).unwrap();
    }
    signal(&run, Signal::KILL);
    run.wait().unwrap();
    wait_for("the end of everything", || project.world.processes().is_empty());
}

/// The plugin's process in this world.
fn plugins(project: &Project) -> Vec<Pid> {
    let root = project.world.root().into_os_string().into_encoded_bytes();
    let has = |path: std::path::PathBuf, text: &[u8]| {
        std::fs::read(path).is_ok_and(|bytes| bytes.windows(text.len()).any(|part| part == text))
    };
    let all = std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let found = all.filter(|path| has(path.join("cmdline"), b"--stdio") && has(path.join("environ"), &root));
    let found: Vec<_> =
        found.filter_map(|path| Pid::from_raw(path.file_name()?.to_str()?.parse().ok()?)).collect();
    assert_eq!(found.len(), 1, "there is one plugin");
    found
}
