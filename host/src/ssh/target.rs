//! Where a lease is reached, as arguments for OpenSSH.
//!
//! What a plugin says is data from a program that the user chose, and still only data: it becomes arguments that
//! ssh cannot take for anything else, or the lease is refused.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crabbox_protocol::Ssh;
use sha2::{Digest as _, Sha256};
use tokio::process::Command;

use super::line;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::output::foreign;

/// How long one attempt to connect may take where the plugin does not say.
const CONNECTING_S: u64 = 10;

/// A connection over which nothing came for a minute is over: what is asked after 15 s of silence, and then every 15 s,
/// is not answered three times.
const SILENCE: [&str; 2] = ["ServerAliveInterval=15", "ServerAliveCountMax=3"];

/// What no lease is ever given, whatever the user's own configuration says: nothing is asked of anybody, nothing of
/// this machine is lent to the other, and nothing else is executed.
const NEVER: [&str; 13] = [
    "BatchMode=yes",
    "GSSAPIDelegateCredentials=no",
    "ProxyUseFdpass=no",
    "ForwardAgent=no",
    "ForwardX11=no",
    "ClearAllForwardings=yes",
    "Tunnel=no",
    "PermitLocalCommand=no",
    "RemoteCommand=none",
    "RequestTTY=no",
    "EscapeChar=none",
    "ConnectionAttempts=1",
    "LogLevel=ERROR",
];

/// A way to a lease.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// The program.
    pub(super) program: PathBuf,
    /// All of its environment: the plugin's.
    pub(super) env: Vec<(OsString, OsString)>,
    /// The options that lead there, each after an `-o`.
    options: Vec<String>,
    /// The user on the machine, and the port, if it is said.
    user: String,
    port: Option<u16>,
    /// The machine's name.
    pub(super) host: String,
    /// The lease's directory there.
    pub(crate) root: String,
    /// A command that succeeds once the machine is ready.
    pub(super) ready: Option<String>,
}

impl Target {
    /// Checks what the plugin said. Creates nothing.
    pub(crate) fn of(host: &Host, provider: &str, env: &[(OsString, OsString)], ssh: &Ssh) -> Result<Self> {
        let wrong = |what: String| {
            Error::failure(format!(
                "provider `{}` handed over an SSH destination that is none: {what}",
                provider
            ))
            .hint(format!("this is a fault of crabbox-provider-{provider}"))
        };
        for (what, name) in [("user", &ssh.user), ("host", &ssh.host)] {
            if !is_name(name) {
                return Err(wrong(format!("the {what} `{}`", foreign(name))));
            }
        }
        if !ssh.work_root.starts_with('/') || ssh.work_root.contains('\0') {
            return Err(wrong(format!("the directory `{}` is not absolute", foreign(&ssh.work_root))));
        }
        let mut options: Vec<String> = Vec::new();
        if !ssh.proxy_command.is_empty() {
            if ssh.proxy_command.iter().any(|word| word.contains(char::is_control)) {
                return Err(wrong("its proxy command has control characters in it".to_owned()));
            }
            options.push(format!("ProxyCommand={}", line(&ssh.proxy_command).replace('%', "%%")));
        }
        if let Some(file) = &ssh.identity_file {
            let file =
                option_path(Path::new(file)).map_err(|what| wrong(format!("its identity file {what}")))?;
            options.extend([format!("IdentityFile={file}"), "IdentitiesOnly=yes".to_owned()]);
        }
        if let Some(id) = &ssh.host_key_id {
            options.extend(known_hosts(host, provider, id)?);
        }
        let seconds = ssh.connect_timeout_ms.map_or(CONNECTING_S, |ms| ms.div_ceil(1000));
        options.push(format!("ConnectTimeout={seconds}"));
        let mut env = env.to_vec();
        // A jump host's ssh does not know of BatchMode: told to ask by a program, it asks nobody (OpenSSH 8.4).
        env.retain(|(name, _)| name != "SSH_ASKPASS" && name != "SSH_ASKPASS_REQUIRE");
        env.extend(
            [("SSH_ASKPASS", "false"), ("SSH_ASKPASS_REQUIRE", "force")]
                .map(|(name, value)| (name.into(), value.into())),
        );
        if !ssh.proxy_command.is_empty() {
            // It executes the proxy command by this, and the quoting is for it.
            env.retain(|(name, _)| name != "SHELL");
            env.push(("SHELL".into(), "/bin/sh".into()));
        }
        Ok(Self {
            program: program(provider, &env)?,
            env,
            options,
            user: ssh.user.clone(),
            port: ssh.port,
            host: ssh.host.clone(),
            root: ssh.work_root.clone(),
            ready: ssh.ready_command.clone(),
        })
    }

    /// `user@host`, for people.
    pub(crate) fn shown(&self) -> String {
        format!("{}@{}", self.user, self.host)
    }

