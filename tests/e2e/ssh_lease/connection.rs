//! What goes over the connection.

use std::fs;

use crabbox_tests::sshd::Options;
use crabbox_tests::{World, ended, tool, wait_for};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::site::Site;
use crate::support::{assert_has, end, spawn};

#[test]
fn output_is_whole_and_apart_and_no_value_is_on_a_command_line() {
    let Some(site) = Site::new() else { return };
    let line = "head -c 30000000 /dev/zero | tr '\\0' x; head -c 5000000 /dev/zero | tr '\\0' y >&2; echo \"$SECRET\"";
    let mut command =
        site.world.crabbox(&["run", "--provider", "away", "--allow-env", "SECRET", "--", "sh", "-c", line]);
    let (code, stdout, stderr) = ended(command.env("SECRET", "hunter2-in-the-clear"));
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout == "x".repeat(30_000_000) + "hunter2-in-the-clear\n");
    assert!(stderr.contains(&"y".repeat(5_000_000)));
    let said = site.sshd.sessions().join("\n");
    assert!(said.contains("eval") && !said.contains("hunter2"), "{said}");
    site.nothing_is_left();
}

#[test]
fn a_large_tree_goes_there() {
    let Some(site) = Site::new() else { return };
    let bytes: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(20_000_000).collect();
    site.world.write("large", &bytes);
    let (code, stdout, stderr) = site.run(&["run", "--", "sha256sum", "large"]);
    let hash: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!((code, stdout), (0, format!("{hash}  large\n")), "{stderr}");
    site.nothing_is_left();
}

#[test]
fn what_ssh_says_of_itself_is_told_from_the_command() {
    let Some(site) = Site::new() else { return };
    let (code, _, stderr) = site.run(&["run", "--", "sh", "-c", "exit 255"]);
    assert_eq!(code, 255, "{stderr}");
    site.nothing_is_left();
    // The same code, because the connection broke: it is none of the command's.
    assert_eq!(site.run(&["warmup", "--slug", "there"]).0, 0);
    let up = site.sshd.home().join("up");
    let line = format!("sleep 600 & touch '{}'; wait", up.display());
    let child = spawn(&mut site.world.crabbox(&["run", "--id", "there", "--", "sh", "-c", &line]));
    wait_for("the command", || up.exists());
    site.sshd.cut();
    let (code, _, stderr) = end(child);
    assert_eq!(code, 7, "{stderr}");
    assert_has(&stderr, &["the SSH connection to", "broke"]);
    assert!(!site.sshd.sessions().is_empty());
    let sleeps = site.sshd.processes().into_iter().any(|pid| {
        fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.starts_with("sleep\x00600"))
    });
    assert!(!sleeps, "the command was ended before crabbox said so");
    let (code, stdout, stderr) = site.world.run(&["run", "--id", "there", "--", "echo", "again"]);
    assert_eq!((code, stdout.as_str()), (0, "again\n"), "{stderr}");
    assert_eq!(site.world.run(&["stop", "there"]).0, 0);
    site.nothing_is_left();
}

#[test]
fn runs_beside_each_other_share_the_connection() {
    let Some(site) = Site::new() else { return };
    assert_eq!(site.run(&["warmup", "--slug", "there"]).0, 0);
    site.sshd.cut();
    let runs: Vec<_> = (0..4)
        .map(|n| {
            let n = n.to_string();
            let words =
                ["run", "--id", "there", "--no-sync", "--", "sh", "-c", "sleep 1; echo $0", n.as_str()];
            spawn(&mut site.world.crabbox(&words))
        })
        .collect();
    for (n, run) in runs.into_iter().enumerate() {
        let (code, stdout, stderr) = end(run);
        assert_eq!((code, stdout), (0, format!("{n}\n")), "{stderr}");
    }
    assert_eq!(site.sshd.connections(), 2, "one before it was cut, and one after");
    assert_eq!(site.world.run(&["stop", "there"]).0, 0);
    site.nothing_is_left();
}

