//! The CLI: what it is told, in which world, and what it answers.

mod build;
mod create;
mod flags;
mod list;
mod output;
mod parameters;
mod power;
mod prompt;
mod ssh;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use self::flags::Flags;
use self::output::Failure;
use super::deployment::Deployment;
use super::state::{Call, Refusal, State, Store};

/// One call of the CLI.
struct Cli {
    store: Store,
    /// As what it was called.
    program: String,
    flags: Flags,
    /// What standard output is: with `ssh --stdio`, standard error.
    human: Human,
}

/// Where text for people goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Human {
    Stdout,
    Stderr,
}

/// Runs the CLI with the arguments of this process: the directory of the state, what it is called as, and those of
/// the CLI.
pub fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(directory), Some(program)) = (arguments.next(), arguments.next()) else {
        return ExitCode::from(2);
    };
    let argv: Vec<String> = arguments.map(|it| it.to_string_lossy().into_owned()).collect();
    let store = Store { directory: PathBuf::from(directory) };
    match run(store, program.to_string_lossy().into_owned(), argv) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::fail(&failure);
            ExitCode::FAILURE
        }
    }
}

fn run(store: Store, program: String, argv: Vec<String>) -> Result<(), Failure> {
    let env = std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned()).collect();
    store.log(&Call { argv: argv.clone(), env })?;
    let deployment = store.with(|state| state.deployment.clone())?;
    std::thread::sleep(deployment.faults.slow);
    let flags = Flags::parse(&argv, &deployment)?;
    let command = flags.command.clone();
    if deployment.faults.hangs.contains(&command) {
        hang();
    }
    let human = if command == "ssh" { Human::Stderr } else { Human::Stdout };
    let cli = Cli { store, program, flags, human };
    let ran = match command.as_str() {
        "version" => cli.version(&deployment),
        "whoami" => cli.whoami(),
        "list" => cli.list(),
        "create" => cli.create(),
        "start" => cli.start(),
        "stop" => cli.stop(),
        "delete" => cli.delete(),
        _ => cli.ssh(),
    };
    ran.map_err(|failure| failure.of(&command))
}

impl Cli {
    /// Reads or changes what is on the server, as the user who is logged in. That is checked, and what the server
    /// has to say before all else is said, with every request.
    fn ask<T>(&self, ask: impl FnOnce(&mut State) -> Result<T, Refusal>) -> Result<T, Failure> {
        let (url, token) = self.login()?;
        let answer = self.store.with(|state| {
            let deployment = &state.deployment;
            if deployment.faults.unreachable || url != deployment.url {
                return Err(None);
            }
            if let Some((status, message)) = &deployment.faults.server_error {
                return Err(Some(Refusal::new(*status, message)));
            }
            if deployment.faults.signed_out || token != deployment.token {
                return Err(Some(Refusal::signed_out()));
            }
            ask(state).map_err(Some)
        })?;
        answer.map_err(|refusal| match refusal {
            Some(refusal) => refusal.into(),
            None => Failure::unreachable(&url),
        })
    }

    /// Writes the warnings that come with the first answer of the server.
    fn warn(&self) -> Result<(), Failure> {
        let deployment = self.store.with(|state| state.deployment.clone())?;
        let quiet = |name: &str| self.flags.is_set(name);
        if let Some(server) = deployment.server_version.filter(|_| !quiet("no-version-warning")) {
            let [client, server] = [deployment.version, server].map(Deployment::version_text);
            output::to_stderr(&format!(
                "version mismatch: client {client}, server {server}\n\
                 download {server} with: 'curl -fsSL {}/install.sh | sh'\n",
                deployment.url
            ));
        }
        let warnings = deployment.faults.warnings.iter().filter(|_| !quiet("no-feature-warning"));
        warnings.for_each(|it| output::to_stderr(&format!("{it}\n")));
        Ok(())
    }

    /// The address and the token: flags, then the environment, then what `login` has left.
    fn login(&self) -> Result<(String, String), Failure> {
        let directory = self.config_directory();
        let read = |name: &str| std::fs::read_to_string(Path::new(&directory).join(name));
        let url = match self.flags.text("url") {
            Some(url) => url.to_owned(),
            None => read("url").map_err(|_| Failure::not_logged_in(&self.program))?.trim().to_owned(),
        };
        let token = self.flags.text("token").map(str::to_owned);
        Ok((url, token.unwrap_or_else(|| read("session").unwrap_or_default().trim().to_owned())))
    }

    fn config_directory(&self) -> PathBuf {
        if let Some(directory) = self.flags.text("global-config") {
            return directory.into();
        }
        let home = PathBuf::from(std::env::var_os("HOME").unwrap_or_default());
        let config = std::env::var_os("XDG_CONFIG_HOME").map_or_else(|| home.join(".config"), PathBuf::from);
        config.join("coderv2")
    }

    /// Writes text for people.
    fn say(&self, text: &str) {
        match self.human {
            Human::Stdout => output::to_stdout(text),
            Human::Stderr => output::to_stderr(text),
        }
    }
}

/// From now on, ends with code 1 and without a word on these signals. Elsewhere the real CLI, too, dies of them.
fn end_silently_on<const N: usize>(kinds: [SignalKind; N]) -> Result<(), Failure> {
    let (sender, ready) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let Ok(runtime) = runtime else { return };
        runtime.block_on(async move {
            let signals = kinds.into_iter().filter_map(|kind| signal(kind).ok());
            let waits: Vec<_> = signals.map(|mut it| Box::pin(async move { it.recv().await })).collect();
            // The other side waits for this.
            let _ = sender.send(());
            futures_util::future::select_all(waits).await;
            std::process::exit(1);
        });
    });
    ready.recv_timeout(Duration::from_secs(10)).map_err(|error| Failure::text(&error.to_string()))
}

/// Waits for a signal.
fn hang() -> ! {
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}
