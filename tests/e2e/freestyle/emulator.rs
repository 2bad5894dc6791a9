//! What the emulator does that no official client asks for: its faults, and what it refuses.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crabbox_tests::freestyle::{Effect, Emulator, KEY, Late, Options, RangeAtEnd, Rule};
use crabbox_tests::{skip, wait_for};
use serde_json::{Value, json};

const BACKGROUND: &str = "x-freestyle-background-after-secs: 0\r\n";

/// An answer.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    fn text(&self, name: &str) -> String {
        self.json()[name].as_str().unwrap().to_owned()
    }
}

/// Sends a request, and leaves the answer to come.
fn send(emulator: &Emulator, line: &str, headers: &str, body: &str) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", emulator.port())).unwrap();
    let length = body.len();
    let head =
        format!("{line} HTTP/1.1\r\nHost: api\r\nConnection: close\r\nAuthorization: Bearer {KEY}\r\n");
    write!(stream, "{head}{headers}Content-Length: {length}\r\n\r\n{body}").unwrap();
    stream
}

/// Asks. `None`: the connection is cut instead of an answer.
fn try_ask(emulator: &Emulator, line: &str, headers: &str, body: &str) -> Option<Answer> {
    let mut text = String::new();
    send(emulator, line, headers, body).read_to_string(&mut text).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, head: head.to_lowercase(), body: body.to_owned() })
}

fn ask(emulator: &Emulator, line: &str, body: &Value) -> Answer {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    try_ask(emulator, line, "", &body).unwrap()
}

fn create(emulator: &Emulator, slug: &str) -> String {
    let made = ask(emulator, "POST /v5/vms", &json!({"slug": slug, "firewall": {"rules": []}}));
    assert_eq!(made.status, 201, "{}", made.body);
    made.text("id")
}

fn exec(emulator: &Emulator, vm: &str, command: &str) -> Value {
    let ran = ask(emulator, &format!("POST /v5/vms/{vm}/exec-await"), &json!({"command": command}));
    assert_eq!(ran.status, 200, "{}", ran.body);
    ran.json()
}

/// An emulator whose guests have paths of their own. `None`: the kernel does not allow it, and that has been said.
fn isolated() -> Option<Emulator> {
    let emulator = Emulator::start();
    if !emulator.isolation().has_paths() {
        skip("unshare", "the kernel allows no mount namespaces");
        return None;
    }
    Some(emulator)
}

#[test]
fn a_body_that_is_not_understood_is_refused() {
    let emulator = Emulator::start();
    let refused = [
        json!({}),
        json!({"firewall": {"rules": []}, "name": "v1"}),
        json!({"firewall": {"rules": []}, "slug": 7}),
        json!({"firewall": {"rules": []}, "slug": "double--hyphen"}),
        json!({"firewall": {"rules": []}, "ttlSeconds": "60"}),
        json!({"firewall": {"rules": []}, "metadata": {"a": 1}}),
        json!({"firewall": {"rules": []}, "metadata": {"a": "x".repeat(64)}}),
        json!({"firewall": {"rules": [{"action": "allow", "source": {}, "destination": {}}]}}),
        json!({"firewall": {"rules": [{"action": "allow", "source": {}, "destination": {"port": 1, "public": true}}]}}),
        json!({"firewall": {"rules": []}, "tls": {"rules": [{"action": "allow", "domain": "a.style.dev",
            "source": {"public": true}, "destination": {}}]}}),
    ];
    for body in refused {
        let answer = ask(&emulator, "POST /v5/vms", &body);
        assert_eq!((answer.status, answer.text("code").as_str()), (400, "INVALID_REQUEST"), "{body}");
    }
    assert_eq!(emulator.vms(), Vec::<Value>::new());
    let unknown =
        ask(&emulator, "POST /v5/vms", &json!({"firewall": {"rules": []}, "snapshotId": "nothing"}));
    assert_eq!(unknown.status, 404);
    let key = format!("authorization: Bearer {KEY}");
    assert!(!format!("{:?}", emulator.requests()).to_lowercase().contains(&key), "the key is not printed");
    assert_eq!(emulator.requests()[0].token(), Some(KEY));
}

