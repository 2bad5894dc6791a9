//! The server that tests of SSH use: what it does, and that nothing of it is left.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crabbox_tests::sshd::{Agent, Client, Identity, Options, Sshd};
use crabbox_tests::{World, ended, wait_for};

use crate::support::{assert_has, end, spawn};

/// A world whose ssh reaches a machine as `box`.
struct Site {
    world: World,
    client: Client,
    key: Identity,
    sshd: Sshd,
}

impl Site {
    fn new() -> Option<Self> {
        Self::with(Options::default())
    }

    fn with(mut options: Options) -> Option<Self> {
        let world = World::new();
        let key = Identity::new(&world.home().join(".ssh/id_box"));
        options.authorized.push(key.public());
        let sshd = Sshd::with(options)?;
        let client = Client::install(&world);
        client.host("box", &sshd, &key).knows("box", &sshd);
        Some(Self { world, client, key, sshd })
    }

    fn ssh(&self, arguments: &[&str]) -> Command {
        let mut command = self.world.command("ssh");
        command.args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        ended(&mut self.ssh(arguments))
    }

    /// Starts something on the machine that outlasts its connection, and returns when it is up.
    fn start(&self, options: &[&str]) -> std::process::Child {
        let up = self.sshd.home().join("up");
        let child = spawn(&mut self.ssh(&[options, &["box", "touch up; exec sleep 600"]].concat()));
        wait_for("the command", || up.exists());
        child
    }
}

#[test]
fn a_session_has_the_exit_code_the_streams_and_a_home_of_its_own() {
    let Some(site) = Site::new() else { return };
    let mut command = site.ssh(&["box", "pwd; echo $HOME; env >&2; cat; exit 7"]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"\0in").unwrap();
    let (code, stdout, stderr) = end(child);
    let home = site.sshd.home();
    assert_eq!((code, stdout), (7, format!("{0}\n{0}\n\0in", home.display())), "{stderr}");
    assert_has(&stderr, &[&format!("USER={}", site.sshd.user()), "SSH_CONNECTION=127.0.0.1"]);
    assert!(!stderr.contains("SSH_ORIGINAL_COMMAND"), "{stderr}");
    assert_eq!(site.sshd.sessions(), ["pwd; echo $HOME; env >&2; cat; exit 7"]);
}

#[test]
fn a_shell_reads_the_files_of_its_home_once() {
    let Some(site) = Site::with(Options { shell: Some("/bin/bash".into()), ..Options::default() }) else {
        return;
    };
    std::fs::write(site.sshd.home().join(".bashrc"), "echo from .bashrc\n").unwrap();
    assert_eq!(site.run(&["box", "echo of $0"]).1, "from .bashrc\nof /bin/bash\n");
}

#[test]
fn connections_and_sessions_are_counted() {
    let Some(site) = Site::new() else { return };
    let socket = site.world.root().join("master");
    let socket = format!("-oControlPath={}", socket.display());
    let master = &["-fN", "-M", &socket, "box"];
    assert!(site.ssh(master).stdin(Stdio::null()).stderr(Stdio::null()).status().unwrap().success());
    for number in ["1", "2", "3"] {
        assert_eq!(site.run(&[&socket, "box", &format!("echo {number}")]).1, format!("{number}\n"));
    }
    assert_eq!((site.sshd.connections(), site.sshd.open_connections()), (1, 1));
    assert_eq!(site.sshd.sessions(), ["echo 1", "echo 2", "echo 3"]);
    assert_eq!(site.run(&[&socket, "-O", "exit", "box"]).0, 0);
    wait_for("the end of the connection", || site.sshd.open_connections() == 0);
    assert_eq!(site.run(&["box", "true"]).0, 0);
    assert_eq!(site.sshd.connections(), 2);
}

#[test]
fn another_host_key_is_refused() {
    let Some(site) = Site::new() else { return };
    assert_eq!(site.run(&["box", "true"]).0, 0);
    site.sshd.replace_host_key();
    let (code, _, stderr) = site.run(&["-oStrictHostKeyChecking=yes", "box", "true"]);
    assert_eq!(code, 255);
    assert_has(&stderr, &["REMOTE HOST IDENTIFICATION HAS CHANGED"]);
    assert_eq!(site.sshd.sessions(), ["true"]);
}

#[test]
fn a_key_that_is_not_known_is_refused_until_it_is() {
    let Some(site) = Site::new() else { return };
    let other = Identity::new(&site.world.root().join("other"));
    site.client.host("other", &site.sshd, &other).knows("other", &site.sshd);
    let (code, _, stderr) = site.run(&["-oBatchMode=yes", "other", "true"]);
    assert_eq!(code, 255, "{stderr}");
    assert_has(&stderr, &["Permission denied (publickey)"]);
    site.sshd.authorize(&other.public());
    assert_eq!(site.run(&["other", "true"]).0, 0);
}

#[test]
fn a_key_with_a_passphrase_needs_an_agent() {
    let Some(site) = Site::new() else { return };
    let locked = Identity::with_passphrase(&site.world.root().join("locked"), "open sesame");
    site.sshd.authorize(&locked.public());
    site.client.host("locked", &site.sshd, &locked).knows("locked", &site.sshd);
    assert_eq!(site.run(&["-oBatchMode=yes", "locked", "true"]).0, 255);
    let agent = Agent::start();
    agent.add(&locked, "open sesame");
    let (code, _, stderr) =
        ended(site.ssh(&["-oBatchMode=yes", "locked", "true"]).env("SSH_AUTH_SOCK", agent.socket()));
    assert_eq!(code, 0, "{stderr}");
    let socket = agent.socket();
    drop(agent);
    assert!(!Agent::answers(&socket));
}

