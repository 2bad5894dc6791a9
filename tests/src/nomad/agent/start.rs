//! How an agent is started, on whatever machine this is.

use std::os::unix::fs::chown;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, net};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::client::Client;
use super::{Agent, AgentOptions};

/// The user that an agent is run as where it cannot run as root.
const NOBODY: u32 = 65534;

/// How long an agent may take to be ready. On two busy cores it takes 2 to 6 s.
const READY: Duration = Duration::from_secs(60);

/// A way to run an agent.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// As this user. Root on a machine whose cgroups cannot be written to gets `failed to initialize process manager`.
    Plain,
    /// As root, with the cgroups out of sight. The agent then does without.
    Hidden,
    /// Not as root: the agent does without cgroups, and without the mounts that need `CAP_SYS_ADMIN`.
    Nobody,
}

/// The ways that this machine may allow, the plainest first.
fn ways() -> &'static [Way] {
    match (rustix::process::geteuid().is_root(), may_mount()) {
        (true, true) => &[Way::Plain, Way::Hidden, Way::Nobody],
        (true, false) => &[Way::Nobody],
        (false, _) => &[Way::Plain],
    }
}

/// Whether this process has `CAP_SYS_ADMIN`, without which root's agent starts, but no task of it
/// (`man 7 capabilities`: it is bit 21).
fn may_mount() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    effective.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).is_some_and(|set| set >> 21 & 1 == 1)
}

/// Starts an agent in the first way that works.
pub(super) fn start(binary: &Path, options: AgentOptions) -> Agent {
    let binary = binary.canonicalize().unwrap_or_else(|error| panic!("{}: {error}", binary.display()));
    let mut failures = String::new();
    for way in ways() {
        // Somebody else may take a free port before the agent does.
        for _ in 0..3 {
            match attempt(&binary, options, *way) {
                Ok(agent) => return agent,
                Err(log) => {
                    failures += &format!("--- {way:?}\n{log}\n");
                    if !log.contains("address already in use") {
                        break;
                    }
                }
            }
        }
    }
    panic!("{} does not become a ready agent:\n{failures}", binary.display());
}

/// Starts an agent in one way, or says what it has logged.
fn attempt(binary: &Path, options: AgentOptions, way: Way) -> Result<Agent, String> {
    let directory = TempDir::with_prefix("nomad-agent-").expect("a directory can be made");
    let root = directory.path();
    let temporary = root.join("tmp");
    fs::create_dir(&temporary).expect("a directory can be made");
    if matches!(way, Way::Nobody) {
        for path in [root, &temporary] {
            chown(path, Some(NOBODY), Some(NOBODY)).expect("root can give a directory away");
        }
    }
    let [http, rpc, serf] = free_ports();
    // The name is how an agent is told from another that has taken its port.
    let name = root.file_name().expect("it has a name").to_string_lossy().into_owned();
    let mut configuration = json!({
        "name": name,
        "bind_addr": "127.0.0.1",
        "ports": {"http": http, "rpc": rpc, "serf": serf},
        "disable_update_check": true,
        "acl": {"enabled": options.acl},
        "client": {
            // What is found out in a virtual machine is little or nothing.
            "cpu_total_compute": 16000,
            "memory_total_mb": 65536,
            "options": {
                "driver.allowlist": if options.docker { "raw_exec,docker" } else { "raw_exec" },
                "fingerprint.denylist": "env_aws,env_azure,env_gce,env_digitalocean",
            },
        },
    });
    if options.docker {
        configuration["plugin"] = json!([{"docker": [{"config": [docker()]}]}]);
    }
    let file = root.join("agent.json");
    fs::write(&file, configuration.to_string()).expect("a file can be written");
    let log = root.join("log");
    let output = fs::File::create(&log).expect("a file can be written");

    let mut command = command_of(way);
    command.arg(binary).args(["agent", "-dev", "-log-level=WARN", "-config"]).arg(&file);
    command.env_clear().envs([
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        ("LANG", "C.UTF-8"),
    ]);
    // All that it starts inherits these, which is how it is found: see `remains`.
    command.env("TMPDIR", &temporary).env("HOME", root);
    let errors = output.try_clone().expect("a file can be shared");
    command.stdin(Stdio::null()).stdout(output).stderr(errors);
    let process = command.spawn().map_err(|error| format!("{command:?}: {error}"))?;
    let watchdog = watchdog(process.id());
    // From here on it is ended whatever happens.
    let client = Client::new("127.0.0.1", http);
    let (version, docker) = (String::new(), options.docker);
    let mut agent = Agent { process, watchdog, port: http, client, version, docker, directory };
    match wait_until_ready(&mut agent, options, &name) {
        Ok(()) => Ok(agent),
        Err(reason) => {
            let log = fs::read_to_string(log).unwrap_or_default();
            Err(format!("{reason}\n{log}"))
        }
    }
}

