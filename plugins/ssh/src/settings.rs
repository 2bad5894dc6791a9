//! The configuration after it was checked: which machine, and which directory on it.

use std::env::var_os;
use std::path::Path;
use std::time::Duration;

use crabbox_provider_kit::problem;
use crabbox_provider_kit::protocol::Problem;

use crate::config::{Config, Host};

/// Directories that belong to the system or to many: leases may be below one, never in one.
pub(crate) const BROAD: &[&str] = &[
    "/", "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/lib64", "/mnt", "/opt", "/private", "/proc",
    "/root", "/run", "/sbin", "/srv", "/sys", "/tmp", "/usr", "/var", "/var/tmp", "/Users", "/Volumes",
];

/// What was configured, checked.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Settings {
    /// What is written after `ssh`.
    pub(crate) host: String,
    /// The user, if one is said here.
    pub(crate) user: Option<String>,
    /// The port, if one is said here.
    pub(crate) port: Option<u16>,
    /// The key's file, absolute.
    pub(crate) identity_file: Option<String>,
    /// The machines on the way, the first first.
    pub(crate) jump: Vec<Hop>,
    /// The directory of the leases: absolute, or `~/` and a path.
    pub(crate) work_root: String,
    /// How long an attempt to connect may take.
    pub(crate) connect: Duration,
}

/// A machine on the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hop {
    pub(crate) user: Option<String>,
    pub(crate) host: String,
    pub(crate) port: Option<u16>,
}

impl Settings {
    /// Checks the configuration.
    ///
    /// # Errors
    ///
    /// Every problem, each with its key.
    pub(crate) fn new(config: Config) -> Result<Self, Vec<Problem>> {
        let Some(name) = config.host.as_deref().map(str::trim).filter(|name| !name.is_empty()) else {
            let mut missing = problem("host", "no machine is configured");
            missing.hint = Some("`--ssh-host NAME`, CRABBOX_SSH_HOST, or `host` in the block `ssh`: a name of your ~/.ssh/config, or of `hosts`".to_owned());
            return Err(vec![missing]);
        };
        let mut problems = Vec::new();
        let (key, entry) = match config.hosts.get(name) {
            Some(entry) => (
                "hosts",
                Host { host: entry.host.clone().or_else(|| Some(name.to_owned())), ..entry.clone() },
            ),
            None => ("host", Host { host: Some(name.to_owned()), ..Host::default() }),
        };
        let mut wrong = |key: &str, value: &str, what: &str| {
            problems.push(problem(key, format!("`{}` {what}", value.escape_debug())));
        };
        let text = entry.host.unwrap_or_default();
        let (user, host) = match text.rsplit_once('@') {
            Some((user, host)) => (Some(user.to_owned()), host.to_owned()),
            None => (None, text.clone()),
        };
        let user = entry.user.or(user);
        if !is_name(&host) || user.as_deref().is_some_and(|user| !is_name(user)) {
            wrong(key, &text, "cannot be connected to: `[USER@]HOSTNAME`, or a name of your ~/.ssh/config");
        }
        let identity_file = entry.identity_file.map(|file| expanded(&file));
        if let Some(file) = identity_file.as_deref().filter(|file| !file.starts_with('/')) {
            wrong(key, file, "is a key's file that is not absolute");
        }
        let hops = entry.jump.as_deref().map_or(Some(Vec::new()), hops);
        if hops.is_none() {
            wrong(
                key,
                entry.jump.as_deref().unwrap_or_default(),
                "is no way: `[USER@]HOST[:PORT]`, with commas",
            );
        }
        let (root_key, root) = match entry.work_root {
            Some(root) => (key, root),
            None => ("workRoot", config.work_root),
        };
        if let Err(what) = directory(&root) {
            wrong(root_key, &root, what);
        }
        let (Some(jump), true) = (hops, problems.is_empty()) else { return Err(problems) };
        Ok(Self {
            host,
            user,
            port: entry.port,
            identity_file,
            jump,
            work_root: root.trim_end_matches('/').to_owned(),
            connect: Duration::from_millis(config.connect_timeout),
        })
    }
}

/// What ssh takes for a name, whatever comes before it; and all that the host takes for a user.
pub(crate) fn is_name(text: &str) -> bool {
    let fit = |byte: u8| byte.is_ascii_alphanumeric() || b"._:@%+-".contains(&byte);
    !text.is_empty() && !text.starts_with('-') && text.bytes().all(fit)
}

/// The machines on the way.
fn hops(text: &str) -> Option<Vec<Hop>> {
    let hop = |text: &str| {
        let (user, rest) = match text.trim().rsplit_once('@') {
            Some((user, rest)) => (Some(user), rest),
            None => (None, text.trim()),
        };
        let (host, port) = match rest.strip_prefix('[') {
            Some(address) => {
                let (host, rest) = address.split_once(']')?;
                (host, rest.strip_prefix(':').or(rest.is_empty().then_some(""))?)
            }
            // More than one colon is an address of IPv6.
            None => rest.split_once(':').filter(|(_, port)| !port.contains(':')).unwrap_or((rest, "")),
        };
        let port = if port.is_empty() { None } else { Some(port.parse().ok()?) };
        let legal = is_name(host) && user.is_none_or(is_name);
        legal.then(|| Hop { user: user.map(str::to_owned), host: host.to_owned(), port })
    };
    text.split(',').map(hop).collect()
}

