//! A directory that `sshd -i` serves: configuration, host key, who may log in, and the home of sessions.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::keys::{self, Kind};
use super::{end_all, marked};
use crate::{quoted, tool};

/// How a machine differs from the usual one.
#[derive(Debug, Clone)]
pub struct Options {
    /// The public keys of those who may log in.
    pub authorized: Vec<String>,
    /// Whether ports may be forwarded through it, as a jump host does. By default they may.
    pub forwarding: bool,
    /// Further variables of its sessions, or others in place of the usual ones. Values without white space.
    pub environment: BTreeMap<String, String>,
    /// The shell of its sessions, in place of the user's.
    pub shell: Option<PathBuf>,
    /// Where sessions start, and what `HOME` is. By default `home` in the machine's own directory.
    pub home: Option<PathBuf>,
    /// Where sessions start, if it is not the home.
    pub start: Option<PathBuf>,
    /// Lines of `sshd_config`, which come before the machine's own and so prevail.
    pub config: String,
    /// Sessions whose program has one of these names end with code 65, as Coder's do where an administrator has
    /// blocked file transfers.
    pub blocked: Vec<String>,
    /// Lets anybody in who names one of these users, without a key, as Coder's agents do for any name. Without
    /// nss_wrapper, which this needs, nobody is let in so.
    pub open_to: Vec<String>,
    /// Makes an RSA host key, as Coder's agents have. By default it is Ed25519.
    pub rsa: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            authorized: Vec::new(),
            forwarding: true,
            environment: BTreeMap::new(),
            shell: None,
            home: None,
            start: None,
            config: String::new(),
            blocked: Vec::new(),
            open_to: Vec::new(),
            rsa: false,
        }
    }
}

/// A machine, on disk. It has no process until somebody connects.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    directory: PathBuf,
    /// Whether somebody is let in without a key.
    open: bool,
    kind: Kind,
}

impl Machine {
    /// Makes a machine in a directory that exists, unless that has been done. Its path has no white space.
    pub(crate) fn new(directory: &Path, options: Options) -> io::Result<Self> {
        let machine = Self {
            directory: directory.to_owned(),
            open: !options.open_to.is_empty() && nss_wrapper().is_some(),
            kind: if options.rsa { Kind::Rsa } else { Kind::Ed25519 },
        };
        let made = directory.join("made");
        if made.exists() {
            return Ok(machine);
        }
        let home = options.home.clone().unwrap_or_else(|| machine.home());
        for path in [&home, &machine.directory.join("empty")] {
            fs::create_dir_all(path)?;
        }
        machine.new_host_key()?;
        let keys: String = options.authorized.iter().map(|key| format!("{key}\n")).collect();
        fs::write(machine.directory.join("authorized_keys"), keys)?;
        if machine.open {
            machine.write_users(&options.open_to, &home)?;
        }
        fs::write(machine.directory.join("sshd_config"), machine.config(&options))?;
        let session = machine.directory.join("session");
        fs::write(&session, machine.session(&options, &home))?;
        fs::set_permissions(&session, fs::Permissions::from_mode(0o755))?;
        prepare(&machine.directory.join("sshd_config"))?;
        fs::write(made, "")?;
        Ok(machine)
    }

    /// The home directory, unless [`Options::home`] says otherwise.
    pub(crate) fn home(&self) -> PathBuf {
        self.directory.join("home")
    }

    pub(crate) fn authorize(&self, public: &str) -> io::Result<()> {
        let mut file = OpenOptions::new().append(true).open(self.directory.join("authorized_keys"))?;
        writeln!(file, "{public}")
    }

    pub(crate) fn host_key(&self) -> String {
        Self::host_key_in(&self.directory)
    }

    /// The public host key, by the machine's directory.
    pub(crate) fn host_key_in(directory: &Path) -> String {
        keys::public(&directory.join("host_key"))
    }

    pub(crate) fn new_host_key(&self) -> io::Result<()> {
        keys::generate(&self.directory.join("host_key"), self.kind, "")
    }

    /// The server, which speaks on its standard input and output.
    pub(crate) fn server(&self) -> Command {
        // It starts itself again by its name, which has to be a path.
        let sshd = tool("sshd").expect("it was there when the machine was made");
        let mut command = Command::new(sshd);
        command.arg("-i").arg("-f").arg(self.directory.join("sshd_config")).env_clear();
        if let (Some(library), true) = (nss_wrapper(), self.open) {
            command.env("LD_PRELOAD", library);
            for (name, file) in [("PASSWD", "passwd"), ("GROUP", "group"), ("SHADOW", "shadow")] {
                command.env(format!("NSS_WRAPPER_{name}"), self.directory.join(file));
            }
        }
        command
    }

    /// What each session so far was told to run.
    pub(crate) fn sessions(&self) -> Vec<String> {
        Self::sessions_in(&self.directory)
    }

    /// The same, by the machine's directory.
    pub(crate) fn sessions_in(directory: &Path) -> Vec<String> {
        let log = fs::read(directory.join("sessions")).unwrap_or_default();
        let text = String::from_utf8_lossy(&log);
        text.split_terminator('\0').map(str::to_owned).collect()
    }

    /// The live processes of sessions.
    pub(crate) fn processes(&self) -> Vec<u32> {
        marked(&self.directory)
    }

    /// Ends everything that sessions have started.
    pub(crate) fn end(&self) {
        end_all(&self.directory);
    }

