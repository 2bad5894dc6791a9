//! The configuration after it was checked: what the rest of the provider works with.

use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use crabbox_provider_kit::problem;
use crabbox_provider_kit::protocol::{Problem, Secret};
use sha2::{Digest as _, Sha256};

use crate::address::Address;
use crate::api::{Tls, tls};
use crate::config::Config;

/// Where the workspace is when nothing is configured and the driver gives the task a file system of its own.
const WORKDIR: &str = "/workspace/crabbox";

/// Directories that belong to the system or to many: a workspace may be below one, never be one.
const BROAD: &[&str] = &[
    "/",
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/home",
    "/lib",
    "/lib64",
    "/opt",
    "/proc",
    "/root",
    "/run",
    "/sbin",
    "/sys",
    "/tmp",
    "/usr",
    "/var",
    "/work",
    "/workspace",
];

/// The drivers that run an image.
const IMAGE_DRIVERS: &[&str] = &["docker", "podman"];

/// The driver whose tasks see the node's own file system and processes.
pub(crate) const RAW_EXEC: &str = "raw_exec";

/// Everything that was configured, checked.
#[derive(Debug)]
pub(crate) struct Settings {
    /// Where requests go.
    pub(crate) address: Address,
    /// How TLS is spoken there.
    pub(crate) tls: Option<Tls>,
    /// The ACL token.
    pub(crate) token: Option<Secret<String>>,
    /// The variable that it is looked for in.
    pub(crate) token_env: String,
    /// The region as configured.
    pub(crate) configured_region: Option<String>,
    /// The namespace.
    pub(crate) namespace: String,
    /// The task that commands are executed in.
    pub(crate) task: String,
    /// The task driver.
    pub(crate) driver: String,
    /// The image, for drivers that run one.
    pub(crate) image: Option<String>,
    /// The configured directory of the workspace, cleaned.
    workdir: Option<String>,
    /// The file with the job's template.
    pub(crate) template: Option<PathBuf>,
    /// The node pool.
    pub(crate) node_pool: Option<String>,
    /// The datacenters.
    pub(crate) datacenters: Vec<String>,
    /// MHz.
    pub(crate) cpu: u32,
    /// MiB.
    pub(crate) memory_mb: u32,
    /// MiB.
    pub(crate) disk_mb: u32,
    /// How long the allocation may take.
    pub(crate) alloc_ready_timeout: Duration,
    /// How long the evaluation may take.
    pub(crate) eval_timeout: Duration,
    /// How long anything that is executed may take.
    pub(crate) exec_timeout: Option<Duration>,
}