    /// ssh in its environment, with nothing to read and in no directory of the user's: its arguments and where it prints
    /// to are still to be said.
    pub(super) fn ssh(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.env_clear().envs(self.env.iter().map(|(name, value)| (name, value)));
        command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null());
        command
    }

    /// The arguments that open a connection, up to the host and with it.
    pub(super) fn to_connect(&self, more: &[String]) -> Vec<OsString> {
        let options = NEVER.iter().chain(&SILENCE).map(|option| (*option).to_owned());
        self.with(more.iter().cloned().chain(options))
    }

    /// The arguments of an open connection's client. It reads no configuration, and never connects by itself.
    pub(super) fn over(&self, socket: &Path, more: &[&str]) -> Vec<OsString> {
        let mut words: Vec<OsString> = ["-F", "none", "-S"].map(OsString::from).into();
        words.push(socket.into());
        for option in ["ControlMaster=no", "ProxyCommand=false", "BatchMode=yes", "LogLevel=ERROR"] {
            words.extend(["-o", option].map(OsString::from));
        }
        words.extend(more.iter().map(OsString::from));
        words.extend(["--", self.host.as_str()].map(OsString::from));
        words
    }

    /// The words with which a person reaches the lease: as ever, but where it leads.
    pub(crate) fn for_people(&self) -> Vec<String> {
        let own = ["ForwardAgent=no", "ForwardX11=no"].map(str::to_owned);
        let words = self.with(own.into_iter()).into_iter();
        std::iter::once("ssh".to_owned())
            .chain(words.map(|word| word.to_string_lossy().into_owned()))
            .collect()
    }

    /// What tells two ways apart.
    pub(super) fn fingerprint(&self) -> String {
        hex(format!("{:?}", self.to_connect(&[])).as_bytes(), 16)
    }

    /// The first that is said of an option is what counts: ours come before the user's file.
    fn with(&self, options: impl Iterator<Item = String>) -> Vec<OsString> {
        let mut words = Vec::new();
        for option in options.chain(self.options.iter().cloned()) {
            words.extend(["-o".to_owned(), option]);
        }
        words.extend(["-l".to_owned(), self.user.clone()]);
        if let Some(port) = self.port {
            words.extend(["-p".to_owned(), port.to_string()]);
        }
        words.extend(["--".to_owned(), self.host.clone()]);
        words.into_iter().map(OsString::from).collect()
    }
}

/// The `ssh` that the plugin would find.
pub(crate) fn program(provider: &str, env: &[(OsString, OsString)]) -> Result<PathBuf> {
    let path = env.iter().find(|(name, _)| name == "PATH").map(|(_, value)| value.as_os_str());
    let found = std::env::split_paths(path.unwrap_or(OsStr::new("/usr/bin:/bin")))
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join("ssh"))
        .find(|program| program.is_file());
    found.ok_or_else(|| {
        let message = format!("provider `{provider}` is reached by SSH, and there is no `ssh` on PATH");
        Error::new(crate::Exit::Auth, message).hint("install OpenSSH's client")
    })
}

/// Where this machine's key is kept, under a name of its own: on first sight it is believed, and from then on it
/// has to be that one.
fn known_hosts(host: &Host, provider: &str, id: &str) -> Result<Vec<String>> {
    let directory = host.paths.known_hosts();
    let name = hex(format!("{provider}\0{id}").as_bytes(), 12);
    let file = option_path(&directory.join(&name)).map_err(|what| {
        Error::usage(format!("`{}` {what}", directory.display())).hint("set XDG_STATE_HOME to another place")
    })?;
    Ok(vec![
        format!("HostKeyAlias=crabbox-{name}"),
        format!("UserKnownHostsFile={file}"),
        "GlobalKnownHostsFile=/dev/null".to_owned(),
        "StrictHostKeyChecking=accept-new".to_owned(),
        "UpdateHostKeys=no".to_owned(),
        "VerifyHostKeyDNS=no".to_owned(),
        "CheckHostIP=no".to_owned(),
        "HashKnownHosts=no".to_owned(),
    ])
}

/// A path in an option: ssh splits it at blanks and replaces what begins with `%`, `~` and `${`.
fn option_path(path: &Path) -> Result<String, &'static str> {
    let text = path.to_str().ok_or("is not UTF-8")?;
    if !text.starts_with('/') {
        return Err("is not absolute");
    }
    if text.contains(char::is_control) || text.contains(['"', '\\']) || text.contains("${") {
        return Err("has characters in it that ssh takes for something else");
    }
    Ok(format!("\"{}\"", text.replace('%', "%%")))
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with('-')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._:@%+-".contains(&byte))
}

pub(super) fn hex(bytes: &[u8], digits: usize) -> String {
    Sha256::digest(bytes)
        .iter()
        .flat_map(|byte| format!("{byte:02x}").into_bytes())
        .map(char::from)
        .take(digits)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_nothing_that_ssh_takes_for_an_option() {
        for name in ["host", "10.0.0.1", "::1", "fe80::1%eth0", "a-b.c", "me@corp", "x+y"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "-oProxyCommand=x", "a b", "a;b", "$(x)", "a\nb", "ä"] {
            assert!(!is_name(name), "{name}");
        }
    }

    #[test]
    fn a_path_in_an_option_is_that_path() {
        assert_eq!(option_path(Path::new("/a b/%h")).unwrap(), "\"/a b/%%h\"");
        for path in ["a", "/a\"b", "/${HOME}", "/a\nb", "/a\\b"] {
            assert!(option_path(Path::new(path)).is_err(), "{path}");
        }
    }
}
