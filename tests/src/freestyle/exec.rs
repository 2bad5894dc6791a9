//! `POST /v5/vms/{vm}/exec-await`: runs a command in a guest, and answers when it has ended.
//!
//! From `vms/types.ts` of npm `freestyle@0.2.17`.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;

use super::answer::{Answer, Answered};
use super::body::{self, Field, Kind, optional, required};
use super::isolation::{Isolation, UBUNTU, USERS, User};
use super::log::Exec;
use super::server::Call;
use super::{Cloud, lock, power, process, vms};

const EXEC: &[Field] = &[
    required("command", Kind::Text),
    optional("linuxUser", Kind::Text),
    optional("timeoutMs", Kind::Count),
    optional("env", Kind::Texts),
    optional("stdin", Kind::Text),
];

/// How long a command may run if nothing is said, as long as it can when nothing detaches it from its connection,
/// and as long as it can at all.
const TIMEOUTS: (u64, u64, u64) = (30_000, 300_000, 86_400_000);

/// The longest command line. From field reports.
const MAX_COMMAND: usize = 64 << 10;

/// The most that stdin can be.
const MAX_STDIN: usize = 1 << 20;

/// What is to be run.
pub(super) struct Order {
    pub(super) command: String,
    pub(super) user: User,
    pub(super) environment: BTreeMap<String, String>,
    pub(super) stdin: Vec<u8>,
    pub(super) timeout_ms: u64,
    /// Whether it wakes a VM that is paused.
    pub(super) wakes: bool,
}

/// `POST /v5/vms/{vm}/exec-await`
pub(super) async fn exec(call: &Call, key: &str) -> Answered {
    let body = body::read(&call.body, EXEC)?;
    let text = |name: &str| body.get(name).and_then(Value::as_str);
    let stdin = STANDARD
        .decode(text("stdin").unwrap_or_default())
        .map_err(|_| Answer::bad("`stdin` must be base64"))?;
    if stdin.len() > MAX_STDIN {
        return Err(Answer::bad("`stdin` is limited to 1 MiB"));
    }
    let environment: BTreeMap<String, String> = body
        .get("env")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()))
        .collect();
    if let Some(name) = environment.keys().find(|name| !is_variable(name)) {
        return Err(Answer::bad(format!("`env` name `{name}` is not a POSIX name")));
    }
    let timeout_ms = body.get("timeoutMs").and_then(Value::as_u64).unwrap_or(TIMEOUTS.0);
    let long = call.cloud.options.native_agent && call.window.is_some();
    if timeout_ms == 0 || timeout_ms > TIMEOUTS.2 {
        return Err(Answer::bad(format!("`timeoutMs` must be between 1 and {}", TIMEOUTS.2)));
    }
    if timeout_ms > TIMEOUTS.1 && !long {
        let message =
            format!("`timeoutMs` may be {} at most without the native agent in background", TIMEOUTS.1);
        return Err(Answer::error(400, "AGENT_UNSUPPORTED", message));
    }
    let order = Order {
        command: text("command").unwrap_or_default().to_owned(),
        user: user(text("linuxUser"), UBUNTU)?,
        environment,
        stdin,
        timeout_ms,
        wakes: true,
    };
    let id = vms::id_of(&call.cloud, key)?;
    run(&call.cloud, &id, order).await
}

/// The user of this name.
pub(super) fn user(name: Option<&str>, default: User) -> Result<User, Answer> {
    let Some(name) = name else { return Ok(default) };
    let found = USERS.iter().find(|user| user.name == name).copied();
    found.ok_or_else(|| Answer::bad(format!("the guest has no user `{name}`")))
}

