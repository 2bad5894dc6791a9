//! The executables under test, built once.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// How the executables are built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// As the tests are.
    Debug,
    /// As users have them.
    Release,
}

/// The provider that misbehaves, which lies in `examples/` beside the others.
pub(crate) const RUDE: &str = "crabbox-provider-rude";

/// The providers that only tests use, and what stands for a provider's tool.
const EXAMPLES: &[&str] = &[
    RUDE,
    "crabbox-provider-example",
    "crabbox-provider-flood",
    "crabbox-provider-recorded",
    "fake-coder",
    "minimal",
    "talk",
];

/// The directory of the executables. They are built by the first caller, unless `CRABBOX_TEST_BIN_DIR`
/// names a directory that has them.
pub fn binaries(profile: Profile) -> &'static Path {
    static DEBUG: OnceLock<PathBuf> = OnceLock::new();
    static RELEASE: OnceLock<PathBuf> = OnceLock::new();
    let cell = match profile {
        Profile::Debug => &DEBUG,
        Profile::Release => &RELEASE,
    };
    cell.get_or_init(|| match std::env::var_os("CRABBOX_TEST_BIN_DIR") {
        Some(directory) => directory.into(),
        None => build(profile),
    })
}

/// What a user has who followed the README: crabbox and, beside it, the provider that comes along.
const INSTALLED: &[&str] = &["crabbox", "crabbox-provider-local"];

/// crabbox as a user has it. Where it was built, every provider lies beside it.
pub(crate) fn installed(profile: Profile) -> PathBuf {
    static DEBUG: OnceLock<PathBuf> = OnceLock::new();
    static RELEASE: OnceLock<PathBuf> = OnceLock::new();
    let cell = match profile {
        Profile::Debug => &DEBUG,
        Profile::Release => &RELEASE,
    };
    let directory = cell.get_or_init(|| {
        let (from, to) = (binaries(profile), binaries(profile).join("installed"));
        fs::create_dir_all(&to).expect("a directory can be made");
        for name in INSTALLED {
            let own = to.join(format!(".{name}.{}", std::process::id()));
            fs::hard_link(from.join(name), &own).expect("the executable can be linked");
            fs::rename(&own, to.join(name)).expect("the link can be put in place");
            // Renaming one link of a file to another does nothing.
            _ = fs::remove_file(own);
        }
        to
    });
    directory.join(INSTALLED[0])
}

/// The path of an executable under test.
pub fn binary(name: &str) -> PathBuf {
    binaries(Profile::Debug).join(name)
}

fn build(profile: Profile) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package is in a workspace");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root).args(["build", "--quiet", "--workspace", "--bins"]);
    match profile {
        Profile::Debug => cargo.args(EXAMPLES.iter().flat_map(|name| ["--example", name])),
        // The providers that only benches use.
        Profile::Release => cargo.args(["--release", "--examples"]),
    };
    // What cargo tells a test is not meant for another cargo.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let own = ["CARGO_HOME", "CARGO_TARGET_DIR", "CARGO_NET_OFFLINE"].contains(&&*text);
        if text.starts_with("CARGO_") && !own && !text.starts_with("CARGO_REGISTR") {
            cargo.env_remove(name);
        }
    }
    let status = cargo.status().expect("cargo can be started");
    assert!(status.success(), "the executables under test cannot be built");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    target.join(if profile == Profile::Release { "release" } else { "debug" })
}
