//! What crabbox makes of what Flue exits with and of what the runner says.

use std::fs;

use crabbox_tests::flue::{Flue, Project};
use serde_json::json;

use super::{assert_nothing_left, each};
use crate::support::assert_has;

/// Puts something of the test's between Flue and the runner, which is `really`.
fn wrap(project: &Project, run_request: &str) {
    let path = project.root.join(project.flue.entry());
    let text = fs::read_to_string(&path).unwrap();
    let import = "import { runRequest } from '../crabbox-runner.mjs';";
    assert!(text.contains(import), "{text}");
    let ours = format!(
        "import {{ runRequest as really }} from '../crabbox-runner.mjs';\n\
         const runRequest: any = async (file: any, how: any) => {{ {run_request} }};"
    );
    fs::write(path, text.replace(import, &ours)).unwrap();
}

#[test]
fn junk_of_a_workflow_is_no_output_and_no_result_on_any_generation() {
    each(|project| {
        // Over 64 KiB, of which a Flue that writes to a pipe loses the end, and what looks like a result.
        wrap(
            &project,
            "process.stdout.write('junk '.repeat(40_000) + '\\n'); console.log('{\"protocolVersion\":1,\"exitCode\":0}');
             return { ...(await really(file, how)), exitCode: 0 };",
        );
        let (code, stdout, stderr) = project.world.run(&["run", "--", "sh", "-c", "echo out; exit 7"]);
        assert_eq!((code, stdout.as_str()), (7, "out\n"), "{:?}: {stderr}", project.flue);
        assert!(!stderr.contains("junk"), "{stderr}");
        assert_nothing_left(&project);
    });
}

#[test]
fn a_workflow_that_throws_is_a_failure_of_the_provider_on_every_generation() {
    each(|project| {
        wrap(
            &project,
            "throw new Error(`boom of ${process.env.WORD_OF_FLUE ?? 'nobody'}: four-digits-1234`);",
        );
        let mut run = project.world.crabbox(&["run", "--allow-env", "WORD", "--", "touch", "never"]);
        let (code, stdout, stderr) = crabbox_tests::ended(run.env("WORD", "four-digits-1234"));
        assert_eq!((code, stdout.as_str()), (1, ""), "{:?}: {stderr}", project.flue);
        // A forwarded value is shown by its name.
        assert_has(&stderr, &["boom of nobody: [WORD]", "error: ", "`crabbox doctor --provider flue`"]);
        assert!(!stderr.contains("1234"), "{stderr}");
        assert_nothing_left(&project);
    });
}

#[test]
fn a_failure_of_flue_counts_only_where_the_command_succeeded_on_every_generation() {
    each(|project| {
        wrap(&project, "await really(file, how); console.error('after all'); process.exit(3);");
        let (code, _, stderr) = project.world.run(&["run", "--", "sh", "-c", "exit 7"]);
        assert_eq!(code, 7, "{:?}: {stderr}", project.flue);
        let (code, _, stderr) = project.world.run(&["run", "--", "true"]);
        assert_eq!(code, 1, "{:?}: {stderr}", project.flue);
        assert_has(&stderr, &["the command succeeded, and Flue", project.flue.version(), "after all"]);
        assert_nothing_left(&project);
    });
}

#[test]
fn a_workflow_or_agent_that_is_not_there_is_named_on_every_generation() {
    each(|project| {
        project.configure(json!({"workflow": "nope", "agent": "src/agents/nope.ts"}));
        let (code, _, stderr) = project.world.run(&["run", "--", "true"]);
        assert_eq!(code, 3, "{:?}: {stderr}", project.flue);
        assert_has(&stderr, &["there is no ", "nope", "hint: ", "crabbox-provider-flue setup --root"]);
        assert_nothing_left(&project);
    });
}

#[test]
fn a_program_that_cannot_be_started_and_a_signal_are_told() {
    let Some(project) = Project::new(Flue::Agent) else { return };
    let world = &project.world;
    let (code, _, stderr) = world.run(&["run", "--", "no-such-program"]);
    assert_eq!(code, 3, "{stderr}");
    assert_has(&stderr, &["cannot start `no-such-program`"]);
    let (code, _, stderr) = world.run(&["run", "--", "sh", "-c", "kill -9 $$"]);
    assert_eq!(code, 137, "{stderr}");
    project.configure(json!({"workdir": "src"}));
    assert_eq!(world.ok(&["run", "--", "ls"]), "main.c\n");
    project.configure(json!({"workdir": "none"}));
    let (code, _, stderr) = world.run(&["run", "--", "true"]);
    assert_eq!(code, 2, "{stderr}");
    assert_has(&stderr, &["no directory `none`", "`workdir`"]);
    project.configure(json!({}));
    std::os::unix::fs::symlink("../outside", world.repo().join("out")).unwrap();
    let (code, _, stderr) = world.run(&["run", "--", "true"]);
    assert_eq!(code, 2, "{stderr}");
    assert_has(&stderr, &["`out` is a link to `../outside`", "sync.exclude"]);
    assert_eq!(world.run(&["run", "--", "rm", "-rf", "."]).0, 2, "it is refused before the command");
    assert_nothing_left(&project);
}

