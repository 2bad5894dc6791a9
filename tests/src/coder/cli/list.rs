//! `coder version`, `whoami` and `list`.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Cli;
use super::output::{Failure, to_stderr, to_stdout};
use crate::coder::deployment::Deployment;
use crate::coder::json::{id_of, workspace};
use crate::coder::workspace::Workspace;

impl Cli {
    /// Needs no login and no server.
    pub(super) fn version(&self, deployment: &Deployment) -> Result<(), Failure> {
        let version = Deployment::version_text(deployment.version);
        let address = "https://github.com/coder/coder/commit/1a2b3c4";
        if self.output("text", &["text", "json"])? == "json" {
            let told = json!({
                "version": version,
                "build_time": "2026-05-12T18:01:02Z",
                "external_url": address,
                "slim": true,
                "agpl": false,
                "boring_crypto": false,
            });
            to_stdout(&format!("{}\n", pretty(&told)));
        } else {
            to_stdout(&format!(
                "Coder {version} Tue May 12 18:01:02 UTC 2026\r\n{address}\r\n\r\nSlim build of Coder, does not \
                 support the server subcommand.\n"
            ));
        }
        Ok(())
    }

    pub(super) fn whoami(&self) -> Result<(), Failure> {
        self.flags.none()?;
        let format = self.output("text", &["text", "json", "table"])?.to_owned();
        let deployment = self.ask(|state| Ok(state.deployment.clone()))?;
        self.warn()?;
        let (url, user) = (&deployment.url, &deployment.user);
        match format.as_str() {
            "json" => to_stdout(&pretty(&json!([{
                "url": url,
                "username": user,
                "user_id": id_of("user", user),
                "organization_ids": [id_of("organization", "coder")],
                "roles": {"*": ["Owner"]},
            }]))),
            "table" => to_stdout(&format!("URL  USERNAME  ID\n{url}  {user}  {}\n", id_of("user", user))),
            _ => to_stdout(&format!("> Coder is running at {url}, You're authenticated as {user} !\n")),
        }
        Ok(())
    }

    pub(super) fn list(&self) -> Result<(), Failure> {
        self.flags.none()?;
        let format = self.output("table", &["table", "json"])?.to_owned();
        let all = self.flags.is_set("all");
        let query = if all { "" } else { self.flags.text("search").unwrap_or("owner:me") };
        let now = Timestamp::now();
        let answer = self.ask(|state| {
            let me = state.deployment.user.clone();
            let mut found: Vec<Workspace> = state.workspaces.clone();
            found.retain(|it| it.visible <= now && fits(it, query, &me, now));
            found.sort_by_key(|it| (it.status() != "running", it.owner.clone(), it.name.clone()));
            Ok((found, state.deployment.clone()))
        });
        let (found, deployment) = answer.map_err(|it| it.during("query workspaces"))?;
        self.warn()?;
        if let Some(output) = &deployment.faults.list_output {
            to_stdout(output);
            return Ok(());
        }
        if found.is_empty() && (format == "table" || !deployment.since(19)) {
            to_stderr("No workspaces found! Create one:\n\n  coder create <name>\n\n");
            return Ok(());
        }
        if format == "json" {
            let told: Vec<Value> = found.iter().map(|it| workspace(it, &deployment, now)).collect();
            to_stdout(&format!("{}\n", pretty(&told.into())));
            return Ok(());
        }
        to_stdout("WORKSPACE  TEMPLATE  STATUS\n");
        found
            .iter()
            .for_each(|it| to_stdout(&format!("{}  {}  {}\n", it.full_name(), it.template, it.status())));
        Ok(())
    }

    /// The form of the output that is wanted.
    fn output(&self, default: &'static str, known: &[&'static str]) -> Result<&'static str, Failure> {
        let Some(wanted) = self.flags.text("output") else { return Ok(default) };
        known
            .iter()
            .find(|it| **it == wanted)
            .copied()
            .ok_or_else(|| Failure::text(&format!("unknown output format \"{wanted}\"")))
    }
}

/// Whether a workspace is what a query asks for: `owner:`, `name:`, `template:`, `status:`, `id:`, or part of a name.
fn fits(it: &Workspace, query: &str, me: &str, now: Timestamp) -> bool {
    query.split_whitespace().all(|term| match term.split_once(':') {
        Some(("owner", owner)) => it.owner == if owner == "me" { me } else { owner },
        Some(("name", name)) => it.name.to_lowercase().contains(&name.to_lowercase()),
        Some(("template", template)) => it.template == template,
        Some(("status", status)) => it.latest().status(now) == status,
        Some(("id", id)) => it.id == id,
        Some(_) => false,
        None => match term.split_once('/') {
            Some((owner, name)) => it.owner == owner && it.name.contains(name),
            None => it.name.contains(term),
        },
    })
}

/// JSON with the indentation that Go gives it.
fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}