/// A path with `~/` made absolute.
fn expanded(text: &str) -> String {
    let home = || var_os("HOME")?.into_string().ok();
    match text.strip_prefix("~/").and_then(|rest| Some(Path::new(&home()?).join(rest))) {
        Some(path) => path.to_string_lossy().into_owned(),
        None => text.to_owned(),
    }
}

/// A directory on the machine: absolute, or in the home directory there.
fn directory(path: &str) -> Result<(), &'static str> {
    let trimmed = path.trim_end_matches('/');
    let odd = |part: &str| part.is_empty() || matches!(part, "." | "..");
    let below = trimmed.strip_prefix("~/").or_else(|| trimmed.strip_prefix('/'));
    match below {
        _ if trimmed.is_empty() && path.starts_with('/') || BROAD.contains(&trimmed) => {
            Err("is a directory of the system; choose one below it")
        }
        _ if trimmed == "~" => Err("is the home directory; choose one below it"),
        None => Err("is neither absolute nor `~/` and a path"),
        Some(below) if below.split('/').any(odd) => Err("has `.`, `..` or an empty part in it"),
        Some(_) if path.contains(char::is_control) => Err("has control characters in it"),
        Some(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn settings(config: Value) -> Result<Settings, Vec<String>> {
        let problems = |problems: Vec<Problem>| problems.into_iter().map(|problem| problem.key).collect();
        Settings::new(serde_json::from_value(config).unwrap()).map_err(problems)
    }

    #[test]
    fn a_machine_is_what_you_write_after_ssh_or_an_entry() {
        let alias = settings(json!({"host": "box"})).unwrap();
        assert_eq!((alias.host.as_str(), alias.user.as_deref(), alias.port), ("box", None, None));
        assert_eq!(alias.work_root, "~/.crabbox/leases");
        let plain = settings(json!({"host": "ada@10.0.0.7"})).unwrap();
        assert_eq!((plain.host.as_str(), plain.user.as_deref()), ("10.0.0.7", Some("ada")));
        let entry = json!({"host": "big", "hosts": {"big": {"host": "10.0.0.8", "user": "ci", "port": 2222,
            "identityFile": "/k", "jump": "a@b:22,c", "workRoot": "/data/crabbox/"}}});
        let entry = settings(entry).unwrap();
        assert_eq!(
            (entry.host.as_str(), entry.user.as_deref(), entry.port),
            ("10.0.0.8", Some("ci"), Some(2222))
        );
        assert_eq!((entry.work_root.as_str(), entry.jump.len()), ("/data/crabbox", 2));
        assert_eq!(settings(json!({"host": "big", "hosts": {"big": {}}})).unwrap().host, "big");
    }

    #[test]
    fn nothing_is_taken_for_an_option_or_a_second_word() {
        for host in ["-oProxyCommand=x", "a b", "a;b", "$(x)", "ada@-x", "a\nb", "ssh://a", "@"] {
            assert_eq!(settings(json!({"host": host})).unwrap_err(), ["host"], "{host}");
        }
        for entry in [
            json!({"user": "-l"}),
            json!({"identityFile": "k"}),
            json!({"jump": "-x"}),
            json!({"jump": "a:b:c d"}),
            json!({"workRoot": "x"}),
        ] {
            assert_eq!(
                settings(json!({"host": "m", "hosts": {"m": entry}})).unwrap_err(),
                ["hosts"],
                "{entry}"
            );
        }
        assert_eq!(settings(json!({})).unwrap_err(), ["host"]);
    }

    #[test]
    fn a_way_has_users_hosts_and_ports() {
        let hop = |user: Option<&str>, host: &str, port| Hop {
            user: user.map(Into::into),
            host: host.into(),
            port,
        };
        assert_eq!(hops("a").unwrap(), [hop(None, "a", None)]);
        assert_eq!(
            hops("u@a:23, [::1]:24,fe80::1").unwrap(),
            [hop(Some("u"), "a", Some(23)), hop(None, "::1", Some(24)), hop(None, "fe80::1", None)]
        );
        for text in ["", "a,", "a:x", "a:70000", "[::1", "[::1]x", "-a"] {
            assert_eq!(hops(text), None, "{text}");
        }
    }

    #[test]
    fn leases_are_below_the_systems_directories() {
        for root in ["/data/crabbox", "/tmp/x", "~/x", "~/a/b/", "/root/x"] {
            assert!(settings(json!({"host": "m", "workRoot": root})).is_ok(), "{root}");
        }
        for root in
            ["", "/", "//", "/tmp/", "/home", "~", "~/", "~x/y", "x", "/a/../etc", "~/../x", "/a//b", "/a\nb"]
        {
            assert_eq!(settings(json!({"host": "m", "workRoot": root})).unwrap_err(), ["workRoot"], "{root}");
        }
    }
}
