//! `crabbox doctor`

mod crew;
mod policy;

use std::os::unix::fs::PermissionsExt;

use clap::Args;
use crabbox_protocol::records::{DoctorReport, DoctorRow};
use crabbox_protocol::{Check, CheckStatus, DoctorParams, Method};

use super::ProviderArgs;
use crate::error::{Error, Result};
use crate::host::{Chosen, Host, Selection};
use crate::output::{self, foreign, table};
use crate::paths::private_dir;
use crate::provider::{Ask, Locks};
use crate::ssh::program;

/// Check this machine and the provider
#[derive(Debug, Clone, Args)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    pub(crate) provider: ProviderArgs,

    /// Check this lease, too
    #[arg(long, value_name = "LEASE")]
    pub(crate) id: Option<String>,

    /// Say who of this crew reaches whom
    #[arg(long, alias = "pond", value_name = "NAME", conflicts_with = "id")]
    pub(crate) crew: Option<String>,

    /// Look whether the URLs of the crew's members answer
    #[arg(long, requires = "crew")]
    pub(crate) bridge: bool,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Exits 1 when a check fails.
pub(crate) async fn doctor(host: &Host, args: DoctorArgs, selection: Selection) -> Result<u8> {
    let mut checks = vec![git(), state(host), config(host)];
    if let Some(crew) = &args.crew {
        let crew = super::crew::named(crew)?;
        let matrix = crew::rows(host, &crew, &args.provider, args.bridge, &mut checks).await?;
        return report(checks, args.json, &matrix);
    }
    let claim = args.id.as_deref().map(|id| host.claims().find(id, selection.explicit())).transpose()?;
    let chosen = match &claim {
        Some(claim) => host.chosen_for_with(claim, &selection).await,
        None => selection.choose(host).await,
    };
    match chosen {
        Ok(chosen) => {
            provider(host, &chosen, DoctorParams { lease: claim.map(|claim| claim.lease) }, &mut checks).await
        }
        Err(error) => checks.push(failed("provider", &error, selection.name())),
    }
    report(checks, args.json, "")
}

fn report(checks: Vec<DoctorRow>, json: bool, more: &str) -> Result<u8> {
    let report = DoctorReport { ok: checks.iter().all(|check| check.status != CheckStatus::Fail), checks };
    if json {
        output::json(&report)?;
    } else {
        output::data(&(render(&report) + more))?;
    }
    Ok(u8::from(!report.ok))
}

fn row(check: &str, status: CheckStatus, message: impl Into<String>) -> DoctorRow {
    DoctorRow {
        check: check.to_owned(),
        status,
        provider: None,
        message: message.into(),
        hint: None,
        details: Default::default(),
    }
}

fn failed(check: &str, error: &Error, provider: &str) -> DoctorRow {
    DoctorRow {
        provider: Some(provider.to_owned()),
        hint: error.hints.first().cloned(),
        ..row(check, CheckStatus::Fail, error.to_string())
    }
}

fn git() -> DoctorRow {
    match std::process::Command::new("git").arg("--version").output() {
        Ok(output) if output.status.success() => {
            row("git", CheckStatus::Ok, foreign(&String::from_utf8_lossy(&output.stdout)))
        }
        Ok(output) => row("git", CheckStatus::Fail, format!("`git --version` failed: {}", output.status)),
        Err(error) => DoctorRow {
            hint: Some("install git, or use `--no-sync`".to_owned()),
            ..row("git", CheckStatus::Fail, format!("cannot start git: {error}"))
        },
    }
}

/// What leases are reached by that have no `run`.
fn ssh(chosen: &Chosen) -> DoctorRow {
    let found = program(&chosen.name, &chosen.env);
    // It says its version on standard error.
    let asked = found.map(|program| (std::process::Command::new(&program).arg("-V").output(), program));
    match asked {
        Ok((Ok(output), program)) if output.status.success() => {
            let version = String::from_utf8_lossy(&output.stderr);
            row("ssh", CheckStatus::Ok, format!("{}: {}", program.display(), foreign(version.trim())))
        }
        Ok((_, program)) => row("ssh", CheckStatus::Fail, format!("`{} -V` failed", program.display())),
        Err(error) => failed("ssh", &error, &chosen.name),
    }
}

