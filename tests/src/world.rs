//! A world of its own for each test: home, state, PATH and a repository, with nothing inherited.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use assert_cmd::assert::OutputAssertExt;

use crate::binaries::{RUDE, installed};
use crate::{Profile, binary, tool};

/// A provider to run the same test with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plugin {
    /// The default, in Rust.
    Local,
    /// In Python, output by notification.
    Python,
    /// In POSIX sh and jq, output by path.
    Sh,
    /// In Python, too; its leases can join a tailnet.
    Tailnet,
    /// The one that misbehaves, in Rust without the kit.
    Rude,
}

impl Plugin {
    /// The provider's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Python => "pydir",
            Self::Sh => "shdir",
            Self::Tailnet => "tailnet",
            Self::Rude => "rude",
        }
    }

    /// Where its leases are, in a world.
    pub fn leases(self, world: &World) -> PathBuf {
        match self {
            Self::Local => world.state().join("local"),
            Self::Python => world.home().join(".local/state/crabbox-pydir"),
            Self::Sh => world.home().join(".local/state/crabbox-shdir"),
            Self::Tailnet => world.home().join(".local/state/crabbox-tailnet"),
            Self::Rude => world.bin().join(".rude/leases"),
        }
    }
}

/// A world of its own. Dropped, it is gone.
#[derive(Debug)]
pub struct World {
    directory: tempfile::TempDir,
    profile: Profile,
}

impl World {
    /// A world with a git repository of two files, and no provider but `local`, which lies beside crabbox.
    pub fn new() -> Self {
        Self::of(Profile::Debug)
    }

    /// The same, with executables of this profile.
    pub fn of(profile: Profile) -> Self {
        let directory =
            tempfile::Builder::new().prefix("crabbox-").tempdir().expect("a directory can be made");
        let world = Self { directory, profile };
        for path in [world.home(), world.bin(), world.repo()] {
            fs::create_dir_all(path).expect("a directory can be made");
        }
        world.write("README.md", "hello\n");
        world.write("src/main.c", "int main(void) { return 0; }\n");
        world.git(&["init", "--quiet"]);
        world.git(&["add", "--all"]);
        world
    }

    /// A world with a provider, or `None` where its language is absent and the test is skipped.
    pub fn with(plugin: Plugin) -> Option<Self> {
        let providers = Path::new(env!("CARGO_MANIFEST_DIR")).join("providers");
        let world = Self::new();
        match plugin {
            Plugin::Local => {}
            Plugin::Python | Plugin::Tailnet => {
                symlink(tool("python3")?, world.bin().join("python3")).expect("a link can be made");
                world.install(&providers.join("python").join(format!("crabbox-provider-{}", plugin.name())));
            }
            Plugin::Sh => {
                symlink(tool("jq")?, world.bin().join("jq")).expect("a link can be made");
                world.install(&providers.join("sh/crabbox-provider-shdir"));
            }
            Plugin::Rude => {
                world.install(&binary("examples").join(RUDE));
                fs::create_dir_all(plugin.leases(&world)).expect("a directory can be made");
            }
        }
        Some(world)
    }

    /// How its executables are built.
    pub(crate) fn profile(&self) -> Profile {
        self.profile
    }

    /// The world's directory.
    pub fn root(&self) -> PathBuf {
        self.directory.path().canonicalize().expect("the directory is there")
    }

    /// The home directory.
    pub fn home(&self) -> PathBuf {
        self.root().join("home")
    }

    /// The directory that comes first on PATH.
    pub fn bin(&self) -> PathBuf {
        self.root().join("bin")
    }

    /// The repository that commands start in.
    pub fn repo(&self) -> PathBuf {
        self.root().join("repo")
    }

    /// Where crabbox keeps its state.
    pub fn state(&self) -> PathBuf {
        self.home().join(".local/state/crabbox")
    }

    /// The user's configuration file.
    pub fn config(&self) -> PathBuf {
        self.home().join(".config/crabbox/config.yaml")
    }

