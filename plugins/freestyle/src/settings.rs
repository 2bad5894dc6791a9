//! The configuration after it was checked.

use crabbox_provider_kit::http::{Place, Tls};
use crabbox_provider_kit::problem;
use crabbox_provider_kit::protocol::{Problem, Secret};
use sha2::{Digest as _, Sha256};

use crate::api::Size;
use crate::config::{Config, Version};
use crate::source::hex;

/// Where workspaces are.
const ROOT: &str = "/workspace";

/// The most CPUs that a machine of version 1 has.
const MOST_CPUS: u32 = 32;

/// Everything that was configured, checked.
#[derive(Debug)]
pub(crate) struct Settings {
    /// Where requests go.
    pub(crate) place: Place,
    /// `scheme://host:port`.
    pub(crate) origin: String,
    /// Which version of the API is spoken.
    pub(crate) version: Version,
    /// The API key.
    pub(crate) key: Secret<String>,
    /// The lease's directory on the machine.
    pub(crate) directory: String,
    /// The user that commands run as.
    pub(crate) linux_user: String,
    /// The snapshot to begin with, in place of one of Freestyle's own.
    pub(crate) snapshot: Option<String>,
    /// What the machine has to have at least, if anything was said of it.
    pub(crate) size: Option<Size>,
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
        if config.api_version == Version::V1 && config.vcpus.is_some_and(|cpus| cpus > MOST_CPUS) {
            problems.push(problem("vcpus", format!("version 1 of the API has {MOST_CPUS} at most")));
        }
        let (Some((place, origin)), Some(key), true) = (url, key, problems.is_empty()) else {
            return Err(problems);
        };
        Ok(Self {
            place,
            origin,
            version: config.api_version,
            key: Secret::new(key),
            directory: format!("{ROOT}/{}", config.workdir.trim_matches('/')),
            linux_user: config.linux_user.clone(),
            snapshot: config.snapshot.clone(),
            size: wanted(config),
        })
    }

    /// Where leases are: each version of the API has machines of its own. Whose they are, the key says; and keys of
    /// one account change.
    pub(crate) fn scope(&self) -> String {
        match self.version {
            Version::V5 => format!("freestyle:{}", self.origin),
            Version::V1 => format!("freestyle-v1:{}", self.origin),
        }
    }

    /// Tells keys apart without saying what they are. They are random, so a hash gives nothing away.
    pub(crate) fn fingerprint(&self) -> String {
        let text = format!("{}|{}", self.scope(), self.key.expose());
        hex(&Sha256::digest(text.as_bytes())[..16])
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

/// What the machine has to have at least; 0 is anything.
fn wanted(config: &Config) -> Option<Size> {
    let (cpu, gib) = (config.vcpus.unwrap_or(0), config.memory_gb.unwrap_or(0));
    (cpu > 0 || gib > 0).then(|| Size { cpu, memory_mib: gib.saturating_mul(1024) })
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
    fn the_versions_have_nothing_in_common() {
        let scope = |config| settings(config).unwrap().scope();
        assert_eq!(scope(json!({})), scope(json!({"apiVersion": "v5"})));
        assert_ne!(scope(json!({})), scope(json!({"apiVersion": "v1"})));
        assert_eq!(settings(json!({"apiVersion": "v1", "vcpus": 33})).unwrap_err(), ["vcpus"]);
        assert_eq!(settings(json!({"vcpus": 33})).unwrap().size, Some(Size { cpu: 33, memory_mib: 0 }));
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
