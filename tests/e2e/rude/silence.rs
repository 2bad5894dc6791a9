//! A plugin that does not answer, does not listen, and does not want to end.

use super::{TRUE, assert_found, assert_has, assert_over, ends, interrupted, starts};

/// A command that is ended by its time.
const SHORT: [&str; 8] = ["run", "--provider", "rude", "--no-sync", "--timeout", "300ms", "--", "true"];

#[test]
fn while_it_is_asked_who_it_is() {
    for mode in ["silent start", "silent initialize", "stubborn initialize", "stop initialize"] {
        let said =
            ["provider `rude` did not answer `initialize` within 5s", "fault of crabbox-provider-rude"];
        let (world, _) = ends(mode, &TRUE, 5, &said);
        assert_over(&world);
    }
    let (world, _) =
        ends("silent configure", &TRUE, 5, &["provider `rude` did not answer `configure` within 5s"]);
    assert_over(&world);
}

#[test]
fn while_it_makes_a_lease_the_user_ends_it() {
    for mode in ["silent acquire", "stubborn acquire", "deaf acquire", "stop acquire"] {
        let (world, host) = starts(mode, &TRUE);
        let ended = interrupted(host);
        assert_eq!(ended.code, 130, "{mode}: {}", ended.stderr);
        assert_over(&world);
    }
}

#[test]
fn while_a_command_runs_its_time_ends_it() {
    // The whole ladder: cancel, the end of its input, SIGTERM, SIGKILL.
    for mode in ["silent run once", "stubborn run once", "deaf run once", "stop run once"] {
        let (world, _) = ends(mode, &SHORT, 124, &["error: the command was ended after"]);
        assert_over(&world);
    }
}

#[test]
fn while_it_releases_the_lease_the_user_leaves_it() {
    for mode in ["silent release", "stubborn release", "stop release"] {
        let (world, host) = starts(mode, &TRUE);
        let ended = interrupted(host);
        assert_eq!(ended.code, 130, "{mode}: {}", ended.stderr);
        assert_has(&ended.stderr, &["again to leave it", "was left as it is", "`crabbox stop cbx_"]);
        assert_found(&world);
    }
}

#[test]
fn one_that_closes_its_output_is_not_waited_for() {
    for (method, code) in [("initialize", 1), ("acquire", 1), ("run", 7), ("release", 1)] {
        let said = format!(
            "broke the protocol while it answered `{method}`: it closed its output without an answer"
        );
        let (world, _) =
            ends(&format!("closed {method}"), &TRUE, code, &[&said, "fault of crabbox-provider-rude"]);
        match method {
            "release" => assert_found(&world),
            _ => assert_over(&world),
        }
    }
}
