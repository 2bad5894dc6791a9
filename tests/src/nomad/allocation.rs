//! An allocation: a group of a job on the node, and what has become of its tasks.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use super::state::{Job, nanoseconds, object};

/// A group of a job on the node.
#[derive(Clone)]
pub(super) struct Allocation {
    pub(super) id: String,
    pub(super) evaluation: String,
    pub(super) namespace: String,
    pub(super) job_id: String,
    pub(super) group: String,
    pub(super) name: String,
    /// The job as it was when the allocation was placed.
    pub(super) job: Job,
    pub(super) desired: &'static str,
    pub(super) desired_description: &'static str,
    pub(super) client: &'static str,
    pub(super) client_description: &'static str,
    pub(super) tasks: BTreeMap<String, TaskState>,
    pub(super) next: String,
    pub(super) previous: String,
    pub(super) followup: String,
    pub(super) create_index: u64,
    pub(super) modify_index: u64,
    pub(super) create_time: u64,
    pub(super) modify_time: u64,
    /// Whether the API has forgotten it with its job; its tasks may still be running.
    pub(super) purged: bool,
    /// The ports that its group was given.
    pub(super) ports: Vec<Port>,
    /// Where the allocation's directories are.
    pub(super) directory: PathBuf,
}

/// A port that a group was given.
#[derive(Clone)]
pub(super) struct Port {
    pub(super) label: String,
    pub(super) value: u16,
    /// The port inside, where it is another.
    pub(super) to: u64,
    /// Whether the job has named the node's port.
    pub(super) reserved: bool,
}

/// What has become of a task.
#[derive(Clone, Default)]
pub(super) struct TaskState {
    pub(super) state: &'static str,
    pub(super) failed: bool,
    pub(super) restarts: u64,
    pub(super) started: Option<jiff::Timestamp>,
    pub(super) finished: Option<jiff::Timestamp>,
    pub(super) last_restart: Option<jiff::Timestamp>,
    pub(super) events: Vec<Value>,
    /// The main process, while there is one.
    pub(super) pid: Option<u32>,
    /// The process that leads the group of what is exec'd, while the main process is there.
    pub(super) executor: Option<u32>,
}

