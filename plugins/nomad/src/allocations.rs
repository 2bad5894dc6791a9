//! Which of a job's allocations is the lease, and how it stands.

use crate::api::{Allocation, Evaluation, PlacementFailure, TaskState, one_line};

/// Where commands are executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// The allocation's identifier.
    pub(crate) allocation: String,
    /// The node's name.
    pub(crate) node: String,
}

/// How the lease stands, by its allocations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Commands can be executed.
    Ready(Place),
    /// They will be; and what it waits for.
    Starting(String),
    /// They will not be; and why.
    Failed(String),
}

/// How a lease stands, by the allocations of its job's group. An allocation that works beats one that is coming, and that one beats one that is over.
pub(crate) fn standing(group: &str, task: &str, allocations: &[Allocation]) -> Standing {
    let mut ours: Vec<_> = allocations.iter().filter(|allocation| allocation.task_group == group).collect();
    ours.sort_by_key(|allocation| std::cmp::Reverse(allocation.create_index));
    let phases: Vec<_> = ours.iter().map(|allocation| (*allocation, phase(allocation, task))).collect();
    let first =
        |wanted: Phase| phases.iter().find(|(_, phase)| *phase == wanted).map(|(allocation, _)| *allocation);
    if let Some(allocation) = first(Phase::Works) {
        let (allocation, node) = (allocation.id.clone(), allocation.node_name.clone());
        return Standing::Ready(Place { allocation, node });
    }
    if let Some(allocation) = first(Phase::Coming) {
        return Standing::Starting(describe(allocation, task));
    }
    match first(Phase::Over) {
        None => Standing::Starting("no node has been chosen yet".to_owned()),
        Some(last) if last.next_allocation.is_empty() && last.followup_eval_id.is_empty() => {
            Standing::Failed(describe(last, task))
        }
        Some(last) => Standing::Starting(format!("{}; it will be replaced", describe(last, task))),
    }
}

/// Whether all that ran for a job has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Its nodes have said so.
    Yes,
    /// Those that have not are lost to the servers.
    Lost,
    /// Not yet.
    No,
}

