//! Version 1 of the API: the life of a lease, and what is different in it.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crabbox_tests::freestyle::{Effect, Emulator, Options, Request, Rule};
use crabbox_tests::wait_for;
use serde_json::{Value, json};

use super::site::{Site, noise};
use super::talk::{NAME, Talk};
use crate::support::{assert_has, spawn};

fn site() -> Option<Site> {
    let site = Site::new()?;
    site.configure(json!({"apiVersion": "v1"}));
    Some(site)
}

/// The requests so far with this method, whose path contains this.
fn asked(cloud: &Emulator, method: &str, path: &str) -> Vec<Request> {
    let fits = |request: &Request| request.method == method && request.path.contains(path);
    cloud.requests().into_iter().filter(fits).collect()
}

/// The bytes of every file that was written by the API.
fn written(cloud: &Emulator) -> Vec<u8> {
    let content = |request: Request| STANDARD.decode(request.json()["content"].as_str().unwrap()).unwrap();
    asked(cloud, "PUT", "/files/").into_iter().flat_map(content).collect()
}

#[test]
fn the_whole_life_of_a_lease_on_v1() {
    let Some(site) = site() else { return };
    assert_has(&site.ok(&["doctor"]), &["api", "version 1", "key", "leases", "names", "guard"]);
    assert_eq!(site.asked("GET"), site.cloud.requests().len(), "doctor only reads");
    site.ok(&["warmup", "--slug", "demo", "--ttl", "1h"]);
    let made = asked(&site.cloud, "POST", "/v1/vms").remove(0).json();
    let mut keys: Vec<_> = made.as_object().unwrap().keys().collect();
    keys.sort();
    assert_eq!(
        keys,
        ["idleTimeoutSeconds", "name", "persistence", "ports"],
        "nothing that was not configured"
    );
    assert_eq!((&made["ports"], &made["idleTimeoutSeconds"]), (&json!([]), &json!(3600 + 900)));
    assert_eq!(made["persistence"], json!({"type": "ephemeral", "deleteEvent": "OnSuspend"}));
    assert_eq!(site.cloud.mappings(), [], "nothing is published");
    let status: Value = serde_json::from_str(&site.ok(&["status", "demo", "--json"])).unwrap();
    assert_eq!((&status["state"], &status["ready"]), (&json!("ready"), &json!(true)), "{status}");
    assert_has(&site.ok(&["list"]), &["demo"]);

    // What the first command built is there for the second, and only what changed is sent.
    site.world.write("large.bin", noise(300_000));
    let build = ["run", "--id", "demo", "--", "sh", "-c", "mkdir -p target; cat src/main.c >>target/log"];
    site.ok(&build);
    site.cloud.forget();
    site.world.write("src/main.c", "int main(void) { return 3; }\n");
    let (_, _, stderr) = site.run(&build);
    assert_has(&stderr, &["1 file, "]);
    let sent = written(&site.cloud);
    assert!(sent.len() < 100_000, "{} bytes were sent for one small file", sent.len());
    let log = site.ok(&["run", "--id", "demo", "--", "cat", "target/log"]);
    assert_eq!(log, "int main(void) { return 0; }\nint main(void) { return 3; }\n");

    let script = "echo $GREETING; echo err >&2; exit 7";
    let both = ["run", "--id", "demo", "--allow-env", "GREETING", "--", "sh", "-c", script];
    let (code, stdout, stderr) = crabbox_tests::ended(site.crabbox(&both).env("GREETING", "hi there"));
    assert_eq!((code, stdout.as_str()), (7, "hi there\n"), "{stderr}");
    assert_has(&stderr, &["err\n"]);
    for (script, code) in [("kill -9 $$", 137), ("exit 255", 255), ("nonesuch", 127)] {
        let run = ["run", "--id", "demo", "--no-sync", "--", "sh", "-c", script];
        assert_eq!(site.run(&run).0, code, "{script}");
    }
    for request in asked(&site.cloud, "POST", "/exec-await") {
        let order = request.json();
        assert!(order["timeoutMs"].as_u64().unwrap() >= 30_000, "{order}");
        assert_eq!(request.headers["x-freestyle-vm-linux-user-id"], "root");
        assert!(!order["command"].as_str().unwrap().contains("hi there"), "it goes as a file");
    }
    for request in asked(&site.cloud, "PUT", "/files/") {
        assert_has(&request.path, &["/files/%2Ftmp%2F.crabbox-put-"]);
    }
    site.ok(&["stop", "demo"]);
    site.nothing_is_left();
}

