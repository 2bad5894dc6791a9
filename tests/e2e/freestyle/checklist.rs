//! What bit others on Freestyle, one after the other, and where each is held on version 5 of the API. Tests are in this
//! file or in the named one beside it, or are unit tests of the provider or the kit.
//!
//! | what | test |
//! |---|---|
//! | 1. a path is encoded | `a_path_is_encoded_wherever_it_goes`, `what_means_something_in_a_url_is_encoded` |
//! | 2. files when the API for them fails | `put::*`, `answers::what_was_not_written_is_not_believed` |
//! | 3. no size that nobody asked for | `a_size_is_asked_for_where_one_is_configured`, `a_size_is_the_smallest_snapshot_that_has_it` |
//! | 4. no port without a request | `a_machine_is_made_closed_and_with_an_end` |
//! | 5. whose a machine is | `another_machine_of_the_account_is_nobodys_lease`, `a_slug_that_somebody_else_has_is_left_to_him`, `an_answer_that_tells_of_another_machine_is_not_believed`, `trouble::a_machine_that_is_not_ours_is_left_alone`, `a_machine_that_differs_is_not_the_leases` |
//! | 6. nothing leaks | `a_machine_that_cannot_be_used_is_deleted`, `a_deletion_that_fails_is_told_and_tried_again`, `answers::a_refusal_is_no_absence`, `trouble::a_creation_whose_answer_was_lost_is_found`, `crash::*` |
//! | 7. the key is in no text | `answers::an_answer_that_tells_the_key_is_cut_and_says_nothing_of_it`, `trouble::the_key_goes_to_the_configured_place_and_into_no_text` |
//! | 8. where the key goes | `only_the_user_says_where_the_key_goes_and_which_it_is`, `trouble::the_key_goes_to_the_configured_place_and_into_no_text`, `an_address_is_https_or_on_this_machine` |
//! | 9. every wait has an end | `a_command_may_always_take_as_long_as_it_is_said`, `answers::a_command_that_freestyle_ended_is_no_success`, `answers::an_old_agent_gets_what_it_can` |
//! | 10. the workspace's place | `what_a_build_left_is_there_without_a_sync`, `a_workspace_is_below_the_root`, `trouble::what_is_wrong_is_said_before_anything_is_asked` |
//! | 11. argv and environment | `arguments_and_variables_arrive_as_they_are`, `the_line_runs_the_argv_and_keeps_its_streams_apart` |
//! | 12. nothing before it runs | `nothing_is_ordered_before_the_machine_runs` |
//! | 13. pages, and mistakes told first | `trouble::short_pages_are_read_to_the_end`, `mistakes_are_told_before_anything_is_made` |

use std::os::unix::fs::PermissionsExt;

use crabbox_tests::freestyle::{KEY, Options, Request, Rule};
use crabbox_tests::wait_for;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::site::{Site, noise};
use super::talk::Talk;
use crate::support::{assert_has, claim};

/// The orders to make a machine so far.
fn creations(site: &Site) -> Vec<Value> {
    let is = |request: &Request| request.method == "POST" && request.path == "/v5/vms";
    site.cloud.requests().iter().filter(|request| is(request)).map(Request::json).collect()
}

#[test]
fn a_path_is_encoded_wherever_it_goes() {
    let Some(site) = Site::new() else { return };
    let (workdir, name) = ("a b+c%2Fd/é&x=1#?'\"$HOME", "new file & more");
    site.configure(json!({"workdir": workdir}));
    site.world.write(name, "text");
    assert_eq!(site.ok(&["run", "--", "cat", name]), "text");

    site.nothing_is_left();

    // A workspace goes along with a command, so that these paths are only in what is put.
    let Some(mut talk) = Talk::with(Options::default(), json!({"workdir": workdir})) else { return };
    let machine = talk.acquire();
    let root = talk.cloud.root(&machine);
    let large = format!("large {name}");
    for (size, to) in [(5, name.to_owned()), (9 << 20, large), (7, format!("/srv/{workdir}/{name}"))] {
        let bytes = noise(size);
        talk.cloud.forget();
        talk.put(&site.world.root(), &bytes, &to).result();
        let there = match to.strip_prefix('/') {
            Some(path) => root.join(path),
            None => root.join("workspace").join(workdir).join(&to),
        };
        assert!(std::fs::read(&there).unwrap() == bytes, "{}", there.display());
        assert_eq!(there.metadata().unwrap().permissions().mode() & 0o777, 0o640);
        let sha256: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        let says = |it: &Request| it.query.contains(&sha256) || it.json()["sha256"] == json!(sha256);
        assert!(talk.cloud.requests().iter().any(says), "what arrived is compared there, too");
    }
    talk.over();
}

