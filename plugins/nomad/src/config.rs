//! The configuration as the host gives it. Its schema is where flags, variables and help come from.
//!
//! Every key is the user's own (`userOnly`): a repository must not choose where a token or a working tree goes.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

/// Leases on a Nomad cluster.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Config {
    /// The Nomad agent's HTTP address: `http://HOST:PORT`, `https://HOST:PORT` or `unix:///PATH`.
    #[schemars(extend("x-crabbox" = {"userOnly": true, "env": ["CRABBOX_NOMAD_ADDR", "NOMAD_ADDR"]}))]
    pub(crate) address: Option<String>,
    /// The region. Default: `global`.
    #[schemars(extend("x-crabbox" = {"userOnly": true, "env": ["NOMAD_REGION"]}))]
    pub(crate) region: Option<String>,
    /// The namespace. Default: `default`.
    #[schemars(extend("x-crabbox" = {"userOnly": true, "env": ["NOMAD_NAMESPACE"]}))]
    pub(crate) namespace: Option<String>,
    /// The name of the environment variable that holds the ACL token. The variable may be unset where the
    /// cluster has no ACLs.
    #[serde(default = "token_env")]
    #[schemars(extend("x-crabbox" = {"envName": true}))]
    pub(crate) token_env: String,
    /// A file with the certificates (PEM) of the authorities that the agent's certificate is checked against.
    /// Default: those of this machine.
    #[schemars(extend("x-crabbox" = {"userOnly": true, "path": true, "env": ["NOMAD_CACERT"]}))]
    pub(crate) ca_cert: Option<PathBuf>,
    /// A directory of such files.
    #[schemars(extend("x-crabbox" = {"userOnly": true, "path": true, "env": ["NOMAD_CAPATH"]}))]
    pub(crate) ca_path: Option<PathBuf>,
    /// A certificate (PEM) to show to an agent that wants one.
    #[schemars(extend("x-crabbox" = {"userOnly": true, "path": true, "env": ["NOMAD_CLIENT_CERT"]}))]
    pub(crate) client_cert: Option<PathBuf>,
    /// The private key (PEM) of that certificate.
    #[schemars(extend("x-crabbox" = {"userOnly": true, "path": true, "env": ["NOMAD_CLIENT_KEY"]}))]
    pub(crate) client_key: Option<PathBuf>,
    /// The name that the agent's certificate has to bear. Default: the address's host.
    #[schemars(extend("x-crabbox" = {"userOnly": true, "env": ["NOMAD_TLS_SERVER_NAME"]}))]
    pub(crate) tls_server_name: Option<String>,
    /// Accepts any certificate. Then whoever is on the way can read everything, the token too.
    #[serde(default)]
    #[schemars(extend("x-crabbox" = {"userOnly": true, "env": ["NOMAD_SKIP_VERIFY"]}))]
    pub(crate) skip_verify: bool,
    /// The name of the task that commands are executed in.
    #[serde(default = "task")]
    #[schemars(extend("x-crabbox" = {"userOnly": true}))]
    pub(crate) task: String,
    /// The task driver.
    #[serde(default = "driver")]
    #[schemars(extend("x-crabbox" = {"userOnly": true}))]
    pub(crate) driver: String,
    /// The image, where the driver takes one.
    #[serde(default = "image")]
    #[schemars(extend("x-crabbox" = {"userOnly": true}))]
    pub(crate) image: String,
    /// The absolute directory in the task that holds the workspace. Default: `/workspace/crabbox`, and with the
    /// driver raw_exec a directory in the task's own. With raw_exec the lease's id is appended to what is set.
    #[schemars(extend("x-crabbox" = {"userOnly": true}))]
    pub(crate) workdir: Option<String>,
    /// A file with the job to register, as JSON (API format) with placeholders such as `{{.JobID}}`.
    #[schemars(extend("x-crabbox" = {"userOnly": true, "path": true}))]
    pub(crate) jobspec_template: Option<PathBuf>,
    /// The node pool. Default: the namespace's.
    #[schemars(extend("x-crabbox" = {"userOnly": true}))]
    pub(crate) node_pool: Option<String>,
    /// The datacenters to choose from. Default: all.
    #[serde(default)]
    #[schemars(extend("x-crabbox" = {"userOnly": true}))]
    pub(crate) datacenters: Vec<String>,
    /// CPU to reserve, in MHz.
    #[serde(default = "cpu")]
    #[schemars(range(min = 1), extend("x-crabbox" = {"userOnly": true}))]
    pub(crate) cpu: u32,
    /// Memory to reserve, in MiB.
    #[serde(default = "memory_mb")]
    #[schemars(range(min = 10), extend("x-crabbox" = {"userOnly": true}))]
    pub(crate) memory_mb: u32,
    /// Disk to reserve, in MiB.
    #[serde(default = "disk_mb")]
    #[schemars(range(min = 10), extend("x-crabbox" = {"userOnly": true}))]
    pub(crate) disk_mb: u32,
    /// How long the allocation may take until its task runs.
    #[serde(default = "five_minutes")]
    #[schemars(range(min = 1), extend("x-crabbox" = {"userOnly": true, "duration": true}))]
    pub(crate) alloc_ready_timeout: u64,
    /// How long the scheduler may take to look at the job.
    #[serde(default = "five_minutes")]
    #[schemars(range(min = 1), extend("x-crabbox" = {"userOnly": true, "duration": true}))]
    pub(crate) eval_timeout: u64,
    /// How long anything that is executed may take; 0 for no limit.
    #[serde(default)]
    #[schemars(extend("x-crabbox" = {"userOnly": true, "duration": true,
        "env": [{"name": "CRABBOX_NOMAD_EXEC_TIMEOUT_SECS", "unit": "s"}]}))]
    pub(crate) exec_timeout: u64,
}

fn token_env() -> String {
    "NOMAD_TOKEN".to_owned()
}

fn task() -> String {
    "crabbox".to_owned()
}

fn driver() -> String {
    "docker".to_owned()
}

fn image() -> String {
    "ubuntu:24.04".to_owned()
}

fn cpu() -> u32 {
    1000
}

fn memory_mb() -> u32 {
    2048
}

fn disk_mb() -> u32 {
    1024
}

fn five_minutes() -> u64 {
    300_000
}
