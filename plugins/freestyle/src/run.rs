//! `run`: executes a command on the machine. Freestyle has no execution that streams, so the command writes into two
//! files there, and these are read from where they were read last, for as long as it runs and once more after it.

use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crabbox_provider_kit::http::Refusal;
use crabbox_provider_kit::protocol::{FileRef, Remote, RunParams, RunResult, Stream};
use crabbox_provider_kit::{Context, Doing as _, Error, Result, Sink};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::api::{Api, Executed, Part};
use crate::provider::Freestyle;

/// Between two looks at the output.
const PAUSE: Duration = Duration::from_millis(100);

/// For how long looking may fail in a row.
const FAILING: Duration = Duration::from_secs(120);

/// The longest that Freestyle lets a command take: a day, and five minutes on machines with an old agent. It is
/// always said, because what it is otherwise, 30 s, is too short for anybody.
const LONGEST_MS: u64 = 86_400_000;
const LONGEST_OLD_MS: u64 = 300_000;

/// The most that goes along with the order to execute something, in bytes. What is larger goes as a file.
const STDIN: u64 = 1 << 20;

/// What the shell says when the command could not be started.
const NOT_STARTED: &str = "crabbox-not-started";

impl Freestyle {
    /// Answers `run`.
    pub(crate) async fn execute(&self, params: &RunParams, context: &Context) -> Result<RunResult> {
        let never = |error: Error| error.remote(Remote::Absent);
        let lease = params.lease.as_ref().ok_or_else(|| never(Error::internal("a run without a lease")))?;
        let vm = self.expect(lease).await.map_err(never)?.id;
        let place = format!("/tmp/.crabbox-{}", params.run_id);
        let (input, stdin) = self.input(&vm, &place, params.stdin.as_ref()).await.map_err(never)?;
        let sink = |stream, path: &Option<_>| context.sink(stream, path.as_ref()).map_err(never);
        let stdout = Output::new("out", &place, sink(Stream::Stdout, &params.stdout)?);
        let stderr = Output::new("err", &place, sink(Stream::Stderr, &params.stderr)?);
        let mut body = json!({
            "command": command(&self.settings.directory, &place, &params.argv, &stdin),
            "linuxUser": self.settings.linux_user,
        });
        if let Some(input) = input {
            body["stdin"] = Value::from(input);
        }
        let limit = params.timeout_ms.map_or(LONGEST_MS, |ms| ms.saturating_add(60_000).min(LONGEST_MS));
        // Each stream goes on by itself: a reader who takes his time with one does not hold up the other.
        let (over, ended) = watch::channel(false);
        let order = async {
            let executed = self.ordered(&vm, body, limit).await;
            over.send_replace(true);
            executed
        };
        let follow = async {
            let out = stdout.follow(&self.api, &vm, ended.clone());
            tokio::try_join!(order, out, stderr.follow(&self.api, &vm, ended))
        };
        let (executed, (), ()) = tokio::select! {
            biased;
            followed = follow => followed?,
            // There is no way to take an order back: the host ends the command by another.
            _ = context.cancel().cancelled() => {
                return Err(Error::cancelled("the command was told to end").remote(Remote::Unknown));
            }
        };
        if executed.stderr.contains(NOT_STARTED) {
            let said = executed.stderr.replace(NOT_STARTED, "");
            return Err(never(Error::prerequisite(format!(
                "cannot use {} on the machine",
                self.settings.directory
            )))
            .cause(crabbox_provider_kit::http::one_line(&said)));
        }
        // Nobody needs them any more; that they stay is not worth a word.
        _ = self.api.remove(&vm, &place).await;
        match executed.status_code {
            Some(code) => Ok(RunResult { exit_code: Some(code), ..RunResult::default() }),
            None => Err(Error::deadline("Freestyle ended the command because it took too long")
                .hint(format!("it may take {} s", limit / 1000))
                .remote(Remote::Unknown)),
        }
    }

    /// Orders the command to be executed, and waits for its end.
    async fn ordered(&self, vm: &str, mut body: Value, limit: u64) -> Result<Executed> {
        let path = format!("/v5/vms/{vm}/exec-await");
        let patience = |ms: u64| Duration::from_millis(ms.saturating_add(60_000));
        body["timeoutMs"] = json!(limit);
        let refusal = match self.api.order(&path, &body, patience(limit)).await? {
            Ok(executed) => return Ok(executed),
            Err(refusal) => refusal,
        };
        if !is_old_agent(&refusal) {
            return Err(self.api.error(&refusal).remote(Remote::Absent));
        }
        body["timeoutMs"] = json!(LONGEST_OLD_MS);
        let executed = self.api.order(&path, &body, patience(LONGEST_OLD_MS)).await?;
        executed.map_err(|refusal| self.api.error(&refusal).remote(Remote::Absent))
    }

