//! The configuration after it was checked.

use crabbox_provider_kit::http::{Place, Tls};
use crabbox_provider_kit::problem;
use crabbox_provider_kit::protocol::{Problem, Secret};
use sha2::{Digest as _, Sha256};

use crate::config::Config;

/// Where workspaces are.
const ROOT: &str = "/workspace";

/// What Freestyle's own snapshots have: CPUs, GiB of memory and their names, the smallest first.
const SIZES: &[(u32, u32, &str)] = &[
    (2, 4, "freestyle/ubuntu-sm"),
    (4, 8, "freestyle/ubuntu"),
    (8, 16, "freestyle/ubuntu-lg"),
    (16, 32, "freestyle/ubuntu-xl"),
    (32, 64, "freestyle/ubuntu-2xl"),
];

/// Everything that was configured, checked.
#[derive(Debug)]
pub(crate) struct Settings {
    /// Where requests go.
    pub(crate) place: Place,
    /// `scheme://host:port`.
    pub(crate) origin: String,
    /// The API key.
    pub(crate) key: Secret<String>,
    /// The lease's directory on the machine.
    pub(crate) directory: String,
    /// The user that commands run as.
    pub(crate) linux_user: String,
    /// The snapshot to begin with, if not Freestyle's default.
    pub(crate) snapshot: Option<String>,
    /// What the machine has to have, where that is not what the snapshot has.
    pub(crate) size: Option<Size>,
}

/// What a machine has at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    /// CPUs.
    pub(crate) cpu: u32,
    /// MiB of memory.
    pub(crate) memory_mib: u32,
}

impl Settings {
    /// Checks the configuration.
    ///
    /// # Errors
    ///
    /// Every problem, each with its key.
    pub(crate) fn new(config: &Config, key: Option<Secret<String>>) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let url = match url(&config.api_url) {
            Ok(url) => Some(url),
            Err(what) => {
                let mut wrong = problem("apiUrl", format!("it {what}"));
                wrong.hint = Some("write `https://HOST`, or `http://127.0.0.1:PORT`".to_owned());
                problems.push(wrong);
                None
            }
        };
        let key = key.map(|key| key.expose().trim().to_owned()).filter(|key| !key.is_empty());
        if key.is_none() {
            let mut missing = problem("apiKey", "there is no API key");
            missing.hint = Some("set FREESTYLE_API_KEY to a key of your account".to_owned());
            missing.kind = Some(crabbox_provider_kit::protocol::ErrorKind::Auth);
            problems.push(missing);
        }
        if let Err(what) = relative(&config.workdir) {
            problems.push(problem("workdir", format!("`{}` {what}", config.workdir.escape_debug())));
        }
        let is_name = |text: &str| {
            !text.is_empty()
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte))
        };
        if !is_name(&config.linux_user) {
            problems.push(problem(
                "linuxUser",
                format!("`{}` is no user's name", config.linux_user.escape_debug()),
            ));
        }
        if let Some(name) = config.snapshot.as_deref().filter(|name| !is_name(name)) {
            problems.push(problem("snapshot", format!("`{}` is no snapshot's name", name.escape_debug())));
        }
        let (snapshot, size) = match &config.snapshot {
            Some(name) => (Some(name.clone()), wanted(config)),
            None => sized(config),
        };
        let (Some((place, origin)), Some(key), true) = (url, key, problems.is_empty()) else {
            return Err(problems);
        };
        Ok(Self {
            place,
            origin,
            key: Secret::new(key),
            directory: format!("{ROOT}/{}", config.workdir.trim_matches('/')),
            linux_user: config.linux_user.clone(),
            snapshot,
            size,
        })
    }

    /// Where leases are. Whose they are, the key says; and keys of one account change.
    pub(crate) fn scope(&self) -> String {
        format!("freestyle:{}", self.origin)
    }

    /// Tells keys apart without saying what they are. They are random, so a hash gives nothing away.
    pub(crate) fn fingerprint(&self) -> String {
        let text = format!("{}|{}", self.scope(), self.key.expose());
        Sha256::digest(text.as_bytes()).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }
}

/// The place and the origin that a URL names, or what is wrong with it, without what it says.
fn url(text: &str) -> Result<(Place, String), &'static str> {
    let (scheme, rest) = text.trim().split_once("://").ok_or("is not a URL")?;
    if rest.contains(['?', '#', '@']) {
        return Err("has a user, a query or a fragment in it");
    }
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.is_empty() || authority.contains(['/', ' ']) {
        return Err("has a path, or no host");
    }
    let https = match scheme.to_ascii_lowercase().as_str() {
        "https" => true,
        "http" => false,
        _ => return Err("is neither `https` nor `http`"),
    };
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => {
            (host, port.parse().map_err(|_| "has a port that is none")?)
        }
        _ => (authority, if https { 443 } else { 80 }),
    };
    let bare = host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    if bare.is_empty() {
        return Err("has no host");
    }
    let is_here = bare == "localhost" || bare.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
    if !https && !is_here {
        return Err("is `http` and not on this machine: the key would be readable on the way");
    }
    let tls = match https {
        true => Some(Tls::of_this_machine().map_err(|_| "cannot be spoken to by TLS here")?),
        false => None,
    };
    let name = if bare.contains(':') { format!("[{bare}]") } else { bare.clone() };
    let origin = format!("{}://{name}:{port}", if https { "https" } else { "http" });
    Ok((Place::Tcp { host: bare, port, tls }, origin))
}

