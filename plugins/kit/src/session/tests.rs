use std::path::PathBuf;
use std::time::Duration;

use crabbox_protocol::{
    AcquireParams, AcquireResult, DoctorParams, DoctorResult, LeaseReport, ListParams, ListResult, MAX_LINE,
    Method, Problem, RunParams, RunResult, TouchParams, TouchResult,
};
use serde_json::{Value, json};
use tokio::io::{
    AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream, Lines, ReadHalf, WriteHalf,
};
use tokio::process::Command;
use tokio::task::JoinHandle;

use super::serve_on;
use crate::testing::alive;
use crate::{About, Configured, Context, Error, GRACE, Process, Provider, Result, Secrets, problem};

/// A provider that does what the test tells it, one request at a time.
struct Puppet;

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Config {
    #[serde(default)]
    wrong: bool,
    #[serde(default)]
    port: u16,
}

impl Provider for Puppet {
    type Config = Config;

    fn about() -> About {
        About::new("puppet", "1").methods([Method::List, Method::Touch])
    }

    fn configure(config: Config, _: &Secrets) -> Configured<Self> {
        let configured = Configured::new(Self);
        if config.wrong {
            let hint = Some("make it right".to_owned());
            return configured.problem(Problem { hint, ..problem("wrong", "it is wrong") });
        }
        configured.scope(format!("here:{}", config.port))
    }

    async fn doctor(&self, _: DoctorParams, _: &Context) -> Result<DoctorResult> {
        let row = crate::check("puppet", crabbox_protocol::CheckStatus::Ok, "it dances");
        Ok(DoctorResult { checks: vec![row] })
    }

    async fn acquire(&self, params: AcquireParams, context: &Context) -> Result<AcquireResult> {
        context.progress("half of it").await?;
        let lease = LeaseReport { r#ref: Some(params.lease.name), ..LeaseReport::default() };
        context.lease(lease.clone()).await?;
        Ok(AcquireResult { lease })
    }

    /// Waits for a cancel.
    async fn touch(&self, _: TouchParams, context: &Context) -> Result<TouchResult> {
        context.progress("waiting").await?;
        let reason = context.cancel().cancelled().await;
        Err(Error::cancelled(format!("{reason:?}")))
    }

    async fn list(&self, _: ListParams, _: &Context) -> Result<ListResult> {
        panic!("no {}", "list");
    }

    async fn run(&self, params: RunParams, context: &Context) -> Result<RunResult> {
        match params.argv[0].as_str() {
            "long" => {
                let message = "x".repeat(MAX_LINE + 1);
                Err(Error::internal(message))
            }
            "stubborn" => std::future::pending().await,
            program => {
                let mut command = Command::new(program);
                command.args(&params.argv[1..]);
                Process::spawn(context, command, &params)?.finish(context, GRACE).await
            }
        }
    }
}

/// The host's end of a session.
struct Host {
    input: WriteHalf<DuplexStream>,
    lines: Lines<BufReader<ReadHalf<DuplexStream>>>,
    session: JoinHandle<()>,
}

impl Host {
    fn new() -> Self {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let (input, output) = tokio::io::split(far);
        let session = tokio::spawn(serve_on::<Puppet>(input, output));
        let (reader, input) = tokio::io::split(near);
        Self { input, lines: BufReader::new(reader).lines(), session }
    }

    async fn configured() -> Self {
        let mut host = Self::new();
        host.ask(100, "configure", json!({"config": {}})).await;
        assert_eq!(host.next().await["id"], 100);
        host
    }

    async fn send(&mut self, text: &str) {
        self.input.write_all(text.as_bytes()).await.unwrap();
    }

    async fn ask(&mut self, id: u64, method: &str, params: Value) {
        let message = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        self.send(&format!("{message}\n")).await;
    }

    async fn cancel(&mut self, id: u64) {
        let message = json!({"method": "cancel", "params": {"request": id, "reason": "user"}});
        self.send(&format!("{message}\n")).await;
    }

    async fn next(&mut self) -> Value {
        let line = tokio::time::timeout(Duration::from_secs(60), self.lines.next_line()).await;
        serde_json::from_str(&line.expect("an answer in time").unwrap().expect("one more line")).unwrap()
    }