/// What an agent is told of docker.
fn docker() -> Value {
    // An agent kills the containers of all others that share a docker with it when they are five minutes old.
    let mut config = json!({"gc": [{"image": false, "dangling_containers": [{"enabled": false}]}]});
    if let Ok(host) = std::env::var("DOCKER_HOST") {
        config["endpoint"] = json!(host);
    }
    config
}

/// What comes before the binary.
fn command_of(way: Way) -> Command {
    let before: &[&str] = match way {
        Way::Plain => &["env"],
        Way::Hidden => {
            &["unshare", "--mount", "sh", "-c", "umount -lR /sys/fs/cgroup && exec \"$@\"", "agent"]
        }
        Way::Nobody => &["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"],
    };
    let mut command = Command::new(before[0]);
    command.args(&before[1..]);
    command
}

/// A process that ends the agent when this one is gone, also by SIGKILL: the pipe that it reads has no other end then.
fn watchdog(process: u32) -> Option<Child> {
    Command::new("sh")
        .args(["-c", "read -r _; kill -INT \"$1\"", "watchdog", &process.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .ok()
}

/// Ports that were free a moment ago.
fn free_ports() -> [u16; 3] {
    let listeners = [0; 3].map(|port| net::TcpListener::bind(("127.0.0.1", port)).expect("a port is free"));
    listeners.map(|listener| listener.local_addr().expect("it listens").port())
}

/// Waits until the agent answers, is the one that was started, and has a node that takes jobs: one that is registered
/// earlier is not placed at first.
fn wait_until_ready(agent: &mut Agent, options: AgentOptions, name: &str) -> Result<(), String> {
    let deadline = Instant::now() + READY;
    let mut last = String::new();
    while Instant::now() < deadline {
        if let Ok(Some(status)) = agent.process.try_wait() {
            return Err(format!("it has ended: {status}"));
        }
        match ready(agent, options, name) {
            Ok(()) => return Ok(()),
            Err(reason) => last = reason,
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Err(format!("it is not ready: {last}"))
}

fn ready(agent: &mut Agent, options: AgentOptions, name: &str) -> Result<(), String> {
    let (status, text) = agent.client.try_request("GET", "/v1/agent/health", None)?;
    if status != 200 {
        return Err(text);
    }
    if options.acl && agent.client.token().is_none() {
        // It is refused until there is a leader, and works once.
        let (status, text) = agent.client.try_request("POST", "/v1/acl/bootstrap", None)?;
        let answer: Value = serde_json::from_str(&text).unwrap_or_default();
        match answer["SecretID"].as_str() {
            Some(secret) if status == 200 => agent.client = agent.client.clone().with_token(secret),
            _ => return Err(text),
        }
    }
    let (_, text) = agent.client.try_request("GET", "/v1/nodes", None)?;
    let nodes: Value = serde_json::from_str(&text).unwrap_or_default();
    let node = &nodes[0];
    let healthy = |driver: &str| node["Drivers"][driver]["Healthy"] == Value::Bool(true);
    let drivers = healthy("raw_exec") && (!options.docker || healthy("docker"));
    if node["Name"] != name || node["Status"] != "ready" || !drivers {
        return Err(text);
    }
    agent.version = node["Version"].as_str().unwrap_or_default().to_owned();
    Ok(())
}
