//! Where the machine is, as OpenSSH understands it, and how it is connected to.
//!
//! The user's `~/.ssh/config` applies, because the machine is spoken of as the user does: what is after `ssh` here is
//! after `ssh` there, and in the lease. Only what the configuration of this provider says comes before it.

use std::ffi::OsString;
use std::io::Read as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crabbox_provider_kit::problem;
use crabbox_provider_kit::protocol::{ErrorKind, Problem, Ssh};
use sha2::{Digest as _, Sha256};

use crate::options::{NEVER, NOBODY, SESSION, STREAMS};
use crate::settings::{Settings, is_name};

/// How long `ssh -G` may take. It reads files; a `Match exec` of the user's may do more.
const ASKING: Duration = Duration::from_secs(4);

/// A machine that can be connected to.
#[derive(Debug, Clone)]
pub(crate) struct Destination {
    /// The `ssh` on PATH.
    pub(crate) program: PathBuf,
    /// The user that ssh logs in as.
    pub(crate) user: String,
    /// The host that ssh connects to.
    pub(crate) hostname: String,
    /// Its port.
    pub(crate) port: u16,
    /// What the user's configuration goes through, if it does.
    via: Option<String>,
    /// Whether ssh has the options of 8.7, which the user's configuration may then have set.
    since_8_7: bool,
    settings: Settings,
}

impl Destination {
    /// Has ssh say what it makes of the configuration. Nothing is connected to.
    ///
    /// # Errors
    ///
    /// The problem, if ssh is not there or does not understand its configuration.
    pub(crate) fn find(settings: &Settings) -> Result<Self, Problem> {
        let program = which::which("ssh").map_err(|error| Problem {
            kind: Some(ErrorKind::Prerequisite),
            hint: Some("install OpenSSH's client".to_owned()),
            ..problem("", format!("there is no `ssh`: {error}"))
        })?;
        let nowhere = Self {
            program,
            user: String::new(),
            hostname: String::new(),
            port: 22,
            via: None,
            since_8_7: false,
            settings: settings.clone(),
        };
        let said = nowhere.ask().map_err(|why| {
            let mut wrong = problem("host", format!("ssh does not say where `{}` is: {why}", settings.host));
            wrong.hint = Some(format!("`ssh -G {}` shows what it makes of its configuration", settings.host));
            wrong
        })?;
        let found = nowhere.read(&said);
        let found =
            found.ok_or_else(|| problem("host", format!("ssh says nothing of `{}`", settings.host)))?;
        if !is_name(&found.user) {
            let user = found.user.escape_default();
            let mut wrong = problem(
                "host",
                format!(
                    "ssh logs in to `{}` as `{user}`, which is no name that a lease can have: letters, digits and `._:@%+-`",
                    settings.host
                ),
            );
            wrong.hint = Some("`User` in your ~/.ssh/config, or `user` in `hosts`; many servers take `user@domain` for `DOMAIN\\user`".to_owned());
            return Err(wrong);
        }
        Ok(found)
    }

    /// Reads the answer of `ssh -G`: a key and a value on each line.
    fn read(self, said: &str) -> Option<Self> {
        let value = |key: &str| {
            let mut lines = said.lines().filter_map(|line| line.split_once(' '));
            lines.find(|(name, _)| *name == key).map(|(_, value)| value.trim().to_owned())
        };
        let via = ["proxyjump", "proxycommand"].into_iter().find_map(value).filter(|via| via != "none");
        Some(Self {
            user: value("user")?,
            hostname: value("hostname")?,
            port: value("port")?.parse().ok()?,
            via,
            since_8_7: value("sessiontype").is_some(),
            ..self
        })
    }

