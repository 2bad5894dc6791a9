//! `coder start`, `stop` and `delete`.

use jiff::Timestamp;

use super::Cli;
use super::create::{moment, split};
use super::output::Failure;
use crate::coder::workspace::{Build, Transition, Workspace};

impl Cli {
    pub(super) fn start(&self) -> Result<(), Failure> {
        let name = self.flags.only()?;
        let mut workspace = self.workspace(name)?;
        self.warn()?;
        let transition = workspace.latest().transition;
        let build = match workspace.status() {
            "running" => {
                self.say(&format!("\nThe {} workspace is already running!\n", workspace.name));
                return Ok(());
            }
            "starting" => {
                self.say(&format!("\nThe {} workspace is already starting.\n", workspace.name));
                workspace.latest().clone()
            }
            status => {
                if status == "pending" {
                    self.say(&format!("\nThe {} workspace is waiting to start!\n", workspace.name));
                    self.confirm("Enqueue another start?", "no")?;
                }
                let cleans = self.ask(|state| Ok(state.deployment.since(32)))?;
                if cleans && status == "failed" && transition == Transition::Start {
                    self.say("The last start build failed. Cleaning up before retrying...\n");
                    let stop = self.ask(|state| state.build(&workspace.id, Transition::Stop, "initiator"));
                    let stop = stop.map_err(|it| it.during("cleanup stop after failed start"))?;
                    let waited = self.wait_for_build(&workspace.id, &stop);
                    waited.map_err(|it| it.during("wait for cleanup stop"))?;
                    workspace = self.workspace(name)?;
                }
                self.build_start(&workspace, "initiator")?
            }
        };
        if self.flags.is_set("no-wait") {
            self.say(&format!(
                "The {} workspace has been started in no-wait mode. Workspace is building in the background.\n",
                workspace.name
            ));
            return Ok(());
        }
        self.wait_for_build(&workspace.id, &build)?;
        self.say(&format!("\nThe {} workspace has been started at {}!\n", workspace.name, moment()));
        Ok(())
    }

    /// Asks for a start with the values of the last one, and with what flags say.
    pub(super) fn build_start(&self, workspace: &Workspace, reason: &str) -> Result<Build, Failure> {
        if workspace.dormant.is_some() {
            self.say("Activating dormant workspace...\n");
        }
        let template =
            self.ask(|state| Ok(state.template(&workspace.template, &workspace.organization).cloned()))?;
        let values = self.values_of_old(&template.unwrap_or_default(), &workspace.parameters)?;
        let build = self.ask(|state| {
            let build = state.build(&workspace.id, Transition::Start, reason)?;
            if let Some(it) = state.workspaces.iter_mut().find(|it| it.id == workspace.id) {
                (it.parameters, it.dormant) = (values, None);
            }
            Ok(build)
        });
        build.map_err(|it| it.during("create workspace build"))
    }

    pub(super) fn stop(&self) -> Result<(), Failure> {
        let name = self.flags.only()?;
        self.login()?;
        self.confirm("Confirm stop workspace?", "yes")?;
        let workspace = self.workspace(name)?;
        self.warn()?;
        if workspace.latest().job(Timestamp::now()) == "pending" {
            super::output::to_stderr("WARN: The workspace is already stopping!\n");
            self.confirm("Enqueue another stop?", "no")?;
        }
        let build = self.ask(|state| state.build(&workspace.id, Transition::Stop, "initiator"))?;
        self.wait_for_build(&workspace.id, &build)?;
        self.say(&format!("\nThe {} workspace has been stopped at {}!\n", workspace.name, moment()));
        Ok(())
    }

    pub(super) fn delete(&self) -> Result<(), Failure> {
        let workspace = self.workspace(self.flags.only()?)?;
        self.warn()?;
        let days = Timestamp::now().duration_since(workspace.last_used).as_hours() / 24;
        super::output::to_stderr(&format!("{} was last used {days} days ago\n", workspace.full_name()));
        self.confirm("Confirm delete workspace?", "no")?;
        let build = self.ask(|state| state.build(&workspace.id, Transition::Delete, "initiator"))?;
        self.wait_for_build(&workspace.id, &build)?;
        self.say(&format!("\n{} has been deleted at {}!\n", workspace.full_name(), moment()));
        Ok(())
    }

    /// The workspace that an identifier names. A UUID is one for newer CLIs only.
    fn workspace(&self, identifier: &str) -> Result<Workspace, Failure> {
        if split(identifier).is_err() {
            return Err(Failure::text(&format!("invalid workspace identifier: \"{identifier}\"")));
        }
        self.ask(|state| {
            let by_id = state.deployment.since(31);
            let found = state.find(identifier).cloned()?;
            if found.id == identifier && !by_id {
                return state.find("").cloned();
            }
            Ok(found)
        })
    }
}