#[test]
fn sizes_are_asked_for_in_a_template_and_a_plan_without_them_says_so() {
    let Some(site) = Site::with(Options { custom_sizing: false, ..Options::default() }) else { return };
    site.configure(json!({"apiVersion": "v1", "vcpus": 3, "memoryGb": 6}));
    let (code, _, stderr) = site.run(&["run", "--", "true"]);
    assert_eq!(code, 5, "{stderr}");
    assert_has(&stderr, &["CUSTOM_SIZING_NOT_ALLOWED", "`vcpus`"]);
    let made = asked(&site.cloud, "POST", "/v1/vms").remove(0).json();
    assert_eq!(made["template"], json!({"vcpuCount": 4, "memSizeGb": 6}));
    assert!(made.get("vcpuCount").is_none() && made.get("memSizeGb").is_none(), "{made}");
    assert_eq!(site.run(&["run", "--freestyle-vcpus", "33", "--", "true"]).0, 2);
    site.nothing_is_left();
}

#[test]
fn output_of_v1_is_whole_and_comes_while_the_command_runs() {
    let Some(site) = site() else { return };
    let script = "head -c 1500000 /dev/zero; printf '\\303' >&2; echo up >&2; read line <../go; \
                  printf '\\251\\000\\377'; echo end >&2; exit 9";
    let script = format!("mkfifo ../go; {script}");
    let mut child = spawn(&mut site.crabbox(&["run", "--keep", "--slug", "demo", "--", "sh", "-c", &script]));
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut seen = Vec::new();
    while !seen.ends_with(b"\xc3up\n") {
        assert_ne!(stderr.read_until(b'\n', &mut seen).unwrap(), 0, "{}", String::from_utf8_lossy(&seen));
    }
    let reader = std::thread::spawn(move || child.wait_with_output().unwrap());
    site.ok(&["run", "--id", "demo", "--no-sync", "--", "sh", "-c", "echo >../go"]);
    let output = reader.join().unwrap();
    assert_eq!(output.status.code(), Some(9));
    assert_eq!(output.stdout.len(), 1_500_003);
    assert!(output.stdout.ends_with(b"\0\xa9\0\xff"));
    site.ok(&["stop", "demo"]);
    site.nothing_is_left();
}

#[test]
fn a_large_tree_goes_in_pieces_that_are_put_together() {
    let Some(site) = site() else { return };
    let bytes = noise(5 << 20);
    site.world.write("large.bin", &bytes);
    site.ok(&["warmup", "--slug", "demo"]);
    site.cloud.rule(Rule::status("/files/", 503, "upstream connect error").times(1));
    let sum = site.ok(&["run", "--id", "demo", "--", "sh", "-c", "cat large.bin | sha256sum; ls -A /tmp"]);
    let expected: String = sha2::Digest::finalize(<sha2::Sha256 as sha2::Digest>::new_with_prefix(&bytes))
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_has(&sum, &[&expected]);
    assert!(!sum.contains("crabbox-put"), "{sum}");
    assert!(asked(&site.cloud, "PUT", "/files/").len() >= 3);
    site.ok(&["stop", "demo"]);
    site.nothing_is_left();
}

