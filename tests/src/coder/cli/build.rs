//! Waiting for a build, with what the CLI writes meanwhile.

use std::time::Duration;

use jiff::Timestamp;

use super::Cli;
use super::create::is_over;
use super::output::Failure;
use crate::coder::workspace::{Build, Transition};

/// How often it looks. The real one does every second.
pub(super) const PERIOD: Duration = Duration::from_millis(20);

impl Cli {
    /// Writes what a build does until it ends, and fails if it does.
    pub(super) fn wait_for_build(&self, workspace: &str, build: &Build) -> Result<(), Failure> {
        self.say("==> ⧗ Queued\n");
        let build = self.when(workspace, build, |it| is_over(it.started))?;
        self.end("Queued", &build);
        self.say("==> ⧗ Running\n");
        self.end("Running", &build);
        let (stage, lines) = match build.transition {
            Transition::Start => ("Starting workspace", START),
            Transition::Stop => ("Stopping workspace", STOP),
            Transition::Delete => ("Deleting workspace", STOP),
        };
        self.say(&format!("==> ⧗ {stage}\n"));
        for line in lines {
            self.say(&format!("{} {line}\n", Timestamp::now().strftime("%Y-%m-%d %H:%M:%S.%3f+00:00")));
        }
        let build = self.when(workspace, &build, |it| is_over(it.ended))?;
        match &build.error {
            None => {
                self.end(stage, &build);
                self.stage("Cleaning Up", Duration::ZERO);
                Ok(())
            }
            Some(error) => {
                self.say(&format!("=== ✘ {stage} [{}ms]\n", taken(&build)));
                Err(Failure::text(error))
            }
        }
    }

    /// Writes about a stage that takes so long.
    pub(super) fn stage(&self, stage: &str, takes: Duration) {
        self.say(&format!("==> ⧗ {stage}\n"));
        std::thread::sleep(takes);
        self.say(&format!("=== ✔ {stage} [{}ms]\n", takes.as_millis()));
    }

    fn end(&self, stage: &str, build: &Build) {
        self.say(&format!("=== ✔ {stage} [{}ms]\n", taken(build)));
    }

    /// The build, once it is as it should be. A workspace that has been deleted is not there any more, and its last
    /// build is over.
    fn when(&self, workspace: &str, build: &Build, is: impl Fn(&Build) -> bool) -> Result<Build, Failure> {
        loop {
            let now = self.ask(|state| {
                let found = state.workspaces.iter().find(|it| it.id == workspace);
                Ok(found.and_then(|it| it.builds.iter().find(|it| it.id == build.id).cloned()))
            })?;
            match now {
                None => return Ok(build.clone()),
                Some(it) if is(&it) => return Ok(it),
                Some(_) => std::thread::sleep(PERIOD),
            }
        }
    }
}

const START: &[&str] = &[
    "Terraform 1.14.5",
    "docker_volume.home_volume: Creating...",
    "docker_volume.home_volume: Creation complete after 0s",
    "docker_container.workspace[0]: Creating...",
];

const STOP: &[&str] = &["Terraform 1.14.5", "docker_container.workspace[0]: Destroying..."];

fn taken(build: &Build) -> i128 {
    build.ended.duration_since(build.started).as_millis()
}