/// Whether all of a job's allocations have ended.
pub(crate) fn ended(allocations: &[Allocation]) -> Ended {
    let of = |allocation: &Allocation| match allocation.client_status.as_str() {
        "complete" | "failed" => Ended::Yes,
        "lost" => Ended::Lost,
        _ => Ended::No,
    };
    let all: Vec<_> = allocations.iter().map(of).collect();
    match () {
        () if all.contains(&Ended::No) => Ended::No,
        () if all.contains(&Ended::Lost) => Ended::Lost,
        () => Ended::Yes,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Works,
    Coming,
    Over,
}

fn phase(allocation: &Allocation, task: &str) -> Phase {
    let state = allocation.task_states.get(task).and_then(Option::as_ref);
    let is_dead = state.is_some_and(|state| state.failed || state.state == "dead");
    match (allocation.desired_status.as_str(), allocation.client_status.as_str()) {
        ("stop" | "evict", _) | (_, "complete" | "failed" | "lost") => Phase::Over,
        _ if is_dead => Phase::Over,
        ("run", "running") if state.is_some_and(|state| state.state == "running") => Phase::Works,
        _ => Phase::Coming,
    }
}

/// An allocation in words, with the last thing that happened to its task.
fn describe(allocation: &Allocation, task: &str) -> String {
    let short: String = allocation.id.chars().take(8).collect();
    let mut text = format!("allocation {short} is {}", allocation.client_status);
    if allocation.desired_status != "run" {
        text += &format!(" and told to {}", allocation.desired_status);
    }
    let state = allocation.task_states.get(task).and_then(Option::as_ref);
    if let Some(state) = state.filter(|state| state.state != allocation.client_status) {
        text += &format!(", task `{task}` {}", state.state);
    }
    let event = state.and_then(last_event).unwrap_or_else(|| one_line(&allocation.client_description));
    match event.is_empty() {
        true => text,
        false => format!("{text}: {event}"),
    }
}

/// The last event that says something: that a task was not restarted says less than why it ended.
fn last_event(state: &TaskState) -> Option<String> {
    let says = |kind: &str| {
        !matches!(kind, "Not Restarting" | "Restarting" | "Killed" | "Killing" | "Alloc Unhealthy")
    };
    let telling = state.events.iter().rev().find(|event| says(&event.r#type));
    let event = telling.or(state.events.last())?;
    let text = if event.display_message.is_empty() { &event.r#type } else { &event.display_message };
    Some(one_line(text))
}

/// Why the scheduler has not placed a job, if it has not.
pub(crate) fn placement(evaluation: &Evaluation) -> Option<String> {
    let reasons: Vec<_> = evaluation.failed.values().map(reason).collect();
    (!reasons.is_empty()).then(|| reasons.join("; "))
}

fn reason(failure: &PlacementFailure) -> String {
    let counted = |what: &str, map: &std::collections::BTreeMap<String, u64>| {
        let parts = map.iter().map(|(name, count)| format!("{what} `{}` on {count}", one_line(name)));
        parts.collect::<Vec<_>>()
    };
    let mut parts = vec![match failure.nodes_evaluated {
        0 => "no node is in the datacenters and node pool asked for".to_owned(),
        all => format!("none of {all} nodes fits"),
    }];
    parts.extend(counted("constraint", &failure.constraint_filtered));
    parts.extend(counted("not enough", &failure.dimension_exhausted));
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn allocation(id: &str, index: u64, changes: Value) -> Allocation {
        let mut all = json!({
            "ID": id, "TaskGroup": "group", "NodeName": "n", "DesiredStatus": "run", "ClientStatus": "running",
            "TaskStates": {"t": {"State": "running", "Failed": false}}, "CreateIndex": index,
        });
        all.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        serde_json::from_value(all).unwrap()
    }

    fn stands(allocations: &[Allocation]) -> Standing {
        standing("group", "t", allocations)
    }

    fn ready(id: &str) -> Standing {
        Standing::Ready(Place { allocation: id.to_owned(), node: "n".to_owned() })
    }

    fn is_starting(standing: &Standing) -> bool {
        matches!(standing, Standing::Starting(_))
    }

    #[test]
    fn the_configured_task_has_to_run() {
        assert_eq!(stands(&[allocation("a", 1, json!({}))]), ready("a"));
        for pending in [
            json!({"TaskStates": {"t": {"State": "pending"}}}),
            json!({"TaskStates": {"t": null}}),
            json!({"TaskStates": null}),
            json!({"TaskStates": {"other": {"State": "running"}}}),
            json!({"ClientStatus": "pending"}),
            json!({"ClientStatus": "unknown"}),
        ] {
            let standing = stands(&[allocation("a", 1, pending.clone())]);
            assert!(is_starting(&standing), "{pending}: {standing:?}");
        }
        for over in [
            json!({"TaskStates": {"t": {"State": "dead"}}}),
            json!({"TaskStates": {"t": {"State": "running", "Failed": true}}}),
            json!({"ClientStatus": "failed"}),
            json!({"ClientStatus": "lost"}),
            json!({"ClientStatus": "complete"}),
            json!({"DesiredStatus": "stop"}),
            json!({"DesiredStatus": "evict"}),
        ] {
            let standing = stands(&[allocation("a", 1, over.clone())]);
            assert!(matches!(standing, Standing::Failed(_)), "{over}: {standing:?}");
        }
    }

    #[test]
    fn what_works_beats_what_comes_and_that_beats_what_is_over() {
        let failed = || allocation("old", 1, json!({"ClientStatus": "failed"}));
        let pending = || allocation("new", 2, json!({"ClientStatus": "pending", "TaskStates": null}));
        assert!(is_starting(&stands(&[failed(), pending()])));
        assert!(is_starting(&stands(&[pending(), failed()])));
        let older = allocation("works", 1, json!({}));
        assert_eq!(stands(&[pending(), older.clone()]), ready("works"));
        assert_eq!(stands(&[older, allocation("newest", 3, json!({}))]), ready("newest"));
        assert!(is_starting(&stands(&[])));
        assert!(is_starting(&stands(&[allocation("x", 9, json!({"TaskGroup": "sidecars"}))])));
    }

    #[test]
    fn one_that_is_over_is_not_the_end_while_another_is_to_come() {
        let over = |more: Value| {
            let mut changes = json!({"ClientStatus": "failed"});
            changes.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            stands(&[allocation("a", 1, changes)])
        };
        assert!(is_starting(&over(json!({"NextAllocation": "b"}))));
        assert!(is_starting(&over(json!({"FollowupEvalID": "e"}))));
        assert!(matches!(over(json!({})), Standing::Failed(_)));
    }

    #[test]
    fn a_failure_is_told_with_what_happened_last() {
        let events = json!([
            {"Type": "Received", "DisplayMessage": "Task received by client"},
            {"Type": "Driver Failure", "DisplayMessage": "Failed to pull\n`nope:latest`"},
            {"Type": "Not Restarting", "DisplayMessage": "Exceeded allowed attempts"},
        ]);
        let changes = json!({"ClientStatus": "failed",
            "TaskStates": {"t": {"State": "dead", "Failed": true, "Events": events}}});
        let standing = stands(&[allocation("0123456789", 1, changes)]);
        assert_eq!(
            standing,
            Standing::Failed(
                "allocation 01234567 is failed, task `t` dead: Failed to pull `nope:latest`".into()
            )
        );
    }

    #[test]
    fn why_nothing_was_placed() {
        let evaluation = |value| serde_json::from_value::<Evaluation>(value).unwrap();
        assert_eq!(placement(&evaluation(json!({"Status": "complete", "FailedTGAllocs": null}))), None);
        let failed =
            evaluation(json!({"FailedTGAllocs": {"crabbox": {"NodesEvaluated": 3, "NodesFiltered": 1,
            "ConstraintFiltered": {"missing drivers \"docker\"": 1}, "DimensionExhausted": {"memory": 2}}}}));
        assert_eq!(
            placement(&failed).unwrap(),
            "none of 3 nodes fits, constraint `missing drivers \"docker\"` on 1, not enough `memory` on 2"
        );
        let nobody = evaluation(json!({"FailedTGAllocs": {"crabbox": {"NodesEvaluated": 0}}}));
        assert_eq!(placement(&nobody).unwrap(), "no node is in the datacenters and node pool asked for");
    }

    #[test]
    fn every_allocation_has_to_have_ended() {
        let done = || allocation("a", 1, json!({"ClientStatus": "complete"}));
        let lost = || allocation("b", 2, json!({"ClientStatus": "lost"}));
        assert_eq!(
            (ended(&[]), ended(&[done()]), ended(&[done(), lost()])),
            (Ended::Yes, Ended::Yes, Ended::Lost)
        );
        assert_eq!(ended(&[lost(), allocation("c", 3, json!({"DesiredStatus": "stop"}))]), Ended::No);
    }
}