    /// Writes a file of the repository.
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) -> PathBuf {
        write(&self.repo().join(path), content)
    }

    /// Writes the user's configuration file.
    pub fn write_config(&self, content: &str) {
        write(&self.config(), content);
    }

    /// Puts an executable of ours on PATH.
    pub fn install(&self, executable: &Path) {
        let name = executable.file_name().expect("an executable has a name");
        symlink(executable, self.bin().join(name)).expect("a link can be made");
    }

    /// Writes an executable on PATH.
    pub fn script(&self, name: &str, content: &str) -> PathBuf {
        let path = write(&self.bin().join(name), content);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a mode can be set");
        path
    }

    /// Runs git in the repository.
    pub fn git(&self, arguments: &[&str]) {
        let status = self.command("git").args(arguments).status().expect("git can be started");
        assert!(status.success(), "git {arguments:?}");
    }

    /// Any program, in the repository, in this world's environment.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.repo()).env_clear().envs(self.env());
        command
    }

    /// The whole environment.
    pub fn env(&self) -> BTreeMap<&'static str, String> {
        let text = |path: PathBuf| path.to_str().expect("test paths are UTF-8").to_owned();
        BTreeMap::from([
            ("HOME", text(self.home())),
            ("PATH", format!("{}:/usr/bin:/bin", text(self.bin()))),
            ("LANG", "C.UTF-8".to_owned()),
            ("NO_COLOR", "1".to_owned()),
            ("GIT_CONFIG_NOSYSTEM", "1".to_owned()),
        ])
    }

    /// crabbox with these arguments.
    pub fn crabbox(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(installed(self.profile));
        command.args(arguments);
        command
    }

    /// Runs crabbox and returns its exit code, standard output and standard error.
    pub fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        ended(&mut self.crabbox(arguments))
    }

    /// Runs crabbox, which must succeed, and returns its standard output.
    pub fn ok(&self, arguments: &[&str]) -> String {
        let output = self.crabbox(arguments).assert().success().get_output().clone();
        String::from_utf8(output.stdout).expect("the output is text")
    }

    /// What crabbox prints as JSON.
    pub fn json(&self, arguments: &[&str]) -> serde_json::Value {
        serde_json::from_str(&self.ok(arguments)).expect("the output is JSON")
    }

    /// What is left of leases and runs: claims, run directories, locks, and the provider's own.
    pub fn leftovers(&self, plugin: Plugin) -> Vec<PathBuf> {
        let inside =
            |directory: PathBuf| fs::read_dir(directory).into_iter().flatten().flatten().map(|e| e.path());
        let state = ["claims", "runs", "locks"].map(|name| self.state().join(name));
        let all = state.into_iter().chain([plugin.leases(self)]).flat_map(inside);
        all.filter(|path| !path.ends_with("claims.lock")).collect()
    }

    /// Files anywhere in the world's home whose writer never finished them.
    pub fn unfinished(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut directories = vec![self.home()];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
                match entry.file_type() {
                    Ok(kind) if kind.is_dir() => directories.push(entry.path()),
                    _ if entry.file_name().as_encoded_bytes().starts_with(b".new-") => {
                        found.push(entry.path())
                    }
                    _ => {}
                }
            }
        }
        found
    }

    /// The processes of this world that are alive: those with its directory in their environment. Only
    /// where there is `/proc`; elsewhere none are seen.
    pub fn processes(&self) -> Vec<String> {
        self.processes_with("")
    }

    /// The same, of those that have this text in their environment, too.
    pub fn processes_with(&self, text: &str) -> Vec<String> {
        let mark = self.root().to_str().expect("test paths are UTF-8").to_owned().into_bytes();
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        let ours = processes.filter_map(|entry| {
            let environment = fs::read(entry.path().join("environ")).ok()?;
            let has =
                |mark: &[u8]| mark.is_empty() || environment.windows(mark.len()).any(|part| part == mark);
            (has(&mark) && has(text.as_bytes())).then(|| {
                let words = fs::read(entry.path().join("cmdline")).unwrap_or_default();
                String::from_utf8_lossy(&words).replace('\0', " ")
            })
        });
        ours.collect()
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

fn write(path: &Path, content: impl AsRef<[u8]>) -> PathBuf {
    let parent = path.parent().expect("a file has a directory");
    fs::create_dir_all(parent).expect("a directory can be made");
    fs::write(path, content).expect("a file can be written");
    path.to_owned()
}

/// Runs a command and returns its exit code, standard output and standard error.
pub fn ended(command: &mut Command) -> (i32, String, String) {
    let output = command.output().expect("a command can be started");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

/// Waits for a condition, for a minute at the most.
pub fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what}: it did not come");
        std::thread::sleep(Duration::from_millis(20));
    }
}
