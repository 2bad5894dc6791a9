//! Ways that lead nowhere.

use std::fs;

use crabbox_tests::sshd::{Agent, Identity, Options};
use crabbox_tests::{ended, wait_for};
use serde_json::{Value, json};

use super::site::Site;
use crate::support::{assert_has, end, spawn};

#[test]
fn a_destination_that_ssh_could_take_for_something_else_is_refused() {
    let Some(site) = Site::new() else { return };
    let trap = site.world.root().join("trapped");
    let option = format!("-oProxyCommand=touch${{IFS}}{}", trap.display());
    for (wrong, said) in [
        (json!({"host": option}), "the host"),
        (json!({"user": "a b"}), "the user"),
        (json!({"user": ""}), "the user"),
        (json!({"workRoot": "relative"}), "is not absolute"),
        (json!({"identityFile": "/a\"b"}), "identity file"),
        (json!({"proxyCommand": ["sh", "-c", "a\nb"]}), "control characters"),
    ] {
        site.leads(&wrong);
        let (code, _, stderr) = site.run(&["run", "--", "true"]);
        assert_eq!(code, 1, "{wrong}: {stderr}");
        assert_has(&stderr, &["handed over an SSH destination that is none", said]);
        assert!(!trap.exists());
        site.nothing_is_left();
    }
    assert_eq!(site.sshd.connections(), 0);
}

#[test]
fn a_machine_that_shows_another_host_key_is_refused() {
    let Some(site) = Site::new() else { return };
    let (code, _, stderr) = site.run(&["run", "--", "true"]);
    assert_eq!(code, 0, "{stderr}");
    site.sshd.replace_host_key();
    let (code, _, stderr) = site.run(&["run", "--", "true"]);
    assert_eq!(code, 3, "{stderr}");
    assert_has(&stderr, &["another host key than the one that is known", "known_hosts/"]);
    site.nothing_is_left();
    // Another machine of the provider's is another name.
    site.leads(&json!({"hostKeyId": "the machine that was made anew"}));
    assert_eq!(site.run(&["run", "--", "true"]).0, 0);
}

#[test]
fn a_machine_that_the_user_does_not_know_is_refused() {
    let Some(site) = Site::new() else { return };
    site.leads(&json!({"hostKeyId": null}));
    let (code, _, stderr) = site.run(&["run", "--", "true"]);
    assert_eq!(code, 3, "{stderr}");
    assert_has(&stderr, &["host key is not known", "connect once by hand"]);
    site.nothing_is_left();
    site.client.knows(&format!("[127.0.0.1]:{}", site.sshd.port()), &site.sshd);
    let (code, _, stderr) = site.run(&["run", "--", "true"]);
    assert_eq!(code, 0, "{stderr}");
    site.nothing_is_left();
}

#[test]
fn a_key_with_a_passphrase_needs_an_agent_and_nobody_is_asked() {
    let Some(site) = Site::with(Options::default()) else { return };
    let key = Identity::with_passphrase(&site.world.home().join(".ssh/id_locked"), "secret");
    site.sshd.authorize(&key.public());
    site.leads(&json!({"identityFile": key.path()}));
    let (code, _, stderr) = site.run(&["run", "--", "true"]);
    assert_eq!(code, 3, "{stderr}");
    assert_has(&stderr, &["does not let you in", "Permission denied", "ssh-add"]);
    site.nothing_is_left();
    let agent = Agent::start();
    agent.add(&key, "secret");
    let mut run =
        site.world.crabbox(&["run", "--provider", "away", "--", "sh", "-c", "echo \"<$SSH_AUTH_SOCK>\""]);
    let (code, stdout, stderr) = ended(run.env("SSH_AUTH_SOCK", agent.socket()));
    assert_eq!((code, stdout.as_str()), (0, "<>\n"), "the agent is not lent: {stderr}");
    site.nothing_is_left();
}

#[test]
fn a_machine_that_is_not_up_yet_is_waited_for() {
    let Some(site) = Site::new() else { return };
    site.stands("starting");
    site.sshd.faults(|faults| faults.drops = 3);
    let (code, stdout, stderr) = site.run(&["run", "--", "echo", "up"]);
    assert_eq!((code, stdout.as_str()), (0, "up\n"), "{stderr}");
    assert_has(&stderr, &["cannot connect to", "trying again"]);
    assert_eq!(site.sshd.connections(), 4, "one at a time");
    site.nothing_is_left();
}

