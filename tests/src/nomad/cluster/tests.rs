//! The harness itself, and that the emulator and real agents are alike in what everything else stands on.

use std::net::TcpStream;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio_tungstenite::tungstenite::{WebSocket, client};

use super::*;
use crate::nomad::process;
use crate::wait_for;

/// A service that runs a script by raw_exec, of this test.
fn job(cluster: &Cluster, script: &str) -> Value {
    let id = format!("crabbox-{}", unique());
    let task = cluster.config()["task"].as_str().unwrap_or("crabbox").to_owned();
    json!({
        "ID": id, "Name": id, "Type": "service", "Datacenters": ["*"],
        "Meta": {"crabbox.managed": "true", "crabbox.task": task},
        "TaskGroups": [{
            "Name": "crabbox", "Count": 1,
            "Tasks": [{
                "Name": task, "Driver": "raw_exec",
                "Config": {"command": "/bin/sh", "args": ["-c", script]},
                "Resources": {"CPU": 100, "MemoryMB": 64},
            }],
        }],
    })
}

/// Registers a job, waits until its allocation runs, and returns their ids.
fn running(cluster: &Cluster, script: &str) -> (String, String) {
    let job = job(cluster, script);
    let id = job["ID"].as_str().unwrap().to_owned();
    cluster.client().register(&job);
    let mut allocation = None;
    wait_for(&format!("an allocation on {}", cluster.name()), || {
        let all = cluster.client().allocations(&id);
        let running = all.iter().find(|it| it["ClientStatus"] == "running");
        allocation = running.map(|it| it["ID"].as_str().unwrap().to_owned());
        allocation.is_some()
    });
    (id, allocation.unwrap())
}

/// Begins to execute a command, for as long as the connection is held.
fn exec(cluster: &Cluster, allocation: &str, command: &[&str]) -> WebSocket<TcpStream> {
    let command = json!(command).to_string();
    let command = utf8_percent_encode(&command, NON_ALPHANUMERIC);
    let address = cluster.address().replacen("http", "ws", 1);
    let path = format!("v1/client/allocation/{allocation}/exec?task=crabbox&tty=false&command={command}");
    let stream = TcpStream::connect(cluster.address().trim_start_matches("http://")).unwrap();
    client(format!("{address}/{path}"), stream).unwrap().0
}

#[test]
fn a_job_runs_and_goes_on_every_cluster() {
    for cluster in clusters() {
        let client = cluster.client();
        let (id, allocation) = running(&cluster, "trap 'exit 0' INT; while :; do sleep 3600 & wait $!; done");
        assert_eq!(client.job(&id).unwrap()["Stop"], false, "{}", cluster.name());
        assert_eq!(cluster.jobs().len(), 1, "{}", cluster.name());
        let mut again = json!({"Job": job(&cluster, "true"), "EnforceIndex": true, "JobModifyIndex": 0});
        again["Job"]["ID"] = json!(id);
        let refused = client.request("PUT", "/v1/jobs", Some(&again));
        let text = "Enforcing job modify index 0: job already exists".to_owned();
        assert_eq!(refused, (500, text), "{}", cluster.name());

        client.purge(&id);
        assert_eq!(client.job(&id), None, "{}", cluster.name());
        // Not complete, but forgotten: the death of an allocation cannot be read after a purge.
        assert_eq!(client.get(&format!("/v1/allocation/{allocation}")), None, "{}", cluster.name());
        assert_eq!(client.allocations(&id), Vec::<Value>::new(), "{}", cluster.name());
        assert_eq!(cluster.jobs(), Vec::<Value>::new(), "{}", cluster.name());
        client.purge(&id);
    }
}

#[test]
fn a_token_is_good_for_what_it_grants_on_every_cluster() {
    let lease = ["submit-job", "read-job", "alloc-exec", "alloc-node-exec"];
    let grants = [Grants::on_default(&lease), Grants::on_default(&["read-job"]).node_read()];
    for cluster in clusters_with_tokens(&grants) {
        let name = cluster.name();
        let as_token = |nth| cluster.client().clone().with_token(cluster.token(nth).unwrap());
        let refused = (403, "Permission denied".to_owned());
        let body = json!({"Job": job(&cluster, "sleep 60")});
        assert_eq!(as_token(1).request("PUT", "/v1/jobs", Some(&body)), refused, "{name}");
        assert_eq!(as_token(0).request("PUT", "/v1/jobs", Some(&body)).0, 200, "{name}");
        assert_eq!(as_token(0).request("GET", "/v1/nodes", None), refused, "{name}");
        assert_eq!(as_token(1).request("GET", "/v1/nodes", None).0, 200, "{name}");
        assert_eq!(as_token(0).request("GET", "/v1/jobs", None), refused, "{name}");
        let nobody = cluster.client().clone().with_token("");
        assert_eq!(nobody.request("GET", "/v1/job/crabbox-none", None), refused, "{name}");
    }
}

/// What an exec has started outlives its allocation, and its parent, and can have left even its environment.
#[test]
fn an_agent_that_is_dropped_leaves_nothing() {
    let Some(binary) = binary() else { return };
    let cluster = Cluster::agent(&binary, None);
    let (_, allocation) = running(&cluster, "trap '' INT TERM; while :; do sleep 1; done");
    let script = "setsid sleep 3601 & (cd local && env -i setsid sleep 3602 &); wait";
    let _exec = exec(&cluster, &allocation, &["sh", "-c", script]);
    let Cluster::Agent { agent, .. } = cluster else { panic!("an agent was asked for") };
    wait_for("five processes", || agent.processes().len() >= 5);
    let (all, address) = (agent.processes(), agent.address());
    drop(agent);
    for pid in all {
        assert!(!process::is_running(pid), "{pid} is still there");
    }
    let client = Client::of_address(&address).unwrap();
    assert!(client.try_request("GET", "/v1/status/leader", None).is_err(), "it still listens");
}

#[test]
fn an_address_is_read_only_where_nothing_is_left_out() {
    for address in ["http://127.0.0.1:4646", "http://[::1]:4646/", "http://nomad"] {
        assert!(Client::of_address(address).is_some(), "{address}");
    }
    for address in
        ["https://nomad:4646", "unix:///run/nomad.sock", "http://", "http://a@b", "http://a/b", "http://a:b"]
    {
        assert!(Client::of_address(address).is_none(), "{address}");
    }
}
