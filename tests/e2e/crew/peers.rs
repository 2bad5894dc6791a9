//! How the members are reached, as they are asked and as it is remembered.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use crabbox_tests::{World, wait_for};
use serde_json::json;

use super::{asked, listing, peers, provider};
use crate::support::{assert_has, end, spawn};

#[test]
fn every_member_has_a_row_and_one_that_fails_costs_its_own() {
    let world = World::new();
    provider(
        &world,
        "tail",
        &json!({"transports": ["tailnet", "ssh"]}),
        r#"ok '{"state":"ready","transport":"tailnet","endpoint":"100.64.0.7"}'"#,
    );
    provider(
        &world,
        "later",
        &json!({"transports": ["url"]}),
        r#"ok '{"state":"pending","transport":"url","message":"in a minute"}'"#,
    );
    provider(
        &world,
        "never",
        &json!({}),
        r#"ok '{"state":"unsupported","transport":"none","message":"by nobody"}'"#,
    );
    provider(&world, "broken", &json!({"transports": ["url"]}), "exit 3");
    provider(&world, "hangs", &json!({"transports": ["url"]}), "sleep 600");
    for name in ["tail", "later", "never", "broken", "hangs", "local"] {
        world.ok(&["warmup", "--provider", name, "--slug", name, "--crew", "team", "--role", "r"]);
    }
    let rows = peers(&world, &[]);
    assert_eq!(
        listing(&rows),
        [
            "broken none - error",
            "hangs none - error",
            "later pending - pending",
            "local url http://127.0.0.1 ready",
            "never none - unsupported",
            "tail tailnet 100.64.0.7 ready",
        ]
    );
    let note = |n: usize| rows[n]["note"].as_str().unwrap().to_owned();
    assert_has(&note(1), &["did not answer within 10s"]);
    assert_eq!([note(2), note(4)], ["in a minute", "by nobody"]);
    assert_eq!((&rows[5]["transports"], &rows[5]["role"]), (&json!(["tailnet", "ssh"]), &json!("r")));
    // Nothing was published, and what was said is remembered.
    assert!(asked(&world, "tail").iter().all(|request| request["params"]["publish"] == json!(false)));
    let before = asked(&world, "tail").len();
    assert_eq!(listing(&peers(&world, &["--provider", "tail"])), ["tail tailnet 100.64.0.7 -"]);
    assert_eq!(asked(&world, "tail").len(), before, "it was not asked again");
    assert_eq!(
        world.ok(&["crew", "peers", "team", "--provider", "tail"]),
        world.ok(&["pond", "peers", "--pond", "Team", "--provider", "tail"])
    );
    assert_eq!(world.run(&["crew", "peers"]).0, 2);
    let (code, stdout, _) = world.run(&["doctor", "--crew", "team"]);
    assert_eq!(code, 0);
    assert_has(
        &stdout,
        &[
            "crew \"team\": 6 members",
            "transports: tailnet=1 url=1 pending=1 none=3",
            "tailnet -> url     : WARN (by its URL; that of local leads there on this machine only)",
            "url     -> tailnet : NO",
            "tailnet -> none    : NO",
        ],
    );
    assert!(!stdout.contains("ssh     ->"), "only what there is: {stdout}");
    world.ok(&["crew", "release", "team"]);
}

#[test]
fn a_port_is_published_on_demand_only_and_the_way_leads_there() {
    let world = World::new();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    world.write("serve.py", "import http.server, sys\nhttp.server.HTTPServer(('127.0.0.1', int(sys.argv[1])), http.server.SimpleHTTPRequestHandler).serve_forever()\n");
    world.write("greeting", "hello from one\n");
    if crabbox_tests::tool("python3").is_none() {
        return;
    }
    let number = port.to_string();
    world.ok(&["warmup", "--slug", "one", "--crew", "team", "--expose", &number]);
    world.ok(&["warmup", "--slug", "two", "--crew", "team"]);
    let server = spawn(&mut world.crabbox(&["run", "--id", "one", "--", "python3", "serve.py", &number]));
    wait_for("the server", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    let rows = peers(&world, &[]);
    let url = rows[0]["targets"][0]["url"].as_str().unwrap().to_owned();
    assert_eq!(url, format!("http://127.0.0.1:{port}"));
    let fetch =
        "import sys, urllib.request; sys.stdout.write(urllib.request.urlopen(sys.argv[1]).read().decode())";
    let (code, stdout, stderr) = world.run(&[
        "run",
        "--id",
        "two",
        "--no-sync",
        "--",
        "python3",
        "-c",
        fetch,
        &format!("{url}/greeting"),
    ]);
    assert_eq!((code, stdout.as_str()), (0, "hello from one\n"), "{stderr}");
    let mut by_hand = TcpStream::connect(("127.0.0.1", port)).unwrap();
    by_hand.write_all(b"GET /greeting HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    by_hand.read_to_string(&mut answer).unwrap();
    assert_has(&answer, &["200 OK", "hello from one"]);
    assert_eq!(world.run(&["stop", "--crew", "team"]).0, 4, "a run is on one of them");
    assert_eq!(world.run(&["stop", "--crew", "team", "--force"]).0, 0);
    end(server);
}
