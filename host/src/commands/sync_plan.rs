//! `crabbox sync-plan`

use clap::Args;
use crabbox_protocol::records::{
    GuardrailMetric, GuardrailReason, GuardrailStatus, SyncGuardrail, SyncPlan, SyncSize,
};

use super::ProviderArgs;
use crate::error::Result;
use crate::host::{Host, Selection};
use crate::output::{self, foreign, human, table};
use crate::sync::{Apply, Filter, Guard, a_few, find_root, plan};
use crate::workflow::compare;

/// Show what a run would bring over
#[derive(Debug, Clone, Args)]
pub(crate) struct SyncPlanArgs {
    /// Compare with what this lease holds, by id or slug
    #[arg(long, value_name = "LEASE")]
    pub(crate) id: Option<String>,

    #[command(flatten)]
    pub(crate) provider: ProviderArgs,

    /// Name this many of the largest files and directories
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub(crate) limit: usize,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

pub(crate) async fn sync_plan(host: &Host, args: &SyncPlanArgs, selection: &Selection) -> Result<()> {
    let claim = args.id.as_deref().map(|id| host.claims().find(id, selection.explicit())).transpose()?;
    let root = find_root(host.env.cwd())?;
    let filter = Filter::of(&root, &host.settings.sync_exclude.value, &host.settings.sync_include.value)?;
    let guard = Guard::of(&host.settings, false);
    let (tree, mut plan) = plan(&root, &filter, &guard, args.limit)?;
    if let Some(claim) = &claim {
        let chosen = host.chosen_for_with(claim, selection).await?;
        let how = if host.settings.sync_delete.value { Apply::Update } else { Apply::Add };
        plan.lease = Some(compare(host, chosen, claim, tree, how).await?);
    }
    if args.json {
        return output::json(&plan);
    }
    output::data(&render(&plan))
}

fn render(plan: &SyncPlan) -> String {
    let names = |paths: &[String]| a_few(&paths.iter().map(|path| foreign(path)).collect::<Vec<_>>());
    let protected = plan.protected_tracked.iter().map(|file| format!("{} ({})", file.path, file.pattern));
    let protected: Vec<_> = protected.collect();
    let size = |what: &str, size: &SyncSize| vec![what.to_owned(), size.files.to_string(), human(size.bytes)];
    let mut rows = vec![
        ["WHAT", "FILES", "SIZE"].map(str::to_owned).to_vec(),
        size("sync candidate", &plan.candidate),
        size("dirty delta", &plan.dirty_delta),
    ];
    for (what, paths) in
        [("to remove", &plan.remove), ("protected", &protected), ("left out", &plan.left_out)]
    {
        if !paths.is_empty() {
            rows.push(vec![what.to_owned(), paths.len().to_string(), "-".to_owned(), names(paths)]);
        }
    }
    if let Some(lease) = &plan.lease {
        rows.push(size("to send", &lease.send));
        for (what, paths) in [("to remove there", &lease.remove), ("changed there", &lease.dirty)] {
            if !paths.is_empty() {
                rows.push(vec![what.to_owned(), paths.len().to_string(), "-".to_owned(), names(paths)]);
            }
        }
    }
    let mut text = format!("{}\nguardrail: {}\n", table(&rows), verdict(&plan.guardrail));
    let head = |names: &[&str]| vec![names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()];
    let mut files = head(&["SIZE", "FILE"]);
    files.extend(plan.top_files.iter().map(|file| vec![human(file.bytes), foreign(&file.path)]));
    let mut dirs = head(&["SIZE", "FILES", "DIRECTORY"]);
    dirs.extend(
        plan.top_dirs.iter().map(|dir| vec![human(dir.bytes), dir.files.to_string(), foreign(&dir.path)]),
    );
    for rows in [files, dirs].iter().filter(|rows| rows.len() > 1) {
        text.push('\n');
        text.push_str(&table(rows));
    }
    text
}

/// The limits that are reached, in one line.
fn verdict(guardrail: &SyncGuardrail) -> String {
    let reason = |reason: &GuardrailReason| match reason.metric {
        GuardrailMetric::Files => format!("{} files, and the limit is {}", reason.actual, reason.limit),
        GuardrailMetric::Bytes => {
            format!("{}, and the limit is {}", human(reason.actual), human(reason.limit))
        }
    };
    let reasons = guardrail.reasons.iter().filter(|reason| reason.status == guardrail.status).map(reason);
    let reasons = reasons.collect::<Vec<_>>().join("; ");
    match guardrail.status {
        GuardrailStatus::Ok => "ok".to_owned(),
        GuardrailStatus::Warn => format!("warn ({reasons})"),
        GuardrailStatus::Fail => format!("fail ({reasons}): a run needs `--force-sync-large`"),
    }
}
