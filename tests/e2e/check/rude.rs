//! The rude provider under the checker.

use std::collections::BTreeSet;
use std::sync::Mutex;

use crabbox_tests::{Plugin, World};

use super::{assert_passes, report, rules};
use crate::support::assert_nothing_left;

/// What a mode of the rude provider breaks, among other rules: after a fault nothing is as it should be.
const RUDE: &[(&str, &[&str])] = &[
    ("exit start", &["initialize-answers"]),
    ("silent initialize", &["initialize-answers"]),
    ("stubborn initialize", &["initialize-answers"]),
    ("closed initialize", &["initialize-answers"]),
    ("exit initialize", &["initialize-answers"]),
    ("half initialize", &["messages-can-be-read"]),
    ("version initialize", &["results-fit"]),
    ("wrong-id initialize", &["messages-can-be-read"]),
    ("holder initialize", &["leaves-no-process"]),
    ("flood initialize 1", &["stdout-is-the-protocols", "words-are-known"]),
    ("silent configure", &["configure-answers"]),
    ("exit acquire", &["acquire-answers"]),
    ("refuse acquire", &["acquire-answers"]),
    ("other-id acquire", &["acquire-answers"]),
    ("lease-exit acquire", &["acquire-answers"]),
    ("wrong-id acquire", &["messages-can-be-read"]),
    ("wrong-type acquire", &["results-fit"]),
    ("junk acquire", &["stdout-is-the-protocols"]),
    ("twice acquire", &["answers-come-once"]),
    ("liar resolve", &["works-without-state", "observe-changes-nothing"]),
    ("exit run", &["argv-is-exact"]),
    ("abort run", &["argv-is-exact"]),
    ("die run", &["argv-is-exact"]),
    ("code run 5", &["exit-codes-are-exact"]),
    ("nothing run", &["results-fit"]),
    ("twice run", &["answers-come-once"]),
    ("surrogate run", &["messages-can-be-read"]),
    ("both-ways run", &["messages-can-be-read"]),
    ("print run", &["output-goes-one-way"]),
    ("after run", &["notifications-come-before"]),
    ("drip run", &["lines-end-in-lf", "exit-codes-are-exact"]),
    ("binary run", &["stdout-is-the-protocols"]),
    ("exit release", &["release-confirms"]),
    ("liar release", &["release-confirms"]),
    ("deep release", &["results-fit"]),
    ("huge release", &["messages-can-be-read"]),
];

/// The same for modes that are silent, or that nothing tells but the time: they are waited for a little only.
const SILENT: &[(&str, &[&str])] = &[
    ("silent acquire", &["acquire-answers"]),
    ("stubborn acquire", &["acquire-answers"]),
    ("stop acquire", &["acquire-answers"]),
    ("late acquire 300", &["acquire-answers"]),
    ("silent run", &["argv-is-exact", "ends-in-mid-run"]),
    ("deaf run", &["argv-is-exact", "cancel-in-mid-run"]),
    ("endless run", &["output-is-exact"]),
    ("silent release", &["release-of-nothing"]),
    ("abort acquire", &["acquire-answers"]),
    ("chatter-exit acquire", &["acquire-answers"]),
    ("escapee-exit acquire", &["acquire-answers"]),
    ("holder-exit acquire", &["acquire-answers"]),
    ("junk-exit acquire", &["acquire-answers", "stdout-is-the-protocols"]),
    ("refuse resolve", &["works-without-state"]),
    ("other-id resolve", &["never-made-is-not-there"]),
    ("wrong-type resolve", &["results-fit"]),
    ("huge resolve", &["messages-can-be-read"]),
    ("escapes acquire", &["words-are-known"]),
    ("escapes run", &["argv-is-exact", "words-are-known"]),
    ("escapes list", &["list-has-the-lease"]),
    ("half release", &["messages-can-be-read"]),
    ("flood run 1", &["stdout-is-the-protocols"]),
    ("twice release", &["answers-come-once"]),
];

#[test]
fn a_rude_provider_fails_by_the_rule_that_it_breaks() {
    check_all(RUDE, &[]);
}

#[test]
fn a_silent_one_too_when_it_is_not_waited_for_long() {
    check_all(SILENT, &["--deadline", "4s"]);
}

/// Checks the provider in each mode: it was rude, and breaks at least these rules.
fn check_all(modes: &[(&str, &[&str])], more: &[&str]) {
    let next = Mutex::new(modes.iter());
    let wrong = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let take = || next.lock().unwrap().next();
                while let Some((mode, breaks)) = take() {
                    let world = World::rude(mode);
                    let (code, report) = report(&world, &world.bin().join("crabbox-provider-rude"), more);
                    let found: BTreeSet<_> =
                        rules(&report, "fail").union(&rules(&report, "warn")).copied().collect();
                    if code != 1
                        || !breaks.iter().all(|rule| found.contains(rule))
                        || world.reached().is_empty()
                    {
                        wrong
                            .lock()
                            .unwrap()
                            .push(format!("{mode}: {code}, breaks {breaks:?}, found {found:?}"));
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// What is wrong with signs of life breaks nothing else.
#[test]
fn signs_of_life_that_are_none_are_told_by_their_rule() {
    for (mode, breaks) in [
        ("mute run", "lifeline-beats"),
        ("hoarse run", "lifeline-beats"),
        ("hasty run", "lifeline-beats"),
        ("clinging run", "lifeline-closes"),
    ] {
        let world = World::rude(mode);
        let (code, report) = report(&world, &world.bin().join("crabbox-provider-rude"), &[]);
        let found: BTreeSet<_> = rules(&report, "fail").union(&rules(&report, "warn")).copied().collect();
        assert_eq!((code, found), (1, BTreeSet::from([breaks])), "{mode}: {report:#}");
        assert!(!world.reached().is_empty(), "{mode}");
    }
}

#[test]
fn where_the_rude_provider_is_not_rude_it_passes() {
    for mode in ["", "blind resolve", "lifeline run"] {
        let world = World::rude(mode);
        let (code, report) = report(&world, &world.bin().join("crabbox-provider-rude"), &[]);
        assert_passes(&report, code);
        assert_nothing_left(&world, Plugin::Rude);
    }
}