impl Settings {
    /// Checks the configuration. `token` is what the variable `tokenEnv` holds.
    ///
    /// # Errors
    ///
    /// Every problem, each with its key.
    pub(crate) fn new(
        config: Config,
        token: impl FnOnce(&str) -> Option<String>,
    ) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let address = address(config.address.as_deref()).map_err(|problem| problems.push(problem)).ok();
        let tls = tls::read(&config).map_err(|wrong| problems.extend(wrong)).ok();
        let mut text = |key: &str, value: &str, fit: fn(&str) -> Result<(), &'static str>| {
            if let Err(what) = fit(value) {
                problems.push(problem(key, format!("`{}` {what}", value.escape_debug())));
            }
        };
        text("tokenEnv", &config.token_env, variable);
        text("task", &config.task, task);
        text("driver", &config.driver, word);
        for (key, value) in
            [("region", &config.region), ("namespace", &config.namespace), ("nodePool", &config.node_pool)]
        {
            text(key, value.as_deref().unwrap_or("x"), word);
        }
        text("namespace", config.namespace.as_deref().unwrap_or("x"), single);
        for datacenter in &config.datacenters {
            text("datacenters", datacenter, word);
        }
        let wants_image =
            IMAGE_DRIVERS.contains(&config.driver.as_str()) && config.jobspec_template.is_none();
        if wants_image {
            text("image", &config.image, word);
        }
        let workdir = match config.workdir.as_deref().map(clean) {
            Some(Err(what)) => {
                problems.push(problem(
                    "workdir",
                    format!("`{}` {what}", config.workdir.as_deref().unwrap_or_default()),
                ));
                None
            }
            Some(Ok(workdir)) => Some(workdir),
            None => None,
        };
        let template = config.jobspec_template;
        if template.as_ref().is_some_and(|path| path.extension().is_none_or(|extension| extension != "json"))
        {
            let mut wrong = problem("jobspecTemplate", "the file's name does not end in `.json`");
            wrong.hint = Some("`nomad job run -output JOB.hcl` writes a job as JSON".to_owned());
            problems.push(wrong);
        }
        let (Some(address), Some(tls), true) = (address, tls, problems.is_empty()) else {
            return Err(problems);
        };
        Ok(Self {
            tls: matches!(address, Address::Tcp { https: true, .. }).then_some(tls),
            address,
            token: token(&config.token_env)
                .map(|token| token.trim().to_owned())
                .filter(|token| !token.is_empty())
                .map(Secret::new),
            token_env: config.token_env,
            configured_region: config.region,
            namespace: config.namespace.unwrap_or_else(|| "default".to_owned()),
            task: config.task,
            image: IMAGE_DRIVERS.contains(&config.driver.as_str()).then_some(config.image),
            driver: config.driver,
            workdir,
            template,
            node_pool: config.node_pool,
            datacenters: config.datacenters,
            cpu: config.cpu,
            memory_mb: config.memory_mb,
            disk_mb: config.disk_mb,
            alloc_ready_timeout: Duration::from_millis(config.alloc_ready_timeout),
            eval_timeout: Duration::from_millis(config.eval_timeout),
            exec_timeout: (config.exec_timeout > 0).then(|| Duration::from_millis(config.exec_timeout)),
        })
    }

    /// The region: what Nomad calls a cluster's only one, where none is configured.
    pub(crate) fn region(&self) -> &str {
        self.configured_region.as_deref().unwrap_or("global")
    }

    /// Where leases are and which task is theirs, as a hash: it is written into jobs, where others read it.
    pub(crate) fn scope(&self) -> String {
        let text = format!("{}|{}|{}|{}", self.address, self.namespace, self.region(), self.task);
        format!("nomad:{}", hash(&text))
    }

    /// Tells tokens apart without saying what they are. They are random, so a hash gives nothing away.
    pub(crate) fn fingerprint(&self) -> Option<String> {
        self.token.as_ref().map(|token| hash(&format!("{}|{}", self.scope(), token.expose())))
    }

    /// Whether tasks see the node's own files and processes, and those of other leases on it.
    pub(crate) fn shares_node(&self) -> bool {
        self.driver == RAW_EXEC
    }

    /// The lease's directory in the task, or nothing for one in the task's own directory.
    pub(crate) fn directory(&self, lease_id: &str) -> Option<String> {
        match &self.workdir {
            Some(workdir) if self.shares_node() => Some(format!("{workdir}/{lease_id}")),
            Some(workdir) => Some(workdir.clone()),
            None if self.shares_node() => None,
            None => Some(WORKDIR.to_owned()),
        }
    }
}

fn hash(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

fn address(text: Option<&str>) -> Result<Address, Problem> {
    let text = text.map(str::trim).filter(|text| !text.is_empty()).ok_or_else(|| {
        let mut missing = problem("address", "no Nomad agent is configured");
        missing.hint =
            Some("set NOMAD_ADDR, or `address` in the block `nomad` of your configuration".to_owned());
        missing
    })?;
    Address::parse(text).map_err(|what| problem("address", format!("the address {what}")))
}

/// The name of an environment variable.
fn variable(name: &str) -> Result<(), &'static str> {
    let (first, all) = (name.starts_with(|c: char| c.is_ascii_digit()), name.chars());
    match !name.is_empty() && !first && all.clone().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        true => Ok(()),
        false => Err("is not the name of an environment variable"),
    }
}

/// Nomad's rules for the name of a task, and that nothing in it is replaced by Nomad.
fn task(name: &str) -> Result<(), &'static str> {
    word(name)?;
    match name.contains(['/', '\\']) || name == "alloc" {
        true => Err("cannot be the name of a task"),
        false => Ok(()),
    }
}

/// A name and not a pattern.
fn single(name: &str) -> Result<(), &'static str> {
    if name.contains('*') { Err("stands for several; leases are in one") } else { Ok(()) }
}

/// Text that Nomad takes as it is.
fn word(text: &str) -> Result<(), &'static str> {
    match text {
        "" => Err("is empty"),
        _ if text.contains(|c: char| c.is_control()) => Err("has control characters in it"),
        _ if text.contains("${") || text.contains("%{") => {
            Err("has `${` or `%{` in it, which Nomad would replace")
        }
        _ => Ok(()),
    }
}

/// An absolute directory in one spelling.
fn clean(path: &str) -> Result<String, &'static str> {
    word(path)?;
    let mut clean = PathBuf::from("/");
    for component in Path::new(path).components() {
        match component {
            Component::RootDir | Component::CurDir => {}
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => return Err("has `..` in it"),
            Component::Prefix(_) => return Err("is not an absolute path"),
        }
    }
    let clean = clean.to_str().unwrap_or_default();
    match () {
        () if !path.starts_with('/') => Err("is not an absolute path"),
        () if BROAD.contains(&clean) => Err("is a directory of the system; choose one below it"),
        () => Ok(clean.to_owned()),
    }
}

#[cfg(test)]
mod tests;