    fn config(&self, options: &Options) -> String {
        let path = |name: &str| self.directory.join(name).display().to_string();
        let yes = |it: bool| if it { "yes" } else { "no" };
        let mut environment = BTreeMap::from([
            // The shell that starts the forced command reads its files from there, and finds none.
            ("HOME".to_owned(), path("empty")),
            ("PATH".to_owned(), "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()),
        ]);
        environment.extend(options.environment.clone().into_iter().filter(|(name, _)| name != "HOME"));
        let environment: Vec<String> =
            environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut config = format!("{}\n", options.config);
        for (key, value) in [
            ("HostKey", &*path("host_key")),
            ("AuthorizedKeysFile", &path("authorized_keys")),
            ("PidFile", "none"),
            ("UsePAM", "no"),
            // Above it is /tmp, into which everybody may write.
            ("StrictModes", "no"),
            ("PasswordAuthentication", yes(self.open)),
            ("PermitEmptyPasswords", yes(self.open)),
            ("KbdInteractiveAuthentication", "no"),
            ("PermitRootLogin", "yes"),
            ("PermitUserRC", "no"),
            ("AllowTcpForwarding", yes(options.forwarding)),
            ("X11Forwarding", "no"),
            ("PrintMotd", "no"),
            ("PrintLastLog", "no"),
            ("UseDNS", "no"),
            ("LogLevel", "ERROR"),
            // Not sshd's own, which a forced command would take the place of.
            ("Subsystem", &format!("sftp {}", sftp_server().display())),
            // A second one would be ignored.
            ("SetEnv", &environment.join(" ")),
            ("ForceCommand", &path("session")),
        ] {
            // A String takes everything that is written.
            let _ = writeln!(config, "{key} {value}");
        }
        config
    }

    /// The forced command: notes what was asked for, and runs it as sshd would have done.
    fn session(&self, options: &Options, home: &Path) -> String {
        let shell =
            options.shell.as_ref().map_or_else(String::new, |shell| format!("SHELL={}\n", text(shell)));
        let start = text(options.start.as_deref().unwrap_or(home));
        let blocked = options.blocked.join("|");
        let blocked = match blocked.is_empty() {
            true => String::new(),
            false => format!(
                "program=${{command%% *}}\ncase ${{program##*/}} in\n\
                 {blocked}) echo 'File transfer has been disabled.' >&2; exit 65 ;;\nesac\n"
            ),
        };
        format!(
            "#!/bin/sh\n\
             command=$SSH_ORIGINAL_COMMAND\n\
             printf '%s\\0' \"$command\" >>{log}\n\
             unset SSH_ORIGINAL_COMMAND SHLVL OLDPWD\n\
             {shell}{mark}={machine} HOME={home}\n\
             export HOME SHELL {mark}\n\
             cd {start} || exit 229\n\
             {blocked}\
             [ -n \"$command\" ] || exec \"$SHELL\" -l\n\
             exec \"$SHELL\" -c \"$command\"\n",
            log = text(&self.directory.join("sessions")),
            machine = text(&self.directory),
            mark = super::processes::MARK,
            home = text(home),
        )
    }

    /// The users that sshd sees with nss_wrapper: those without a password, all of them the one who runs the
    /// tests, and the one that it gives its rights away to.
    fn write_users(&self, users: &[String], home: &Path) -> io::Result<()> {
        let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        let known = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let separated = known.lines().find(|line| line.starts_with("sshd:")).unwrap_or_default();
        let (mut passwd, mut shadow) = (format!("{separated}\n"), String::new());
        for user in users {
            passwd += &format!("{user}::{uid}:{gid}::{}:/bin/bash\n", home.display());
            shadow += &format!("{user}::19000:0:99999:7:::\n");
        }
        fs::write(self.directory.join("passwd"), passwd)?;
        fs::write(self.directory.join("group"), format!("all:x:{gid}:\n"))?;
        fs::write(self.directory.join("shadow"), shadow)
    }
}

/// The name of the user who runs the tests.
pub(crate) fn user() -> String {
    let output = Command::new("id").arg("-un").output().expect("there is an id");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Whether a machine can let somebody in without a key.
pub(crate) fn is_open() -> bool {
    nss_wrapper().is_some()
}

/// The library that gives a process users of its own, if it is installed.
fn nss_wrapper() -> Option<&'static Path> {
    static FOUND: OnceLock<Option<PathBuf>> = OnceLock::new();
    let find = || {
        let triple = format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH);
        let directories = [triple.as_str(), "/usr/lib64", "/usr/lib"];
        directories.iter().map(|it| Path::new(it).join("libnss_wrapper.so")).find(|it| it.exists())
    };
    FOUND.get_or_init(find).as_deref()
}

fn sftp_server() -> PathBuf {
    let places = ["/usr/lib/openssh", "/usr/libexec", "/usr/libexec/openssh", "/usr/lib/ssh"];
    let mut places = places.iter().map(|it| Path::new(it).join("sftp-server"));
    places.find(|it| it.exists()).unwrap_or_else(|| "internal-sftp".into())
}

/// Asks sshd whether it would serve this, and makes the directory that it wants as root: where nothing starts
/// services, as in a container, its package has not made it.
fn prepare(config: &Path) -> io::Result<()> {
    let sshd = tool("sshd").ok_or(io::ErrorKind::NotFound)?;
    for _ in 0..2 {
        let output = Command::new(&sshd).arg("-t").arg("-f").arg(config).output()?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        match said.strip_prefix("Missing privilege separation directory: ") {
            Some(directory) => fs::create_dir_all(directory)?,
            None => return Err(io::Error::other(said)),
        }
    }
    Err(io::Error::other("sshd does not take its configuration"))
}

/// A path as a word of a shell.
fn text(path: &Path) -> String {
    quoted(&path.to_string_lossy())
}
