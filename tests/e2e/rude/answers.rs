//! A plugin that answers, and not what it was asked.

use super::{TRUE, assert_found, assert_over, ends};

#[test]
fn a_version_that_nobody_speaks_here() {
    let parts = ["provider `rude` speaks protocol 99, and this crabbox speaks 1", "hint: update crabbox"];
    let (world, _) = ends("version initialize", &TRUE, 2, &parts);
    assert_over(&world);
}

#[test]
fn an_answer_to_what_was_never_asked() {
    for (method, id, code) in [("initialize", 1, 1), ("acquire", 3, 1), ("run", 4, 7), ("release", 3, 1)] {
        // A process that did not answer `release` is followed by a fresh one, whose third request it is.
        let problem = format!("a response to request {}, which was never sent", id + 1000);
        let shown = format!("it sent `{{\"id\":{}", id + 1000);
        let (world, _) = ends(&format!("wrong-id {method}"), &TRUE, code, &[&problem, &shown]);
        match method {
            "release" => assert_found(&world),
            _ => assert_over(&world),
        }
    }
}

#[test]
fn a_second_answer_to_the_same_request() {
    let parts = ["broke the protocol while it answered `acquire`: a second response to request 2"];
    let (world, _) = ends("twice configure", &TRUE, 1, &parts);
    // Nobody could be asked whether a lease was made.
    assert_found(&world);
    let parts = ["broke the protocol while it answered `run`: a second response to request 3"];
    let (world, _) = ends("twice acquire once", &TRUE, 1, &parts);
    assert_over(&world);
    // The next request is the release, which a fresh process gets; after the last one nobody listens.
    for mode in ["twice run", "twice release"] {
        let (world, _) = ends(mode, &TRUE, 0, &[]);
        assert_over(&world);
    }
}

#[test]
fn an_answer_of_another_shape() {
    for (method, code) in [("initialize", 1), ("configure", 1), ("acquire", 1), ("run", 7), ("release", 1)] {
        let parts = [
            &*format!("provider `rude` answered `{method}` with something else than its result"),
            "it sent `[\"\\u001b[31mno\",5]`",
            "fault of crabbox-provider-rude",
        ];
        for word in ["wrong-type", "deep"] {
            let parts = if word == "deep" { &[parts[2]][..] } else { &parts[..] };
            let (world, _) = ends(&format!("{word} {method}"), &TRUE, code, parts);
            match method {
                "release" => assert_found(&world),
                _ => assert_over(&world),
            }
        }
    }
}

#[test]
fn an_end_of_the_command_that_is_none() {
    let parts = ["answered `run` with neither an exit code nor a signal", "fault of crabbox-provider-rude"];
    let (world, _) = ends("nothing run", &TRUE, 1, &parts);
    assert_over(&world);
    // A code that is not one of eight bits must not come out as success.
    for (number, code) in [(300, 44), (256, 1), (4_294_967_296_u64, 1)] {
        let (world, _) = ends(&format!("code run {number} once"), &TRUE, code, &[]);
        assert_over(&world);
    }
}

#[test]
fn a_refusal_without_a_reason() {
    for (method, code) in [("initialize", 1), ("configure", 1), ("acquire", 1), ("run", 7), ("release", 1)] {
        let (world, _) = ends(&format!("refuse {method}"), &TRUE, code, &["provider `rude`: no room"]);
        match method {
            "release" => assert_found(&world),
            _ => assert_over(&world),
        }
    }
}