/// A directory below another.
fn relative(path: &str) -> Result<(), &'static str> {
    let mut parts = path.split('/').filter(|part| !part.is_empty()).peekable();
    match () {
        () if path.starts_with('/') => Err("is absolute; it is below `/workspace`"),
        () if parts.peek().is_none() => Err("is empty"),
        () if parts.any(|part| matches!(part, "." | "..")) => Err("has `.` or `..` in it"),
        () if path.contains(char::is_control) => Err("has control characters in it"),
        () if path.len() > 1024 => Err("is too long"),
        () => Ok(()),
    }
}

fn wanted(config: &Config) -> Option<Size> {
    let (cpu, gib) = (config.vcpus.unwrap_or(0), config.memory_gb.unwrap_or(0));
    (cpu > 0 || gib > 0).then(|| Size { cpu, memory_mib: gib.saturating_mul(1024) })
}

/// The smallest of Freestyle's snapshots that has what is wanted; else the largest, to be resized. Nothing is asked
/// for that was not configured.
fn sized(config: &Config) -> (Option<String>, Option<Size>) {
    let Some(size) = wanted(config) else {
        return (None, None);
    };
    let fits = SIZES.iter().find(|(cpu, gib, _)| *cpu >= size.cpu && gib * 1024 >= size.memory_mib);
    match fits {
        Some((_, _, name)) => (Some((*name).to_owned()), None),
        None => (SIZES.last().map(|(_, _, name)| (*name).to_owned()), Some(size)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn settings(config: Value) -> Result<Settings, Vec<String>> {
        let config = serde_json::from_value(config).unwrap();
        Settings::new(&config, Some(Secret::new("key-1234".to_owned())))
            .map_err(|problems| problems.into_iter().map(|problem| problem.key).collect())
    }

    #[test]
    fn an_address_is_https_or_on_this_machine() {
        for (text, origin) in [
            ("https://api.freestyle.sh", "https://api.freestyle.sh:443"),
            ("HTTPS://API.freestyle.sh:443/", "https://api.freestyle.sh:443"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("http://localhost", "http://localhost:80"),
            ("http://[::1]:99", "http://[::1]:99"),
        ] {
            assert_eq!(settings(json!({"apiUrl": text})).unwrap().origin, origin, "{text}");
        }
        for text in [
            "",
            "api.freestyle.sh",
            "http://api.freestyle.sh",
            "http://10.0.0.1",
            "https://u:p@h",
            "https://h?x",
            "https://h#x",
            "https://h/v5",
            "ftp://h",
            "https://",
            "https://h:x",
            "http://127.0.0.1.evil.example",
        ] {
            assert_eq!(settings(json!({"apiUrl": text})).unwrap_err(), ["apiUrl"], "{text}");
        }
    }

    #[test]
    fn a_workspace_is_below_the_root() {
        assert_eq!(settings(json!({})).unwrap().directory, "/workspace/crabbox");
        assert_eq!(settings(json!({"workdir": "a/b/"})).unwrap().directory, "/workspace/a/b");
        for text in ["/abs", "", ".", "..", "a/../..", "a/./b", "x\ny", "//"] {
            assert_eq!(settings(json!({"workdir": text})).unwrap_err(), ["workdir"], "{text}");
        }
    }

    #[test]
    fn a_size_is_the_smallest_snapshot_that_has_it() {
        let of = |config| {
            let settings = settings(config).unwrap();
            (settings.snapshot, settings.size)
        };
        assert_eq!(of(json!({})), (None, None));
        assert_eq!(of(json!({"vcpus": 1})), (Some("freestyle/ubuntu-sm".into()), None));
        assert_eq!(of(json!({"vcpus": 2, "memoryGb": 5})), (Some("freestyle/ubuntu".into()), None));
        assert_eq!(of(json!({"memoryGb": 64})), (Some("freestyle/ubuntu-2xl".into()), None));
        let most = Size { cpu: 2, memory_mib: 100 * 1024 };
        assert_eq!(
            of(json!({"vcpus": 2, "memoryGb": 100})),
            (Some("freestyle/ubuntu-2xl".into()), Some(most))
        );
        let own = Size { cpu: 0, memory_mib: 1024 };
        assert_eq!(of(json!({"snapshot": "sh-1", "memoryGb": 1})), (Some("sh-1".into()), Some(own)));
    }

    #[test]
    fn without_a_key_nothing_goes() {
        let config = serde_json::from_value(json!({})).unwrap();
        for key in [None, Some(Secret::new("  ".to_owned()))] {
            let problems = Settings::new(&config, key).unwrap_err();
            assert_eq!(problems.iter().map(|problem| problem.key.as_str()).collect::<Vec<_>>(), ["apiKey"]);
        }
        let settings = settings(json!({})).unwrap();
        assert!(!format!("{settings:?}{}{}", settings.scope(), settings.fingerprint()).contains("1234"));
    }
}