#[test]
fn a_machine_that_stopped_or_failed_is_not_waited_for() {
    for state in ["stopped", "failed"] {
        let Some(mut site) = Site::new() else { return };
        site.sshd.stop();
        site.stands(state);
        let (code, _, stderr) = site.run(&["run", "--", "true"]);
        assert_eq!(code, 5, "{stderr}");
        assert_has(&stderr, &["cannot be reached", &format!("it is {state}"), "Connection refused"]);
        site.nothing_is_left();
    }
}

#[test]
fn a_machine_is_ready_when_its_command_says_so() {
    let Some(site) = Site::new() else { return };
    let flag = site.sshd.home().join("ready");
    site.leads(&json!({"readyCommand": format!("test -e '{}'", flag.display())}));
    site.stands("starting");
    let child = spawn(&mut site.world.crabbox(&["run", "--provider", "away", "--", "echo", "ready"]));
    wait_for("an attempt", || site.sshd.sessions().len() >= 2);
    fs::write(flag, "").unwrap();
    let (code, stdout, stderr) = end(child);
    assert_eq!((code, stdout.as_str()), (0, "ready\n"), "{stderr}");
    assert_has(&stderr, &["is not ready yet"]);
    site.nothing_is_left();
}

#[test]
fn a_shell_that_talks_before_every_command_is_told() {
    let Some(site) = Site::with(Options { shell: Some("/bin/bash".into()), ..Options::default() }) else {
        return;
    };
    fs::write(site.sshd.home().join(".bashrc"), "echo Welcome\n").unwrap();
    let (code, _, stderr) = site.run(&["run", "--", "true"]);
    assert_eq!(code, 3, "{stderr}");
    assert_has(&stderr, &["says something before every command", "Welcome", ".bashrc"]);
    site.nothing_is_left();
}

#[test]
fn a_directory_that_cannot_be_made_is_told() {
    let Some(site) = Site::new() else { return };
    fs::write(site.sshd.home().join("file"), "").unwrap();
    site.leads(&json!({"workRoot": site.sshd.home().join("file/below")}));
    let (code, _, stderr) = site.run(&["run", "--", "true"]);
    assert_eq!(code, 3, "{stderr}");
    assert_has(&stderr, &["cannot use", "file/below"]);
    site.nothing_is_left();
}

#[test]
fn without_ssh_nothing_is_made() {
    let Some(site) = Site::new() else { return };
    let mut run = site.world.crabbox(&["run", "--provider", "away", "--", "true"]);
    let starts = site.world.starts("away");
    // A PATH on which there is what the plugin needs, and no ssh.
    let bin = site.world.root().join("few");
    fs::create_dir(&bin).unwrap();
    for name in ["sh", "cat", "git"] {
        std::os::unix::fs::symlink(crabbox_tests::tool(name).unwrap(), bin.join(name)).unwrap();
    }
    fs::copy(site.world.bin().join("crabbox-provider-away"), bin.join("crabbox-provider-away")).unwrap();
    let (code, _, stderr) = ended(run.env("PATH", &bin));
    assert_eq!(code, 3, "{stderr}");
    assert_has(&stderr, &["there is no `ssh` on PATH", "install OpenSSH"]);
    assert_eq!(site.world.json(&["list", "--json"]), json!([]));
    assert!(site.world.starts("away") <= starts + 1, "it was asked who it is, and no more");
}

#[test]
fn a_provider_that_hands_over_no_way_is_told() {
    let Some(site) = Site::new() else { return };
    fs::write(site.world.root().join("ssh.json"), Value::Null.to_string()).unwrap();
    let (code, _, stderr) = site.run(&["run", "--", "true"]);
    assert_eq!(code, 1, "{stderr}");
    assert_has(&stderr, &["does not say how lease", "fault of crabbox-provider-away"]);
    site.nothing_is_left();
}

/// As after a night in which the lid was closed: the connection seems to stand, and nobody is there.
#[test]
fn a_connection_that_nobody_answers_any_more_is_made_anew() {
    let Some(site) = Site::new() else { return };
    assert_eq!(site.run(&["warmup", "--slug", "there"]).0, 0);
    site.unused_for_an_hour();
    site.sshd.freeze();
    let (code, stdout, stderr) = site.world.run(&["run", "--id", "there", "--", "echo", "awake"]);
    assert_eq!((code, stdout.as_str()), (0, "awake\n"), "{stderr}");
    assert_eq!(site.sshd.connections(), 2);
    site.sshd.thaw();
    assert_eq!(site.world.run(&["stop", "there"]).0, 0);
    site.nothing_is_left();
}

