//! What makes a job invalid, told as the agent tells it: errors in errors, each level counted and indented.
//!
//! Facts: `nomad/structs/structs.go` (`Job.Validate`, `TaskGroup.Validate`, `Task.Validate`) of 2.0.5, and what an
//! agent of that version answered.

use serde_json::{Map, Value};

/// Errors that are told together.
#[derive(Default)]
struct Errors(Vec<String>);

impl Errors {
    fn add(&mut self, when: bool, text: impl Into<String>) {
        if when {
            self.0.push(text.into());
        }
    }

    /// The text of a list of errors, as go-multierror makes it.
    fn text(self) -> Option<String> {
        let head = match self.0.len() {
            0 => return None,
            1 => "1 error occurred:".to_owned(),
            count => format!("{count} errors occurred:"),
        };
        Some(format!("{head}\n\t* {}\n\n", self.0.join("\n\t* ")))
    }
}

/// The error of one thing, alone.
pub(super) fn alone(text: String) -> String {
    Errors(vec![text]).text().unwrap_or_default()
}

/// What is wrong with a job that is in its canonical form.
pub(super) fn validate(job: &Map<String, Value>) -> Option<String> {
    let text = |key: &str| job.get(key).and_then(Value::as_str).unwrap_or_default();
    let kind = text("Type");
    let mut errors = Errors::default();
    errors.add(
        !matches!(kind, "service" | "batch" | "system" | "sysbatch"),
        format!("Invalid job type: {kind:?}"),
    );
    errors.add(text("ID").is_empty(), "Missing job ID");
    errors.add(text("ID").contains(' '), "Job ID contains a space");
    errors.add(text("ID").contains('\0'), "Job ID contains a null character");
    errors.add(text("Name").is_empty(), "Missing job name");
    errors.add(text("Name").contains('\0'), "Job Name contains a null character");
    for datacenter in job["Datacenters"].as_array().into_iter().flatten() {
        errors.add(datacenter == "", "Job datacenter must be non-empty string");
    }
    let priority = job["Priority"].as_i64().unwrap_or_default();
    errors.add(!(1..=100).contains(&priority), "job priority must be between [1, 100]");
    let groups = job["TaskGroups"].as_array().map_or(&[][..], Vec::as_slice);
    errors.add(groups.is_empty(), "Missing job task groups");
    for (index, group) in groups.iter().enumerate() {
        let name = group["Name"].as_str().unwrap_or_default();
        let before = groups[..index].iter().position(|it| it["Name"] == group["Name"]);
        match before {
            _ if name.is_empty() => errors.add(true, format!("Job task group {} missing name", index + 1)),
            Some(first) => {
                let (this, first) = (index + 1, first + 1);
                errors.add(true, format!("Job task group {this} redefines '{name}' from group {first}"));
            }
            None => {}
        }
        let count = group["Count"].as_i64().unwrap_or(1);
        errors.add(
            kind == "system" && count > 1,
            format!("Job task group {name} has count {count}. Count cannot exceed 1 with system scheduler"),
        );
    }
    for group in groups {
        let name = group["Name"].as_str().unwrap_or_default();
        if let Some(wrong) = validate_group(group) {
            errors.add(true, format!("Task group {name} validation failed: {wrong}"));
        }
    }
    errors.text()
}

fn validate_group(group: &Value) -> Option<String> {
    let mut errors = Errors::default();
    let name = group["Name"].as_str().unwrap_or_default();
    errors.add(name.is_empty(), "Missing task group name");
    errors.add(name.contains('\0'), "Task group name contains null character");
    errors.add(group["Count"].as_i64().unwrap_or(1) < 0, "Task group count can't be negative");
    let tasks = group["Tasks"].as_array().map_or(&[][..], Vec::as_slice);
    errors.add(tasks.is_empty(), "Missing tasks for task group");
    for (index, task) in tasks.iter().enumerate() {
        let name = task["Name"].as_str().unwrap_or_default();
        match tasks[..index].iter().position(|it| it["Name"] == task["Name"]) {
            _ if name.is_empty() => errors.add(true, format!("Task {} missing name", index + 1)),
            Some(first) => {
                errors.add(true, format!("Task {} redefines '{name}' from task {}", index + 1, first + 1));
            }
            None => {}
        }
    }
    for task in tasks {
        let name = task["Name"].as_str().unwrap_or_default();
        if let Some(wrong) = validate_task(task, &group["EphemeralDisk"]["SizeMB"]) {
            errors.add(true, format!("Task {name} validation failed: {wrong}"));
        }
    }
    errors.text()
}

fn validate_task(task: &Value, disk: &Value) -> Option<String> {
    let mut errors = Errors::default();
    let name = task["Name"].as_str().unwrap_or_default();
    errors.add(name.is_empty(), "Missing task name");
    errors.add(name.contains(['/', '\\']), "Task name cannot include slashes");
    errors.add(name.contains('\0'), "Task name cannot include null characters");
    errors.add(name == "alloc", "Task cannot be named \"alloc\"");
    errors.add(task["Driver"] == "", "Missing task driver");
    let number = |key: &str| task["Resources"][key].as_i64().unwrap_or_default();
    let mut minimum = Errors::default();
    let (cpu, cores, memory) = (number("CPU"), number("Cores"), number("MemoryMB"));
    minimum.add(cores == 0 && cpu < 1, format!("minimum CPU value is 1; got {cpu}"));
    minimum.add(memory < 10, format!("minimum MemoryMB value is 10; got {memory}"));
    if let Some(wrong) = minimum.text() {
        errors.add(true, alone(wrong));
    }
    let log = &task["LogConfig"];
    let logs = log["MaxFiles"].as_i64().unwrap_or(10) * log["MaxFileSizeMB"].as_i64().unwrap_or(10);
    let disk = disk.as_i64().unwrap_or_default();
    if disk <= logs && log["Disabled"] != true {
        let wrong = format!("log storage ({logs} MB) must be less than requested disk capacity ({disk} MB)");
        errors.add(true, alone(wrong));
    }
    errors.text()
}
