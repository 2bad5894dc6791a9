//! `crabbox cleanup`

use clap::Args;
use crabbox_protocol::records::{CleanupAction, CleanupReport};

use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::host::Host;
use crate::output::{self, foreign};
use crate::provider::Interrupts;
use crate::workflow::{Cleanup, cleanup as clean_up};

/// Release what dead runs left, and leases whose time is over
#[derive(Debug, Clone, Args)]
pub(crate) struct CleanupArgs {
    /// Only say what would be done
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Wait for what may still appear
    #[arg(long)]
    pub(crate) wait: bool,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Exits 1 when something failed or has to be looked at again.
pub(crate) async fn cleanup(host: &Host, args: CleanupArgs) -> Result<u8> {
    let mut interrupts = Interrupts::listen()?;
    let report = tokio::select! {
        report = clean_up(host, Cleanup { dry_run: args.dry_run, wait: args.wait }) => report?,
        number = interrupts.next() => {
            return Err(Error::new(Exit::Signal(number), "interrupted").hint("`crabbox cleanup` goes on from here"));
        }
    };
    if args.json {
        output::json(&report)?;
    } else {
        output::data(&render(&report))?;
    }
    let open = |action| matches!(action, CleanupAction::Failed | CleanupAction::Pending);
    Ok(u8::from(report.rows.iter().any(|row| open(row.action))))
}

fn render(report: &CleanupReport) -> String {
    let mut text = String::new();
    for row in &report.rows {
        let action = match row.action {
            CleanupAction::Released => "released",
            CleanupAction::WouldRelease => "would release",
            CleanupAction::Forgotten => "forgot",
            CleanupAction::Kept => "kept",
            CleanupAction::Pending => "pending",
            CleanupAction::Failed => "FAILED",
        };
        let provider =
            row.provider.as_deref().map(|name| format!(" provider={}", foreign(name))).unwrap_or_default();
        text.push_str(&format!("{action} {}{provider}: {}", foreign(&row.id), foreign(&row.message)));
        if let Some(at) = row.again_at {
            let at = at.round(jiff::Unit::Second).unwrap_or(at);
            text.push_str(&format!("; run `crabbox cleanup` again after {at}, or use --wait"));
        }
        text.push('\n');
    }
    let ended = |row: &&crabbox_protocol::records::CleanupRow| {
        matches!(row.action, CleanupAction::Released | CleanupAction::Forgotten)
    };
    let removed = report.rows.iter().filter(ended).count();
    text + &format!("cleanup removed={removed} checked={}\n", report.checked)
}