    fn ask(&self) -> Result<String, String> {
        let mut child = Command::new(&self.program)
            .arg("-G")
            // One that is to fork is refused without a command, and one with two as well.
            .args(self.words(&["RemoteCommand=none".to_owned()]))
            .arg("true")
            .envs(NOBODY)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| error.to_string())?;
        let begun = Instant::now();
        // What it says fits into a pipe.
        let status = loop {
            match child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) if begun.elapsed() < ASKING => std::thread::sleep(Duration::from_millis(2)),
                other => {
                    let _ = child.kill();
                    let _ = child.wait();
                    return Err(
                        other.map_or_else(|error| error.to_string(), |_| "it takes too long".to_owned())
                    );
                }
            }
        };
        let text = |stream: Option<&mut dyn std::io::Read>| {
            let mut text = Vec::new();
            let _ = stream.map(|stream| stream.take(1 << 16).read_to_end(&mut text));
            String::from_utf8_lossy(&text).into_owned()
        };
        let said = text(child.stdout.as_mut().map(|stream| stream as _));
        match status.success() {
            true => Ok(said),
            false => Err(crate::failure::last_line(&text(child.stderr.as_mut().map(|stream| stream as _)))),
        }
    }

    /// Where leases are: user, host and port as ssh resolves them, what is gone through, and the directory.
    pub(crate) fn scope(&self) -> String {
        let own = self.settings.jump.iter().map(|hop| format!("{hop:?}")).collect::<Vec<_>>().join(",");
        let via = if own.is_empty() { self.via.clone() } else { Some(own) };
        let via = via.map(|via| {
            let hash = Sha256::digest(via.as_bytes());
            format!(" via {}", hash.iter().take(4).map(|byte| format!("{byte:02x}")).collect::<String>())
        });
        format!("ssh:{}{}:{}", self.shown(), via.unwrap_or_default(), self.settings.work_root)
    }

    /// `user@host:port`, for people.
    pub(crate) fn shown(&self) -> String {
        let host =
            if self.hostname.contains(':') { format!("[{}]", self.hostname) } else { self.hostname.clone() };
        format!("{}@{host}:{}", self.user, self.port)
    }

    /// What is written after `ssh`.
    pub(crate) fn name(&self) -> &str {
        &self.settings.host
    }

    /// The arguments that connect and execute a command.
    pub(crate) fn arguments(&self, command: &str) -> Vec<OsString> {
        let seconds = self.settings.connect.as_millis().div_ceil(1000);
        let patience = [format!("ConnectTimeout={seconds}"), "ServerAliveInterval=15".to_owned()];
        let young = self.streams().iter().chain(self.since_8_7.then_some(&SESSION));
        let options = NEVER.iter().chain(young).map(|option| (*option).to_owned()).chain(patience);
        let mut words: Vec<OsString> = self.words(&options.collect::<Vec<_>>());
        words.push(command.into());
        words
    }

    /// What keeps ssh's input and output where they are, if ssh knows it.
    fn streams(&self) -> &'static [&'static str] {
        if self.since_8_7 { &STREAMS } else { &[] }
    }

    /// How the host reaches a lease's directory.
    pub(crate) fn ssh(&self, directory: &str) -> Ssh {
        Ssh {
            user: self.user.clone(),
            host: self.settings.host.clone(),
            port: Some(self.port),
            proxy_command: self.proxy(),
            identity_file: self.settings.identity_file.clone(),
            // The user's own known hosts, as ever.
            host_key_id: None,
            connect_timeout_ms: u64::try_from(self.settings.connect.as_millis()).ok(),
            ready_command: None,
            work_root: directory.to_owned(),
        }
    }

    /// Options, and the machine.
    fn words(&self, options: &[String]) -> Vec<OsString> {
        let mut words = Vec::new();
        let mut option = |option: String| words.extend(["-o".to_owned(), option]);
        options.iter().cloned().for_each(&mut option);
        let proxy = self.proxy();
        // While it is not known where the machine is, the way there is not, either.
        if !proxy.is_empty() && !self.hostname.is_empty() {
            option(format!("ProxyCommand={}", line(&proxy).replace('%', "%%")));
        }
        if let Some(file) = &self.settings.identity_file {
            option(format!("IdentityFile=\"{}\"", file.replace('%', "%%")));
            option("IdentitiesOnly=yes".to_owned());
        }
        for (flag, value) in
            [("-l", self.settings.user.clone()), ("-p", self.settings.port.map(|port| port.to_string()))]
        {
            words.extend(value.into_iter().flat_map(|value| [flag.to_owned(), value]));
        }
        words.extend(["--".to_owned(), self.settings.host.clone()]);
        words.into_iter().map(OsString::from).collect()
    }

    /// The command whose input and output carry the connection, where machines on the way are configured. It is what ssh
    /// makes of `ProxyJump`, with no agent lent to anybody.
    fn proxy(&self) -> Vec<String> {
        let Some((last, before)) = self.settings.jump.split_last() else { return Vec::new() };
        let mut words = vec![self.program.to_string_lossy().into_owned()];
        let options = ["BatchMode=yes", "ForwardAgent=no", "ControlMaster=no", "LogLevel=ERROR"];
        for option in options.iter().chain(self.streams()) {
            words.extend(["-o".to_owned(), (*option).to_owned()]);
        }
        if !before.is_empty() {
            words.extend([
                "-J".to_owned(),
                before.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
            ]);
        }
        for (flag, value) in [("-l", last.user.clone()), ("-p", last.port.map(|port| port.to_string()))] {
            words.extend(value.into_iter().flat_map(|value| [flag.to_owned(), value]));
        }
        words.extend([
            "-W".to_owned(),
            format!("[{}]:{}", self.hostname, self.port),
            "--".to_owned(),
            last.host.clone(),
        ]);
        words
    }
}

