//! `create`: what it asks for, what prevails, and what it leaves behind.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use crabbox_tests::coder::{Parameter, Preset, Template, Transition};
use crabbox_tests::wait_for;
use rustix::process::{Pid, Signal, kill_process};

use super::{Site, failure};
use crate::support::{assert_has, end, spawn};

/// Longer than a test.
const LONG: Duration = Duration::from_secs(3600);

const CREATE: &[&str] = &["create", "w", "--template", "docker", "--yes"];

impl Site {
    fn create_with(&self, more: &[&str]) -> (i32, String, String) {
        self.run(&[CREATE, more].concat())
    }

    /// What the only workspace was created with.
    fn parameters(&self) -> BTreeMap<String, String> {
        let all = self.coder.workspaces();
        assert_eq!(all.len(), 1);
        all[0].parameters.clone()
    }
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn create_writes_about_the_build_and_ends_with_it() {
    let Some(site) = Site::new() else { return };
    let (code, stdout, stderr) = site.create_with(&[]);
    assert_eq!((code, &*stderr), (0, ""));
    assert_has(
        &stdout,
        &[
            "Planning workspace...",
            "==> ⧗ Queued",
            "=== ✔ Starting workspace [",
            "The w workspace has been created at ",
        ],
    );
    assert_eq!(site.coder.workspace("w").unwrap().status(), "running");
    assert_eq!(site.fails(CREATE), failure("create", "a workspace already exists named \"w\""));
    assert_has(
        &site.fails(&["create", "W", "-t", "docker", "-y"]),
        &["a workspace already exists named \"W\""],
    );
    site.ok(&["create", "bob/w", "-tdocker", "-y", "--no-wait"]);
    assert_eq!(site.coder.workspaces().len(), 2);
}

#[test]
fn a_name_has_to_be_valid() {
    let Some(site) = Site::new() else { return };
    let long = "x".repeat(33);
    for (name, why) in [
        ("a--b", "must be alphanumeric with hyphens"),
        ("a_b", "must be alphanumeric with hyphens"),
        ("new", "cannot use \"new\" as a name"),
        (&*long, "must be <= 32 characters"),
    ] {
        let stderr = site.fails(&["create", name, "--template", "docker", "--yes"]);
        assert_eq!(stderr, failure("create", &format!("workspace name \"{name}\" is invalid: {why}")));
    }
}

#[test]
fn a_template_has_to_exist_and_in_one_organization() {
    let Some(site) = Site::new() else { return };
    let stderr = site.fails(&["create", "w", "--template", "nope", "--yes"]);
    assert_eq!(stderr, failure("create", "no template found with the name \"nope\""));
    let second = Template { organization: "second".to_owned(), ..Template::default() };
    site.coder.deployment(|it| it.templates.push(second));
    assert_has(
        &site.create_with(&[]).2,
        &["multiple templates found", "Organizations available: coder, second"],
    );
    assert_eq!(site.create_with(&["--org", "second"]).0, 0);
    assert_eq!(site.coder.workspaces()[0].organization, "second");
}

#[test]
fn a_parameter_without_a_value_is_asked_for_whatever_its_default() {
    let Some(site) = Site::new() else { return };
    site.coder.template(|it| it.parameters = vec![Parameter::text("region", Some("here"))]);
    let (code, stdout, stderr) = site.create_with(&[]);
    assert_eq!((code, stderr), (1, failure("create", "prepare build: EOF")));
    assert_has(&stdout, &["region", "Enter a value (default: \"here\"):"]);
    assert!(site.coder.workspaces().is_empty());
    let (code, stdout, _) = site.create_with(&["--use-parameter-defaults"]);
    assert_eq!(code, 0);
    assert_has(&stdout, &["Using default value for region: 'here'"]);
    assert_eq!(site.parameters(), map(&[("region", "here")]));
}

#[test]
fn a_parameter_without_a_default_is_asked_for_even_so() {
    let Some(site) = Site::new() else { return };
    site.coder.template(|it| it.parameters = vec![Parameter::text("region", None)]);
    assert_has(&site.create_with(&["--use-parameter-defaults"]).2, &["prepare build: EOF"]);
    assert_eq!(site.create_with(&["--parameter", "region=there"]).0, 0);
    assert_eq!(site.parameters(), map(&[("region", "there")]));
}

#[test]
fn the_preset_prevails_over_flags_and_flags_over_the_file() {
    let Some(site) = Site::new() else { return };
    site.coder.template(|it| {
        it.parameters = ["a", "b", "c"].map(|name| Parameter::text(name, Some("default"))).into();
        let parameters = map(&[("a", "preset")]);
        it.presets = vec![Preset { name: "Big".to_owned(), default: false, parameters }];
    });
    let file = site.world.write("values.yaml", "a: file\nb: file\nc: 3\n");
    let file = file.to_str().unwrap();
    let flags =
        ["--preset", "Big", "--parameter", "a=flag", "--parameter=b=flag", "--rich-parameter-file", file];
    let (code, stdout, stderr) = site.create_with(&flags);
    assert_eq!(code, 0, "{stderr}");
    assert_has(&stdout, &["Preset 'Big' applied:"]);
    assert_eq!(site.parameters(), map(&[("a", "preset"), ("b", "flag"), ("c", "3")]));
}

#[test]
fn values_are_separated_by_commas_and_quotes_are_gos() {
    let Some(site) = Site::new() else { return };
    site.coder.template(|it| it.parameters = ["a", "b"].map(|name| Parameter::text(name, None)).into());
    assert_eq!(site.create_with(&["--parameter", "a=1,b=2"]).0, 0);
    assert_eq!(site.parameters(), map(&[("a", "1"), ("b", "2")]));
    site.ok(&["delete", "w", "-y"]);
    assert_eq!(site.create_with(&["--parameter", "\"a=1,2\"", "--parameter", "b=2"]).0, 0);
    assert_eq!(site.parameters(), map(&[("a", "1,2"), ("b", "2")]));
    site.ok(&["delete", "w", "-y"]);
    assert_has(
        &site.create_with(&["--parameter", "a=\"1\""]).2,
        &["parsing flags", "bare \" in non-quoted field"],
    );
}

#[test]
fn what_the_template_does_not_have_is_refused() {
    let Some(site) = Site::new() else { return };
    site.coder.template(|it| {
        it.parameters = vec![Parameter::text("region", Some("here"))];
        it.presets = vec![Preset { name: "Big".to_owned(), default: true, ..Preset::default() }];
    });
    let text = "prepare build: parameter \"regoin\" is not present in the template.\nDid you mean: region";
    assert_eq!(site.create_with(&["--parameter", "regoin=x"]).2, failure("create", text));
    let text = "unable to resolve preset: preset \"Small\" not found";
    assert_eq!(site.create_with(&["--preset", "Small"]).2, failure("create", text));
    let text = "can't parse given parameter values: format key=value expected, but got region";
    assert_eq!(site.create_with(&["--parameter", "region"]).2, failure("create", text));
    assert!(site.coder.workspaces().is_empty());
}

#[test]
fn a_choice_is_waited_for_until_the_command_is_killed() {
    let Some(site) = Site::new() else { return };
    site.coder.template(|it| {
        it.presets = vec![Preset { name: "Big".to_owned(), ..Preset::default() }];
    });
    for arguments in [CREATE, &["create", "w", "--yes"]] {
        let mut child = spawn(&mut site.command(arguments));
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_has(&line, &["Select a "]);
        std::thread::sleep(Duration::from_millis(300));
        assert!(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert_eq!(site.create_with(&["--preset", "none"]).0, 0);
}

#[test]
fn a_login_elsewhere_is_waited_for() {
    let Some(site) = Site::new() else { return };
    site.coder.template(|it| it.external_auth = true);
    let mut child = spawn(&mut site.command(CREATE));
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("/external-auth/github")));
    std::thread::sleep(Duration::from_millis(300));
    assert!(child.try_wait().unwrap().is_none());
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(site.coder.workspaces().is_empty());
}

#[test]
fn variables_do_as_well_as_flags_and_flags_prevail() {
    let Some(site) = Site::new() else { return };
    site.coder.template(|it| it.parameters = vec![Parameter::text("region", Some("here"))]);
    let mut command = site.command(&["create", "w", "-y", "--parameter", "region=flag"]);
    command.env("CODER_TEMPLATE_NAME", "docker").env("CODER_RICH_PARAMETER", "region=variable");
    assert_eq!(end(spawn(&mut command)).0, 0);
    assert_eq!(site.parameters(), map(&[("region", "flag")]));
    let mut command = site.command(&["create", "x", "-y", "--copy-parameters-from", "w"]);
    command.env("CODER_TEMPLATE_NAME", "another");
    let (code, stdout, stderr) = end(spawn(&mut command));
    assert_eq!(code, 0, "{stderr}");
    assert_has(&stdout, &["Coder will use the same template \"docker\" as the source workspace."]);
    assert_eq!(site.coder.workspace("x").unwrap().parameters, map(&[("region", "flag")]));
}

#[test]
fn a_file_of_values_has_no_fractions() {
    let Some(site) = Site::new() else { return };
    site.coder
        .template(|it| it.parameters = vec![Parameter::text("size", None), Parameter::text("all", None)]);
    let file = site.world.write("values.yaml", "size: true\nall: [1, two]\n");
    let arguments = ["--rich-parameter-file", file.to_str().unwrap()];
    assert_eq!(site.create_with(&arguments).0, 0);
    assert_eq!(site.parameters(), map(&[("size", "true"), ("all", "[1,\"two\"]")]));
    site.world.write("values.yaml", "size: 1.5\n");
    let text = "prepare build: can't parse parameter map file: invalid parameter type: float64";
    let stderr = site.fails(&["create", "x", "-t", "docker", "-y", arguments[0], arguments[1]]);
    assert_eq!(stderr, failure("create", text));
}

#[test]
fn ctrl_c_ends_it_and_the_build_goes_on() {
    let Some(site) = Site::new() else { return };
    site.coder.template(|it| it.start = LONG);
    let child = spawn(&mut site.command(CREATE));
    wait_for("the workspace", || site.coder.workspace("w").is_some());
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    // While it waits for a build, nobody takes care of the signal.
    assert_eq!(output.status.signal(), Some(2), "{output:?}");
    assert_eq!(site.coder.workspace("w").unwrap().status(), "starting");
    site.coder.end_build("w");
    assert_eq!(site.list()[0]["latest_build"]["status"], "running");
}

#[test]
fn ctrl_c_at_a_prompt_ends_it_without_a_word() {
    let Some(site) = Site::new() else { return };
    site.coder.template(|it| it.presets = vec![Preset { name: "Big".to_owned(), ..Preset::default() }]);
    let mut child = spawn(&mut site.command(CREATE));
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut String::new()).unwrap();
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let (code, _, stderr) = end(child);
    assert_eq!((code, &*stderr), (1, ""));
}