#[test]
fn a_size_is_asked_for_where_one_is_configured() {
    let Some(site) = Site::new() else { return };
    let largest = "freestyle/ubuntu-2xl";
    for (config, snapshot, resized) in [
        (json!({}), None, None),
        (json!({"vcpus": 3}), Some("freestyle/ubuntu"), None),
        (json!({"memoryGb": 9}), Some("freestyle/ubuntu-lg"), None),
        (json!({"snapshot": "freestyle/busybox"}), Some("freestyle/busybox"), None),
        (json!({"memoryGb": 100}), Some(largest), Some(json!({"cpu": 32, "memory": 102_400}))),
    ] {
        site.configure(config.clone());
        site.cloud.forget();
        site.ok(&["warmup", "--slug", "demo"]);
        let made = creations(&site).remove(0);
        assert_eq!(made.get("snapshotId").and_then(Value::as_str), snapshot, "{config}");
        let known =
            ["autoDeleteSeconds", "displayName", "firewall", "metadata", "slug", "snapshotId", "ttlSeconds"];
        let strange = made.as_object().unwrap().keys().find(|key| !known.contains(&key.as_str()));
        assert_eq!(strange, None, "{config}");
        let requests = site.cloud.requests();
        let resize = requests.iter().find(|request| request.path.ends_with("/resize")).map(Request::json);
        assert_eq!(resize, resized, "{config}");
        site.ok(&["stop", "demo"]);
    }
    site.nothing_is_left();
}

#[test]
fn a_machine_is_made_closed_and_with_an_end() {
    let Some(site) = Site::new() else { return };
    site.ok(&["warmup", "--slug", "demo", "--ttl", "30m"]);
    let made = creations(&site).remove(0);
    let out = json!({"rules": [{"action": "allow", "source": {}, "destination": {"public": true}}]});
    assert_eq!((&made["firewall"], made.get("tls")), (&out, None));
    assert_eq!((&made["ttlSeconds"], &made["autoDeleteSeconds"]), (&json!(30 * 60 + 900), &json!(0)));
    assert_eq!(site.cloud.tls_rules(), Vec::<Value>::new());
    let (_, claim) = claim(&site.world);
    let digits = claim["lease"]["id"].as_str().unwrap().trim_start_matches("cbx_").to_owned();
    assert_eq!(made["slug"], json!(format!("crabbox-{digits}")));
    assert_eq!(made["metadata"]["crabbox-lease"], claim["lease"]["id"]);
    site.ok(&["stop", "demo"]);
    site.nothing_is_left();
}

#[test]
fn a_slug_that_somebody_else_has_is_left_to_him() {
    let Some(site) = Site::new() else { return };
    for (metadata, slug) in [
        (json!({}), "SLUG"),
        (json!({"crabbox": "true", "crabbox-lease": "cbx_000000000000"}), "SLUG"),
        (json!({"crabbox": "true", "crabbox-lease": "LEASE"}), "another"),
    ] {
        // Nobody knows the slug before, so that what is made by this lease is told as if it were somebody's.
        let his = json!({"id": "vm-00000000000000000000000000000000", "slug": slug, "state": "running",
            "metadata": metadata, "resources": {"cpu": 1, "memory": 1024}});
        site.cloud.rule(Rule::error("/v5/vms", 409, "CONFLICT", "the slug is taken").method("POST").exact());
        site.cloud.rule(Rule::status("/v5/vms/crabbox-", 200, &his.to_string()).method("GET").after(1));
        site.cloud.forget();
        let (code, _, stderr) = site.run(&["run", "--", "true"]);
        assert_eq!(code, 4, "{stderr}");
        assert_has(&stderr, &["is not this lease's"]);
        site.cloud.heal();
        let reassigns = |made: &Value| made.get("reassignSlug").is_some();
        assert!(!creations(&site).iter().any(reassigns), "a slug is never taken away");
        assert_eq!((site.asked("DELETE"), site.cloud.execs().len()), (0, 0));
        assert_eq!(site.world.json(&["list", "--json"]), json!([]), "certainly nothing was made");
    }
    site.nothing_is_left();
}