#[test]
fn whoever_comes_when_there_is_no_room_does_not_end_what_runs() {
    let options = Options { config: "MaxSessions 1\n".to_owned(), ..Options::default() };
    let Some(site) = Site::with(options) else { return };
    assert_eq!(site.run(&["warmup", "--slug", "there"]).0, 0);
    let (up, go) = (site.sshd.home().join("up"), site.sshd.home().join("go"));
    let line =
        format!("touch '{}'; while [ ! -e '{}' ]; do sleep 0.2; done; echo done", up.display(), go.display());
    let first = spawn(&mut site.world.crabbox(&["run", "--id", "there", "--", "sh", "-c", &line]));
    wait_for("the command", || up.exists());
    for _ in 0..2 {
        let (code, _, stderr) = site.world.run(&["run", "--id", "there", "--no-sync", "--", "true"]);
        assert_eq!(code, 7, "{stderr}");
        assert_has(&stderr, &["takes no more sessions", "MaxSessions"]);
        site.unused_for_an_hour();
    }
    fs::write(go, "").unwrap();
    let (code, stdout, stderr) = end(first);
    assert_eq!((code, stdout.as_str()), (0, "done\n"), "{stderr}");
    assert_eq!(site.world.run(&["stop", "there"]).0, 0);
    site.nothing_is_left();
}

#[test]
fn a_command_behind_a_connection_that_died_without_a_word_is_ended_by_another() {
    let Some(site) = Site::new() else { return };
    assert_eq!(site.run(&["warmup", "--slug", "there"]).0, 0);
    let up = site.sshd.home().join("up");
    let line = format!("touch '{}'; sleep 600", up.display());
    let child = spawn(&mut site.world.crabbox(&["run", "--id", "there", "--", "sh", "-c", &line]));
    wait_for("the command", || up.exists());
    site.sshd.freeze();
    let pid = rustix::process::Pid::from_raw(child.id().try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let (code, _, stderr) = end(child);
    assert_eq!(code, 130, "{stderr}");
    assert_eq!(site.sshd.connections(), 2);
    site.sshd.thaw();
    assert_eq!(site.world.run(&["stop", "there"]).0, 0);
    site.nothing_is_left();
}

#[test]
fn a_place_that_others_can_look_into_is_not_believed() {
    use std::os::unix::fs::PermissionsExt;
    let Some(site) = Site::new() else { return };
    assert_eq!(site.run(&["warmup", "--slug", "there"]).0, 0);
    fs::set_permissions(site.place(), fs::Permissions::from_mode(0o755)).unwrap();
    let (code, _, stderr) = site.world.run(&["run", "--id", "there", "--", "true"]);
    assert_eq!(code, 1, "{stderr}");
    assert_has(&stderr, &["is not a directory of yours alone", "XDG_RUNTIME_DIR"]);
    fs::set_permissions(site.place(), fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(site.world.run(&["stop", "there"]).0, 0);
    site.nothing_is_left();
}

/// On the way to a lease that does not answer yet, a provider that cannot tell is no reason to give up.
#[test]
fn a_provider_that_cannot_tell_meanwhile_is_asked_again() {
    let Some(site) = Site::new() else { return };
    site.sshd.faults(|faults| faults.drops = 2);
    site.stands("\",\"no state\":\"");
    let (code, stdout, stderr) = site.run(&["run", "--", "echo", "up"]);
    assert_eq!((code, stdout.as_str()), (0, "up\n"), "{stderr}");
    site.nothing_is_left();
}

#[test]
fn ctrl_c_while_the_provider_is_asked_ends_that_and_undoes_the_lease() {
    let Some(mut site) = Site::new() else { return };
    site.sshd.stop();
    let (state, other) = (site.world.root().join("state"), site.world.root().join("other"));
    fs::remove_file(&state).unwrap();
    // Whoever reads it waits.
    assert!(site.world.command("mkfifo").arg(&state).status().unwrap().success());
    let child = spawn(&mut site.world.crabbox(&["run", "--provider", "away", "--", "true"]));
    let reads = format!("cat {}", state.display());
    wait_for("the question", || site.world.processes().iter().any(|line| line.trim() == reads));
    fs::write(&other, "ready").unwrap();
    fs::rename(&other, &state).unwrap();
    let pid = rustix::process::Pid::from_raw(child.id().try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let (code, _, stderr) = end(child);
    assert_eq!(code, 130, "{stderr}");
    assert!(!stderr.contains("undoing it failed"), "{stderr}");
    site.nothing_is_left();
}
