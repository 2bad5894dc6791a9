//! The ways to an agent that are not plain HTTP: TLS in all its settings, and sockets of this machine.

use crabbox_tests::ended;
use crabbox_tests::nomad::{Certificates, Options, Tls};
use serde_json::{Value, json};

use super::Site;
use crate::support::assert_has;

fn site(tls: Tls) -> (Site, Certificates) {
    let site = Site::with(Options { tls: Some(tls), ..Options::default() });
    let certificates = site.agent.certificates().unwrap().clone();
    (site, certificates)
}

/// A run from the beginning to the end, REST and exec, with these settings.
fn works(site: &Site, settings: Value) {
    site.configure(settings.clone());
    let (code, stdout, stderr) = site.run(&["run", "--", "echo", "here"]);
    assert_eq!((code, stdout.as_str()), (0, "here\n"), "{settings}: {stderr}");
    site.nothing_is_left();
}

/// A run that comes to nothing for a reason that the settings are to blame for. No request was made.
fn fails(site: &Site, settings: Value, says: &[&str]) {
    site.configure(settings.clone());
    site.agent.forget();
    let (code, _, stderr) = site.run(&["run", "--", "echo", "here"]);
    assert_eq!(code, 2, "{settings}: {stderr}");
    assert_has(&stderr, says);
    assert!(site.agent.requests().is_empty(), "{settings}");
    assert_eq!(site.world.json(&["list", "--json"]), json!([]));
}

#[test]
fn the_agents_certificate_has_to_be_of_an_authority_that_is_trusted() {
    let (site, files) = site(Tls::default());
    works(&site, json!({"caCert": files.ca}));
    works(&site, json!({"caPath": files.ca_directory}));
    works(&site, json!({"caCert": files.other_ca, "caPath": files.ca_directory}));
    works(&site, json!({"skipVerify": true}));
    let hint = "hint: check `caCert`, `caPath` and `tlsServerName`";
    fails(&site, json!({"caCert": files.other_ca}), &["TLS with the Nomad agent at https://127", hint]);
    fails(&site, json!({}), &["TLS with the Nomad agent at", hint]);
    fails(&site, json!({"caCert": "/nowhere/ca.pem"}), &["`nomad.caCert`", "/nowhere/ca.pem"]);
    let nonsense = site.world.root().join("ca.pem");
    std::fs::write(&nonsense, "hello\n").unwrap();
    fails(&site, json!({"caCert": nonsense}), &["`nomad.caCert`", "there is no certificate in"]);
    // As Nomad's own variables have it.
    site.configure(json!({}));
    let mut run = site.crabbox(&["run", "--", "echo", "here"]);
    let (code, stdout, stderr) = ended(run.env("NOMAD_CACERT", &files.ca));
    assert_eq!((code, stdout.as_str()), (0, "here\n"), "{stderr}");
    site.nothing_is_left();
}

#[test]
fn the_name_in_the_certificate_has_to_be_the_one_that_is_asked_for() {
    let names = vec!["server.global.nomad".to_owned()];
    let (site, files) = site(Tls { names, ..Tls::default() });
    works(&site, json!({"caCert": files.ca, "tlsServerName": "server.global.nomad"}));
    works(&site, json!({"skipVerify": true}));
    fails(&site, json!({"caCert": files.ca}), &["TLS with", "server.global.nomad"]);
    let other = json!({"caCert": files.ca, "tlsServerName": "server.mars.nomad"});
    fails(&site, other, &["TLS with", "`tlsServerName`"]);
}

#[test]
fn an_agent_that_wants_a_certificate_gets_the_configured_one() {
    let (site, files) = site(Tls { verify_client: true, ..Tls::default() });
    let with = json!({"caCert": files.ca, "clientCert": files.client, "clientKey": files.client_key});
    works(&site, with);
    fails(&site, json!({"caCert": files.ca}), &["TLS with", "`clientCert` and `clientKey`"]);
    let without_key = json!({"caCert": files.ca, "clientCert": files.client});
    fails(&site, without_key, &["`nomad.clientKey`: it is not set"]);
    let mixed = json!({"caCert": files.ca, "clientCert": files.ca, "clientKey": files.client_key});
    fails(&site, mixed, &["`nomad.clientKey`: it does not fit"]);
}

#[test]
fn speaking_tls_to_a_plain_port_and_the_other_way_round_is_told() {
    let plain = Site::new();
    let address = plain.agent.address().replace("http:", "https:");
    fails(&plain, json!({"address": address}), &["TLS with the Nomad agent at https://", "`http://`"]);
    let (site, _) = site(Tls::default());
    let address = site.agent.address().replace("https:", "http:");
    site.configure(json!({"address": address}));
    let (code, _, stderr) = site.run(&["run", "--", "true"]);
    assert_eq!(code, 2, "{stderr}");
    assert_has(&stderr, &["write the address with `https://`"]);
    assert!(site.agent.requests().is_empty());
}

#[test]
fn a_socket_of_this_machine_is_as_good() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("nomad.sock");
    let site = Site::with(Options { socket: Some(socket.clone()), ..Options::default() });
    // Nothing of TLS matters there.
    let address = site.agent.socket_address().unwrap();
    works(&site, json!({"address": address, "caCert": null, "tlsServerName": "server.global.nomad"}));
    let requests = site.agent.requests();
    assert!(requests.iter().all(|it| it.headers["host"] == "127.0.0.1"), "{requests:?}");
    site.configure(json!({"address": address + ".gone"}));
    let (code, _, stderr) = site.run(&["run", "--", "true"]);
    assert_eq!(code, 5, "{stderr}");
    assert_has(&stderr, &["cannot connect to the Nomad agent"]);
}
