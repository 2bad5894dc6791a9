//! `crabbox crew connect`

use std::time::{Duration, Instant};

use clap::Args;
use crabbox_protocol::records::CrewConnection;

use super::{Of, named};
use crate::crew::connect::{Answer, Plan, Seat, Taken, aside, hold, nameable, standing, supervise};
use crate::crew::members;
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::host::Host;
use crate::output::{self, foreign, say, table};
use crate::provider::Interrupts;
use crate::workflow::patiently;

/// How long another may take that connects the same crew at this moment.
const PATIENCE: Duration = Duration::from_secs(2 * 60);

/// How often it is looked whether that is done.
const POLL: Duration = Duration::from_millis(100);

/// Bring the ports of a crew's members to this machine, where they are reached by SSH
#[derive(Debug, Clone, Args)]
pub(crate) struct ConnectArgs {
    /// The crew
    #[arg(value_name = "CREW")]
    crew: String,

    #[command(flatten)]
    of: Of,

    /// Do so in the background, and print the variables that say where the ports are, for a shell
    #[arg(long)]
    export: bool,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What is started in the background
#[derive(Debug, Clone, Args)]
pub(crate) struct HoldArgs {
    crew: String,

    #[command(flatten)]
    of: Of,
}

pub(super) async fn connect(host: &Host, args: ConnectArgs) -> Result<u8> {
    let crew = named(&args.crew)?;
    let provider = args.of.provider.as_deref();
    let claims = members(host, &crew, None)?;
    let plan = Plan::of(&crew, &claims, provider);
    plan.left_out().iter().for_each(say);
    if plan.is_empty() {
        say(format!("crew {crew} has nothing to forward: no member is reached by SSH and promised a port"));
        return Ok(0);
    }
    nameable(&host.paths, &crew)?;
    if args.export {
        return in_background(host, &crew, provider, &plan, args.json).await;
    }
    let seat = match Seat::take(&host.paths, &crew).await? {
        Taken::Ours(seat) => seat,
        Taken::By(pid) => return Err(connected(&crew, pid.as_raw_nonzero().get())),
    };
    let ready = |record: &CrewConnection| show(record, args.json);
    if let Some(why) = supervise(host, &plan, &seat, ready).await? {
        say(format!("crew {crew} is not connected any more: {why}"));
    }
    Ok(0)
}

/// What `connect` starts in the background.
pub(super) async fn hold_forwards(host: &Host, args: HoldArgs) -> Result<u8> {
    hold(host, &named(&args.crew)?, args.of.provider.as_deref()).await
}

/// Has a process in the background do it, unless one does the same already.
async fn in_background(
    host: &Host,
    crew: &str,
    provider: Option<&str>,
    plan: &Plan,
    json: bool,
) -> Result<u8> {
    let mut arguments = vec!["crew", super::HOLD, crew];
    arguments.extend(provider.into_iter().flat_map(|provider| ["--provider", provider]));
    let mut interrupts = Interrupts::listen()?;
    let begun = Instant::now();
    let record = loop {
        match standing(&host.paths, crew) {
            Some((_, Some(record))) if plan.is(&record) => break record,
            Some((pid, record)) if record.is_some() || begun.elapsed() > PATIENCE => {
                let error = connected(crew, pid.as_raw_nonzero().get());
                return Err(match record {
                    Some(_) => error.cause("what it forwards is not what the crew has now"),
                    None => error,
                });
            }
            Some(_) => tokio::select! {
                () = tokio::time::sleep(POLL) => {}
                number = interrupts.next() => return Err(Error::new(Exit::Signal(number), "interrupted")),
            },
            None => match patiently(&format!("connecting crew {crew}"), aside(&arguments, &mut interrupts))
                .await?
            {
                Answer::Stands(record) => break record,
                Answer::Taken => {}
                Answer::Disconnected => return Err(disconnected(crew)),
                Answer::Failed(code, error) => {
                    output::error(&error);
                    return Ok(code);
                }
            },
        }
    };
    if json {
        output::json(&record)?;
    } else {
        let lines = record.exports.iter().map(|export| format!("export {export}\n"));
        output::data(&lines.collect::<String>())?;
    }
    say(format!("{}, in the background; `crabbox crew disconnect {crew}` ends it", summary(&record)));
    Ok(0)
}

fn connected(crew: &str, pid: i32) -> Error {
    Error::new(Exit::NotFound, format!("crew {crew} is connected already, by process {pid}"))
        .hint(format!("`crabbox crew disconnect {crew}` ends that"))
}

fn disconnected(crew: &str) -> Error {
    let message = format!("crew {crew} was disconnected by another crabbox before it was connected");
    Error::new(Exit::NotFound, message).hint(format!("`crabbox crew connect {crew} --export` tries again"))
}

fn show(record: &CrewConnection, json: bool) -> Result<()> {
    match json {
        true => output::json(record)?,
        false => output::data(&render(record))?,
    }
    let crew = &record.crew;
    say(format!("{}; Ctrl-C or `crabbox crew disconnect {crew}` ends it", summary(record)));
    say(format!("hosts: {}", record.hosts_path));
    say(format!("variables: {}", record.env_path));
    Ok(())
}

fn summary(record: &CrewConnection) -> String {
    let count = record.forwards.len();
    format!("connected crew {}: {count} {}", record.crew, if count == 1 { "port" } else { "ports" })
}

fn render(record: &CrewConnection) -> String {
    let header = ["MEMBER", "ROLE", "PORT", "HERE"].map(str::to_owned).to_vec();
    let rows = record.forwards.iter().map(|forward| {
        vec![
            forward.name.clone(),
            foreign(forward.role.as_deref().unwrap_or("-")),
            forward.remote_port.to_string(),
            format!("127.0.0.1:{}", forward.local_port),
        ]
    });
    table(&std::iter::once(header).chain(rows).collect::<Vec<_>>())
}