/// The one thing that a doctor makes: the directories that every other command would make.
fn state(host: &Host) -> DoctorRow {
    let made = private_dir(&host.paths.claims()).and_then(|()| {
        tempfile::tempfile_in(host.paths.claims()).map_err(|error| {
            Error::failure(format!("cannot write in `{}`", host.paths.state.display())).cause(error)
        })
    });
    match made {
        Ok(_) => row("state", CheckStatus::Ok, format!("`{}` can be written", host.paths.state.display())),
        Err(error) => DoctorRow {
            hint: error.hints.first().cloned(),
            ..row("state", CheckStatus::Fail, error.to_string())
        },
    }
}

fn config(host: &Host) -> DoctorRow {
    let path = host.paths.config.join("config.yaml");
    match std::fs::metadata(&path) {
        Err(_) => row("config", CheckStatus::Skip, format!("there is no `{}`", path.display())),
        Ok(metadata) if metadata.permissions().mode() & 0o077 != 0 => DoctorRow {
            hint: Some(format!("chmod 600 {}", path.display())),
            ..row("config", CheckStatus::Warn, format!("`{}` can be read by others", path.display()))
        },
        Ok(_) => row("config", CheckStatus::Ok, format!("`{}` is yours alone", path.display())),
    }
}

/// The plugin: its handshake, what it thinks of the configuration, and its own checks.
async fn provider(host: &Host, chosen: &Chosen, params: DoctorParams, checks: &mut Vec<DoctorRow>) {
    let name = || Some(chosen.name.clone());
    let mut session = match chosen.open(host, Locks::default()).await {
        Ok(session) => session,
        Err(error) => return checks.push(failed("plugin", &error, &chosen.name)),
    };
    let manifest = session.manifest();
    let message = format!(
        "{} {} speaks protocol {}",
        chosen.found.path.display(),
        foreign(&manifest.version),
        manifest.protocol
    );
    checks.push(DoctorRow { provider: name(), ..row("plugin", CheckStatus::Ok, message) });
    if !chosen.manifest.has(Method::Run) {
        checks.push(ssh(chosen));
    }
    let withheld = host.plugins.withheld(&chosen.name, &chosen.manifest, &chosen.pass);
    if !withheld.is_empty() {
        checks.push(DoctorRow {
            provider: name(),
            hint: Some(format!(
                "to pass them on, list them under `plugins.{}.env` in your own configuration file",
                chosen.name
            )),
            ..row(
                "environment",
                CheckStatus::Warn,
                format!("not passed on, because the plugin does not ask for it: {}", withheld.join(", ")),
            )
        });
    }
    match session.configure(&chosen.params).await {
        Ok(configured) => {
            for problem in &configured.problems {
                let key = if problem.key.is_empty() {
                    String::new()
                } else {
                    format!("{}: ", foreign(&problem.key))
                };
                checks.push(DoctorRow {
                    provider: name(),
                    hint: problem.hint.as_deref().map(foreign),
                    ..row("configuration", CheckStatus::Fail, format!("{key}{}", foreign(&problem.message)))
                });
            }
            if configured.problems.is_empty() {
                let message = format!("scope {}", foreign(&configured.scope));
                checks.push(DoctorRow { provider: name(), ..row("configuration", CheckStatus::Ok, message) });
            }
        }
        Err(error) => return checks.push(failed("configuration", &error.into(), &chosen.name)),
    }
    if session.manifest().has(Method::Doctor) {
        match session.call(&params, Ask::default()).await {
            Ok(result) => checks.extend(result.checks.into_iter().map(|check| theirs(check, &chosen.name))),
            Err(error) => checks.push(failed("doctor", &error.into(), &chosen.name)),
        }
    }
    session.close().await;
}

fn theirs(check: Check, provider: &str) -> DoctorRow {
    DoctorRow {
        check: foreign(&check.name),
        status: match check.status {
            CheckStatus::Unknown => CheckStatus::Warn,
            status => status,
        },
        provider: Some(provider.to_owned()),
        message: foreign(&check.message),
        hint: check.hint.as_deref().map(foreign),
        details: check.details,
    }
}

fn render(report: &DoctorReport) -> String {
    let line = |check: &DoctorRow| {
        let status = match check.status {
            CheckStatus::Ok => "ok",
            CheckStatus::Warn | CheckStatus::Unknown => "warn",
            CheckStatus::Fail => "FAIL",
            CheckStatus::Skip => "skip",
        };
        let hint = check.hint.as_deref().map(|hint| format!(" (hint: {hint})")).unwrap_or_default();
        let provider = check.provider.clone().unwrap_or_else(|| "-".to_owned());
        vec![status.to_owned(), check.check.clone(), provider, format!("{}{hint}", check.message)]
    };
    table(&report.checks.iter().map(line).collect::<Vec<_>>())
}
