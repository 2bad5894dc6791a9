//! `crabbox plugins replay`: the host's side of a trace, once more, to see whether a plugin still answers as it did.
//!
//! `transcript` reads a trace, `session` plays one process of it, `stand_in` makes what the trace does not hold
//! (files, pipes, commands), `player` talks to the plugin, `compare` says what matters of an answer.

mod compare;
mod player;
mod session;
mod stand_in;
mod transcript;

use std::path::PathBuf;

use clap::Args;

use crate::error::{Error, Result};
use crate::host::Host;
use crate::output::{self, foreign};
use session::{Outcome, Replay};
use transcript::Transcript;

/// Play the host's side of a trace again, and compare the answers
#[derive(Debug, Clone, Args)]
pub(crate) struct ReplayArgs {
    /// What CRABBOX_PLUGIN_TRACE wrote
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// The plugin: a provider's name, or the path of an executable
    #[arg(long, value_name = "PATH|NAME")]
    plugin: String,
}

/// Plays every session of the plugin's. Returns what to exit with.
pub(crate) async fn replay(host: &Host, args: &ReplayArgs) -> Result<u8> {
    let found = match args.plugin.contains('/') {
        true => host.plugins.at(&host.env.cwd().join(&args.plugin))?,
        false => host.plugins.find(&args.plugin)?,
    };
    host.plugins.allows(&found)?;
    let transcript = Transcript::read(&host.env.cwd().join(&args.file))?;
    let sessions: Vec<_> =
        transcript.sessions.iter().filter(|session| session.plugin == found.name).collect();
    if sessions.is_empty() {
        let others: Vec<_> =
            transcript.plugins().into_iter().map(|name| format!("`{}`", foreign(name))).collect();
        let there = if others.is_empty() { "nobody".to_owned() } else { others.join(", ") };
        return Err(Error::usage(format!("there is no session of provider `{}` in the trace", found.name))
            .hint(format!("it has sessions of {there}")));
    }
    let mut replay = Replay::new(host, found).await?;
    let (mut same, mut different, mut skipped) = (0, 0, 0);
    for (n, session) in sessions.into_iter().enumerate() {
        for (exchange, outcome) in replay.play(session).await? {
            let (verdict, why) = match outcome {
                Outcome::Same => (("same", &mut same), String::new()),
                Outcome::Different(why) => (("DIFFERENT", &mut different), format!(": {}", why.join("; "))),
                Outcome::Skipped(why) => (("skipped", &mut skipped), format!(": {why}")),
            };
            *verdict.1 += 1;
            output::data(&format!("{:<9}  {} {}{}\n", verdict.0, n + 1, foreign(&exchange), foreign(&why)))?;
        }
    }
    replay.clean_up().await;
    output::data(&format!("{same} the same, {different} different, {skipped} skipped\n"))?;
    Ok(u8::from(different > 0))
}