/// A change in a task's life.
pub(super) enum Event<'a> {
    Received,
    Setup,
    Started,
    DriverFailure(&'a str),
    FailedValidation(&'a str),
    Terminated { code: i32, signal: i32 },
    Restarting(Duration),
    NotRestarting(&'a str),
    Killing(Duration),
    Killed,
}

impl Allocation {
    pub(super) fn is_terminal(&self) -> bool {
        matches!(self.client, "complete" | "failed" | "lost")
    }

    pub(super) fn task(&mut self, name: &str) -> &mut TaskState {
        self.tasks
            .entry(name.to_owned())
            .or_insert_with(|| TaskState { state: "pending", ..TaskState::default() })
    }

    /// The group, as the job has it.
    pub(super) fn group(&self) -> Option<&Value> {
        self.job.groups().iter().find(|it| it["Name"] == self.group)
    }

    /// A task of the group, as the job has it.
    pub(super) fn task_of_job(&self, name: &str) -> Option<&Value> {
        self.group()?["Tasks"].as_array()?.iter().find(|it| it["Name"] == name)
    }

    /// Works the client's status out from the tasks'.
    pub(super) fn settle(&mut self) {
        let states = || self.tasks.values();
        (self.client, self.client_description) = match () {
            () if states().any(|it| it.state == "dead" && it.failed) => ("failed", "Failed tasks"),
            () if states().any(|it| it.state == "running") => ("running", "Tasks are running"),
            () if states().any(|it| it.state == "pending") => ("pending", "No tasks have started"),
            () => ("complete", "All tasks have completed"),
        };
    }

    /// The entry of a list.
    pub(super) fn stub(&self, node: &str) -> Value {
        json!({
            "ClientDescription": self.client_description,
            "ClientStatus": self.client,
            "CreateIndex": self.create_index,
            "CreateTime": self.create_time,
            "DeploymentStatus": null,
            "DesiredDescription": self.desired_description,
            "DesiredStatus": self.desired,
            "DesiredTransition": {
                "ForceReschedule": null, "Migrate": null, "MigrateDisablePlacement": null,
                "NoShutdownDelay": null, "Reschedule": (!self.followup.is_empty()).then_some(true),
            },
            "EvalID": self.evaluation,
            "FollowupEvalID": self.followup,
            "ID": self.id,
            "JobID": self.job_id,
            "JobType": self.job.text("Type"),
            "JobVersion": self.job.number("Version"),
            "ModifyIndex": self.modify_index,
            "ModifyTime": self.modify_time,
            "Name": self.name,
            "Namespace": self.namespace,
            "NextAllocation": self.next,
            "NodeID": node,
            "NodeName": super::nodes::NAME,
            "PreemptedAllocations": null,
            "PreemptedByAllocation": "",
            "RescheduleTracker": null,
            "TaskGroup": self.group,
            "TaskStates": self.task_states(),
        })
    }

    fn task_states(&self) -> Value {
        if self.tasks.is_empty() {
            return Value::Null;
        }
        self.tasks.iter().map(|(name, task)| (name.clone(), task.json())).collect()
    }

    /// The whole of it. What is absent, is absent from the real one, too, when it is empty.
    pub(super) fn json(&self, node: &str) -> Value {
        let group = self.group().cloned().unwrap_or_default();
        let tasks = group["Tasks"].as_array().cloned().unwrap_or_default();
        let disk = group["EphemeralDisk"]["SizeMB"].clone();
        let each = |of: &dyn Fn(&Value) -> Value| -> Value {
            tasks
                .iter()
                .map(|task| (task["Name"].as_str().unwrap_or_default().to_owned(), of(task)))
                .collect()
        };
        let allocated = each(&|task| {
            json!({
                "Cpu": { "CpuShares": task["Resources"]["CPU"], "ReservedCores": null },
                "Devices": null,
                "Memory": { "MemoryMB": task["Resources"]["MemoryMB"], "MemoryMaxMB": 0 },
                "Networks": null,
            })
        });
        let sum =
            |key: &str| -> u64 { tasks.iter().filter_map(|task| task["Resources"][key].as_u64()).sum() };
        let resources = |cpu: u64, memory: u64| {
            json!({ "CPU": cpu, "Cores": 0, "Devices": null, "DiskMB": disk, "IOPS": 0, "MemoryMB": memory,
                "MemoryMaxMB": 0, "NUMA": null, "Networks": null, "SecretsMB": 0 })
        };
        let (total, shared) = (resources(sum("CPU"), sum("MemoryMB")), resources(0, 0));
        let port = |it: &Port, more: Value| {
            let mut port = json!({ "Label": it.label, "Value": it.value });
            if it.to != 0 {
                port["To"] = json!(it.to);
            }
            object(more).into_iter().for_each(|(key, value)| port[key] = value);
            port
        };
        let (mut networks, mut ports) = (Value::Null, Value::Null);
        if !self.ports.is_empty() {
            ports = self.ports.iter().map(|it| port(it, json!({ "HostIP": "127.0.0.1" }))).collect();
            networks = json!([{ "IP": "127.0.0.1" }]);
            for (key, reserved) in [("DynamicPorts", false), ("ReservedPorts", true)] {
                let some = self.ports.iter().filter(|it| it.reserved == reserved);
                let some: Vec<Value> = some.map(|it| port(it, json!({ "HostNetwork": "default" }))).collect();
                if !some.is_empty() {
                    networks[0][key] = some.into();
                }
            }
        }
        let mut all = json!({
            "AllocModifyIndex": self.create_index,
            "AllocatedResources": {
                "Shared": { "DiskMB": disk, "Networks": networks, "Ports": ports },
                "TaskLifecycles": each(&|_| Value::Null),
                "Tasks": allocated,
            },
            "ClientDescription": self.client_description,
            "ClientStatus": self.client,
            "CreateIndex": self.create_index,
            "CreateTime": self.create_time,
            "DesiredStatus": self.desired,
            "EvalID": self.evaluation,
            "ID": self.id,
            "Job": self.job.body,
            "JobID": self.job_id,
            "Metrics": { "NodePool": "default", "NodesEvaluated": 1, "NodesFiltered": 0, "NodesExhausted": 0,
                "NodesInPool": 1, "NodesAvailable": {}, "AllocationTime": 1, "CoalescedFailures": 0,
                "ClassExhausted": null, "ClassFiltered": null, "ConstraintFiltered": null,
                "DimensionExhausted": null, "QuotaExhausted": null, "ResourcesExhausted": null,
                "ScoreMetaData": null, "Scores": null },
            "ModifyIndex": self.modify_index,
            "ModifyTime": self.modify_time,
            "Name": self.name,
            "Namespace": self.namespace,
            "NetworkStatus": { "Address": "", "AddressIPv6": "", "DNS": null, "InterfaceName": "" },
            "NodeID": node,
            "NodeName": super::nodes::NAME,
            "Resources": total,
            "SharedResources": shared,
            "TaskGroup": self.group,
            "TaskResources": each(&|task| task["Resources"].clone()),
            "TaskStates": self.task_states(),
        });
        let optional = [
            ("DesiredDescription", self.desired_description),
            ("FollowupEvalID", &self.followup),
            ("NextAllocation", &self.next),
            ("PreviousAllocation", &self.previous),
        ];
        for (key, value) in optional.into_iter().filter(|(_, value)| !value.is_empty()) {
            all[key] = json!(value);
        }
        all
    }
}

impl TaskState {
    pub(super) fn event(&mut self, event: &Event) {
        self.events.push(event.json());
        // The client keeps the ten last ones.
        if self.events.len() > 10 {
            self.events.remove(0);
        }
    }

    fn json(&self) -> Value {
        let time = |it: &Option<jiff::Timestamp>| it.map(|it| it.to_string());
        json!({
            "Events": self.events,
            "Failed": self.failed,
            "FinishedAt": time(&self.finished),
            "LastRestart": time(&self.last_restart),
            "Paused": "",
            "Restarts": self.restarts,
            "StartedAt": time(&self.started),
            "State": self.state,
        })
    }
}

impl Event<'_> {
    fn json(&self) -> Value {
        let mut event = json!({
            "Details": {}, "DiskLimit": 0, "DisplayMessage": "", "DownloadError": "", "DriverError": "",
            "DriverMessage": "", "ExitCode": 0, "FailedSibling": "", "FailsTask": false, "GenericSource": "",
            "KillError": "", "KillReason": "", "KillTimeout": 0, "Message": "", "RestartReason": "",
            "SetupError": "", "Signal": 0, "StartDelay": 0, "TaskSignal": "", "TaskSignalReason": "",
            "Time": nanoseconds(), "Type": "", "ValidationError": "", "VaultError": "",
        });
        let (kind, display) = match self {
            Event::Received => ("Received", "Task received by client".to_owned()),
            Event::Setup => {
                event["Message"] = json!("Building Task Directory");
                event["Details"] = json!({ "message": "Building Task Directory" });
                ("Task Setup", "Building Task Directory".to_owned())
            }
            Event::Started => ("Started", "Task started by client".to_owned()),
            Event::DriverFailure(text) => {
                event["DriverError"] = json!(text);
                event["Details"] = json!({ "driver_error": text });
                ("Driver Failure", (*text).to_owned())
            }
            Event::FailedValidation(text) => {
                event["ValidationError"] = json!(text);
                event["Details"] = json!({ "validation_error": text });
                event["FailsTask"] = json!(true);
                ("Failed Validation", (*text).to_owned())
            }
            Event::Terminated { code, signal } => {
                event["ExitCode"] = json!(code);
                event["Signal"] = json!(signal);
                event["Details"] = json!({ "exit_code": code.to_string(), "signal": signal.to_string(), "oom_killed": "false" });
                let signal = if *signal == 0 { String::new() } else { format!(", Signal: {signal}") };
                ("Terminated", format!("Exit Code: {code}{signal}"))
            }
            Event::Restarting(delay) => {
                event["RestartReason"] = json!("Restart within policy");
                event["StartDelay"] = json!(u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX));
                event["Details"] = json!({ "restart_reason": "Restart within policy",
                    "start_delay": delay.as_nanos().to_string() });
                ("Restarting", format!("Task restarting in {}s", delay.as_secs_f64()))
            }
            Event::NotRestarting(reason) => {
                event["RestartReason"] = json!(reason);
                event["FailsTask"] = json!(true);
                event["Details"] = json!({ "fails_task": "true", "restart_reason": reason });
                ("Not Restarting", (*reason).to_owned())
            }
            Event::Killing(timeout) => {
                event["KillTimeout"] = json!(u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX));
                let timeout = timeout.as_secs_f64();
                event["Details"] = json!({ "kill_timeout": format!("{timeout}s") });
                ("Killing", format!("Sent interrupt. Waiting {timeout}s before force killing"))
            }
            Event::Killed => ("Killed", "Task successfully killed".to_owned()),
        };
        event["Type"] = json!(kind);
        event["DisplayMessage"] = json!(display);
        event
    }
}
