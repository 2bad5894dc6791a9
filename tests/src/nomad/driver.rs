//! What the drivers do with a task's configuration: raw_exec, and docker without a container.

use std::fs::File;
use std::process::Stdio;

use serde_json::Value;
use tokio::process::{Child, Command};

use super::Agent;
use super::allocation::Allocation;
use super::process::{make_directories, surroundings};

/// Why a task's process could not be started.
pub(super) enum Unstartable {
    /// The driver failed.
    Driver(String),
    /// The driver does not understand its configuration.
    Validation(String),
}

/// Starts a task's main process, which leads a group.
pub(super) fn start(agent: &Agent, allocation: &Allocation, task: &str) -> Result<Child, Unstartable> {
    let words = words(allocation.task_of_job(task).unwrap_or(&Value::Null))?;
    let log = |stream: &str| File::create(allocation.directory.join(format!("alloc/logs/{task}.{stream}.0")));
    let start = || -> std::io::Result<Child> {
        make_directories(allocation, task)?;
        let from = surroundings(allocation, task, &agent.options.region, &agent.options.datacenter);
        Command::new(&words[0])
            .args(&words[1..])
            .env_clear()
            .envs(from.environment)
            .current_dir(from.directory)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log("stdout")?)
            .stderr(log("stderr")?)
            .spawn()
    };
    start().map_err(|error| {
        let why = match error.kind() {
            std::io::ErrorKind::NotFound => {
                format!("rpc error: code = Unknown desc = binary {:?} could not be found", words[0])
            }
            _ => error.to_string(),
        };
        Unstartable::Driver(format!("failed to launch command with executor: {why}"))
    })
}

/// The program of a task and its arguments.
fn words(task: &Value) -> Result<Vec<String>, Unstartable> {
    let config = &task["Config"];
    if task["Driver"] != "docker" {
        if let Some(wrong) = raw_exec_config(config) {
            return Err(Unstartable::Validation(wrong));
        }
    } else if config["image"].as_str().unwrap_or_default().is_empty() {
        return Err(Unstartable::Driver("image name required for docker driver".to_owned()));
    }
    let mut words = Vec::new();
    for key in ["entrypoint", "command", "args"] {
        words.extend(config[key].as_str().map(str::to_owned));
        let more = config[key].as_array().into_iter().flatten();
        words.extend(more.map(|it| it.as_str().map_or_else(|| it.to_string(), str::to_owned)));
    }
    if words.is_empty() {
        // An image's own command, of which nothing is known here.
        words = ["/bin/sh", "-c", "exec sleep 2147483647"].map(str::to_owned).to_vec();
    }
    Ok(words)
}

/// Starts the process that leads the group of what is exec'd, in the place of `nomad executor`. It ends with this one.
pub(super) fn executor() -> std::io::Result<Child> {
    Command::new("cat")
        .env_clear()
        .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
}

/// What is wrong with a task's configuration for raw_exec.
fn raw_exec_config(config: &Value) -> Option<String> {
    const KNOWN: &[&str] = &[
        "command",
        "args",
        "work_dir",
        "cgroup_v1_override",
        "cgroup_v2_override",
        "oom_score_adj",
        "denied_envvars",
    ];
    let fields = config.as_object().into_iter().flatten();
    let mut wrong: Vec<String> = fields
        .filter(|(name, _)| !KNOWN.contains(&name.as_str()))
        .map(|(name, _)| format!("Invalid label: No argument or block type is named {name:?}."))
        .collect();
    if config["command"].is_null() {
        let why = "The argument \"command\" is required, but no definition was found.";
        wrong.push(format!("Missing required argument: {why}"));
    }
    if config["args"].is_string() {
        let why = "Inappropriate value for attribute \"args\": list of string required, but have string.";
        wrong.push(format!("Incorrect attribute value type: {why}"));
    }
    let count = wrong.len() + 1;
    let wrong = (count > 1).then(|| wrong.join("\n\t* "))?;
    Some(format!("{count} errors occurred:\n\t* failed to parse config: \n\t* {wrong}\n\n"))
}
