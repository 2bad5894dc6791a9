//! `crabbox-provider-flue setup`: the right files in the right place, and nothing of the user's lost.

use std::fs;

use crabbox_tests::ended;
use crabbox_tests::flue::{Flue, Project};

use super::each;
use crate::support::{assert_has, repository};

#[test]
fn the_files_of_the_generation_are_put_in_place_once() {
    each(|project| {
        let examples = repository().join("docs/examples/flue");
        let text = |path: &str| fs::read_to_string(project.root.join("src").join(path)).unwrap();
        for name in ["crabbox-runner.mjs", "crabbox-archive.mjs"] {
            assert_eq!(text(name), fs::read_to_string(examples.join(name)).unwrap());
        }
        let (path, entry) = match project.flue {
            Flue::Payload => ("workflows/crabbox.ts", "0.11/workflows/crabbox.ts"),
            Flue::Workflow => ("workflows/crabbox.ts", "1.0-beta/workflows/crabbox.ts"),
            Flue::Agent => ("agents/crabbox.ts", "2/agents/crabbox.ts"),
        };
        assert_eq!(text(path), fs::read_to_string(examples.join(entry)).unwrap());
        let (code, stdout, stderr) = ended(&mut project.setup(&[]));
        assert_eq!(code, 0, "{stderr}");
        assert!(!stdout.contains("written") && !stdout.contains("replaced"), "{stdout}");
        assert_has(&stdout, &[project.flue.version(), "is there  src/crabbox-runner.mjs"]);
    });
}

#[test]
fn what_was_changed_stays_unless_force_is_given() {
    let Some(project) = Project::new(Flue::Agent) else { return };
    let at = |path: &str| project.root.join(path);
    project.write("src/agents/crabbox.ts", "// mine\n");
    project.write("src/db.ts", "// mine, too\n");
    fs::remove_file(at("src/crabbox-runner.mjs")).unwrap();
    let (code, _, stderr) = ended(&mut project.setup(&[]));
    assert_eq!(code, 4, "{stderr}");
    assert_has(&stderr, &["src/agents/crabbox.ts", "`--force`"]);
    assert!(!at("src/crabbox-runner.mjs").exists(), "all or nothing");
    assert_eq!(fs::read_to_string(at("src/agents/crabbox.ts")).unwrap(), "// mine\n");
    let (code, stdout, stderr) = ended(&mut project.setup(&["--force"]));
    assert_eq!(code, 0, "{stderr}");
    assert_has(
        &stdout,
        &["replaced  src/agents/crabbox.ts", "written   src/crabbox-runner.mjs", "yours     src/db.ts"],
    );
    assert_eq!(fs::read_to_string(at("src/db.ts")).unwrap(), "// mine, too\n");
}

#[test]
fn a_project_of_another_shape_keeps_it() {
    let Some(project) = Project::bare(Flue::Workflow) else { return };
    fs::create_dir(project.root.join(".flue")).unwrap();
    let (code, stdout, stderr) = ended(&mut project.setup(&[]));
    assert_eq!(code, 0, "{stderr}");
    assert_has(&stdout, &["written   .flue/workflows/crabbox.ts"]);
    assert_eq!(project.world.ok(&["run", "--", "cat", "README.md"]), "hello\n");
}

#[test]
fn mistakes_are_told() {
    let Some(project) = Project::bare(Flue::Workflow) else { return };
    let plugin = project.world.bin().join("crabbox-provider-flue");
    let said = |words: &[&str]| ended(project.world.command(&plugin).args(words));
    for words in
        [&["setup"][..], &["setup", "--root"], &["setup", "--root", "/no/such"], &["setup", "--rot", "/"]]
    {
        let (code, _, stderr) = said(words);
        assert_eq!(code, 2, "{words:?}: {stderr}");
        assert_has(&stderr, &["error: ", "crabbox-provider-flue setup --root DIR"]);
    }
    let (code, _, stderr) = said(&["setup", "--root", "/", "--cli", "no-such-flue"]);
    assert_eq!(code, 3, "{stderr}");
    assert_has(&stderr, &["there is no `no-such-flue` on PATH", "hint: "]);
    let (code, stdout, _) = said(&["--help"]);
    assert_eq!(code, 0);
    assert_has(&stdout, &["workflows of a local Flue project", "setup --root DIR"]);
    assert_eq!(project.files(), ["node_modules", "package.json"].map(std::path::PathBuf::from));
}