impl std::fmt::Display for crate::settings::Hop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        match self.host.contains(':') {
            true => write!(f, "[{}]", self.host)?,
            false => f.write_str(&self.host)?,
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// Words for a shell, as one line.
fn line(words: &[String]) -> String {
    words.iter().map(|word| crate::script::quoted(word)).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn destination(config: Value, said: &str) -> Destination {
        let settings = Settings::new(serde_json::from_value(config).unwrap()).unwrap();
        let nowhere = Destination {
            program: "/usr/bin/ssh".into(),
            user: String::new(),
            hostname: String::new(),
            port: 22,
            via: None,
            since_8_7: false,
            settings,
        };
        nowhere.read(said).unwrap()
    }

    const SAID: &str =
        "host box\nuser ada\nhostname 10.0.0.7\nport 2222\naddressfamily any\nproxyjump bastion\n";

    #[test]
    fn the_lease_names_the_machine_as_the_user_does() {
        let found = destination(json!({"host": "box"}), SAID);
        let ssh = found.ssh("/home/ada/.crabbox/leases/cbx_5f3a9c0e71b2");
        assert_eq!((ssh.user.as_str(), ssh.host.as_str(), ssh.port), ("ada", "box", Some(2222)));
        assert!(ssh.proxy_command.is_empty() && ssh.identity_file.is_none() && ssh.host_key_id.is_none());
        let words = found.arguments("/bin/sh -s");
        assert!(words.ends_with(&["--".into(), "box".into(), "/bin/sh -s".into()]), "{words:?}");
        assert!(words.contains(&"ForwardAgent=no".into()) && words.contains(&"BatchMode=yes".into()));
    }

    /// An older ssh would refuse to start.
    #[test]
    fn options_of_a_younger_ssh_are_said_to_one_that_has_them() {
        let config = json!({"host": "m", "hosts": {"m": {"jump": "b"}}});
        let said = "user u\nhostname h\nport 22\n";
        for (said, young) in [(said.to_owned(), false), (format!("{said}sessiontype none\n"), true)] {
            let found = destination(config.clone(), &said);
            let words = found.arguments("x");
            for option in ["StdinNull=no", "ForkAfterAuthentication=no", "SessionType=default"] {
                assert_eq!(words.contains(&option.into()), young, "{option}: {words:?}");
            }
            let way = found.ssh("/x/y").proxy_command;
            assert_eq!(way.contains(&"StdinNull=no".to_owned()), young, "{way:?}");
            assert!(words.contains(&"ProxyUseFdpass=no".into()));
        }
    }

    #[test]
    fn the_scope_is_where_ssh_says_that_it_is() {
        let at = |config: Value, said: &str| destination(config, said).scope();
        let scope = at(json!({"host": "box"}), SAID);
        assert!(
            scope.starts_with("ssh:ada@10.0.0.7:2222 via ") && scope.ends_with(":~/.crabbox/leases"),
            "{scope}"
        );
        let direct = SAID.replace("proxyjump bastion\n", "");
        assert_eq!(at(json!({"host": "box"}), &direct), "ssh:ada@10.0.0.7:2222:~/.crabbox/leases");
        // Another name for the same place is the same place.
        assert_eq!(at(json!({"host": "other"}), SAID), scope);
        assert_ne!(at(json!({"host": "box"}), &SAID.replace("bastion", "other")), scope);
        assert_ne!(at(json!({"host": "box", "workRoot": "/x/y"}), SAID), scope);
    }

    #[test]
    fn machines_on_the_way_become_a_proxy_command() {
        let config = json!({"host": "m", "hosts": {"m": {"jump": "a@b:23,c:24", "identityFile": "/k 1/%h"}}});
        let found = destination(config, "user u\nhostname ::1\nport 22\n");
        let proxy = found.ssh("/x/y").proxy_command;
        assert!(
            proxy.ends_with(&["-J", "a@b:23", "-p", "24", "-W", "[::1]:22", "--", "c"].map(str::to_owned)),
            "{proxy:?}"
        );
        let words = found.arguments("x");
        assert!(
            words
                .iter()
                .any(|word| word.to_string_lossy().starts_with("ProxyCommand=/usr/bin/ssh -o BatchMode=yes"))
        );
        assert!(words.contains(&"IdentityFile=\"/k 1/%%h\"".into()), "{words:?}");
        assert_eq!(found.shown(), "u@[::1]:22");
    }
}
