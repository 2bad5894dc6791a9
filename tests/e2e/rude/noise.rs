//! A plugin that says more than it should, and bytes that nobody can read.

use std::io::Read;
use std::time::Duration;

use crabbox_tests::{Ended, World};

use super::{TRUE, assert_ended, assert_found, assert_over, ends, spawn};

#[test]
fn what_is_no_message_does_not_disturb() {
    for word in ["junk", "binary", "drip"] {
        for method in ["initialize", "acquire", "run", "release"] {
            let code = if (word, method) == ("drip", "run") { 5 } else { 0 };
            let (world, ended) = ends(&format!("{word} {method}"), &TRUE, code, &[]);
            assert_eq!(ended.stdout, "");
            assert_over(&world);
        }
    }
}

#[test]
fn a_flood_on_both_streams_fills_nothing() {
    for mode in ["flood initialize 16", "flood acquire 64", "flood run 64", "flood release 64"] {
        let (world, ended) = ends(mode, &TRUE, 0, &[]);
        assert_eq!(ended.stdout, "");
        assert!(ended.stderr.len() < 200_000, "{mode}: progress is told now and then");
        assert_over(&world);
    }
}

#[test]
fn a_line_without_an_end_is_cut_off() {
    for (method, code) in [("initialize", 1), ("acquire", 1), ("run", 7), ("release", 1)] {
        let parts = [
            &*format!("broke the protocol while it answered `{method}`: a line is longer than 1048576 bytes"),
            "it sent `{\"jsonrpc\":\"2.0\",\"id\":",
            "fault of crabbox-provider-rude",
        ];
        let (world, ended) = ends(&format!("huge {method}"), &TRUE, code, &parts);
        assert!(ended.stderr.len() < 4_000, "what is shown of it is short: {}", ended.stderr);
        match method {
            "release" => assert_found(&world),
            _ => assert_over(&world),
        }
    }
}

#[test]
fn output_that_is_no_output() {
    for (mode, problem, shown) in [
        ("surrogate run once", "hex escape", "\"text\":\"a\\ud800b\""),
        ("both-ways run once", "both `text` and `base64`", "\"base64\":\"YQ==\""),
        ("print run once", "it notified of output that it was given a path for", "not where I was told to"),
        ("print acquire", "output of a request that has none", "not where I was told to"),
    ] {
        let parts =
            ["broke the protocol while it answered `", problem, shown, "fault of crabbox-provider-rude"];
        let (world, ended) = ends(mode, &TRUE, 1, &parts);
        assert_eq!(ended.stdout, "", "{mode}");
        assert_over(&world);
    }
    // What comes after the answer belongs to no run. The lease is released by a fresh process.
    let (world, ended) = ends("after run", &TRUE, 0, &[]);
    assert_eq!(ended.stdout, "");
    assert_over(&world);
}

#[test]
fn a_path_that_somebody_goes_on_writing_to_ends_with_the_answer() {
    let world = World::rude("endless run");
    let mut host = spawn(&mut world.crabbox(&TRUE));
    let mut stdout = host.stdout.take().unwrap();
    // A reader that is slower than the writer never sees the pipe empty.
    let (mut buffer, mut count) = ([0; 4096], 0);
    while let Ok(read @ 1..) = stdout.read(&mut buffer) {
        assert!(buffer[..read].iter().all(|byte| b"y\n".contains(byte)));
        count += read;
        assert!(count < 8 << 20, "there is no end");
        std::thread::sleep(Duration::from_millis(1));
    }
    let ended = Ended::of_child(host, || ());
    assert_ended(&world, "endless run", &ended, 0, &[]);
    assert_over(&world);
}
