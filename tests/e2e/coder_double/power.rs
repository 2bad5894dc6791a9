//! `start`, `stop` and `delete`.

use std::io::{BufRead, BufReader};
use std::time::Duration;

use crabbox_tests::coder::Transition;
use crabbox_tests::wait_for;

use super::{Site, failure};
use crate::support::{assert_has, end, spawn};

const GONE: &str = "Resource not found or you do not have access to this resource";

#[test]
fn a_workspace_is_stopped_started_and_deleted() {
    let Some(site) = Site::new() else { return };
    site.create();
    let stdout = site.ok(&["stop", "w", "--yes"]);
    assert_has(&stdout, &["=== ✔ Stopping workspace [", "The w workspace has been stopped at "]);
    let build = &site.list()[0]["latest_build"];
    assert_eq!((&build["status"], &build["transition"]), (&"stopped".into(), &"stop".into()));
    assert_eq!(build["resources"][0].get("agents"), None);
    assert_has(&site.ok(&["start", "alice/w", "--yes"]), &["The w workspace has been started at "]);
    let (code, stdout, stderr) = site.run(&["delete", "w", "--yes"]);
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(stderr, "alice/w was last used 0 days ago\n");
    assert_has(&stdout, &["alice/w has been deleted at "]);
    assert_eq!(site.list(), serde_json::json!([]));
}

#[test]
fn what_is_not_there_is_told_in_one_sentence() {
    let Some(site) = Site::new() else { return };
    for command in ["start", "stop", "delete"] {
        assert_eq!(site.fails(&[command, "w", "--yes"]), failure(command, GONE));
    }
    let text = "invalid workspace identifier: \"a/b/c\"";
    assert_eq!(site.fails(&["stop", "a/b/c", "--yes"]), failure("stop", text));
    assert_eq!(site.fails(&["ssh", "--stdio", "w"]), failure("ssh", GONE));
}

#[test]
fn a_start_of_what_runs_does_nothing_and_a_stop_of_what_is_stopped_is_a_build() {
    let Some(site) = Site::new() else { return };
    site.create();
    assert_has(&site.ok(&["start", "w", "-y"]), &["The w workspace is already running!"]);
    assert_eq!(site.coder.workspace("w").unwrap().builds.len(), 1);
    site.ok(&["stop", "w", "-y"]);
    site.ok(&["stop", "w", "-y"]);
    assert_eq!(site.coder.workspace("w").unwrap().builds.len(), 3);
}

#[test]
fn while_a_build_is_under_way_another_is_refused() {
    let Some(site) = Site::new() else { return };
    site.create();
    site.coder.template(|it| it.stop = Duration::from_secs(600));
    site.coder.build("w", Transition::Stop);
    let text = "A workspace build is already active.";
    assert_eq!(site.fails(&["stop", "w", "-y"]), failure("stop", text));
    assert_has(&site.fails(&["delete", "w", "-y"]), &[text]);
    let start = failure("start", &format!("Trace=[create workspace build: ]\n{text}"));
    assert_eq!(site.fails(&["start", "w", "-y"]), start);
}

#[test]
fn a_build_can_be_refused_once() {
    let Some(site) = Site::new() else { return };
    site.create();
    site.coder.faults(|it| it.conflicts = 1);
    let text = "A workspace build is already active.";
    assert_eq!(site.fails(&["stop", "w", "-y"]), failure("stop", text));
    site.ok(&["stop", "w", "-y"]);
    // The one that ssh asks for: it tries again, without asking.
    site.coder.faults(|it| it.conflicts = 1);
    let stderr = site.fails(&["ssh", "--stdio", "w"]);
    assert_has(
        &stderr,
        &["Unable to start the workspace due to conflict", "error: workspace must be started"],
    );
}

#[test]
fn a_start_wakes_what_is_dormant() {
    let Some(site) = Site::new() else { return };
    site.create();
    site.ok(&["stop", "w", "-y"]);
    site.coder.change("w", |it| it.dormant = Some(it.created));
    assert!(site.list()[0]["dormant_at"].is_string());
    assert_has(&site.ok(&["start", "w", "-y"]), &["Activating dormant workspace..."]);
    assert!(site.list()[0]["dormant_at"].is_null());
}

#[test]
fn a_start_joins_one_that_is_under_way() {
    let Some(site) = Site::new() else { return };
    site.coder.template(|it| it.start = Duration::from_secs(3600));
    site.ok(&["create", "w", "-t", "docker", "-y", "--no-wait"]);
    let mut child = spawn(&mut site.command(&["start", "w", "-y"]));
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line == "The w workspace is already starting."));
    site.coder.end_build("w");
    assert!(lines.any(|line| line.starts_with("The w workspace has been started at ")));
    assert_eq!(end(child).0, 0);
    assert_eq!(site.coder.workspace("w").unwrap().builds.len(), 1);
}

#[test]
fn a_start_that_failed_is_cleaned_up_before_the_next() {
    let Some(site) = Site::new() else { return };
    site.coder.faults(|it| it.builds = vec![(Transition::Start, "no room".to_owned())]);
    assert_eq!(site.run(&["create", "w", "-t", "docker", "-y"]).0, 1);
    assert_has(
        &site.ok(&["start", "w", "-y"]),
        &["The last start build failed. Cleaning up before retrying..."],
    );
    let builds = site.coder.workspace("w").unwrap().builds;
    let transitions: Vec<_> = builds.iter().map(|it| it.transition.name()).collect();
    assert_eq!(transitions, ["start", "stop", "start"]);
}

#[test]
fn a_delete_that_fails_leaves_it() {
    let Some(site) = Site::new() else { return };
    site.create();
    site.coder.faults(|it| it.builds = vec![(Transition::Delete, "volume in use".to_owned())]);
    assert_eq!(site.fails(&["delete", "w", "-y"]).lines().last(), Some("error: volume in use"));
    let build = &site.list()[0]["latest_build"];
    assert_eq!((&build["status"], &build["transition"]), (&"failed".into(), &"delete".into()));
    site.ok(&["delete", "w", "-y"]);
}

#[test]
fn a_workspace_is_known_by_its_id_to_newer_versions() {
    let Some(site) = Site::new() else { return };
    site.create();
    let id = site.coder.workspace("w").unwrap().id;
    site.coder.deployment(|it| it.version = (2, 28, 0));
    assert_eq!(site.fails(&["stop", &id, "-y"]), failure("stop", GONE));
    site.coder.deployment(|it| it.version = (2, 33, 0));
    site.ok(&["stop", &id, "-y"]);
}

#[test]
fn without_a_yes_nothing_is_stopped_or_deleted() {
    let Some(site) = Site::new() else { return };
    site.create();
    assert_has(&site.fails(&["stop", "w"]), &["error: EOF"]);
    assert_has(&site.fails(&["delete", "w"]), &["error: EOF"]);
    assert_eq!(site.coder.workspace("w").unwrap().builds.len(), 1);
}

#[test]
fn a_command_can_hang_for_ever() {
    let Some(site) = Site::new() else { return };
    site.create();
    site.coder.faults(|it| it.hangs = vec!["stop".to_owned()]);
    let mut child = spawn(&mut site.command(&["stop", "w", "-y"]));
    wait_for("the call", || site.coder.asked(&["stop"]) == 1);
    std::thread::sleep(Duration::from_millis(300));
    assert!(child.try_wait().unwrap().is_none());
    child.kill().unwrap();
    end(child);
    assert_eq!(site.coder.workspace("w").unwrap().builds.len(), 1);
}