#[test]
fn a_jump_host_leads_on() {
    let (Some(site), Some(jump)) = (Site::new(), Sshd::start()) else { return };
    jump.authorize(&site.key.public());
    site.client.host("jump", &jump, &site.key).knows("jump", &jump);
    site.client.configure(&format!(
        "Host inner\n  HostName 127.0.0.1\n  Port {}\n  ProxyJump jump\n  HostKeyAlias box\n  IdentityFile {}\n",
        site.sshd.port(),
        site.key.path().display()
    ));
    let (code, stdout, stderr) = site.run(&["inner", "pwd"]);
    assert_eq!((code, stdout), (0, format!("{}\n", site.sshd.home().display())), "{stderr}");
    assert_eq!((jump.connections(), site.sshd.connections()), (1, 1));
    assert_eq!((jump.sessions(), site.sshd.sessions()), (vec![], vec!["pwd".to_owned()]));
}

#[test]
fn forwarding_can_be_forbidden() {
    let Some(site) = Site::with(Options { forwarding: false, ..Options::default() }) else { return };
    let (code, _, stderr) = site.run(&["-W", "127.0.0.1:1", "box"]);
    assert_eq!(code, 255);
    assert_has(&stderr, &["administratively prohibited"]);
}

#[test]
fn files_are_copied_by_sftp_and_by_rsync() {
    let Some(site) = Site::new() else { return };
    let mut sftp = Command::new("sftp");
    sftp.args(["-q", "-b", "-", "-S"])
        .arg(site.world.bin().join("ssh"))
        .arg("box")
        .current_dir(site.world.repo());
    let mut child = sftp.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"put README.md\n").unwrap();
    let (code, _, stderr) = end(child);
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(std::fs::read_to_string(site.sshd.home().join("README.md")).unwrap(), "hello\n");
    if crabbox_tests::tool("rsync").is_some() {
        let (code, _, stderr) =
            ended(site.world.command("rsync").args(["-a", "--exclude=.git", "./", "box:all/"]));
        assert_eq!(code, 0, "{stderr}");
        assert!(site.sshd.home().join("all/src/main.c").exists());
    }
}

#[test]
fn a_cut_connection_ends_the_client_and_not_the_command() {
    let Some(mut site) = Site::new() else { return };
    let child = site.start(&[]);
    assert!(!site.sshd.processes().is_empty());
    site.sshd.stop();
    assert_eq!(end(child).0, 255);
    wait_for("the end of the connection", || site.sshd.open_connections() == 0);
    assert!(!site.sshd.processes().is_empty());
    let (code, _, stderr) = site.run(&["box", "true"]);
    assert_eq!(code, 255);
    assert_has(&stderr, &["Connection refused"]);
    site.sshd.resume();
    assert_eq!(site.run(&["box", "true"]).0, 0);
}

#[test]
fn a_client_that_is_killed_leaves_the_command() {
    let Some(site) = Site::new() else { return };
    let mut child = site.start(&[]);
    child.kill().unwrap();
    child.wait().unwrap();
    wait_for("the end of the connection", || site.sshd.open_connections() == 0);
    assert!(!site.sshd.processes().is_empty());
    site.sshd.reboot();
    assert_eq!(site.sshd.processes(), Vec::<u32>::new());
}

#[test]
fn a_frozen_connection_is_noticed_by_who_asks_for_signs_of_life() {
    let Some(site) = Site::new() else { return };
    let child = site.start(&["-oServerAliveInterval=1", "-oServerAliveCountMax=1"]);
    site.sshd.freeze();
    let (code, _, stderr) = end(child);
    assert_eq!(code, 255);
    assert_has(&stderr, &["Timeout, server 127.0.0.1 not responding"]);
    assert!(!site.sshd.processes().is_empty());
    site.sshd.thaw();
}

#[test]
fn a_connection_can_be_slow_or_dropped() {
    let Some(site) = Site::new() else { return };
    site.sshd.faults(|faults| faults.drops = 1);
    assert_eq!(site.run(&["box", "true"]).0, 255);
    assert_eq!(site.run(&["box", "true"]).0, 0);
    site.sshd.faults(|faults| faults.delay = Duration::from_secs(600));
    let (code, _, stderr) = site.run(&["-oConnectTimeout=1", "box", "true"]);
    assert_eq!(code, 255);
    assert_has(&stderr, &["timed out"]);
}

#[test]
fn nothing_of_it_survives() {
    let Some(site) = Site::new() else { return };
    let child = site.start(&[]);
    let away = "setsid sleep 600 >/dev/null 2>&1 </dev/null & touch away";
    assert_eq!(site.run(&["box", away]).0, 0);
    let (home, processes) = (site.sshd.home(), site.sshd.processes());
    assert!(processes.len() >= 2, "{processes:?}");
    drop(site.sshd);
    assert_eq!(end(child).0, 255);
    assert!(!home.exists());
    let gone = |pid: &u32| !Path::new(&format!("/proc/{pid}")).exists();
    wait_for("the end of every process", || processes.iter().all(gone));
}
