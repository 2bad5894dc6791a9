//! `crabbox doctor --provider flue`: what a run would need, found without changing anything.

use std::fs;
use std::os::unix::fs::symlink;

use crabbox_tests::flue::{Flue, Project};
use serde_json::{Value, json};

use super::each;

/// The rows of the provider: check, status, message with hint.
fn rows(project: &Project) -> Vec<(String, String, String)> {
    let (_, stdout, stderr) = project.world.run(&["doctor", "--json"]);
    let report: Value = serde_json::from_str(&stdout).unwrap_or_else(|_| panic!("{stdout}{stderr}"));
    let text = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
    let rows = report["checks"].as_array().unwrap().iter().filter(|row| row["provider"] == "flue");
    rows.map(|row| {
        let message = format!("{} {}", text(row, "message"), text(row, "hint"));
        (text(row, "check"), text(row, "status"), message)
    })
    .collect()
}

/// Requires that one row has a status and says something.
fn assert_row(project: &Project, check: &str, status: &str, says: &str) {
    let rows = rows(project);
    let found = rows.iter().any(|row| row.0 == check && row.1 == status && row.2.contains(says));
    assert!(found, "{:?}: no row `{check}` with `{status}` and `{says}` in {rows:#?}", project.flue);
}

#[test]
fn all_is_well_and_nothing_is_changed_on_every_generation() {
    each(|project| {
        let before = project.files();
        let rows = rows(&project);
        let names: Vec<_> = rows.iter().map(|row| row.0.as_str()).collect();
        let expected =
            ["plugin", "configuration", "project", "cli", "version", "runtime", "workflow", "runner"];
        assert_eq!(names, expected, "{rows:#?}");
        assert!(rows.iter().all(|row| row.1 == "ok"), "{rows:#?}");
        assert!(rows[4].2.contains(project.flue.version()), "{rows:#?}");
        assert_eq!(project.files(), before);
        assert!(!project.root.join("node_modules/.cache").exists());
        assert_eq!(project.world.run(&["doctor"]).0, 0);
    });
}

#[test]
fn what_is_missing_or_changed_is_a_row_on_every_generation() {
    each(|project| {
        fs::write(project.root.join("src/crabbox-runner.mjs"), "// mine\n").unwrap();
        assert_row(&project, "runner", "warn", "not this version's: `src/crabbox-runner.mjs`");
        fs::remove_dir_all(project.root.join("src")).unwrap();
        assert_row(&project, "runner", "warn", "not in the project");
        assert_row(&project, "workflow", "fail", "crabbox-provider-flue setup --root");
        assert_eq!(project.world.run(&["doctor"]).0, 1);
        let old = project.flue == Flue::Payload;
        project
            .configure(json!({"output": "/x", "config": "/no/such.ts", "env": "/no/.env", "target": "node"}));
        let output: Vec<_> = rows(&project).into_iter().filter(|row| row.0 == "output").collect();
        assert_eq!(output.is_empty(), old, "{output:?}");
        assert_row(&project, "config", "fail", "");
        assert_row(&project, "env", "fail", "there is no file `/no/.env`");
        if !old {
            let (code, _, stderr) = project.world.run(&["run", "--", "true"]);
            assert_eq!(code, 2, "{stderr}");
            assert!(stderr.contains("`output` means nothing to Flue"), "{stderr}");
        }
    });
}

#[test]
fn a_target_that_has_no_processes_is_a_row_and_is_refused() {
    let Some(project) = Project::new(Flue::Workflow) else { return };
    project.configure(json!({"target": "cloudflare"}));
    assert_row(&project, "configuration", "fail", "`cloudflare` is not supported");
    let (code, _, stderr) = project.world.run(&["run", "--", "true"]);
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("`cloudflare` is not supported") && stderr.contains("Node.js"), "{stderr}");
}

#[test]
fn two_versions_in_one_project_are_found() {
    let Some(project) = Project::new(Flue::Agent) else { return };
    let modules = project.root.join("node_modules");
    let real = fs::read_link(&modules).unwrap();
    fs::remove_file(&modules).unwrap();
    let runtime = modules.join("@flue/runtime");
    fs::create_dir_all(&runtime).unwrap();
    symlink(real.join("@flue/cli"), modules.join("@flue/cli")).unwrap();
    symlink(real.join(".bin"), modules.join(".bin")).unwrap();
    fs::write(runtime.join("package.json"), r#"{"name": "@flue/runtime", "version": "2.1.0"}"#).unwrap();
    assert_row(&project, "runtime", "fail", "the CLI is 2.0.3, and @flue/runtime is 2.1.0");
    fs::remove_dir_all(&runtime).unwrap();
    assert_row(&project, "runtime", "fail", "npm install @flue/runtime@2.0.3");
}

/// What the real Flue cannot be made to say here.
#[test]
fn a_flue_that_cannot_be_used_is_a_row() {
    let Some(project) = Project::new(Flue::Agent) else { return };
    let world = &project.world;
    project.configure(json!({"cli": "stub"}));
    assert_row(&project, "cli", "fail", "there is no `stub` on PATH");
    world.script("stub", "#!/bin/sh\necho 3.1.4\n");
    assert_row(&project, "version", "fail", "is Flue 3.1.4, and this provider");
    world.script(
        "stub",
        "#!/bin/sh\nprintf '\\nNode.js v20.1.0 is not supported by Flue.\\nMore\\n' >&2; exit 1\n",
    );
    assert_row(&project, "version", "fail", "Node.js v20.1.0 is not supported by Flue");
    world.script("stub", "#!/bin/sh\necho '  flue run <workflow> [--payload <json>]' >&2; exit 1\n");
    assert_row(&project, "version", "ok", "0.11 or near");
    project.configure(json!({"root": "/no/such/project"}));
    assert_row(&project, "project", "fail", "there is no directory");
    world.write_config("provider: flue\n");
    assert_row(&project, "configuration", "fail", "no Flue project is configured");
}

#[test]
fn a_database_of_the_projects_own_is_told() {
    let Some(project) = Project::new(Flue::Agent) else { return };
    fs::remove_file(project.root.join("src/db.ts")).unwrap();
    assert_row(&project, "database", "warn", "node_modules/.cache");
    project.write("src/db.ts", "// mine\n");
    assert_row(&project, "database", "warn", "is your own");
}
