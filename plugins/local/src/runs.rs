//! Which runs a lease has had, and how one is ended for good.
//!
//! A run is found by its group, as the host's wrapper recorded it in `.crabbox/runs/RUN` or as we noted it
//! when we started it, and on Linux also by `CRABBOX_RUN_ID` in the environment of its processes. A group
//! counts only while its leader is the very process that was recorded: numbers are used again.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crabbox_provider_kit::processes::ProcessInfo;
use crabbox_provider_kit::protocol::RunId;
use crabbox_provider_kit::{Doing as _, Result, processes};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::time::{Instant, sleep};

/// The variable that every process of a run has in its environment.
pub(crate) const RUN_ID: &str = "CRABBOX_RUN_ID";

/// Our own notes in the lease's directory: a line `RUN GROUP START` for each run that was started.
const LOG: &str = ".crabbox-runs";

/// How long it may take until the death of a killed process shows.
const CONFIRM: Duration = Duration::from_secs(3);

/// How long a process of which it cannot be told whose it is has time to end.
const DOUBT: Duration = Duration::from_secs(1);

/// A group, and since when its leader has led it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) leader: i32,
    pub(crate) start: String,
}

/// Runs to end: by run, the groups that are known.
pub(crate) type Runs = BTreeMap<String, Vec<Group>>;

/// What ending runs came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Ended {
    /// Whether anything of them was alive.
    pub(crate) found: bool,
    /// What still is.
    pub(crate) alive: Vec<i32>,
    /// Processes in a group of a run whose leader is gone: perhaps the run's, perhaps strangers. They are
    /// left alone.
    pub(crate) doubtful: Vec<i32>,
}

/// Notes a run that was started.
pub(crate) fn note(directory: &Path, run: &RunId, group: &Group) -> Result<()> {
    let path = directory.join(LOG);
    let line = format!("{run} {} {}\n", group.leader, group.start);
    File::options()
        .append(true)
        .create(true)
        .open(&path)
        .and_then(|mut file| file.write_all(line.as_bytes()))
        .doing(|| format!("note a run in `{}`", path.display()))
}

/// The group of a process that was just started and not waited for.
pub(crate) fn group_of(leader: Pid) -> Result<Group> {
    let leader = leader.as_raw_nonzero().get();
    let info = processes::find(leader).doing(|| format!("look at process {leader}"))?;
    Ok(Group { leader, start: info.map(|info| info.start).unwrap_or_default() })
}

/// What is known about one run of the lease in `directory`, and whether the host's wrapper has it on
/// record.
pub(crate) fn one(directory: &Path, run: &RunId) -> Result<(Runs, bool)> {
    let mut all = every(directory)?;
    let groups = all.remove(run.as_str()).unwrap_or_default();
    let recorded = record(directory, run.as_str()).exists();
    Ok((Runs::from([(run.to_string(), groups)]), recorded))
}

/// What is known about every run that the lease in `directory` has had.
pub(crate) fn every(directory: &Path) -> Result<Runs> {
    let mut runs = Runs::new();
    let log = directory.join(LOG);
    for line in text(&log).doing(|| format!("read `{}`", log.display()))?.lines() {
        if let Some((run, group)) = line.split_once(' ') {
            runs.entry(run.to_owned()).or_default().extend(parse(group));
        }
    }
    let records = directory.join(".crabbox/runs");
    let what = || format!("read `{}`", records.display());
    let entries = match fs::read_dir(&records) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(runs);
        }
        Err(error) => return Err(error).doing(what),
    };
    for entry in entries {
        let name = entry.doing(what)?.file_name();
        let Some(run) = name.to_str().filter(|name| name.parse::<RunId>().is_ok()) else { continue };
        let group = text(&record(directory, run)).doing(what)?;
        let groups = runs.entry(run.to_owned()).or_default();
        groups.extend(parse(&group).filter(|group| !groups.contains(group)));
    }
    Ok(runs)
}

/// Forgets the wrapper's record of a run that is dead.
pub(crate) fn forget(directory: &Path, run: &RunId) {
    // Of use to nobody, and in nobody's way if it stays.
    let _ = fs::remove_file(record(directory, run.as_str()));
}