#[test]
fn a_build_that_fails_leaves_a_workspace() {
    let Some(site) = Site::new() else { return };
    let text = "terraform apply: image not found";
    site.coder.faults(|it| it.builds = vec![(Transition::Start, text.to_owned())]);
    let (code, stdout, stderr) = site.create_with(&[]);
    assert_eq!((code, stderr), (1, failure("create", &format!("watch build: {text}"))));
    assert_has(&stdout, &["=== ✘ Starting workspace"]);
    let build = &site.list()[0]["latest_build"];
    assert_eq!((&build["status"], &build["job"]["error"]), (&"failed".into(), &text.into()));
    assert_eq!(build["resources"], serde_json::json!([]));
}

#[test]
fn without_a_wait_it_ends_before_the_build() {
    let Some(site) = Site::new() else { return };
    site.coder.template(|it| it.start = LONG);
    let (code, stdout, _) = site.create_with(&["--no-wait"]);
    assert_eq!(code, 0);
    assert_has(&stdout, &["The w workspace has been created and is building in the background."]);
    assert_eq!(site.list()[0]["latest_build"]["status"], "starting");
}

#[test]
fn a_workspace_can_show_late_whether_or_not_somebody_waits() {
    let Some(site) = Site::new() else { return };
    site.coder.faults(|it| it.late_row = LONG);
    site.coder.template(|it| it.start = LONG);
    let mut child = spawn(&mut site.command(CREATE));
    wait_for("the workspace", || !site.coder.workspaces().is_empty());
    child.kill().unwrap();
    end(child);
    assert_eq!(site.list(), serde_json::json!([]));
    assert_has(&site.fails(&["stop", "w", "-y"]), &["Resource not found or you do not have access"]);
    site.coder.change("w", |it| it.visible = it.created);
    assert_eq!(site.list()[0]["name"], "w");
}

#[test]
fn without_a_yes_it_asks() {
    let Some(site) = Site::new() else { return };
    let (code, stdout, stderr) = site.run(&["create", "w", "--template", "docker"]);
    assert_eq!((code, stderr), (1, failure("create", "EOF")));
    assert_has(&stdout, &["Confirm create? (yes/no)"]);
    assert!(site.coder.workspaces().is_empty());
}
