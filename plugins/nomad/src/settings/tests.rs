use serde_json::{Value, json};

use super::*;

fn settings(changes: Value) -> Result<Settings, Vec<String>> {
    let mut config = json!({"address": "http://127.0.0.1:4646"});
    config.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    let config = serde_json::from_value(config).unwrap();
    Settings::new(config, |_| Some(" 12345678-secret\n".to_owned()))
        .map_err(|problems| problems.into_iter().map(|problem| problem.key).collect())
}

#[test]
fn the_defaults_are_those_of_the_documentation() {
    let settings = settings(json!({})).unwrap();
    assert_eq!((settings.driver.as_str(), settings.image.as_deref()), ("docker", Some("ubuntu:24.04")));
    assert_eq!(
        (settings.task.as_str(), settings.region(), &*settings.namespace),
        ("crabbox", "global", "default")
    );
    assert_eq!((settings.cpu, settings.memory_mb, settings.disk_mb), (1000, 2048, 1024));
    assert_eq!(settings.eval_timeout, Duration::from_secs(300));
    assert_eq!(settings.alloc_ready_timeout, Duration::from_secs(300));
    assert_eq!(settings.exec_timeout, None);
    assert_eq!(settings.directory("cbx_1").as_deref(), Some("/workspace/crabbox"));
    assert_eq!(settings.token.unwrap().expose(), "12345678-secret");
}

#[test]
fn every_problem_is_named_at_once() {
    let keys = settings(json!({
        "address": "nomad", "tokenEnv": "1X", "task": "a/b", "driver": "", "workdir": "/tmp/", "image": "",
        "jobspecTemplate": "/job.hcl", "datacenters": ["a", ""], "region": "a\nb",
    }));
    assert_eq!(
        keys.unwrap_err(),
        ["address", "tokenEnv", "task", "driver", "region", "datacenters", "workdir", "jobspecTemplate"]
    );
    assert_eq!(settings(json!({"image": ""})).unwrap_err(), ["image"]);
    assert!(settings(json!({"image": "", "jobspecTemplate": "/job.json"})).is_ok());
    assert!(settings(json!({"image": "", "driver": "raw_exec"})).is_ok());
    assert_eq!(settings(json!({"address": null})).unwrap_err(), ["address"]);
    for name in ["alloc", "a\0", "", "${x}"] {
        assert_eq!(settings(json!({"task": name})).unwrap_err(), ["task"], "{name}");
    }
}

#[test]
fn a_workspace_is_never_a_directory_of_the_system() {
    for broad in BROAD {
        for text in [broad.to_string(), format!("{broad}/"), format!("/.{broad}/."), format!("/{broad}")] {
            assert_eq!(settings(json!({"workdir": text})).unwrap_err(), ["workdir"], "{text}");
        }
    }
    for text in ["workspace", "./x", "/srv/../etc", ""] {
        assert_eq!(settings(json!({"workdir": text})).unwrap_err(), ["workdir"], "{text}");
    }
    let settings = settings(json!({"workdir": "//srv//./box/"})).unwrap();
    assert_eq!(settings.directory("cbx_1").as_deref(), Some("/srv/box"));
}

#[test]
fn with_raw_exec_every_lease_has_a_directory_of_its_own() {
    let settings_of = |changes| settings(changes).unwrap();
    assert_eq!(settings_of(json!({"driver": "raw_exec"})).directory("cbx_1"), None);
    let shared = settings_of(json!({"driver": "raw_exec", "workdir": "/srv/box"}));
    assert_eq!(shared.directory("cbx_1").as_deref(), Some("/srv/box/cbx_1"));
}

#[test]
fn a_credential_is_told_from_another_and_not_what_it_is() {
    let of = |changes: Value, token: Option<&str>| {
        let mut config = json!({"address": "http://127.0.0.1:4646"});
        config.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        let config = serde_json::from_value(config).unwrap();
        Settings::new(config, |_| token.map(str::to_owned)).unwrap().fingerprint()
    };
    let one = of(json!({}), Some("12345678-secret"));
    assert_eq!(one, of(json!({"tokenEnv": "OTHER"}), Some("12345678-secret\n")));
    for other in [of(json!({}), Some("87654321-secret")), of(json!({"task": "t"}), Some("12345678-secret"))] {
        assert!(other.is_some() && one != other, "{other:?}");
    }
    assert_eq!((of(json!({}), None), of(json!({}), Some(" "))), (None, None));
    assert!(!one.unwrap().contains("secret"));
}

#[test]
fn the_scope_depends_on_address_namespace_region_and_task() {
    let scope = |changes| settings(changes).unwrap().scope();
    let one = scope(json!({}));
    assert_eq!(
        one,
        scope(json!({"region": "global", "namespace": "default", "address": "HTTP://127.0.0.1:4646/"}))
    );
    assert_eq!(one, scope(json!({"cpu": 7, "image": "x", "driver": "exec"})));
    for other in [
        json!({"address": "http://127.0.0.1:4647"}),
        json!({"namespace": "n"}),
        json!({"region": "r"}),
        json!({"task": "t"}),
    ] {
        assert_ne!(one, scope(other.clone()), "{other}");
    }
    assert!(!one.contains("127.0.0.1"));
}
