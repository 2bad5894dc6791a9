//! The processes of this machine: who is in a group, and who descends from whom.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::time::Duration;

/// A process that is alive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Alive {
    pub(super) pid: i32,
    parent: i32,
    group: i32,
    /// When it began: a number that is given to another process later does not deceive.
    since: String,
    name: String,
}

/// Everything that is alive; what has ended and was not waited for is not.
fn all() -> Vec<Alive> {
    if cfg!(target_os = "linux") {
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let stats = entries.filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
        stats.filter_map(|stat| from_stat(&stat)).collect()
    } else {
        let format = "pid=,ppid=,pgid=,stat=,lstart=,comm=";
        let output = Command::new("ps").args(["-A", "-o", format]).env("LC_ALL", "C").output();
        let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        text.unwrap_or_default().lines().filter_map(from_ps).collect()
    }
}

/// A line of `/proc/PID/stat`: the name stands in parentheses and may hold anything.
fn from_stat(stat: &str) -> Option<Alive> {
    let (pid, rest) = stat.split_once(" (")?;
    let (name, rest) = rest.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    alive(pid, fields.get(1)?, fields.get(2)?, fields.first()?, fields.get(19)?, name)
}

/// A line of `ps`, whose times have five words.
fn from_ps(line: &str) -> Option<Alive> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [pid, parent, group, state, rest @ ..] = &words[..] else { return None };
    let since = rest.get(..5)?.join(" ");
    alive(pid, parent, group, state, &since, &rest[5..].join(" "))
}

fn alive(pid: &str, parent: &str, group: &str, state: &str, since: &str, name: &str) -> Option<Alive> {
    let alive = Alive {
        pid: pid.parse().ok()?,
        parent: parent.parse().ok()?,
        group: group.parse().ok()?,
        since: since.to_owned(),
        name: name.to_owned(),
    };
    (!state.starts_with(['Z', 'X'])).then_some(alive)
}

/// Who is in a group besides its leader.
pub(super) fn of_group(group: i32) -> Vec<Alive> {
    all().into_iter().filter(|process| process.group == group && process.pid != group).collect()
}

/// Everything that a process started, and what that started.
pub(super) fn below(pid: i32) -> Vec<Alive> {
    let all = all();
    let mut family = BTreeSet::from([pid]);
    loop {
        let before = family.len();
        family.extend(all.iter().filter(|p| family.contains(&p.parent)).map(|p| p.pid).collect::<Vec<_>>());
        if family.len() == before {
            break;
        }
    }
    all.into_iter().filter(|process| process.pid != pid && family.contains(&process.pid)).collect()
}

/// Those that are still alive.
pub(super) fn still(before: &[Alive]) -> Vec<Alive> {
    let same = |a: &Alive, b: &Alive| a.pid == b.pid && a.since == b.since;
    let now = all();
    before.iter().filter(|process| now.iter().any(|other| same(process, other))).cloned().collect()
}

/// What is left once those that are about to end have ended.
pub(super) async fn gone(look: impl Fn() -> Vec<Alive>) -> Vec<Alive> {
    for _ in 0..40 {
        if look().is_empty() {
            return Vec::new();
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    look()
}

/// Their names, for people.
pub(super) fn names(processes: &[Alive]) -> String {
    let names: Vec<_> =
        processes.iter().map(|process| format!("{} ({})", process.name, process.pid)).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_its_name_is_and_a_zombie_is_none() {
        let rest = "1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4711 0 0";
        let process = from_stat(&format!("12 (a) S (b) R {rest}")).unwrap();
        assert_eq!((process.pid, process.parent, process.group), (12, 1, 7));
        assert_eq!((process.since.as_str(), process.name.as_str()), ("4711", "a) S (b"));
        assert_eq!(from_stat(&format!("12 (a) Z {rest}")), None);
        let process = from_ps("  12     1     7 S+   Sat Nov 21 10:00:00 2026 sleep").unwrap();
        assert_eq!((process.since.as_str(), process.name.as_str()), ("Sat Nov 21 10:00:00 2026", "sleep"));
    }

    #[test]
    fn a_child_is_below_its_parent_until_it_ends() {
        let mut child = Command::new("sleep").arg("100").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let mine = below(i32::try_from(std::process::id()).unwrap());
        let sleep: Vec<_> = mine.into_iter().filter(|process| process.pid == pid).collect();
        assert_eq!(still(&sleep).len(), 1);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(still(&sleep), []);
    }
}