#[test]
fn a_command_that_was_ended_or_may_run_is_no_success() {
    let Some(mut talk) = Talk::with(Options::default(), json!({"apiVersion": "v1"})) else { return };
    talk.acquire();
    for (status, body, kind, remote) in [
        (200, r#"{"stdout":"","stderr":"","statusCode":null}"#, "deadline", "unknown"),
        (408, r#"{"error":"TIMEOUT"}"#, "deadline", "unknown"),
        (502, "upstream connect error", "unavailable", "unknown"),
        (400, r#"{"error":"VM_NOT_RUNNING"}"#, "provider", "absent"),
    ] {
        talk.cloud.rule(Rule::status("/exec-await", status, body).saying("the-one"));
        let error = talk.sh("echo the-one").error();
        assert_eq!(
            (&error["data"]["kind"], &error["data"]["remote"]),
            (&json!(kind), &json!(remote)),
            "{status}"
        );
        talk.cloud.heal();
    }
    talk.over();
}

#[test]
fn reading_the_output_may_fail_for_a_while_and_loses_nothing() {
    let Some(mut talk) = Talk::with(Options::default(), json!({"apiVersion": "v1"})) else { return };
    talk.acquire();
    for (status, body) in [
        (200, r#"{"stdout":"5\n","stderr":"","statusCode":0}"#),
        (200, r#"{"stdout":"","stderr":"","statusCode":null}"#),
        (200, r#"{"stdout":"","stderr":"sh: base64: not found","statusCode":127}"#),
        (503, "upstream connect error"),
    ] {
        talk.cloud.rule(Rule::status("/exec-await", status, body).saying("tail -c").times(4));
        let answer = talk.sh("echo out; echo err >&2; exit 3");
        assert_eq!(
            (answer.stdout.as_slice(), answer.stderr.as_slice()),
            (&b"out\n"[..], &b"err\n"[..]),
            "{body}"
        );
        assert_eq!(answer.result()["exitCode"], 3);
        talk.cloud.heal();
    }
    talk.over();
}

#[test]
fn answers_of_v1_in_the_background_are_asked_for_at_their_place_and_nowhere_else() {
    let Some(site) = site() else { return };
    site.cloud.faults(|faults| faults.always_background = true);
    site.cloud.rule(Rule::poll_unavailable(2));
    let (code, stdout, stderr) = site.run(&["run", "--", "sh", "-c", "sleep 1; echo in; exit 3"]);
    assert_eq!((code, stdout.as_str()), (3, "in\n"), "{stderr}");
    assert!(!asked(&site.cloud, "GET", "/auth/v1/background-requests/").is_empty());

    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    other.set_nonblocking(true).unwrap();
    let at = other.local_addr().unwrap();
    for url in [format!("http://{at}/auth/v1/background-requests/a"), "/v1/vms".to_owned()] {
        site.cloud.faults(|faults| faults.result_url = Some(url.clone()));
        assert_ne!(site.run(&["run", "--", "true"]).0, 0, "{url}");
    }
    assert!(other.accept().is_err(), "somebody connected to the other place");
    site.cloud.heal();
    site.clean();
    site.nothing_is_left();
}

#[test]
fn what_was_refused_in_the_background_is_refused() {
    // On version 1 the output is read in the background, too.
    let Some(mut talk) = Talk::with(Options::default(), json!({})) else { return };
    talk.acquire();
    talk.cloud.faults(|faults| faults.always_background = true);
    // A gateway does not say whose result it is.
    let mine = vec![("x-freestyle-background-request-id".to_owned(), "mine".to_owned())];
    for (headers, succeeds) in [(Vec::new(), true), (mine, false)] {
        let body = r#"{"code":"LIMIT_EXCEEDED","message":"no more"}"#.to_owned();
        let refused = Effect::Answer { status: 429, headers, body };
        talk.cloud.rule(Rule::new("/background-requests/", refused).times(1));
        let outcome = talk.sh("sleep 1").outcome.unwrap();
        assert_eq!(outcome.is_ok_and(|result| result["exitCode"] == 0), succeeds);
    }
    talk.over();
}

#[test]
fn a_machine_of_v1_that_sleeps_is_started_for_a_run_and_never_suspended() {
    let Some(mut talk) = Talk::with(Options::default(), json!({"apiVersion": "v1"})) else { return };
    let vm = talk.acquire();
    talk.cloud.pause(&vm);
    assert_eq!(talk.resolve(&talk.lease.clone(), "observe")["state"], "stopped");
    assert_eq!(talk.says("echo in"), "in\n");
    talk.cloud.pause(&vm);
    let ready = talk.resolve(&talk.lease.clone(), "use");
    assert_eq!(ready["state"], "starting", "{ready}");
    let stop = json!({"lease": talk.lease, "action": "stop", "reason": "user"});
    let error = talk.plugin.error("release", stop);
    assert_eq!(error["data"]["kind"], "unsupported", "it would be deleted: {error}");
    assert_eq!(talk.cloud.vms().len(), 1);
    talk.over();
}

#[test]
fn every_state_of_v1_is_told_for_what_it_is() {
    let Some(mut talk) = Talk::with(Options::default(), json!({"apiVersion": "v1"})) else { return };
    let vm = talk.acquire();
    for (state, expected) in [
        ("building", "starting"),
        ("starting", "starting"),
        ("running", "ready"),
        ("suspending", "stopped"),
        ("suspended", "stopped"),
        ("stopped", "stopped"),
        ("lost", "failed"),
        ("something new", "unknown"),
    ] {
        let body = json!({"id": vm, "name": NAME, "state": state}).to_string();
        talk.cloud.rule(Rule::status(&format!("/v1/vms/{vm}"), 200, &body).method("GET").exact().times(1));
        assert_eq!(talk.resolve(&talk.lease.clone(), "observe")["state"], expected, "{state}");
    }
    let lost = json!({"id": vm, "name": NAME, "state": "lost"}).to_string();
    talk.cloud.rule(Rule::status(&format!("/v1/vms/{vm}"), 200, &lost).method("GET").exact());
    let error = talk.plugin.error("acquire", json!({"lease": talk.lease, "keep": true}));
    assert_eq!(error["data"]["kind"], "unavailable", "it is not waited for: {error}");
    talk.cloud.heal();
    talk.over();
}

#[test]
fn a_machine_of_v1_that_is_gone_is_told_and_forgotten() {
    let Some(site) = site() else { return };
    site.ok(&["warmup", "--slug", "demo"]);
    let vm = site.cloud.vms()[0]["id"].as_str().unwrap().to_owned();
    site.cloud.vanish(&vm);
    let body = r#"{"error":"VM_DELETED","message":"it was deleted"}"#;
    site.cloud.rule(Rule::status(&format!("/v1/vms/{vm}"), 410, body));
    let (code, _, stderr) = site.run(&["run", "--id", "demo", "--", "true"]);
    assert_eq!(code, 4, "{stderr}");
    _ = site.run(&["stop", "demo"]);
    site.nothing_is_left();
}

#[test]
fn the_two_versions_know_nothing_of_each_others_machines() {
    let Some(site) = Site::new() else { return };
    site.ok(&["warmup", "--slug", "five"]);
    site.configure(json!({"apiVersion": "v1"}));
    site.ok(&["warmup", "--slug", "one"]);
    site.cloud.forget();
    for (slug, version) in [("five", "v5"), ("one", "v1")] {
        // What the lease was made with counts, and not what is configured now.
        assert_eq!(site.ok(&["run", "--id", slug, "--no-sync", "--", "echo", slug]), format!("{slug}\n"));
        let requests = site.cloud.requests();
        assert!(requests.iter().all(|request| request.path.contains(version)), "{requests:#?}");
        site.cloud.forget();
    }
    let other = ["run", "--id", "five", "--freestyle-api-version", "v1", "--no-sync", "--", "true"];
    let (code, _, stderr) = site.run(&other);
    assert_eq!(code, 4, "{stderr}");
    assert_eq!(site.cloud.requests().len(), 0);
    site.ok(&["stop", "five"]);
    site.ok(&["stop", "one"]);
    site.nothing_is_left();
}

#[test]
fn a_user_who_is_not_root_has_what_is_his() {
    for version in ["v5", "v1"] {
        let Some(site) = Site::new() else { return };
        site.configure(json!({"apiVersion": version, "linuxUser": "ubuntu"}));
        site.world.write("large.bin", noise(2 << 20));
        site.ok(&["warmup", "--slug", "demo"]);
        let script = "id -un; wc -c <large.bin; echo more >>large.bin; stat -c %U . large.bin; ls -A /tmp";
        let said = site.ok(&["run", "--id", "demo", "--", "sh", "-c", script]);
        if site.cloud.isolation().has_users() {
            assert!(said.starts_with("ubuntu\n2097152\nubuntu\nubuntu\n"), "{version}: {said}");
        }
        assert!(!said.contains("crabbox-put"), "{version}: {said}");
        site.ok(&["stop", "demo"]);
        site.nothing_is_left();
    }
}

#[test]
fn a_published_port_of_v1_is_taken_back_with_the_lease() {
    let Some(mut talk) = Talk::with(Options::default(), json!({"apiVersion": "v1"})) else { return };
    let vm = talk.acquire();
    assert_eq!(talk.bridge(8080, false, None)["state"], "unsupported");
    let open = talk.bridge(8080, true, None);
    let again = talk.bridge(8080, true, None);
    assert_eq!((&open["state"], &open["targets"]), (&json!("ready"), &again["targets"]), "once for a port");
    let (domain, to, port) = talk.cloud.mappings().remove(0);
    assert_eq!(
        (format!("https://{domain}"), to, port),
        (open["endpoint"].as_str().unwrap().to_owned(), vm, 8080)
    );
    assert_has(&domain, &["crabbox-", ".style.dev"]);
    assert!(!domain.contains(&NAME["crabbox-".len()..]), "it is not to be guessed");
    let unbridge = json!({"lease": talk.lease, "port": 8080});
    assert_eq!(talk.plugin.result("unbridge", unbridge.clone())["outcome"], "released");
    assert_eq!(talk.plugin.result("unbridge", unbridge)["outcome"], "absent");
    assert_eq!(talk.cloud.mappings(), []);
    talk.bridge(8080, true, None);
    talk.cloud.forget();
    let cloud = &talk.cloud;
    wait_for("the mapping", || cloud.mappings().len() == 1);
    assert_eq!(talk.release(), "released");
    assert_eq!(asked(&talk.cloud, "DELETE", "/domains/v1/mappings/").len(), 1, "not left to Freestyle");
    assert_eq!((talk.cloud.mappings(), talk.cloud.vms()), (vec![], vec![]));
}

#[test]
fn what_is_published_for_a_time_is_taken_back_when_it_is_over() {
    for version in ["v5", "v1"] {
        let Some(mut talk) = Talk::with(Options::default(), json!({"apiVersion": version})) else { return };
        talk.acquire();
        let open = talk.bridge(8080, true, Some(3_600_000));
        let expires = open["targets"][0]["expiresAt"].as_str().unwrap().to_owned();
        assert_has(open["message"].as_str().unwrap(), &["does not close it by itself"]);
        assert_eq!(
            talk.bridge(8080, true, Some(60_000))["targets"][0]["expiresAt"],
            expires,
            "it is still open"
        );
        let names = |talk: &Talk| talk.cloud.tls_rules().len() + talk.cloud.mappings().len();
        // Over at once, but for what is left of a second.
        talk.bridge(9090, true, Some(0));
        assert_eq!(names(&talk), 2);
        let mut over = Value::Null;
        wait_for("the end of a name", || {
            over = talk.bridge(9090, false, None);
            over["state"] == "unsupported"
        });
        assert_eq!(names(&talk), 2, "to look changes nothing");
        assert_has(over["message"].as_str().unwrap(), &["its time is over"]);
        talk.resolve(&talk.lease.clone(), "observe");
        assert_eq!(names(&talk), 2, "to look changes nothing");
        talk.resolve(&talk.lease.clone(), "use");
        assert_eq!(names(&talk), 1, "{version}");
        assert_eq!(talk.bridge(8080, false, None)["state"], "ready");
        talk.over();
    }
}

#[test]
fn the_checker_is_content_with_v1() {
    let Some(site) = site() else { return };
    let (code, stdout, stderr) = site.run(&["plugins", "check", "freestyle", "--live"]);
    assert_eq!(code, 0, "{stdout}{stderr}");
    assert!(!asked(&site.cloud, "POST", "/v1/vms").is_empty(), "it was version 1");
    site.nothing_is_left();
}
