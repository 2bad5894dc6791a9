//! What lies beside a connection for others to read: a hosts file, a file of variables, and the record of it all.
//! They are there while the forwards stand.

use std::fs;
use std::path::{Path, PathBuf};

use crabbox_protocol::records::{CrewConnection, CrewForward};

use super::names::{host_name, variable};
use super::plan::Plan;
use crate::error::{Error, Result};
use crate::paths::replace;

const HOSTS: &str = "hosts";
const ENV: &str = "env";
const RECORD: &str = "connection.json";
const LOG: &str = "log";

/// The files in a crew's directory.
#[derive(Debug, Clone)]
pub(super) struct Files {
    directory: PathBuf,
}

impl Files {
    pub(super) fn of(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    /// What a process in the background says.
    pub(super) fn log(&self) -> PathBuf {
        self.directory.join(LOG)
    }

    /// Writes all of them, the record last: once it is there, all of it is.
    pub(super) fn write(&self, plan: &Plan, forwards: Vec<CrewForward>) -> Result<CrewConnection> {
        let record = CrewConnection {
            crew: plan.crew.clone(),
            pid: std::process::id(),
            hosts_path: self.directory.join(HOSTS).display().to_string(),
            env_path: self.directory.join(ENV).display().to_string(),
            exports: exports(plan, &forwards),
            forwards,
        };
        let env: String = record.exports.iter().map(|export| format!("{export}\n")).collect();
        self.put(HOSTS, hosts(plan, &record.forwards).as_bytes())?;
        self.put(ENV, env.as_bytes())?;
        let mut text = serde_json::to_vec_pretty(&record)
            .map_err(|error| Error::failure("cannot encode the record of the connection").cause(error))?;
        text.push(b'\n');
        self.put(RECORD, &text)?;
        Ok(record)
    }

    /// The record, once it is there.
    pub(super) fn read(&self) -> Option<CrewConnection> {
        serde_json::from_slice(&fs::read(self.directory.join(RECORD)).ok()?).ok()
    }

    /// Removes what says where forwards are.
    pub(super) fn withdraw(&self) {
        for name in [RECORD, ENV, HOSTS] {
            let _ = fs::remove_file(self.directory.join(name));
        }
    }

    fn put(&self, name: &str, content: &[u8]) -> Result<()> {
        let path = self.directory.join(name);
        replace(&path, content, false).map_err(|error| {
            Error::failure(format!("cannot write `{}`", path.display()))
                .cause(error)
                .hint("make the state directory writable, or set XDG_STATE_HOME to another place")
        })
    }
}

/// All names of a forward's member.
fn called<'a>(plan: &'a Plan, forward: &'a CrewForward) -> impl Iterator<Item = &'a str> {
    let member = plan.members.iter().find(|member| member.claim.lease.id == forward.lease_id);
    let role = member.and_then(|member| member.role.as_deref());
    std::iter::once(forward.name.as_str()).chain(role)
}

/// A line per forward, as in `/etc/hosts`.
fn hosts(plan: &Plan, forwards: &[CrewForward]) -> String {
    let line = |forward: &CrewForward| {
        let names: Vec<String> = called(plan, forward).map(host_name).collect();
        let (local, remote) = (forward.local_port, forward.remote_port);
        format!("127.0.0.1  {}  # local={local} remote={remote}\n", names.join(" "))
    };
    forwards.iter().map(line).collect()
}

/// A variable per name of each forward.
fn exports(plan: &Plan, forwards: &[CrewForward]) -> Vec<String> {
    let of = |forward: &CrewForward| {
        let (local, remote) = (forward.local_port, forward.remote_port);
        called(plan, forward)
            .map(|name| format!("{}=127.0.0.1:{local}", variable(name, remote)))
            .collect::<Vec<_>>()
    };
    forwards.iter().flat_map(of).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::plan::tests::claim;
    use super::*;
    use crate::commands::ROLE;

    #[test]
    fn every_name_of_a_member_is_in_both_files_for_this_user_only() {
        let directory = tempfile::tempdir().unwrap();
        let mut claims = vec![claim("a-1", "p"), claim("b", "p")];
        claims[0].lease.labels.insert(ROLE.to_owned(), "The DB".to_owned());
        let plan = Plan::of("shop", &claims, None);
        let forward = |member: usize, remote_port, local_port| CrewForward {
            slug: claims[member].lease.slug.clone(),
            name: plan.members[member].name.clone(),
            role: claims[member].lease.labels.get(ROLE).cloned(),
            lease_id: claims[member].lease.id.clone(),
            provider: "p".to_owned(),
            remote_port,
            local_port,
        };
        let files = Files::of(directory.path());
        let record = files.write(&plan, vec![forward(0, 80, 51_820), forward(1, 80, 51_821)]).unwrap();
        assert_eq!(
            fs::read_to_string(&record.hosts_path).unwrap(),
            "127.0.0.1  a-1.cbx the-db.cbx  # local=51820 remote=80\n127.0.0.1  b.cbx  # local=51821 remote=80\n"
        );
        assert_eq!(
            fs::read_to_string(&record.env_path).unwrap(),
            "CRABBOX_CREW_A_1_80=127.0.0.1:51820\nCRABBOX_CREW_THE_DB_80=127.0.0.1:51820\nCRABBOX_CREW_B_80=127.0.0.1:51821\n"
        );
        for entry in fs::read_dir(directory.path()).unwrap() {
            assert_eq!(entry.unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(files.read(), Some(record));
        files.withdraw();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
        assert_eq!(files.read(), None);
    }
}
