//! The command: which executable, and what is printed.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use crabbox_protocol::is_provider_name;
use crabbox_protocol::records::{CheckReport, CheckedRule, RuleStatus};

use super::check::Check;
use super::lease;
use super::ledger::count;
use crate::commands::duration;
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::host::Host;
use crate::output::{self, foreign, say};
use crate::plugins::PREFIX;
use crate::provider::Interrupts;

/// Check whether a plugin keeps to the protocol
///
/// Without --live no lease is made, except by a plugin that works with an empty configuration in an empty home:
/// its leases are made in a temporary one.
#[derive(Debug, Clone, Args)]
pub(crate) struct CheckArgs {
    /// An executable, or the name of an installed provider
    #[arg(value_name = "PATH|NAME")]
    pub(crate) plugin: PathBuf,

    /// Make a lease with your own configuration, use it, and release it
    #[arg(long)]
    pub(crate) live: bool,

    /// Wait for no answer longer than this
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) deadline: Option<Duration>,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Checks an executable. Exits 1 when it breaks a rule, or something could not be released.
pub(crate) async fn check(host: &Host, args: &CheckArgs) -> Result<u8> {
    let (path, name) = find(host, &args.plugin)?;
    let mut interrupts = Interrupts::listen()?;
    let mut check = Check::new(host, &path, name, args)?;
    let tried = tokio::select! {
        biased;
        _ = interrupts.next() => Err(Error::new(Exit::Signal(2), "interrupted")),
        tried = check.everything() => tried,
    };
    if !check.made.is_empty() && tried.is_err() {
        say("releasing the lease; again to leave it");
    }
    let cleaned = tokio::select! {
        biased;
        _ = interrupts.next(), if !check.made.is_empty() => None,
        left = lease::clean_up(&mut check) => Some(left),
    };
    let left = cleaned.unwrap_or_else(|| check.made.iter().map(|made| made.how(&check)).collect());
    if !left.is_empty() && !args.live {
        check.world.keep();
    }
    if let Err(error) = tried {
        let error = interrupts.blame(error);
        return Err(left.into_iter().fold(error, Error::hint));
    }
    let report = report(&check, left);
    match args.json {
        true => output::json(&report)?,
        false => output::data(&render(&report))?,
    }
    Ok(u8::from(!report.ok))
}

/// The executable, and the provider's name by it, where it has one.
fn find(host: &Host, plugin: &Path) -> Result<(PathBuf, Option<String>)> {
    let text = plugin.to_string_lossy();
    if !text.contains('/') && (is_provider_name(&text) || !plugin.exists()) {
        let found = host.plugins.find(&text).map_err(|error| match error.exit {
            Exit::Usage => Error { exit: Exit::NotFound, ..error },
            _ => error,
        })?;
        host.plugins.allows(&found)?;
        return Ok((found.path, Some(found.name)));
    }
    let path = host.env.cwd().join(plugin);
    let shown = foreign(&path.display().to_string());
    match std::fs::metadata(&path) {
        Err(error) => {
            return Err(Error::new(Exit::NotFound, format!("cannot check `{shown}`")).cause(error));
        }
        Ok(metadata) if !metadata.is_file() => {
            return Err(Error::usage(format!("`{shown}` is no executable")));
        }
        Ok(_) if rustix::fs::access(&path, rustix::fs::Access::EXEC_OK).is_err() => {
            return Err(Error::usage(format!("`{shown}` is not executable"))
                .hint(format!("make it executable: `chmod +x {shown}`")));
        }
        Ok(_) => {}
    }
    let file = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let name = file.strip_prefix(PREFIX).filter(|name| is_provider_name(name)).map(str::to_owned);
    Ok((path, name))
}

fn report(check: &Check<'_>, left: Vec<String>) -> CheckReport {
    let rest = match &check.manifest {
        None => "it does not say who it is: see `initialize-answers`",
        Some(_) => "`configure` fails: see `configure-answers`",
    };
    let rules = check.ledger.borrow().rows(rest);
    let counts = count(&rules);
    CheckReport {
        path: check.path.display().to_string(),
        name: check.manifest.as_ref().map(|manifest| manifest.name.clone()),
        version: check.manifest.as_ref().map(|manifest| manifest.version.clone()),
        ok: counts.fail == 0 && left.is_empty(),
        live: check.place.is_ok(),
        counts,
        rules,
        left,
    }
}

/// The report for people: a line per rule, and below what is broken what was sent and what came back.
fn render(report: &CheckReport) -> String {
    let mut text = String::new();
    let width = report.rules.iter().map(|rule| rule.id.len()).max().unwrap_or(0);
    let mut group = "";
    for rule in &report.rules {
        if rule.group != group {
            group = &rule.group;
            let _ = writeln!(text, "{}{group}", if text.is_empty() { "" } else { "\n" });
        }
        let says = match (rule.status, &rule.reason) {
            (RuleStatus::Skip, Some(reason)) => reason,
            _ => &rule.rule,
        };
        let _ = writeln!(text, "  {}  {:width$}  {says}", status(rule.status), rule.id);
        if matches!(rule.status, RuleStatus::Warn | RuleStatus::Fail) {
            details(rule, &mut text);
        }
    }
    let (name, version) =
        (report.name.as_deref().unwrap_or("plugin"), report.version.as_deref().unwrap_or("-"));
    let counts = &report.counts;
    let _ = write!(
        text,
        "\n{} {}: {} passed, {} failed, {} warned of, {} skipped\n",
        foreign(name),
        foreign(version),
        counts.pass,
        counts.fail,
        counts.warn,
        counts.skip
    );
    for left in &report.left {
        let _ = writeln!(text, "{}", foreign(left));
    }
    text
}

fn status(status: RuleStatus) -> &'static str {
    match status {
        RuleStatus::Fail => "FAIL",
        other => other.name(),
    }
}

/// Why a rule is broken.
fn details(rule: &CheckedRule, text: &mut String) {
    let mut line = |what: &str, said: &str| {
        let _ = writeln!(text, "          {what:9} {said}");
    };
    rule.reason.iter().for_each(|reason| line("why", reason));
    rule.sent.iter().for_each(|sent| line("sent", sent));
    rule.received.iter().for_each(|received| line("received", received));
    rule.stderr.iter().for_each(|said| line("stderr", said));
    line("see", &rule.section);
}
