//! Where the machine is: `~/.ssh/config`, `hosts`, and machines on the way.

use crabbox_tests::sshd::{Agent, Identity, Sshd};
use serde_json::json;

use super::Site;
use crate::support::assert_has;

#[test]
fn a_machine_is_what_the_users_ssh_calls_so() {
    let Some(site) = Site::new() else { return };
    site.configure(&json!({}));
    let (code, _, stderr) = site.run(&["run", "--", "true"]);
    assert_eq!(code, 2, "{stderr}");
    assert_has(&stderr, &["no machine is configured", "--ssh-host"]);
    let (code, _, stderr) = site.run(&["run", "--ssh-host", "box", "--", "true"]);
    assert_eq!(code, 0, "{stderr}");
    let (code, _, stderr) =
        crabbox_tests::ended(site.crabbox(&["run", "--", "true"]).env("CRABBOX_SSH_HOST", "box"));
    assert_eq!(code, 0, "{stderr}");
    site.nothing_is_left();
}

#[test]
fn a_machine_may_be_described_in_the_configuration() {
    let Some(site) = Site::new() else { return };
    let (port, user, root) = (site.sshd.port(), site.sshd.user(), site.sshd.home().join("elsewhere"));
    site.client.knows(&format!("[127.0.0.1]:{port}"), &site.sshd);
    let entry = json!({"host": "127.0.0.1", "port": port, "user": user, "identityFile": site.key.path(), "workRoot": root});
    site.configure(&json!({"host": "big", "hosts": {"big": entry}}));
    let (code, stdout, stderr) = site.run(&["run", "--", "pwd"]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.starts_with(root.to_str().unwrap()), "{stdout}");
    site.nothing_is_left();
}

/// The machine on the way is one that only lets through.
#[test]
fn machines_on_the_way_are_gone_through_as_ssh_or_the_configuration_says() {
    let Some(site) = Site::new() else { return };
    let Some(bastion) = Sshd::start() else { return };
    bastion.authorize(&site.key.public());
    site.client.host("bastion", &bastion, &site.key).knows("bastion", &bastion);
    site.client.configure(&format!(
        "Host behind\n  HostName 127.0.0.1\n  Port {}\n  User {}\n  IdentityFile {}\n  HostKeyAlias box\n  ProxyJump bastion\n",
        site.sshd.port(),
        site.sshd.user(),
        site.key.path().display()
    ));
    for config in [json!({"host": "behind"}), json!({"host": "box", "hosts": {"box": {"jump": "bastion"}}})] {
        let before = bastion.connections();
        site.configure(&config);
        let (code, stdout, stderr) = site.run(&["run", "--", "cat", "README.md"]);
        assert_eq!((code, stdout.as_str()), (0, "hello\n"), "{config}: {stderr}");
        // The provider's own, and the host's.
        assert!(bastion.connections() >= before + 3, "{config}");
        assert!(bastion.sessions().is_empty(), "nothing is executed there");
        site.nothing_is_left();
    }
}

#[test]
fn a_name_that_leads_elsewhere_is_another_place() {
    let Some(site) = Site::new() else { return };
    let Some(other) = Sshd::start() else { return };
    other.authorize(&site.key.public());
    site.client.host("other", &other, &site.key).knows("other", &other);
    let id = site.warm(&[]);
    for arguments in [&["stop", &id, "--ssh-host", "other"][..], &["stop", &id, "--ssh-work-root", "/x/y"]] {
        let (code, _, stderr) = site.run(arguments);
        assert_eq!(code, 4, "{stderr}");
        assert_has(&stderr, &["was made under scope"]);
    }
    assert_eq!(other.connections(), 0);
    assert_eq!(site.run(&["stop", &id]).0, 0);
    site.nothing_is_left();
}

#[test]
fn a_repository_does_not_choose_the_machine() {
    let Some(site) = Site::new() else { return };
    site.configure(&json!({}));
    let config = json!({"provider": "ssh", "ssh": {"host": "box", "hosts": {"box": {}}, "workRoot": "/x/y"}});
    site.world.write("crabbox.yaml", config.to_string());
    let (code, _, stderr) = site.run(&["run", "--", "true"]);
    assert_eq!(code, 2, "{stderr}");
    assert_has(
        &stderr,
        &["the repository's `ssh.host`, `ssh.hosts`, `ssh.workRoot` is ignored", "no machine is configured"],
    );
    assert_eq!(site.sshd.connections(), 0);
}

#[test]
fn upstreams_keys_are_ignored_with_a_warning() {
    let Some(site) = Site::new() else { return };
    site.world.write("crabbox.yaml", "ssh: {user: crabbox, port: \"2222\", key: ~/.ssh/id}\n");
    let (code, _, stderr) = site.run(&["run", "--", "true"]);
    assert_eq!(code, 0, "{stderr}");
    for key in ["user", "port", "key"] {
        assert_has(&stderr, &[&format!("`ssh.{key}` in "), "it is ignored"]);
    }
    site.nothing_is_left();
}

#[test]
fn a_key_may_be_in_an_agent_only() {
    let Some(site) = Site::new() else { return };
    let key = Identity::with_passphrase(&site.world.home().join(".ssh/id_locked"), "secret");
    site.sshd.authorize(&key.public());
    site.client.host("locked", &site.sshd, &key).knows("locked", &site.sshd);
    site.configure(&json!({"host": "locked"}));
    let (code, _, stderr) = site.run(&["run", "--", "true"]);
    assert_eq!(code, 3, "{stderr}");
    assert_has(&stderr, &["it does not let you in", "ssh-add -l"]);
    site.nothing_is_left();
    let agent = Agent::start();
    agent.add(&key, "secret");
    let mut run = site.crabbox(&["run", "--", "sh", "-c", "echo \"<$SSH_AUTH_SOCK>\""]);
    let (code, stdout, stderr) = crabbox_tests::ended(run.env("SSH_AUTH_SOCK", agent.socket()));
    assert_eq!((code, stdout.as_str()), (0, "<>\n"), "{stderr}");
    site.nothing_is_left();
}
