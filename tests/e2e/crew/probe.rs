//! `doctor --crew --bridge`: whether the URLs of members answer.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};

use crabbox_tests::World;
use serde_json::{Value, json};

use super::provider;
use crate::support::{assert_fits, assert_has};

/// A server that answers every request with a status, and the port that it is on. What it heard comes by the channel.
fn server(status: &'static str) -> (u16, Receiver<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (heard, hear) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
            let request: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
            let answer = format!(
                "HTTP/1.1 {status}\r\nLocation: http://127.0.0.1:{port}/elsewhere\r\nSet-Cookie: a=b\r\nContent-Length: 5\r\nConnection: close\r\n\r\n"
            );
            _ = stream.write_all(answer.as_bytes());
            if heard.send(request).is_err() {
                return;
            }
        }
    });
    (port, hear)
}

#[test]
fn whoever_answers_is_there_and_nobody_else_is() {
    let world = World::new();
    let ((redirects, heard), (fails, heard_failing)) = (server("302 Found"), server("500 Broken"));
    // It takes connections, and nobody ever reads them.
    let hangs = TcpListener::bind("127.0.0.1:0").unwrap();
    let dead = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let hanging = hangs.local_addr().unwrap().port();
    let target = |port: u16| {
        format!(r#"{{"port":{port},"url":"http://me:hunter2@127.0.0.1:{port}/a?b=c","id":"t{port}"}}"#)
    };
    let answer = format!(
        r#"ok '{{"state":"ready","transport":"url","endpoint":"http://127.0.0.1:1","targets":[{},{}]}}'"#,
        target(fails),
        target(dead)
    );
    provider(&world, "many", &json!({"transports": ["url"]}), &answer);
    let answer =
        format!(r#"ok '{{"state":"ready","transport":"url","endpoint":"http://127.0.0.1:{hanging}"}}'"#);
    provider(&world, "hangs", &json!({"transports": ["url"]}), &answer);
    provider(
        &world,
        "later",
        &json!({"transports": ["url"]}),
        r#"ok '{"state":"pending","transport":"url"}'"#,
    );
    for name in ["many", "hangs", "later"] {
        world.ok(&["warmup", "--provider", name, "--slug", name, "--crew", "team"]);
    }
    world.ok(&["warmup", "--slug", "mine", "--crew", "team", "--expose", &redirects.to_string()]);
    let (code, stdout, stderr) = world.run(&["doctor", "--pond", "team", "--bridge", "--json"]);
    assert_eq!(code, 0, "{stderr}");
    let report: Value = serde_json::from_str(&stdout).unwrap();
    assert_fits("doctor", &report);
    let rows = report["checks"].as_array().unwrap().iter().filter(|row| row["check"] == "crew-bridge");
    let mut said: Vec<_> = rows
        .map(|row| {
            let details = &row["details"];
            let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
            let status = details["status"].as_u64().map_or("-".to_owned(), |status| status.to_string());
            [text(&details["member"]), text(&row["status"]), text(&details["result"]), status].join(" ")
        })
        .collect();
    said.sort();
    assert_eq!(
        said,
        [
            "hangs warn unreachable -",
            "later skip no-targets -",
            "many ok reachable 500",
            "many warn unreachable -",
            "mine ok reachable 302",
        ]
    );
    assert_has(&stdout, &["no answer within 3s", "refused", "its bridge: pending"]);
    // One HEAD each, and nothing besides.
    for (heard, line, port) in
        [(&heard, "HEAD / HTTP/1.1", redirects), (&heard_failing, "HEAD /a?b=c HTTP/1.1", fails)]
    {
        let request: Vec<_> = heard.try_iter().collect();
        assert_eq!(request.len(), 1, "{request:?}");
        let mut names: Vec<_> =
            request[0][1..].iter().map(|line| line.split(':').next().unwrap().to_lowercase()).collect();
        names.sort();
        assert_eq!(request[0][0], line);
        assert_eq!(names, ["accept", "host", "user-agent"], "{request:?}");
        assert!(
            request[0].iter().any(|line| line.to_lowercase() == format!("host: 127.0.0.1:{port}")),
            "{request:?}"
        );
    }
    let (code, stdout, _) = world.run(&["doctor", "--crew", "team"]);
    assert_eq!(code, 0);
    assert!(!stdout.contains("crew-bridge"), "{stdout}");
    assert!(heard.try_recv().is_err());
    let (code, _, stderr) = world.run(&["doctor", "--bridge"]);
    assert_eq!(code, 2, "{stderr}");
    world.ok(&["crew", "release", "team"]);
}