/// Ends runs: SIGTERM, and after `grace`, or as soon as `hurry` is ready, SIGKILL. Returns when nothing
/// of them is alive, or when that cannot be brought about.
pub(crate) async fn end(runs: &Runs, grace: Duration, hurry: impl Future<Output = ()>) -> Result<Ended> {
    let began = Instant::now();
    let mut killing: Option<Instant> = None;
    let mut pause = Duration::from_millis(2);
    let mut ended = Ended::default();
    let mut hurry = std::pin::pin!(hurry);
    let mut hurried = false;
    let mut known = HashSet::new();
    loop {
        let members =
            Members::look(runs, &mut known).doing(|| "look for the processes of a run".to_owned())?;
        ended.found |= !members.alive.is_empty();
        ended.alive = members.alive.iter().map(|(pid, _)| *pid).collect();
        ended.doubtful = members.doubtful.clone();
        // What is just ending has lost its leader and its environment already.
        let dying = !ended.doubtful.is_empty() && began.elapsed() < DOUBT;
        if ended.alive.is_empty() && !dying || killing.is_some_and(|since| since.elapsed() > CONFIRM) {
            return Ok(ended);
        }
        if killing.is_none() && (hurried || began.elapsed() >= grace) {
            killing = Some(Instant::now());
        }
        if killing.is_some() {
            members.signal(Signal::KILL);
        } else if pause == Duration::from_millis(2) {
            members.signal(Signal::TERM);
        }
        let wait = match killing {
            Some(_) => pause,
            None => pause.min(grace.saturating_sub(began.elapsed())).max(Duration::from_millis(1)),
        };
        tokio::select! {
            () = sleep(wait) => {}
            () = &mut hurry, if !hurried => hurried = true,
        }
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// The processes of some runs, at one moment.
#[derive(Debug, Default)]
struct Members {
    /// Those that are alive, and whether a signal to one of `groups` reaches them.
    alive: Vec<(i32, bool)>,
    groups: Vec<i32>,
    doubtful: Vec<i32>,
}

impl Members {
    /// Looks at every process of this machine. `known` are those that were found to be members before;
    /// they stay members when their leader is gone, and so does their group.
    fn look(runs: &Runs, known: &mut HashSet<(i32, String)>) -> io::Result<Self> {
        let all = processes::all()?;
        let mut members = Self::default();
        let mut leaderless = Vec::new();
        let is_known = |process: &ProcessInfo, known: &HashSet<_>| {
            !known.is_empty() && known.contains(&(process.pid, process.start.clone()))
        };
        for group in runs.values().flatten() {
            match all.iter().find(|process| process.pid == group.leader) {
                Some(leader) if leader.start == group.start => members.groups.push(group.leader),
                Some(_) => {}
                None if all.iter().any(|p| p.group == group.leader && is_known(p, known)) => {
                    members.groups.push(group.leader);
                }
                None => leaderless.push(group.leader),
            }
        }
        let tags: Vec<_> = runs.keys().map(|run| format!("{RUN_ID}={run}")).collect();
        let ourselves = std::process::id().cast_signed();
        let since = earliest(runs);
        for process in all.into_iter().filter(|process| process.alive && process.pid != ourselves) {
            let grouped = members.groups.contains(&process.group);
            let ours = grouped
                || is_known(&process, known)
                || started(&process) >= since && tagged(process.pid, &tags);
            if ours {
                members.alive.push((process.pid, grouped));
                known.insert((process.pid, process.start));
            } else if leaderless.contains(&process.group) {
                members.doubtful.push(process.pid);
            }
        }
        Ok(members)
    }

    fn signal(&self, signal: Signal) {
        // What is gone by now is what was wanted.
        for group in self.groups.iter().filter_map(|group| Pid::from_raw(*group)) {
            let _ = kill_process_group(group, signal);
        }
        for pid in
            self.alive.iter().filter(|(_, grouped)| !grouped).filter_map(|(pid, _)| Pid::from_raw(*pid))
        {
            let _ = kill_process(pid, signal);
        }
    }
}

/// When the first of the runs began, in the system's ticks; 0 where that is not known of each.
///
/// Nothing that started before belongs to them, which spares a look at most processes of a machine.
fn earliest(runs: &Runs) -> u64 {
    let first = |groups: &Vec<Group>| groups.iter().filter_map(|group| group.start.parse().ok()).min();
    runs.values().map(|groups| first(groups).unwrap_or(0)).min().unwrap_or(0)
}

fn started(process: &ProcessInfo) -> u64 {
    process.start.parse().unwrap_or(u64::MAX)
}

/// Whether a process was started with one of these in its environment.
fn tagged(pid: i32, tags: &[String]) -> bool {
    let Some(environment) = processes::environment(pid) else { return false };
    environment.split(|byte| *byte == 0).any(|variable| {
        variable.starts_with(RUN_ID.as_bytes()) && tags.iter().any(|tag| tag.as_bytes() == variable)
    })
}

fn record(directory: &Path, run: &str) -> PathBuf {
    directory.join(".crabbox/runs").join(run)
}

/// The content of a file; empty if there is none.
fn text(path: &Path) -> io::Result<String> {
    match fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error),
    }
}

/// Reads `GROUP START`; a run without a group of its own has `none`. START may have spaces.
fn parse(text: &str) -> Option<Group> {
    let mut fields = text.split_ascii_whitespace();
    let leader = fields.next()?.parse().ok().filter(|leader| *leader > 1)?;
    let start = fields.collect::<Vec<_>>().join(" ");
    (!start.is_empty()).then_some(Group { leader, start })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_without_a_group_or_a_start_signals_nobody() {
        assert_eq!(parse("none 123"), None);
        assert_eq!(parse("77"), None);
        assert_eq!(parse("0 5"), None);
        assert_eq!(parse("-1 5"), None);
        assert_eq!(parse("77 123\n"), Some(Group { leader: 77, start: "123".into() }));
        let start = "Mon Jan  2 03:04:05 2026";
        let group = parse(&format!("77 {start} \n")).unwrap();
        assert_eq!(group.start, "Mon Jan 2 03:04:05 2026");
    }

    #[tokio::test]
    async fn a_number_that_another_process_has_now_is_not_signalled() {
        let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        let leader = child.id().cast_signed();
        let runs = Runs::from([("run_x".to_owned(), vec![Group { leader, start: "1".into() }])]);
        let ended = end(&runs, Duration::ZERO, std::future::pending()).await.unwrap();
        assert_eq!(ended, Ended::default());
        assert_eq!(child.try_wait().unwrap(), None, "it still runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
