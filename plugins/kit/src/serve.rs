//! The entry point: arguments, help, standard streams, signals.

use std::future::Future;
use std::io::{self, Write as _};
use std::process::ExitCode;

use crabbox_protocol::VERSIONS;
use tokio::signal::unix::{SignalKind, signal};

use crate::session::serve_until;
use crate::stdio::Stdio;
use crate::{About, Provider};

/// Serves the provider `P`: call it from `main` and return what it returns.
///
/// With `--stdio` it speaks the protocol on standard input and output until the input ends; without, it
/// prints help; with `--version`, its version. While it serves, file descriptor 1 is standard error and
/// descriptor 0 is empty: a stray `println!` cannot break the protocol, nor can a child that reads.
pub fn serve<P: Provider>() -> ExitCode {
    let about = P::about();
    let argument = std::env::args_os().nth(1);
    match argument.as_ref().map(|argument| argument.to_string_lossy()).as_deref() {
        Some("--stdio") => match speak::<P>() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&format!("cannot serve on standard input and output: {error}"), 1),
        },
        Some("--version" | "-V") => print(&version(&about)),
        None | Some("--help" | "-h" | "help") => print(&help(&about)),
        Some(other) => {
            let name = executable(&about);
            fail(&format!("unknown argument `{}`; see `{name} --help`", other.escape_debug()), 2)
        }
    }
}

fn speak<P: Provider>() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let served = runtime.block_on(async {
        let (input, output, streams) = Stdio::take()?.open()?;
        serve_until::<P>(input, output, told_to_end()?).await;
        streams.finish();
        io::Result::Ok(())
    });
    // A blocking call that never returns must not keep the plugin alive. Processes that are left are
    // killed as their owners are dropped.
    runtime.shutdown_background();
    served
}

/// Waits for a signal that asks the plugin to end.
fn told_to_end() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = hangup.recv() => {}
        }
    })
}

fn executable(about: &About) -> String {
    format!("crabbox-provider-{}", about.name())
}

fn version(about: &About) -> String {
    let versions: Vec<_> = VERSIONS.iter().map(u32::to_string).collect();
    format!("{} {} (protocol {})", executable(about), about.manifest().version, versions.join(", "))
}

fn help(about: &About) -> String {
    let (name, manifest) = (about.name(), about.manifest());
    let summary = manifest.summary.as_deref().map(|summary| format!("{summary}\n\n")).unwrap_or_default();
    format!(
        "{version}\n{summary}\
         This is a provider of crabbox, which starts it by itself: put it on PATH, then\n\
         \n    crabbox run --provider {name} -- COMMAND\n    crabbox plugins describe {name}\n\n\
         Options:\n  --stdio    speak the provider protocol on standard input and output\n  \
         --version  print the version\n  --help     print this help",
        version = version(about) + "\n",
    )
}

fn print(text: &str) -> ExitCode {
    // Whoever closed the pipe has read enough.
    let _ = writeln!(io::stdout(), "{text}");
    ExitCode::SUCCESS
}

fn fail(text: &str, code: u8) -> ExitCode {
    let _ = writeln!(io::stderr(), "error: {text}");
    ExitCode::from(code)
}
