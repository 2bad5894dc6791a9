//! What the user's `~/.ssh/config` says besides where the machine is, and must not get in the way.

use crabbox_tests::sshd::Sshd;
use serde_json::{Value, json};

use super::Site;
use crate::support::assert_has;

/// What the host says of a lease.
fn lease() -> Value {
    json!({"id": "cbx_0123456789ab", "slug": "demo", "name": "crabbox-demo-12345678"})
}

/// Each of them alone keeps the script from the machine, or its answer from here; of the machine, or of the one on the
/// way. An ssh that does not know one is told to ignore it, as the user's own is.
#[test]
fn the_users_ssh_may_be_configured_for_something_else_than_commands() {
    for line in [
        "StdinNull yes",
        "SessionType none",
        "ForkAfterAuthentication yes",
        "ProxyUseFdpass yes",
        "RemoteCommand echo mine",
        "RequestTTY force",
    ] {
        let Some(site) = Site::new() else { return };
        let Some(bastion) = Sshd::start() else { return };
        bastion.authorize(&site.key.public());
        site.client.host("bastion", &bastion, &site.key).knows("bastion", &bastion);
        site.client.configure(&format!(
            "Host *\n  IgnoreUnknown StdinNull,SessionType,ForkAfterAuthentication,UseKeychain\n  UseKeychain yes\n  {line}\n"
        ));
        for config in [json!({"host": "box"}), json!({"host": "box", "hosts": {"box": {"jump": "bastion"}}})]
        {
            let mut plugin = site.plugin([]);
            let configured = plugin.result("configure", json!({"config": config}));
            assert_eq!(configured.get("problems").unwrap_or(&json!([])), &json!([]), "{line}: {configured}");
            plugin.result("acquire", json!({"lease": lease(), "keep": true}));
            assert_eq!(site.leases().len(), 1, "{line}, {config}");
            let released =
                plugin.result("release", json!({"lease": lease(), "action": "delete", "reason": "user"}));
            assert_eq!(released["outcome"], "released", "{line}, {config}");
            assert!(plugin.close().success());
            // And so it is for the host's own connections.
            site.configure(&config);
            let (code, stdout, stderr) = site.run(&["run", "--", "cat", "README.md"]);
            assert_eq!((code, stdout.as_str()), (0, "hello\n"), "{line}, {config}: {stderr}");
            site.nothing_is_left();
        }
    }
}

/// ssh starts that of a jump host by itself, and without `BatchMode`. This one does not know the jump host's key.
#[test]
fn the_ssh_of_a_jump_host_asks_nobody() {
    let Some(site) = Site::new() else { return };
    let Some(bastion) = Sshd::start() else { return };
    bastion.authorize(&site.key.public());
    site.client.host("bastion", &bastion, &site.key);
    site.client.configure(&format!(
        "Host behind\n  HostName 127.0.0.1\n  Port {}\n  HostKeyAlias box\n  ProxyJump bastion\n",
        site.sshd.port()
    ));
    let asked = site.world.root().join("asked");
    let script = format!("#!/bin/sh\necho \"$1\" >>'{}'\necho no\n", asked.display());
    let ask = site.world.script("ask", &script);
    let mut plugin = site.plugin([("SSH_ASKPASS", ask.to_str().unwrap()), ("SSH_ASKPASS_REQUIRE", "force")]);
    plugin.result("configure", json!({"config": {"host": "behind"}}));
    let error = plugin.error("acquire", json!({"lease": lease(), "keep": true}));
    assert_eq!(error["data"]["kind"], "auth", "{error}");
    assert_has(&error.to_string(), &["its host key is not known"]);
    let asked = std::fs::read_to_string(asked).unwrap_or_default();
    assert_eq!(asked, "", "nobody is asked");
    assert!(plugin.close().success());
    site.nothing_is_left();
}

#[test]
fn a_user_that_a_lease_cannot_have_is_said_before_anything_is_made() {
    let Some(site) = Site::new() else { return };
    site.client.configure(&format!(
        "Host domain\n  HostName 127.0.0.1\n  Port {}\n  User DOMAIN\\ada\n",
        site.sshd.port()
    ));
    site.configure(&json!({"host": "domain"}));
    let (code, _, stderr) = site.run(&["run", "--", "true"]);
    assert_eq!(code, 2, "{stderr}");
    assert_has(&stderr, &["`ssh.host`", "DOMAIN", "`User` in your ~/.ssh/config"]);
    assert_eq!(site.sshd.connections(), 0);
    site.nothing_is_left();
}
