//! Who gets to see what, and who gets to run what.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;

use crabbox_tests::ended;
use crabbox_tests::flue::{Flue, Project};
use serde_json::{Value, json};

use super::{assert_nothing_left, each, start, up, wait_until_up};
use crate::support::assert_has;

/// Looks for the value of WORD where others could find it: on command lines, in the environment of any process
/// that is not the command's, in files beside the tree.
const SEEK: &str = r#"
    for process in /proc/[0-9]*; do
      case $(tr '\0' '\n' <$process/environ) in *CRABBOX_RUN_ID=*) continue ;; esac
      grep -qs "$WORD" $process/cmdline $process/environ && echo "found in $process: $(tr '\0' ' ' <$process/cmdline)"
    done
    grep -rlsF "$WORD" .. && echo "found in a file"
    stat -c '%a' .. . ../..; ls ..
"#;

#[test]
fn a_forwarded_value_is_only_in_the_request_and_that_is_gone_on_every_generation() {
    each(|project| {
        let mut run = project.world.crabbox(&["run", "--allow-env", "WORD", "--", "sh", "-c", SEEK]);
        // The host has it in its own environment, as the user gave it.
        let (code, stdout, stderr) = ended(run.env("WORD", "a-secret-of-the-user"));
        assert_eq!(code, 0, "{:?}: {stderr}", project.flue);
        let found: Vec<_> = stdout.lines().filter(|line| line.starts_with("found")).collect();
        let others = found.iter().filter(|line| !line.contains("crabbox run"));
        assert_eq!(others.collect::<Vec<_>>(), Vec::<&&str>::new(), "{:?}", project.flue);
        assert_has(&stdout, &["700\n700\n700\n"]);
        assert!(!stdout.contains("request.json") && !stderr.contains("a-secret"), "{stdout}{stderr}");
        assert_nothing_left(&project);
    });
}

#[test]
fn a_repository_chooses_no_project_and_no_executable() {
    let Some(project) = Project::new(Flue::Agent) else { return };
    let evil = project.world.script("evil", "#!/bin/sh\ntouch \"$HOME/evil\"\n");
    let block = json!({"cli": evil, "root": "/", "config": "/c", "env": "/e", "output": "/o"});
    project.world.write("crabbox.yaml", json!({"flue": block}).to_string());
    let (code, stdout, stderr) = project.world.run(&["run", "--", "echo", "fine"]);
    assert_eq!((code, stdout.as_str()), (0, "fine\n"), "{stderr}");
    for key in ["cli", "root", "config", "env", "output"] {
        assert_has(&stderr, &[&format!("flue.{key}")]);
    }
    assert!(!project.world.home().join("evil").exists());
}

/// A call of Flue's own server, as anybody on this machine can make it.
fn post(port: &str, path: &std::path::Path) -> String {
    let body = json!({"requestFile": path}).to_string();
    let head = format!(
        "POST /workflows/crabbox?wait=result HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let mut stream = TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
    stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn the_port_that_flue_opens_runs_no_request_of_others_and_none_twice() {
    let Some(project) = Project::new(Flue::Workflow) else { return };
    let world = &project.world;
    let command =
        format!("echo ran; touch {0}; while [ -e {0} ]; do sleep 0.1; done", up(&project).display());
    let run = start(&project, &[], &command);
    wait_until_up(&project);
    let scratch = fs::read_dir(world.state().join("runs")).unwrap().next().unwrap().unwrap().path();
    let directory = scratch.join("scratch/flue");
    let said = fs::read_to_string(directory.join("stderr")).unwrap();
    let port = said.split("127.0.0.1:").nth(1).unwrap().split_whitespace().next().unwrap();

    let again = post(port, &directory.join("request.json"));
    assert_has(&again, &["200 OK", "was done already"]);
    // A request of somebody who can write to a directory of theirs, and to none of ours.
    let theirs = world.root().join("theirs");
    fs::create_dir(&theirs).unwrap();
    fs::set_permissions(&theirs, fs::Permissions::from_mode(0o755)).unwrap();
    let touched = world.root().join("touched");
    let request: Value = json!({"protocolVersion": 1, "command": ["touch", touched], "env": {}});
    fs::write(theirs.join("request.json"), request.to_string()).unwrap();
    fs::set_permissions(theirs.join("request.json"), fs::Permissions::from_mode(0o600)).unwrap();
    assert_has(&post(port, &theirs.join("request.json")), &["not in a directory that is yours alone"]);
    assert!(!touched.exists());

    fs::remove_file(up(&project)).unwrap();
    let output = run.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), &b"ran\n"[..]));
    assert_nothing_left(&project);
}
