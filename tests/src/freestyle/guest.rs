//! The guest of a VM: a directory that is its disk, and a first process with namespaces of its own.

use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Mutex;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};

use super::isolation::{INIT, Isolation, UBUNTU, USERS, User, links, mounted};
use super::{lock, process};

/// What marks the processes of a guest that has no namespaces.
pub(super) const MARK: &str = "FREESTYLE_EMULATOR_VM";

/// The guest of a VM.
pub(super) struct Guest {
    id: String,
    /// The directory that is the guest's `/`.
    pub(super) root: PathBuf,
    pub(super) isolation: Isolation,
    init: Mutex<Option<Init>>,
    /// The processes on the host that entered the guest, one for each command.
    entered: Mutex<Vec<u32>>,
}

/// The guest's first process.
struct Init {
    pid: u32,
    /// What it waits with.
    waiter: Vec<u32>,
    /// The guest ends when this is closed.
    _alive: ChildStdin,
}

impl Guest {
    /// Makes a guest's disk.
    pub(super) fn new(directory: &Path, id: &str, isolation: Isolation) -> io::Result<Self> {
        let root = directory.join(id).join("root");
        std::fs::create_dir_all(&root)?;
        let make = |name: &str, mode: u32| -> io::Result<()> {
            let path = root.join(name);
            std::fs::DirBuilder::new().recursive(true).mode(0o755).create(&path)?;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode))
        };
        make("", 0o755)?;
        for name in mounted().chain(["dev", "home", "mnt", "proc", "run", "srv", "var", "var/lib"]) {
            make(name, 0o755)?;
        }
        make("tmp", 0o1777)?;
        make("var/tmp", 0o1777)?;
        make("root", 0o700)?;
        make("home/ubuntu", 0o750)?;
        if isolation.has_users() {
            chown(root.join("home/ubuntu"), Some(UBUNTU.id), Some(UBUNTU.id))?;
        }
        for name in links() {
            symlink(std::fs::read_link(Path::new("/").join(name))?, root.join(name))?;
        }
        let etc = directory.join(id).join("etc");
        std::fs::create_dir_all(&etc)?;
        let passwd =
            USERS.iter().map(|user| format!("{0}:x:{1}:{1}::{2}:/bin/sh\n", user.name, user.id, user.home));
        std::fs::write(etc.join("passwd"), passwd.collect::<String>())?;
        let group = USERS.iter().map(|user| format!("{}:x:{}:\n", user.name, user.id));
        std::fs::write(etc.join("group"), group.collect::<String>())?;
        Ok(Self { id: id.to_owned(), root, isolation, init: Mutex::default(), entered: Mutex::default() })
    }

    /// Starts the first process: its id on the host, and what to wait for. Its end is the guest's
    /// end. Without namespaces there is none.
    pub(super) async fn boot(&self) -> io::Result<Option<(u32, Child)>> {
        let mut command = Command::new("unshare");
        match self.isolation {
            Isolation::Users => {}
            Isolation::Namespaces => _ = command.args(["--user", "--map-root-user"]),
            Isolation::None => return Ok(None),
        }
        command.args(["--mount", "--pid", "--fork", "--kill-child", "/bin/sh", "-c", INIT, "init"]);
        command.arg(&self.root).args(mounted());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        let log = self.root.with_file_name("init.log");
        command.stderr(std::fs::File::create(&log)?);
        let mut child = command.spawn()?;
        let missing = || {
            let why = std::fs::read_to_string(&log).unwrap_or_default();
            io::Error::other(format!("the guest's first process has ended: {why}"))
        };
        let alive = child.stdin.take().ok_or_else(missing)?;
        let mut lines = BufReader::new(child.stdout.take().ok_or_else(missing)?).lines();
        let pid = lines.next_line().await?.ok_or_else(missing)?.parse().map_err(io::Error::other)?;
        lines.next_line().await?.ok_or_else(missing)?;
        let waiter = process::of_namespace(pid).into_iter().filter(|&it| it != pid).collect();
        *lock(&self.init) = Some(Init { pid, waiter, _alive: alive });
        Ok(Some((pid, child)))
    }

    /// A command that runs in the guest.
    pub(super) fn command(&self, user: &User, line: &str) -> Command {
        let init = lock(&self.init).as_ref().map(|init| init.pid.to_string());
        let mut command = match init {
            Some(pid) => {
                let mut command = Command::new("nsenter");
                if self.isolation == Isolation::Namespaces {
                    command.args(["--user", "--preserve-credentials"]);
                }
                command.args(["--target", &pid, "--mount", "--pid", "--root", "--wd"]);
                if self.isolation.has_users() {
                    let id = user.id.to_string();
                    command.args(["--setuid", &id, "--setgid", &id]);
                }
                command.args(["--", "/bin/sh"]);
                command
            }
            None => Command::new("/bin/sh"),
        };
        command.args(["-c", "cd \"$HOME\" 2>/dev/null || cd /; exec /bin/sh -c \"$0\"", line]);
        let home = match self.isolation {
            Isolation::None => self.root.join(user.home.trim_start_matches('/')),
            _ => PathBuf::from(user.home),
        };
        command.env_clear().env("HOME", home).env("USER", user.name).env("LOGNAME", user.name);
        command.env("SHELL", "/bin/sh").env("LANG", "C.UTF-8").env(MARK, &self.id);
        command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.process_group(0);
        command
    }

    /// Notes a process on the host that has entered the guest.
    pub(super) fn enter(&self, pid: u32) {
        lock(&self.entered).push(pid);
    }

    /// Forgets it.
    pub(super) fn leave(&self, pid: u32) {
        lock(&self.entered).retain(|&it| it != pid);
    }

    /// The live processes of the guest, without those that make it one.
    pub(super) fn processes(&self) -> Vec<u32> {
        match &*lock(&self.init) {
            Some(init) => {
                let own = |pid: &u32| *pid != init.pid && !init.waiter.contains(pid);
                process::of_namespace(init.pid).into_iter().filter(own).collect()
            }
            None => process::marked(&format!("{MARK}={}", self.id)),
        }
    }

    /// Forgets the first process, which has ended. `false`: somebody has ended it, or started another since.
    pub(super) fn ended(&self, pid: u32) -> bool {
        lock(&self.init).take_if(|init| init.pid == pid).is_some()
    }

    /// Stops all of the guest's processes, which keep their memory, and waits until they do nothing any more: what
    /// one starts before it stops is stopped, too.
    pub(super) fn freeze(&self) {
        for _ in 0..2000 {
            let mut going = self.processes();
            going.retain(|&pid| !process::is_stopped(pid));
            going.iter().copied().for_each(process::stop);
            // These stop themselves, and would sleep on if they did so after they were woken.
            let is_on = |&pid: &u32| process::is_running(pid) && !process::is_stopped(pid);
            if going.is_empty() && !lock(&self.entered).iter().any(is_on) {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Lets them go on.
    pub(super) fn thaw(&self) {
        self.processes().into_iter().for_each(process::go_on);
        // What entered the guest stops itself when what it has started is stopped.
        lock(&self.entered).iter().copied().for_each(process::go_on);
    }

    /// Kills everything in the guest.
    pub(super) fn kill(&self) {
        let init = lock(&self.init).take();
        match init {
            // The kernel kills the rest.
            Some(init) => process::kill(init.pid),
            None => self.processes().into_iter().for_each(process::kill),
        }
        lock(&self.entered).drain(..).for_each(process::kill_group);
    }

    /// The live processes of the guest, and its first one, which ends after all others.
    pub(super) fn everything(&self) -> Vec<u32> {
        let init = lock(&self.init).as_ref().map(|init| init.pid);
        self.processes().into_iter().chain(init).collect()
    }

    /// Kills everything in the guest, and waits until it has ended.
    pub(super) async fn halt(&self) {
        let before = self.everything();
        self.kill();
        for _ in 0..process::LOOKS {
            if !before.iter().any(|&pid| process::is_running(pid)) {
                return;
            }
            tokio::time::sleep(process::PAUSE).await;
        }
    }
}
