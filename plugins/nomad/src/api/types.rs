//! What of Nomad's answers is used. Names are Nomad's; what may be absent or `null` there is optional here.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

/// `null` is taken for the default, as Go writes it for an empty map or list.
fn nullable<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Option::deserialize(from).map(Option::unwrap_or_default)
}

macro_rules! answer {
    ($(#[$doc:meta])* $name:ident { $($(#[$field:meta])* $key:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Default, Deserialize)]
        #[serde(rename_all = "PascalCase", default)]
        pub(crate) struct $name {
            $($(#[$field])* #[serde(deserialize_with = "nullable")] pub(crate) $key: $type,)*
        }
    };
}

answer! {
    /// The answer to a registration.
    Registered {
        /// Empty for a job that is not scheduled at once, such as a periodic one.
        #[serde(rename = "EvalID")]
        eval_id: String,
        /// What Nomad thinks is odd about the job.
        warnings: String,
    }
}

answer! {
    /// A job.
    Job {
        /// Its identifier.
        #[serde(rename = "ID")]
        id: String,
        /// What was written into it.
        meta: BTreeMap<String, String>,
        /// Whether somebody stopped it.
        stop: bool,
        /// Its groups.
        task_groups: Vec<Group>,
    }
}

answer! {
    /// A group of a job's tasks.
    Group {
        /// Its name.
        name: String,
        /// What was written into it.
        meta: BTreeMap<String, String>,
        /// Its tasks.
        tasks: Vec<Task>,
    }
}

answer! {
    /// A task of a job.
    Task {
        /// Its name.
        name: String,
        /// What was written into it.
        meta: BTreeMap<String, String>,
    }
}

answer! {
    /// A job in a list.
    JobRow {
        /// Its identifier.
        #[serde(rename = "ID")]
        id: String,
        /// What was written into it.
        meta: BTreeMap<String, String>,
        /// `pending`, `running` or `dead`. One that runs need not have an allocation.
        status: String,
        /// Whether somebody stopped it.
        stop: bool,
        /// When it was submitted, in nanoseconds since 1970.
        submit_time: i64,
        /// How its allocations stand.
        job_summary: JobSummary,
    }
}

answer! {
    /// How a job's allocations stand.
    JobSummary {
        /// By group.
        summary: BTreeMap<String, GroupSummary>,
    }
}

answer! {
    /// How a group's allocations stand.
    GroupSummary {
        /// How many run.
        running: u64,
    }
}

answer! {
    /// What the scheduler made of a job.
    Evaluation {
        /// `pending`, `complete`, `failed`, `canceled` or `blocked`.
        status: String,
        /// Why.
        status_description: String,
        /// Why groups could not be placed, by group.
        #[serde(rename = "FailedTGAllocs")]
        failed: BTreeMap<String, PlacementFailure>,
        /// The evaluation that waits for room.
        blocked_eval: String,
    }
}

answer! {
    /// Why a group could not be placed.
    PlacementFailure {
        /// How many nodes were looked at.
        nodes_evaluated: u64,
        /// How many were ruled out by a constraint.
        nodes_filtered: u64,
        /// How many had no room.
        nodes_exhausted: u64,
        /// Which constraints, and how many nodes each ruled out.
        constraint_filtered: BTreeMap<String, u64>,
        /// What there was not enough of, and on how many nodes.
        dimension_exhausted: BTreeMap<String, u64>,
    }
}

answer! {
    /// An allocation in a list.
    Allocation {
        /// Its identifier.
        #[serde(rename = "ID")]
        id: String,
        /// The job that it is of.
        #[serde(rename = "JobID")]
        job_id: String,
        /// The group of the job that it is of.
        task_group: String,
        /// That node's name.
        node_name: String,
        /// `run`, `stop` or `evict`.
        desired_status: String,
        /// `pending`, `running`, `complete`, `failed`, `lost` or `unknown`.
        client_status: String,
        /// Why.
        client_description: String,
        /// Its tasks.
        task_states: BTreeMap<String, Option<TaskState>>,
        /// The allocation that replaces it.
        next_allocation: String,
        /// The evaluation that will replace it.
        #[serde(rename = "FollowupEvalID")]
        followup_eval_id: String,
        /// Orders allocations by age.
        create_index: u64,
    }
}

answer! {
    /// How a task stands.
    TaskState {
        /// `pending`, `running` or `dead`.
        state: String,
        /// Whether it failed.
        failed: bool,
        /// What happened to it, the oldest first.
        events: Vec<TaskEvent>,
    }
}

answer! {
    /// Something that happened to a task.
    TaskEvent {
        /// What kind of thing.
        r#type: String,
        /// What to tell people.
        display_message: String,
    }
}

answer! {
    /// An allocation with all that belongs to it.
    AllocationDetails {
        /// What it was given.
        allocated_resources: AllocatedResources,
    }
}

answer! {
    /// What an allocation was given.
    AllocatedResources {
        /// What its tasks share.
        shared: SharedResources,
    }
}

answer! {
    /// What an allocation's tasks share.
    SharedResources {
        /// The ports that lead to it.
        ports: Vec<PortMapping>,
    }
}

answer! {
    /// A port of the node that leads to the allocation.
    PortMapping {
        /// Its name.
        label: String,
        /// The node's port.
        value: u16,
        /// The allocation's port; 0 where it is the same.
        to: u16,
        /// The node's address.
        #[serde(rename = "HostIP")]
        host_ip: String,
    }
}

answer! {
    /// A node in a list.
    Node {
        /// `ready` or not.
        status: String,
        /// `eligible` or not.
        scheduling_eligibility: String,
        /// The task drivers that it has.
        drivers: BTreeMap<String, Option<Driver>>,
    }
}

answer! {
    /// A task driver on a node.
    Driver {
        /// Whether it works.
        healthy: bool,
    }
}

answer! {
    /// An ACL token, as it sees itself.
    Token {
        /// Its public identifier; `acls-disabled` where there are none.
        #[serde(rename = "AccessorID")]
        accessor_id: String,
        /// `client` or `management`.
        r#type: String,
        /// The names of its policies, without those of its roles.
        policies: Vec<String>,
    }
}

answer! {
    /// An ACL policy in a list.
    PolicyRow {
        /// Its name.
        name: String,
    }
}

answer! {
    /// An ACL policy.
    Policy {
        /// Its rules, with what `policy = "write"` and the like stand for written out.
        #[serde(rename = "RulesJSON")]
        rules_json: Rules,
    }
}

answer! {
    /// What an ACL policy allows.
    Rules {
        /// In namespaces.
        namespaces: Vec<NamespaceRule>,
    }
}

answer! {
    /// What an ACL policy allows in namespaces.
    NamespaceRule {
        /// The namespace, or a pattern with `*`.
        name: String,
        /// What is allowed there.
        capabilities: Vec<String>,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_go_writes_for_nothing_is_nothing() {
        let allocation: Allocation = serde_json::from_str(
            r#"{"ID":"a","TaskStates":null,"NextAllocation":"","Unknown":{"x":1},"CreateIndex":7}"#,
        )
        .unwrap();
        assert!(allocation.task_states.is_empty());
        let allocation: Allocation =
            serde_json::from_str(r#"{"TaskStates":{"t":null,"u":{"State":"running","Events":null}}}"#)
                .unwrap();
        assert!(allocation.task_states["t"].is_none());
        assert_eq!(allocation.task_states["u"].as_ref().unwrap().state, "running");
        let evaluation: Evaluation =
            serde_json::from_str(r#"{"FailedTGAllocs":null,"Status":"complete"}"#).unwrap();
        assert!(evaluation.failed.is_empty());
    }
}