    async fn run(&mut self, id: u64, argv: &[&str]) {
        self.ask(id, "run", json!({"lease": lease(), "runId": "run_000000000001", "argv": argv})).await;
    }

    /// Ends the input; what was said until the session ended.
    async fn close(mut self) -> Vec<Value> {
        self.input.shutdown().await.unwrap();
        let ended = tokio::time::timeout(Duration::from_secs(60), self.session).await;
        ended.expect("the session ends").unwrap();
        let mut rest = Vec::new();
        while let Some(line) = self.lines.next_line().await.unwrap() {
            rest.push(serde_json::from_str(&line).unwrap());
        }
        rest
    }
}

fn lease() -> Value {
    json!({"id": "cbx_000000000001", "slug": "s", "name": "crabbox-s"})
}

fn touch() -> Value {
    json!({"lease": lease()})
}

#[tokio::test]
async fn lines_are_found_however_they_are_cut() {
    let mut host = Host::new();
    let (one, two) =
        (r#"{"jsonrpc":"2.0","id":1,"method":"configure","#, r#""params":{"config":{"port":7}}}"#);
    host.send(one).await;
    tokio::task::yield_now().await;
    host.send(&format!("{two}\r\n{{\"id\":2,\"method\":\"doctor\"}}\n{{\"id\":3")).await;
    let result = json!({"jsonrpc": "2.0", "id": 1, "result": {"scope": "here:7"}});
    assert_eq!(host.next().await, result);
    assert_eq!(host.next().await["result"]["checks"][0]["name"], "puppet");
    host.send(",\"method\":\"doctor\"}\n").await;
    assert_eq!(host.next().await["id"], 3);
    assert_eq!(host.close().await, Vec::<Value>::new());
}

#[tokio::test]
async fn unknown_methods_are_refused_and_unknown_notifications_ignored() {
    let mut host = Host::configured().await;
    host.send("{\"method\":\"weather\",\"params\":[]}\nnonsense\n").await;
    // `bridge` is of the protocol, and not in this manifest.
    for (id, method) in [(1, "bridge"), (2, "dance")] {
        host.ask(id, method, json!({})).await;
        let error = host.next().await;
        assert_eq!((&error["id"], &error["error"]["code"]), (&json!(id), &json!(-32601)));
        assert_eq!(error["error"]["data"]["kind"], "unsupported");
    }
    host.send("{\"id\":3,\"method\":5}\n").await;
    assert_eq!(host.next().await["error"]["data"]["kind"], "internal");
    host.ask(4, "touch", json!({"lease": {"id": "../x"}})).await;
    let error = host.next().await;
    assert_eq!(error["error"]["message"], "cannot read the params of `touch`");
    assert_eq!(host.close().await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_running_request_is_cancelled_and_answers_once() {
    let mut host = Host::configured().await;
    host.ask(1, "touch", touch()).await;
    assert_eq!(host.next().await["params"]["message"], "waiting");
    host.cancel(1).await;
    host.cancel(1).await;
    host.cancel(77).await;
    let error = host.next().await;
    assert_eq!((&error["id"], &error["error"]["message"]), (&json!(1), &json!("User")));
    assert_eq!(error["error"]["data"]["kind"], "cancelled");
    host.cancel(1).await;
    assert_eq!(host.close().await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_request_that_waits_is_cancelled_before_it_begins() {
    let mut host = Host::configured().await;
    host.ask(1, "touch", touch()).await;
    assert_eq!(host.next().await["params"]["message"], "waiting");
    host.ask(2, "acquire", json!({"lease": lease(), "keep": false})).await;
    host.run(3, &["true"]).await;
    for id in [3, 2, 1] {
        host.cancel(id).await;
    }
    let answers = [host.next().await, host.next().await, host.next().await];
    assert_eq!(answers.each_ref().map(|a| a["id"].as_u64().unwrap()), [1, 2, 3], "one at a time");
    assert!(answers.iter().all(|a| a["error"]["data"]["kind"] == "cancelled"), "{answers:?}");
    assert_eq!(answers[1]["error"]["data"]["created"], false);
    assert_eq!(answers[2]["error"]["data"]["remote"], "absent");
}

#[tokio::test]
async fn a_panic_and_an_answer_that_is_too_long_are_errors_of_one_request() {
    let mut host = Host::configured().await;
    host.ask(1, "list", json!({})).await;
    let data = host.next().await["error"]["data"].clone();
    assert_eq!(data, json!({"kind": "internal", "causes": ["no list"]}));
    host.run(2, &["long"]).await;
    let error = host.next().await;
    assert!(error["error"]["message"].as_str().unwrap().contains("1048576"), "{error}");
    host.run(3, &["true"]).await;
    assert_eq!(host.next().await["result"], json!({"exitCode": 0}));
}

#[tokio::test]
async fn progress_and_what_is_known_of_the_lease_come_before_the_answer() {
    let mut host = Host::configured().await;
    host.ask(1, "acquire", json!({"lease": lease(), "keep": false})).await;
    let progress = json!({"request": 1, "message": "half of it"});
    assert_eq!(host.next().await["params"], progress);
    let known = json!({"request": 1, "lease": {"ref": "crabbox-s"}});
    assert_eq!(host.next().await["params"], known);
    assert_eq!(host.next().await["result"], json!({"lease": {"ref": "crabbox-s"}}));
}

#[tokio::test]
async fn with_problems_only_doctor_runs_and_shows_them() {
    for (config, problem, causes) in [
        (json!({"wrong": true}), "`wrong`: it is wrong", 2),
        (json!({"port": "x"}), "`port`: invalid type: string \"x\", expected u16", 1),
    ] {
        let mut host = Host::new();
        host.ask(1, "configure", json!({"config": config})).await;
        let result = host.next().await["result"].clone();
        assert_eq!(result["problems"].as_array().map(Vec::len), Some(1), "{result}");
        assert!(result["scope"].as_str().unwrap().starts_with("puppet:"), "{result}");
        host.ask(2, "touch", touch()).await;
        let error = host.next().await["error"].clone();
        assert_eq!(
            (&error["data"]["kind"], &error["data"]["causes"]),
            (&json!("configInvalid"), &json!([problem]))
        );
        host.ask(3, "doctor", json!({})).await;
        let checks = host.next().await["result"]["checks"].clone();
        assert_eq!((&checks[0]["status"], &checks[0]["message"]), (&json!("fail"), &json!(problem)));
        assert_eq!(checks.as_array().unwrap().len(), causes);
    }
    let mut host = Host::new();
    host.ask(1, "touch", touch()).await;
    assert_eq!(
        host.next().await["error"]["message"],
        "`touch` came before `configure`, which has to be first"
    );
}

#[tokio::test]
async fn the_end_of_input_cancels_what_runs_and_takes_processes_along() {
    let home = tempfile::tempdir().unwrap();
    let pids = home.path().join("pids");
    let mut host = Host::configured().await;
    let script =
        format!("trap '' TERM; sleep 600 & echo $$ $! >{0}.new; mv {0}.new {0}; wait", pids.display());
    host.run(1, &["sh", "-c", &script]).await;
    let pids = read_pids(pids).await;
    let answers = host.close().await;
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert_eq!(answers[0]["result"], json!({"signal": "KILL"}));
    assert!(!pids.iter().any(|pid| alive(*pid)), "{pids:?}");
}

#[tokio::test]
async fn a_method_that_ignores_the_end_does_not_hold_it_up() {
    let mut host = Host::configured().await;
    host.run(1, &["stubborn"]).await;
    assert_eq!(host.close().await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_line_over_the_limit_ends_the_session() {
    let mut host = Host::configured().await;
    let line = "x".repeat(MAX_LINE + 2);
    // The session stops reading in the middle.
    let _ = host.input.write_all(line.as_bytes()).await;
    tokio::time::timeout(Duration::from_secs(60), host.session).await.expect("it ends").unwrap();
}

async fn read_pids(path: PathBuf) -> Vec<i32> {
    for _ in 0..12_000 {
        if let Ok(text) = std::fs::read_to_string(&path) {
            return text.split_whitespace().map(|pid| pid.parse().unwrap()).collect();
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("`{}` was never written", path.display());
}
