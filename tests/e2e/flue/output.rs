//! What a command is given, and what it prints: byte for byte, live, as much as it likes.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};

use crabbox_tests::flue::{Flue, Project};
use crabbox_tests::{Ended, ended};

use super::{assert_nothing_left, each, start};
use crate::support::assert_has;

/// Everything about one run that can be seen in one run, because each starts Flue.
const LOOK: &str = r#"
    cat link; stat -c '%a %n' run.sh sub/deep; pwd; printf '%s|' "$@"
    tr '\0' '\n' </proc/$$/environ | cut -d= -f1 | sort | tr '\n' ' '
    printf '%s' "$WORD"; head -c 3 >/dev/null && printf 'no input'
    printf 'caf\303\251 \377\000 \342\200\250' ; echo err >&2; exit 7
"#;

#[test]
fn a_command_gets_the_tree_its_words_and_an_environment_of_its_own_on_every_generation() {
    each(|project| {
        let world = &project.world;
        // The working tree as it is, with what is not committed, without what git ignores.
        world.write("run.sh", "#!/bin/sh\n");
        fs::set_permissions(world.repo().join("run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
        world.write("sub/deep", "deep\n");
        world.write(".gitignore", "target/\n");
        world.write("target/big", "big\n");
        symlink("sub/deep", world.repo().join("link")).unwrap();
        // What Flue loads for itself is not for commands.
        project.write(".env", "OF_THE_PROJECT=secret\nHOME=/nowhere\n");
        let words = ["run", "--allow-env", "WORD", "--", "sh", "-c", LOOK, "sh", "", "a b", "$HOME", "'\n"];
        let mut run = world.crabbox(&words);
        let output = run.env("WORD", "caf\u{e9} 'n' \"b\"\n").env("OTHER", "kept").output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(7), "{:?}: {stderr}", project.flue);
        let text = String::from_utf8_lossy(&output.stdout);
        assert_has(
            &text,
            &["deep\n755 run.sh\n644 sub/deep\n", "|a b|$HOME|'\n|", "caf\u{e9} 'n' \"b\"\n", "no input"],
        );
        assert_has(&text, &["CRABBOX_RUN_ID HOME LANG PATH WORD "]);
        assert!(output.stdout.ends_with(b"caf\xc3\xa9 \xff\0 \xe2\x80\xa8"), "{text}");
        assert!(stderr.contains("err\n") && !stderr.contains("\nerror"), "{stderr}");
        assert!(!text.contains("target"), "{text}");
        assert_nothing_left(&project);
    });
}

#[test]
fn two_megabytes_on_each_stream_arrive_whole_and_apart_on_every_generation() {
    each(|project| {
        let lines =
            "i=0; while [ $i -lt 100 ]; do head -c 19999 /dev/zero | tr '\\0' $1; echo; i=$((i+1)); done";
        let command = format!("p() {{ {lines}; }}; p x & p e >&2; wait; exit 0");
        let output = project.world.crabbox(&["run", "--", "sh", "-c", &command]).output().unwrap();
        let line = |letter: u8| [vec![letter; 19_999], b"\n".to_vec()].concat();
        assert_eq!(
            output.status.code(),
            Some(0),
            "{}",
            String::from_utf8_lossy(&output.stderr).lines().last().unwrap()
        );
        assert!(output.stdout == line(b'x').repeat(100), "{:?}: {}", project.flue, output.stdout.len());
        let errors: Vec<u8> = output.stderr.into_iter().collect();
        let whole = line(b'e').repeat(100);
        assert!(errors.windows(whole.len()).any(|part| part == whole), "{:?}", project.flue);
    });
}

#[test]
fn a_hundred_megabytes_take_no_memory() {
    let Some(project) = Project::new(Flue::Agent) else { return };
    let count = 100_000_000;
    let command = format!("head -c {count} /dev/zero; exit 137");
    let mut run =
        project.world.crabbox(&["run", "--", "sh", "-c", &format!("({command}) | cksum; exit 137")]);
    let (code, expected, stderr) = ended(&mut run);
    assert_eq!(code, 137, "{stderr}");
    assert!(expected.ends_with(&format!(" {count}\n")), "{expected}");
    let ended = Ended::of(&mut project.world.crabbox(&["run", "--", "sh", "-c", &command]));
    assert_eq!((ended.code, ended.stdout.len()), (137, count), "{}", ended.stderr);
    assert!(ended.peak < 64 * 1024, "{} KiB", ended.peak);
}

#[test]
fn output_is_live_and_a_reader_that_goes_away_ends_the_command_on_every_generation() {
    each(|project| {
        let mut run = start(&project, &[], "echo up; exec yes");
        let mut stdout = BufReader::new(run.stdout.take().unwrap());
        // Had it to wait for the command's end, it would wait for ever: nobody opens the FIFO, or there is none.
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        assert_eq!(line, "up\n", "{:?}", project.flue);
        let mut some = [0; 10_000];
        stdout.read_exact(&mut some).unwrap();
        drop(stdout);
        let mut said = String::new();
        run.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!(run.wait().unwrap().code(), Some(141), "{:?}: {said}", project.flue);
        assert_nothing_left(&project);
    });
}

#[test]
fn two_runs_at_once_do_not_disturb_each_other_on_any_generation() {
    each(|project| {
        let runs =
            ["one", "two"].map(|word| (word, start(&project, &[], &format!("echo {word}; sleep 1; exit 7"))));
        for (word, run) in runs {
            let output = run.wait_with_output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(7), "{:?}: {said}", project.flue);
            assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{word}\n"), "{:?}", project.flue);
        }
        assert_nothing_left(&project);
    });
}