#[test]
fn an_answer_that_tells_of_another_machine_is_not_believed() {
    let Some(site) = Site::new() else { return };
    let other = "vm-00000000000000000000000000000000";
    let his = json!({"id": other, "slug": "other", "state": "running", "metadata": {},
        "resources": {"cpu": 1, "memory": 1024}});
    site.cloud.rule(Rule::status("/v5/vms", 201, &his.to_string()).method("POST").exact());
    site.configure(json!({"vcpus": 40, "linuxUser": "somebody"}));
    let (code, _, stderr) = site.run(&["run", "--", "true"]);
    assert_eq!(code, 4, "{stderr}");
    assert_has(&stderr, &["is not this lease's"]);
    assert!(site.cloud.requests().iter().all(|request| !request.path.contains(other)), "it is left alone");
}

#[test]
fn another_machine_of_the_account_is_nobodys_lease() {
    let Some(site) = Site::new() else { return };
    let mut strangers = Vec::new();
    for metadata in [json!({}), json!({"crabbox": "true"}), json!({"crabbox-lease": "cbx_000000000000"})] {
        strangers.push(site.make(&json!({"metadata": metadata, "firewall": {"rules": []}})));
    }
    site.ok(&["warmup", "--slug", "demo"]);
    assert_has(&site.ok(&["doctor"]), &["1 in this account"]);
    let list = site.ok(&["list", "--refresh", "--json"]);
    assert!(list.contains("demo") && !strangers.iter().any(|id| list.contains(id)), "{list}");
    site.ok(&["stop", "demo"]);
    site.ok(&["cleanup"]);
    let left: Vec<_> = site.cloud.vms().iter().map(|vm| vm["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(left, strangers);
}

#[test]
fn a_machine_that_cannot_be_used_is_deleted() {
    let Some(site) = Site::new() else { return };
    site.configure(json!({"memoryGb": 100}));
    site.cloud.rule(Rule::error("/resize", 400, "INVALID_REQUEST", "too large for your plan"));
    let (code, _, stderr) = site.run(&["run", "--", "true"]);
    assert_ne!(code, 0);
    assert_has(&stderr, &["too large for your plan"]);
    assert_eq!(creations(&site).len(), 1);
    site.nothing_is_left();
}

#[test]
fn a_deletion_that_fails_is_told_and_tried_again() {
    let Some(site) = Site::new() else { return };
    site.cloud.rule(Rule::error("/v5/vms/", 500, "INTERNAL", "no deletion today").method("DELETE"));
    let (code, stdout, stderr) = site.run(&["run", "--", "echo", "done"]);
    assert_eq!(stdout, "done\n");
    assert_has(&stderr, &["no deletion today", "crabbox"]);
    assert_ne!(code, 0, "something is left: {stderr}");
    assert_eq!(site.cloud.vms().len(), 1);
    claim(&site.world);
    wait_for("cleanup to try it", || {
        let (code, stdout, _) = site.run(&["cleanup"]);
        assert_eq!(code, i32::from(!stdout.contains("in use")), "{stdout}");
        code == 1
    });
    claim(&site.world);
    site.cloud.heal();
    site.clean();
    site.nothing_is_left();
}

#[test]
fn only_the_user_says_where_the_key_goes_and_which_it_is() {
    let Some(site) = Site::new() else { return };
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    other.set_nonblocking(true).unwrap();
    let elsewhere = format!("http://{}", other.local_addr().unwrap());
    let of_repository =
        site.world.write(".crabbox.yaml", json!({"freestyle": {"apiUrl": elsewhere}}).to_string());
    _ = site.run(&["run", "--no-sync", "--", "true"]);
    assert!(other.accept().is_err(), "a repository says where the key goes");
    std::fs::remove_file(of_repository).unwrap();

    site.cloud.forget();
    let mut command = site.crabbox(&["run", "--no-sync", "--", "true"]);
    command.env("CRABBOX_FREESTYLE_API_KEY", KEY).env("FREESTYLE_API_KEY", "another");
    let (code, _, stderr) = crabbox_tests::ended(&mut command);
    assert_eq!(code, 0, "{stderr}");
    assert!(site.cloud.requests().iter().all(|request| request.token() == Some(KEY)));
    let mut command = site.crabbox(&["run", "--no-sync", "--", "true"]);
    command.env("CRABBOX_FREESTYLE_API_KEY", "another").env("FREESTYLE_API_KEY", KEY);
    let (code, _, stderr) = crabbox_tests::ended(&mut command);
    assert_eq!(code, 3, "{stderr}");
    assert!(!stderr.contains("another"), "{stderr}");
    site.nothing_is_left();
}

#[test]
fn a_command_may_always_take_as_long_as_it_is_said() {
    let Some(site) = Site::new() else { return };
    let bodies = || {
        let is = |request: &Request| request.path.ends_with("/exec-await");
        let all: Vec<_> = site.cloud.requests().iter().filter(|it| is(it)).map(Request::json).collect();
        site.cloud.forget();
        all
    };
    site.ok(&["run", "--", "true"]);
    let all = bodies();
    assert!(!all.is_empty());
    assert!(all.iter().all(|body| body["timeoutMs"].is_u64()), "30 s if nothing is said: {all:#?}");
    assert_eq!(all.last().unwrap()["timeoutMs"], json!(86_400_000));
    let (code, _, stderr) = site.run(&["run", "--no-sync", "--timeout", "1s", "--", "sleep", "60"]);
    assert_eq!(code, 124, "{stderr}");
    // Its own deadline is the host's; Freestyle's is for when nobody is there any more.
    let limit = bodies()[0]["timeoutMs"].as_u64().unwrap();
    assert!((1_000..=120_000).contains(&limit), "{limit}");
    site.nothing_is_left();
}

#[test]
fn what_a_build_left_is_there_without_a_sync() {
    let Some(site) = Site::new() else { return };
    site.ok(&["warmup", "--slug", "demo"]);
    site.ok(&["run", "--id", "demo", "--", "sh", "-c", "mkdir -p target; echo built >target/it"]);
    site.world.write("README.md", "changed\n");
    let left = site.ok(&["run", "--id", "demo", "--no-sync", "--", "cat", "README.md", "target/it"]);
    assert_eq!(left, "hello\nbuilt\n");
    // Only what belongs to the run that looks.
    let places = site.ok(&["run", "--id", "demo", "--no-sync", "--", "ls", "-A", "/tmp"]);
    assert_eq!(places.lines().count(), 1, "{places}");
    site.ok(&["stop", "demo"]);
    site.nothing_is_left();
}

#[test]
fn arguments_and_variables_arrive_as_they_are() {
    let Some(site) = Site::new() else { return };
    let words = ["it's", "", "a b\n", "$HOME", "`id`", "\\", "\"", "*", "--", "é\u{1f980}", "!", "x;y&z|w>v"];
    let mut all = vec!["run", "--no-sync", "--allow-env", "WORD", "--", "sh", "-c"];
    all.extend(["printf '[%s]' \"$WORD\" \"$@\"", "sh"]);
    all.extend(words);
    let value = "it's\n$HOME `id`";
    let (code, stdout, stderr) = crabbox_tests::ended(site.crabbox(&all).env("WORD", value));
    let expected: String = [value].iter().chain(&words).map(|word| format!("[{word}]")).collect();
    assert_eq!((code, stdout), (0, expected), "{stderr}");
    let shell = ["run", "--no-sync", "--shell", "--", "echo $((1 + 2)) | cat; exit 9"];
    assert_eq!(site.run(&shell).1, "3\n");
    assert_eq!(site.run(&shell).0, 9);
    site.nothing_is_left();
}

#[test]
fn nothing_is_ordered_before_the_machine_runs() {
    let Some(site) = Site::new() else { return };
    site.cloud.faults(|faults| faults.boot_delay = std::time::Duration::from_secs(2));
    let (code, stdout, stderr) = site.run(&["run", "--", "echo", "in"]);
    assert_eq!((code, stdout.as_str()), (0, "in\n"), "{stderr}");
    assert_has(&stderr, &["is starting"]);
    let requests = site.cloud.requests();
    let made = requests.iter().position(|it| it.method == "POST" && it.path == "/v5/vms").unwrap();
    let order = |it: &Request| it.path.contains("/exec-await") || it.path.contains("/fs/");
    let begun = requests.iter().position(order).unwrap();
    let looks = requests[made..begun].iter().filter(|it| it.method == "GET").count();
    assert!(looks >= 3, "{:#?}", &requests[made..=begun]);
    site.nothing_is_left();
}

#[test]
fn mistakes_are_told_before_anything_is_made() {
    let Some(site) = Site::new() else { return };
    let mistakes =
        [json!({"vcpus": -1}), json!({"memoryGb": 0}), json!({"workdir": "/abs"}), json!({"nonsense": 1})];
    for config in mistakes {
        site.configure(config.clone());
        let (code, _, stderr) = site.run(&["run", "--", "true"]);
        assert_eq!(code, 2, "{config}: {stderr}");
    }
    site.configure(json!({}));
    assert_eq!(site.run(&["run"]).0, 2);
    assert_eq!(site.cloud.requests().len(), 0);
}