    /// The command's standard input: what goes along with the order, and what the shell is to read.
    async fn input(
        &self,
        vm: &str,
        place: &str,
        stdin: Option<&FileRef>,
    ) -> Result<(Option<String>, String)> {
        let Some(file) = stdin else {
            return Ok((None, "</dev/null".to_owned()));
        };
        if file.size <= STDIN {
            let bytes = tokio::fs::read(&file.path).await.doing(|| format!("read `{}`", file.path))?;
            return Ok((Some(STANDARD.encode(bytes)), String::new()));
        }
        let to = format!("{place}.in");
        self.api.upload(vm, Path::new(&file.path), file.size, &file.sha256, &to, 0o600).await?;
        if self.settings.linux_user != "root" {
            // What the API writes is root's.
            let command = format!("chown {} {}", quoted(&self.settings.linux_user), quoted(&to));
            let body = json!({"command": command, "linuxUser": "root"});
            let changed = self.ordered(vm, body, 60_000).await?;
            if changed.status_code != Some(0) {
                return Err(Error::prerequisite(format!(
                    "{} cannot be given to {}",
                    to, self.settings.linux_user
                ))
                .cause(crabbox_provider_kit::http::one_line(&changed.stderr)));
            }
        }
        // Open, it can be read without a name, and nothing is left of it.
        Ok((None, format!("<{to}")))
    }
}

fn is_old_agent(refusal: &Refusal) -> bool {
    refusal.body.contains("AGENT_UNSUPPORTED")
}

/// The line for the machine's shell: the argv in the lease's directory, with its output in files.
fn command(directory: &str, place: &str, argv: &[String], stdin: &str) -> String {
    let (directory, argv) =
        (quoted(directory), argv.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" "));
    let drop = stdin.strip_prefix('<').filter(|path| *path != "/dev/null");
    let drop = drop.map(|path| format!("; rm -f {path}")).unwrap_or_default();
    format!(
        "mkdir -p {directory} && cd {directory} && (umask 077 && mkdir -p {place} && : >{place}/out && : >{place}/err) \
         || {{ echo {NOT_STARTED} >&2; exit 125; }}\n({argv}) >{place}/out 2>{place}/err {stdin}\nc=$?{drop}\nexit $c"
    )
}

/// A word for a shell.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// One stream of output.
struct Output {
    path: String,
    offset: u64,
    sink: Sink,
}

impl Output {
    fn new(name: &str, place: &str, sink: Sink) -> Self {
        Self { path: format!("{place}/{name}"), offset: 0, sink }
    }

    /// Reads what comes until the command has ended, and then the rest.
    async fn follow(mut self, api: &Api, vm: &str, mut ended: watch::Receiver<bool>) -> Result<()> {
        let mut failing: Option<Instant> = None;
        loop {
            // Before the look: what was written until then is there to be read.
            let is_over = *ended.borrow_and_update();
            match api.read(vm, &self.path, self.offset).await {
                Ok(Part::Bytes(bytes)) => {
                    self.offset += bytes.len() as u64;
                    self.sink.write(&bytes).await?;
                    failing = None;
                    continue;
                }
                Ok(Part::Nothing) if is_over => return self.sink.finish().await,
                Ok(Part::Nothing) => failing = None,
                Err(error) if failing.get_or_insert_with(Instant::now).elapsed() > FAILING => {
                    return Err(error);
                }
                Err(_) => {}
            }
            tokio::select! {
                _ = ended.changed(), if !is_over => {}
                () = sleep(PAUSE) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn the_line_runs_the_argv_and_keeps_its_streams_apart() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
        let argv = ["sh", "-c", "cat; printf '[%s]' \"$@\" >&2; pwd; exit 7", "x", "it's", "", "a b\n"];
        let argv = argv.map(str::to_owned);
        std::fs::write(at("p.in"), "input").unwrap();
        let line = command(&at("a b"), &at("p"), &argv, &format!("<{}", at("p.in")));
        let output = Command::new("sh").args(["-c", &line]).output().unwrap();
        assert_eq!((output.status.code(), output.stdout, output.stderr), (Some(7), vec![], vec![]));
        assert_eq!(std::fs::read_to_string(at("p/out")).unwrap(), format!("input{}\n", at("a b")));
        assert_eq!(std::fs::read_to_string(at("p/err")).unwrap(), "[it's][][a b\n]");
        assert!(!directory.path().join("p.in").exists());
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_no_end_of_the_command() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("file"), "").unwrap();
        let below = directory.path().join("file/below").to_str().unwrap().to_owned();
        let place = directory.path().join("p").to_str().unwrap().to_owned();
        let line = command(&below, &place, &["true".to_owned()], "</dev/null");
        let output = Command::new("sh").args(["-c", &line]).output().unwrap();
        assert_eq!(output.status.code(), Some(125));
        assert!(String::from_utf8_lossy(&output.stderr).contains(NOT_STARTED));
    }
}