/// Runs a command, and answers with what it wrote and its exit code.
pub(super) async fn run(cloud: &Arc<Cloud>, id: &str, order: Order) -> Answered {
    if order.command.len() > MAX_COMMAND {
        return Err(Answer::bad("`command` is limited to 64 KiB"));
    }
    if order.command.is_empty() || order.command.contains('\0') {
        return Err(Answer::bad("`command` must be a command line"));
    }
    let wake = order.wakes && !cloud.faults().exec_does_not_wake;
    let vm = power::awake(cloud, id, wake).await?;
    let strays = ["/workspace", "/root", "/home/"];
    if vm.guest.isolation == Isolation::None && strays.iter().any(|path| order.command.contains(path)) {
        let message = "without namespaces a guest has no paths of its own";
        return Err(Answer::error(400, "NO_ISOLATION", message));
    }
    let number = {
        let mut log = lock(&cloud.log);
        log.execs.push(Exec {
            vm: id.to_owned(),
            command: order.command.clone(),
            user: order.user.name.to_owned(),
            environment: order.environment.clone(),
            stdin_bytes: order.stdin.len(),
            timeout_ms: order.timeout_ms,
            status: None,
            ended: false,
        });
        log.execs.len() - 1
    };
    let internal = |error: std::io::Error| Answer::error(500, "INTERNAL", error.to_string());
    let mut command = vm.guest.command(&order.user, &order.command);
    command.envs(&order.environment).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(internal)?;
    let pid = child.id().unwrap_or_default();
    vm.guest.enter(pid);
    if let Some(mut pipe) = child.stdin.take() {
        let stdin = order.stdin;
        tokio::spawn(async move {
            // A command need not read it.
            let _ = pipe.write_all(&stdin).await;
        });
    }
    let stdout = Drain::of(child.stdout.take());
    let stderr = Drain::of(child.stderr.take());
    let status = tokio::time::timeout(Duration::from_millis(order.timeout_ms), child.wait()).await;
    let status = match status {
        Ok(status) => {
            if cloud.faults().exec_kills_group {
                process::kill_group(pid);
            }
            let status = status.map_err(internal)?;
            Some(status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default()))
        }
        Err(_) => {
            process::kill_group(pid);
            let _ = child.wait().await;
            None
        }
    };
    vm.guest.leave(pid);
    let (stdout, stderr) = (stdout.end().await, stderr.end().await);
    if let Some(exec) = lock(&cloud.log).execs.get_mut(number) {
        (exec.status, exec.ended) = (status, true);
    }
    let state = cloud.read(|state| state.vm(id).map(|vm| vm.state));
    match state {
        None => Err(Answer::not_found("VM")),
        Some("stopped") => Err(Answer::error(409, "VM_NOT_RUNNING", "the VM is stopped")),
        // What is not UTF-8 cannot be told in JSON.
        Some(_) => Ok(Answer::ok(&json!({"stdout": stdout, "stderr": stderr, "statusCode": status}))),
    }
}

/// Reads what a command writes, until its end and little longer: what it leaves behind may keep the pipe open.
struct Drain {
    bytes: Arc<Mutex<Vec<u8>>>,
    task: JoinHandle<()>,
}

impl Drain {
    fn of(pipe: Option<impl AsyncRead + Unpin + Send + 'static>) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let task = tokio::spawn({
            let bytes = Arc::clone(&bytes);
            async move {
                let Some(mut pipe) = pipe else { return };
                let mut buffer = vec![0; 64 << 10];
                while let Ok(count @ 1..) = pipe.read(&mut buffer).await {
                    lock(&bytes).extend_from_slice(&buffer[..count]);
                }
            }
        });
        Self { bytes, task }
    }

    async fn end(mut self) -> String {
        let _ = tokio::time::timeout(Duration::from_millis(200), &mut self.task).await;
        self.task.abort();
        String::from_utf8_lossy(&lock(&self.bytes)).into_owned()
    }
}

fn is_variable(name: &str) -> bool {
    let starts = name.bytes().next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_');
    starts && name.bytes().all(|letter| letter.is_ascii_alphanumeric() || letter == b'_')
}