#[test]
fn a_file_that_breaks_the_project_is_in_the_message() {
    let Some(project) = Project::new(Flue::Workflow) else { return };
    project.write("src/workflows/broken.ts", "no module at all(");
    let (code, _, stderr) = project.world.run(&["run", "--", "true"]);
    assert_eq!(code, 1, "{stderr}");
    assert_has(&stderr, &["Flue 1.0.0-beta.9 failed", "broken.ts"]);
    assert!(!stderr.contains('\u{1b}'), "{stderr}");
}

/// What no real Flue can be made to do.
#[test]
fn a_flue_without_a_result_or_of_an_unknown_version_fails() {
    let Some(project) = Project::new(Flue::Agent) else { return };
    let world = &project.world;
    let stub = |does: &str| {
        let version = "[ \"$1\" = --version ] && { echo 2.0.9; exit 0; }";
        world.script("stub", &format!("#!/bin/sh\n{version}\n{does}\n"));
        let (code, stdout, stderr) = world.run(&["run", "--", "true"]);
        assert_eq!(stdout, "");
        (code, stderr)
    };
    project.configure(json!({"cli": "stub"}));
    let (code, stderr) = stub("echo said this; exit 0");
    assert_eq!(code, 1, "{stderr}");
    assert_has(&stderr, &["Flue 2.0.9 ended without a result", "said this"]);
    let (code, stderr) = stub("echo why >&2; exit 9");
    assert_eq!(code, 1, "{stderr}");
    assert_has(&stderr, &["Flue 2.0.9 failed", "exit status: 9", "why"]);
    let (code, stderr) = stub("kill -TERM $$");
    assert_eq!(code, 143, "{stderr}");
    let request =
        "request=$(echo \"$*\" | sed 's/.*requestFile\":\"//; s/\".*//'); dir=${request%/*}; rm $request";
    let (code, stderr) = stub(&format!("{request}; echo '{{\"protocolVersion\":2}}' >$dir/result.json"));
    assert_eq!(code, 1, "{stderr}");
    assert_has(&stderr, &["has version 2", "--force"]);
    let (code, stderr) = stub(&format!("{request}; echo nothing >$dir/result.json"));
    assert_eq!(code, 1, "{stderr}");
    assert_has(&stderr, &["result cannot be read"]);
    // Like 0.11, which has no `--version`, and gives up when its server needs more than 5 s to start.
    let second = "echo one >>$HOME/tries; [ $(wc -l <$HOME/tries) = 2 ] || { echo 'Local execution process did not \
                  become ready within 5 seconds.' >&2; exit 1; }";
    world.script(
        "stub",
        &format!(
            "#!/bin/sh\n[ \"$1\" = --version ] && {{ echo '[--payload <json>]' >&2; exit 1; }}\n{second}\n{request}\n\
             echo '{{\"protocolVersion\":1,\"exitCode\":7}}' >$dir/result.json\n"
        ),
    );
    let (code, _, stderr) = world.run(&["run", "--", "true"]);
    assert_eq!(code, 7, "{stderr}");
    assert_eq!(fs::read_to_string(world.home().join("tries")).unwrap(), "one\none\n");
    for version in ["3.0.0", "0.10.2", "1.0.0-beta.2", "soup"] {
        world.script("stub", &format!("#!/bin/sh\necho {version}\n"));
        let (code, _, stderr) = world.run(&["run", "--", "true"]);
        assert_eq!(code, 2, "{stderr}");
        let theirs = format!("is Flue {version}, and this provider");
        assert_has(&stderr, &[&theirs, "knows 0.11, 1.x from 1.0.0-beta.3 on, and 2.x"]);
    }
    world.script("stub", "#!/bin/sh\nprintf '\\nNode.js v20.1.0 is not supported by Flue.\\nFlue requires more\\n' >&2; exit 1\n");
    let (code, _, stderr) = world.run(&["run", "--", "true"]);
    assert_eq!(code, 3, "{stderr}");
    assert_has(&stderr, &["Node.js v20.1.0 is not supported by Flue", "Flue requires more", "hint: "]);
    project.configure(json!({"cli": "/no/such/flue"}));
    let (code, _, stderr) = world.run(&["run", "--", "true"]);
    assert_eq!(code, 3, "{stderr}");
    assert_nothing_left(&project);
}