#[test]
fn a_create_lands_after_the_client_is_gone() {
    let emulator = Emulator::start();
    emulator.faults(|faults| faults.late_create = Some(Late::AfterHangUp(Duration::from_millis(300))));
    let stream = send(&emulator, "POST /v5/vms", BACKGROUND, r#"{"slug":"late","firewall":{"rules":[]}}"#);
    wait_for("the request", || emulator.requests().first().is_some_and(|request| request.length > 0));
    std::thread::sleep(Duration::from_millis(400));
    assert_eq!(emulator.vms().len(), 0, "as long as the client waits, nothing happens");
    drop(stream);
    wait_for("the VM", || emulator.vms().len() == 1);
    emulator.heal();
    assert_eq!(ask(&emulator, "GET /v5/vms/late", &Value::Null).status, 200);
}

#[test]
fn an_answer_is_lost_after_the_create() {
    let emulator = Emulator::start();
    emulator.rule(Rule::new("/v5/vms", Effect::CutAfter).method("POST").exact().times(1));
    assert!(try_ask(&emulator, "POST /v5/vms", "", r#"{"slug":"lost","firewall":{"rules":[]}}"#).is_none());
    assert_eq!(emulator.vms().len(), 1);
    let again = ask(&emulator, "POST /v5/vms", &json!({"slug": "lost", "firewall": {"rules": []}}));
    assert_eq!((again.status, again.text("code").as_str()), (409, "CONFLICT"));
}

#[test]
fn rules_answer_in_place_of_the_cloud() {
    let emulator = Emulator::start();
    emulator.rule(Rule::echo("/v5/vms", 500).times(1));
    assert!(ask(&emulator, "GET /v5/vms", &Value::Null).body.contains(KEY));
    emulator.rule(Rule::redirect("/v5/vms", 307, "http://127.0.0.1:1/v5/vms").times(1).after(1));
    assert_eq!(ask(&emulator, "GET /v5/vms", &Value::Null).status, 200);
    assert!(ask(&emulator, "GET /v5/vms", &Value::Null).head.contains("location: http://127.0.0.1:1/v5/vms"));
    emulator.rule(Rule::new("", Effect::Half).times(1));
    let half = try_ask(&emulator, "GET /v5/vms", "", "");
    assert!(half.is_none_or(|it| serde_json::from_str::<Value>(&it.body).is_err()));
    emulator.rule(Rule::new("", Effect::Cut));
    assert!(try_ask(&emulator, "GET /v5/vms", "", "").is_none());
    emulator.heal();
    assert_eq!(ask(&emulator, "GET /v5/vms", &Value::Null).status, 200);
}

#[test]
fn pages_can_be_of_one() {
    let emulator = Emulator::start();
    let ids: Vec<String> = ["a", "b", "c"].map(|slug| create(&emulator, slug)).into();
    emulator.faults(|faults| faults.page_size = Some(1));
    for (offset, id) in ids.iter().rev().enumerate() {
        let page = ask(&emulator, &format!("GET /v5/vms?limit=100&offset={offset}"), &Value::Null).json();
        assert_eq!((page["vms"][0]["id"].as_str().unwrap(), &page["totalCount"]), (&**id, &json!(3)));
    }
}

#[test]
fn a_vm_is_starting_for_a_while() {
    let emulator = Emulator::start();
    emulator.faults(|faults| faults.boot_delay = Duration::from_millis(500));
    let started = Instant::now();
    let made = ask(&emulator, "POST /v5/vms", &json!({"firewall": {"rules": []}}));
    assert_eq!(made.text("state"), "starting");
    assert_eq!(exec(&emulator, &made.text("id"), "echo up")["stdout"], "up\n");
    assert!(started.elapsed() >= Duration::from_millis(500));
    assert_eq!(emulator.vms()[0]["state"], "running");
}

#[test]
fn a_range_at_the_end_is_answered_in_several_ways() {
    let emulator = Emulator::start();
    let id = create(&emulator, "ranges");
    let write = format!("PUT /v5/vms/{id}/fs/write?path=/mnt/file");
    assert_eq!(try_ask(&emulator, &write, "", "abc").unwrap().status, 204);
    let read = format!("GET /v5/vms/{id}/fs/read?path=/mnt/file");
    let read = |range: &str| try_ask(&emulator, &read, &format!("Range: bytes={range}\r\n"), "").unwrap();
    assert_eq!((read("1-").status, read("1-").body.as_str()), (206, "bc"));
    for (way, status) in [
        (RangeAtEnd::NotSatisfiable, 416),
        (RangeAtEnd::Empty, 206),
        (RangeAtEnd::EmptyWhole, 200),
        (RangeAtEnd::NotFound, 404),
    ] {
        emulator.faults(|faults| faults.range_at_end = way);
        assert_eq!(read("3-").status, status);
    }
    emulator.faults(|faults| faults.lost_writes = true);
    assert_eq!(try_ask(&emulator, &write, "", "lost").unwrap().status, 204);
    assert_eq!(read("0-").body, "abc");
}

#[test]
fn a_command_in_the_background_is_polled_for() {
    let emulator = Emulator::start();
    let id = create(&emulator, "polls");
    let line = format!("POST /v5/vms/{id}/exec-await");
    let body = json!({"command": "sleep 0.3; echo done"}).to_string();
    let poll = |accepted: &Answer| {
        assert_eq!(accepted.status, 202);
        let url = format!("GET {}", accepted.text("resultUrl"));
        loop {
            let answer = ask(&emulator, &url, &Value::Null);
            if answer.status != 202 {
                return answer;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    let accepted = try_ask(&emulator, &line, BACKGROUND, &body).unwrap();
    assert!(accepted.head.contains("x-freestyle-background-request-id: "));
    assert_eq!(poll(&accepted).json()["stdout"], "done\n");

    emulator.rule(Rule::poll_unavailable(1));
    let away = poll(&try_ask(&emulator, &line, BACKGROUND, &body).unwrap());
    assert_eq!(away.status, 503);
    assert!(!away.head.contains("x-freestyle-background-request-id"), "this tells it from a result");

    emulator.faults(|faults| faults.unstorable = true);
    let lost = poll(&try_ask(&emulator, &line, BACKGROUND, &body).unwrap());
    assert_eq!(lost.text("code"), "BACKGROUND_RESULT_UNSTORABLE");

    emulator.faults(|faults| faults.result_url = Some("http://elsewhere.example/steal".to_owned()));
    let accepted = try_ask(&emulator, &line, BACKGROUND, &body).unwrap();
    assert_eq!(accepted.text("resultUrl"), "http://elsewhere.example/steal");
}

#[test]
fn the_agent_decides_how_long_a_command_may_run() {
    let emulator = Emulator::with(Options { native_agent: false, ..Options::default() });
    let id = create(&emulator, "agent");
    let body = json!({"command": "true", "timeoutMs": 300_001}).to_string();
    let line = format!("POST /v5/vms/{id}/exec-await");
    let refused = try_ask(&emulator, &line, "x-freestyle-background-after-secs: 5\r\n", &body).unwrap();
    assert_eq!((refused.status, refused.text("code").as_str()), (400, "AGENT_UNSUPPORTED"));
    assert_eq!(emulator.execs().len(), 0);
}

#[test]
fn a_vm_vanishes_under_a_command() {
    let Some(emulator) = isolated() else { return };
    let id = create(&emulator, "gone");
    let line = format!("POST /v5/vms/{id}/exec-await");
    std::thread::scope(|scope| {
        let ran = scope.spawn(|| ask(&emulator, &line, &json!({"command": "sleep 60"})));
        wait_for("the command", || !emulator.processes().is_empty());
        emulator.vanish(&id);
        assert_eq!(ran.join().unwrap().status, 404);
    });
    assert_eq!((emulator.vms().len(), emulator.processes().len()), (0, 0));
}

#[test]
fn a_paused_vm_keeps_its_memory_and_does_nothing() {
    let Some(emulator) = isolated() else { return };
    let id = create(&emulator, "paused");
    exec(&emulator, &id, "(while :; do echo x >>/tmp/ticks; sleep 0.02; done) >/dev/null 2>&1 &");
    let ticks = || std::fs::read(emulator.root(&id).join("tmp/ticks")).map_or(0, |bytes| bytes.len());
    wait_for("a tick", || ticks() > 0);
    emulator.pause(&id);
    let before = ticks();
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(ticks(), before);
    assert_eq!(ask(&emulator, &format!("GET /v5/vms/{id}"), &Value::Null).json()["state"], "paused");
    emulator.faults(|faults| faults.exec_does_not_wake = true);
    let line = format!("POST /v5/vms/{id}/exec-await");
    assert_eq!(ask(&emulator, &line, &json!({"command": "true"})).status, 409);
    assert_eq!(ask(&emulator, &format!("POST /v5/vms/{id}/start"), &json!({})).json()["state"], "running");
    wait_for("another tick", || ticks() > before);
}

#[test]
fn what_a_command_leaves_behind_ends_with_the_vm_and_with_the_emulator() {
    let Some(emulator) = isolated() else { return };
    let id = create(&emulator, "left");
    // The command ends when the process with a session of its own has it: a group that is killed before that takes
    // it along.
    let line = "rm -f /tmp/own; setsid env -i sh -c 'echo up >/tmp/own; exec sleep 300' >/dev/null 2>&1 & \
                sleep 300 >/dev/null 2>&1 & until [ -s /tmp/own ]; do sleep 0.01; done";
    exec(&emulator, &id, line);
    assert_eq!(emulator.processes().len(), 2);
    emulator.power_off(&id);
    assert_eq!((emulator.processes().len(), &emulator.vms()[0]["state"]), (0, &json!("stopped")));
    let refused = ask(&emulator, &format!("POST /v5/vms/{id}/exec-await"), &json!({"command": "true"}));
    assert_eq!(refused.status, 409);
    ask(&emulator, &format!("POST /v5/vms/{id}/start"), &json!({}));
    exec(&emulator, &id, line);
    emulator.faults(|faults| faults.exec_kills_group = true);
    exec(&emulator, &id, line);
    wait_for("those of the first, and the one with a session of its own", || emulator.processes().len() == 3);
    let (processes, directory) = (emulator.processes(), emulator.directory().to_owned());
    drop(emulator);
    let lives = |pid: &u32| std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok();
    assert!(!processes.iter().any(lives));
    assert!(!directory.exists());
}

#[test]
fn an_ephemeral_vm_is_gone_when_it_stops() {
    let emulator = Emulator::start();
    let body = json!({"autoDeleteSeconds": 0, "firewall": {"rules": []}});
    let id = ask(&emulator, "POST /v5/vms", &body).text("id");
    emulator.power_off(&id);
    assert_eq!(emulator.vms().len(), 0);
}

#[test]
fn a_guest_sees_neither_the_host_nor_another_guest() {
    let Some(emulator) = isolated() else { return };
    let (one, other) = (create(&emulator, "one"), create(&emulator, "other"));
    exec(
        &emulator,
        &one,
        "echo mine >/tmp/file; ln -s /tmp/file /tmp/link; ln -s ../../../../../etc/passwd /tmp/up",
    );
    assert_eq!(exec(&emulator, &other, "ls -A /tmp")["stdout"], "");
    let read = |path: &str| {
        let line = format!("GET /v5/vms/one/fs/read?path={path}");
        try_ask(&emulator, &line, "", "").unwrap()
    };
    assert_eq!(read("/tmp/link").body, "mine\n");
    let above = format!("{}/../state", emulator.root(&one).display());
    assert_eq!(read(&above).status, 400);
    assert_eq!(read(&emulator.root(&other).display().to_string()).status, 404);
    let inside = emulator.root(&other).join("tmp").display().to_string();
    assert_eq!(exec(&emulator, &one, &format!("ls {inside}"))["statusCode"], 2);
}

#[test]
fn without_namespaces_a_guests_own_paths_are_refused() {
    let emulator = Emulator::with(Options { isolate: false, ..Options::default() });
    let id = create(&emulator, "flat");
    assert_eq!(exec(&emulator, &id, "echo here >file; cat file; pwd")["stdout"], {
        let home = emulator.root(&id).join("home/ubuntu");
        format!("here\n{}\n", home.display())
    });
    let line = format!("POST /v5/vms/{id}/exec-await");
    let refused = ask(&emulator, &line, &json!({"command": "mkdir /workspace"}));
    assert_eq!((refused.status, refused.text("code").as_str()), (400, "NO_ISOLATION"));
    exec(&emulator, &id, "setsid sleep 300 >/dev/null 2>&1 &");
    wait_for("the process", || emulator.processes().len() == 1);
    assert_eq!(ask(&emulator, &format!("DELETE /v5/vms/{id}"), &Value::Null).status, 204);
    assert_eq!(emulator.processes().len(), 0);
}
