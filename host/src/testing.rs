//! What several unit tests need.

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

/// The shells that scripts for a lease are tried under. One that is not here is said to be skipped, and is an
/// error where `CRABBOX_TEST_REQUIRE` (names with commas) has it.
pub(crate) fn shells() -> impl Iterator<Item = &'static [&'static str]> {
    const SHELLS: &[&[&str]] = &[&["sh"], &["dash"], &["bash"], &["busybox", "sh"]];
    SHELLS.iter().copied().filter(|shell| is_here(shell[0]))
}

fn is_here(tool: &str) -> bool {
    let here = which::which(tool).is_ok();
    if !here {
        let required = std::env::var("CRABBOX_TEST_REQUIRE").unwrap_or_default();
        assert!(!required.split(',').any(|name| name == tool), "{tool} is required here");
        let test = std::thread::current().name().unwrap_or("a test").to_owned();
        // Not by `eprintln!`, which the harness keeps to itself when a test passes.
        let _ = writeln!(std::io::stderr(), "SKIPPED {test} with {tool}: there is no {tool} on PATH");
    }
    here
}

/// A shell and the tools that it finds, as machines have them.
#[derive(Debug)]
pub(crate) struct Toolbox {
    /// The argv that starts the shell.
    pub(crate) shell: &'static [&'static str],
    /// The PATH that it gets.
    pub(crate) path: OsString,
    pub(crate) _tools: Option<tempfile::TempDir>,
}

/// The names of the toolboxes, for `toolbox`.
pub(crate) const TOOLBOXES: &[&str] = &["sh", "dash", "bash", "busybox", "bsd"];

/// A toolbox; `None` when something that it needs is not here.
pub(crate) fn toolbox(name: &str) -> Option<Toolbox> {
    let path = || std::env::var_os("PATH").unwrap_or_default();
    let (shell, tools): (&'static [&'static str], _) = match name {
        "busybox" if is_here("busybox") => (&["busybox", "sh"], Some(busybox())),
        "bsd" if is_here("bsdtar") => (&["sh"], Some(bsd())),
        "sh" | "dash" | "bash" if is_here(name) => match name {
            "sh" => (&["sh"], None),
            "dash" => (&["dash"], None),
            _ => (&["bash"], None),
        },
        _ => return None,
    };
    let path = match (name, &tools) {
        ("busybox", Some(tools)) => tools.path().into(),
        (_, Some(tools)) => {
            let rest = path();
            let tools = std::iter::once(tools.path().to_owned());
            std::env::join_paths(tools.chain(std::env::split_paths(&rest))).unwrap()
        }
        _ => path(),
    };
    Some(Toolbox { shell, path, _tools: tools })
}

impl Toolbox {
    /// The shell, with nothing but this PATH in its environment.
    pub(crate) fn command(&self, directory: &Path) -> Command {
        let program = which::which(self.shell[0]).unwrap();
        let mut command = Command::new(program);
        command.args(&self.shell[1..]).current_dir(directory).env_clear().env("PATH", &self.path);
        command
    }
}

/// Nothing but busybox.
fn busybox() -> tempfile::TempDir {
    let tools = tempfile::tempdir().unwrap();
    let busybox = which::which("busybox").unwrap();
    let applets = Command::new(&busybox).arg("--list").output().unwrap().stdout;
    for applet in String::from_utf8(applets).unwrap().lines() {
        symlink(&busybox, tools.path().join(applet)).unwrap();
    }
    tools
}

/// BSD's tar, and a stand-in for BSD's stat: the flags and the format that it has, over the stat that is here.
fn bsd() -> tempfile::TempDir {
    let tools = tempfile::tempdir().unwrap();
    symlink(which::which("bsdtar").unwrap(), tools.path().join("tar")).unwrap();
    let stat = tools.path().join("stat");
    let real = which::which("stat").unwrap();
    let script = format!(
        "#!/bin/sh\n[ \"$1\" = -f ] || {{ echo 'usage: stat -f format file ...' >&2; exit 1; }}\n\
         format=$(printf %s \"$2\" | sed 's/%z/%s/; s/%Xp/%f/; s/%Fc/%.9Z/; s/%N/%n/')\nshift 2\n\
         exec {} -c \"$format\" \"$@\"\n",
        real.display()
    );
    std::fs::write(&stat, script).unwrap();
    std::fs::set_permissions(&stat, std::fs::Permissions::from_mode(0o755)).unwrap();
    tools
}
