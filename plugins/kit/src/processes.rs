//! The processes of this machine, as far as a provider has to know them.

use std::io;

/// A process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessInfo {
    /// Its id.
    pub pid: i32,
    /// The id of its group.
    pub group: i32,
    /// Whether it still runs: a zombie does not.
    pub alive: bool,
    /// When it started, as text to compare: with the id it names a process for good, because ids are
    /// used again. On Linux the 22nd field of `/proc/PID/stat`, elsewhere what `ps -o lstart=` prints.
    pub start: String,
}

/// Every process of this machine.
///
/// # Errors
///
/// When the list cannot be read. A process that ends meanwhile is left out.
pub fn all() -> io::Result<Vec<ProcessInfo>> {
    system::all()
}

/// The process `pid`, `None` if there is none.
///
/// # Errors
///
/// When it cannot be told.
pub fn find(pid: i32) -> io::Result<Option<ProcessInfo>> {
    system::find(pid)
}

/// The environment that a process was started with, as `NAME=VALUE` strings that each end with NUL.
/// `None` where it cannot be read: another user's process, or a system that does not show it.
pub fn environment(pid: i32) -> Option<Vec<u8>> {
    cfg!(target_os = "linux").then(|| std::fs::read(format!("/proc/{pid}/environ")).ok()).flatten()
}

#[cfg(target_os = "linux")]
mod system {
    use super::*;

    pub(super) fn all() -> io::Result<Vec<ProcessInfo>> {
        let mut all = Vec::new();
        for entry in std::fs::read_dir("/proc")? {
            let pid = entry?.file_name().to_str().and_then(|name| name.parse().ok());
            if let Some(pid) = pid {
                all.extend(find(pid).ok().flatten());
            }
        }
        Ok(all)
    }

    pub(super) fn find(pid: i32) -> io::Result<Option<ProcessInfo>> {
        match std::fs::read(format!("/proc/{pid}/stat")) {
            Ok(stat) => Ok(parse(pid, &String::from_utf8_lossy(&stat))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            // What ended between open and read.
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads `PID (NAME) STATE PPID PGRP ...`; the name may hold anything, so what counts comes after the
    /// last parenthesis.
    pub(super) fn parse(pid: i32, stat: &str) -> Option<ProcessInfo> {
        let (_, rest) = stat.rsplit_once(')')?;
        let fields: Vec<_> = rest.split_ascii_whitespace().collect();
        Some(ProcessInfo {
            pid,
            group: fields.get(2)?.parse().ok()?,
            alive: !matches!(*fields.first()?, "Z" | "X" | "x"),
            start: (*fields.get(19)?).to_owned(),
        })
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use super::*;
    use std::process::Command;

    pub(super) fn all() -> io::Result<Vec<ProcessInfo>> {
        list(&["-A"])
    }

    pub(super) fn find(pid: i32) -> io::Result<Option<ProcessInfo>> {
        Ok(list(&["-p", &pid.to_string()])?.into_iter().next())
    }

    fn list(which: &[&str]) -> io::Result<Vec<ProcessInfo>> {
        let columns = ["-o", "pid=,pgid=,stat=,lstart="];
        let output = Command::new("ps").args(which).args(columns).env("LC_ALL", "C").output()?;
        Ok(String::from_utf8_lossy(&output.stdout).lines().filter_map(parse).collect())
    }

    /// Reads `PID PGID STAT LSTART...`.
    pub(super) fn parse(line: &str) -> Option<ProcessInfo> {
        let mut fields = line.split_ascii_whitespace();
        let (pid, group) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        let alive = !fields.next()?.starts_with('Z');
        Some(ProcessInfo { pid, group, alive, start: fields.collect::<Vec<_>>().join(" ") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_very_process_is_found() {
        let pid = std::process::id().cast_signed();
        let found = find(pid).unwrap().unwrap();
        assert!(found.alive && !found.start.is_empty(), "{found:?}");
        assert!(all().unwrap().contains(&found));
        assert_eq!(found.group, rustix::process::getpgrp().as_raw_nonzero().get());
        assert_eq!(find(i32::MAX).unwrap(), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_name_may_hold_anything() {
        let stat = "7 (a) Z 1 2 (b) S 1 99 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4242 8 9";
        let info = system::parse(7, stat).unwrap();
        assert_eq!((info.group, info.alive, info.start.as_str()), (99, true, "4242"));
    }
}