/// A proxy that carries the connection to the machine, and writes down its words and its environment.
fn proxy(site: &Site, world: &World) -> std::path::PathBuf {
    let python = tool("python3").expect("asked before");
    let port = site.sshd.port();
    let text = format!(
        r#"#!{}
import os, select, socket, sys
with open({:?}, "w") as log: log.write("\n".join(sys.argv[1:]) + "\n" + "\n".join(sorted(os.environ)))
way = socket.create_connection(("127.0.0.1", {port}))
while True:
    for ready in select.select([0, way], [], [])[0]:
        bytes = os.read(0, 65536) if ready == 0 else way.recv(65536)
        if not bytes: sys.exit()
        way.sendall(bytes) if ready == 0 else os.write(1, bytes)
"#,
        python.display(),
        world.root().join("proxy.log").display().to_string(),
    );
    world.script("pro xy", &text)
}

#[test]
fn a_proxy_gets_its_words_as_they_are_and_the_environment_of_the_plugin() {
    let (Some(site), Some(_)) = (Site::new(), tool("python3")) else { return };
    let proxy = proxy(&site, &site.world);
    let words = ["it's", "100% %h ${HOME}", "$(touch /tmp/no)", "", "a;b", "-x"];
    let command: Vec<&str> = [proxy.to_str().unwrap()].into_iter().chain(words).collect();
    // Only the proxy leads to the machine.
    site.leads(&json!({"proxyCommand": command, "host": "nowhere.invalid", "port": 1}));
    let mut run = site.world.crabbox(&["run", "--provider", "away", "--", "echo", "there"]);
    let (code, stdout, stderr) = ended(run.env("AWAY_TOKEN", "1").env("OTHER_TOKEN", "2"));
    assert_eq!((code, stdout.as_str()), (0, "there\n"), "{stderr}");
    let log = fs::read_to_string(site.world.root().join("proxy.log")).unwrap();
    assert!(log.starts_with(&(words.join("\n") + "\n")), "{log}");
    assert!(log.contains("\nAWAY_TOKEN\n") && !log.contains("OTHER_TOKEN"), "{log}");
    site.nothing_is_left();
}

#[test]
fn a_jump_host_of_the_users_configuration_is_gone_through() {
    let (Some(jump), Some(site)) = (Site::new(), Site::new()) else { return };
    jump.sshd.authorize(&site.key.public());
    site.client.host("jump", &jump.sshd, &site.key).knows("jump", &jump.sshd);
    site.client.host("inside", &site.sshd, &site.key).knows("inside", &site.sshd);
    site.client
        .configure("Host inside\n  ProxyJump jump\nHost *\n  IgnoreUnknown UseKeychain\n  UseKeychain yes\n");
    let nothing = serde_json::Value::Null;
    site.leads(&json!({"host": "inside", "port": nothing, "identityFile": nothing, "hostKeyId": nothing}));
    let (code, stdout, stderr) = site.run(&["run", "--", "echo", "through"]);
    assert_eq!((code, stdout.as_str()), (0, "through\n"), "{stderr}");
    assert_eq!(jump.sshd.connections(), 1);
    site.nothing_is_left();
    wait_for("the end of the jump", || jump.sshd.open_connections() == 0);
}

#[test]
fn any_shell_that_a_user_may_have_will_do() {
    for shell in ["/bin/sh", "/bin/bash", "/bin/dash"] {
        let Some(site) = Site::with(Options { shell: Some(shell.into()), ..Options::default() }) else {
            return;
        };
        let (code, stdout, stderr) = site.run(&["run", "--", "printf", "%s|", "a b", "it's", "\\n"]);
        assert_eq!((code, stdout.as_str()), (0, "a b|it's|\\n|"), "{shell}: {stderr}");
        site.nothing_is_left();
    }
}
