//! Who may do what.

use super::client::{End, Exec, IDLE, job, try_ask};
use crate::nomad::{Acl, Emulator, Grants, Options};

const FULL: &str = "11111111-1111-1111-1111-000000000001";
const WRITE: &str = "11111111-1111-1111-1111-000000000002";
const ABSENT: &str = "11111111-1111-1111-1111-000000000009";

fn guarded() -> Emulator {
    let needed = ["submit-job", "read-job", "alloc-exec", "alloc-node-exec"];
    let acl = Acl::new()
        .token(FULL, Grants::on_default(&needed))
        .token(WRITE, Grants::on_default(crate::nomad::WRITE).agent_read());
    Emulator::with(Options { acl: Some(acl), ..Options::default() })
}

#[test]
fn each_endpoint_asks_for_its_capability() {
    let emulator = guarded();
    let status = |request: &str, token: &str| {
        let answer = try_ask(&emulator, request, token, "").unwrap();
        (answer.status, answer.text)
    };
    let denied = (403, "Permission denied".to_owned());
    for request in
        ["GET /v1/jobs", "GET /v1/job/a", "GET /v1/agent/self", "GET /v1/nodes", "DELETE /v1/job/a"]
    {
        assert_eq!(status(request, ""), denied, "{request}");
        assert_eq!(status(request, ABSENT), denied, "{request}");
    }
    for request in ["GET /v1/regions", "GET /v1/status/leader", "GET /v1/agent/health"] {
        assert_eq!(status(request, "").0, 200, "{request}");
    }
    assert_eq!(status("GET /v1/jobs", FULL), denied);
    assert_eq!(status("GET /v1/jobs", WRITE).0, 200);
    assert_eq!(status("GET /v1/agent/self", FULL), denied);
    assert_eq!(status("GET /v1/agent/self", WRITE).0, 200);
    assert!(status("GET /v1/agent/self", "junk").1.starts_with("ACL token not found"));
    assert_eq!(status("GET /v1/namespace/none", FULL), denied);
    let policy = status("GET /v1/acl/policy/emulated", FULL).1;
    assert!(policy.contains("alloc-node-exec"), "{policy}");
}

#[test]
fn exec_on_the_host_asks_for_two_capabilities() {
    let emulator = guarded();
    let body = serde_json::json!({ "Job": job("a", "raw_exec", IDLE) }).to_string();
    assert_eq!(try_ask(&emulator, "PUT /v1/jobs", FULL, &body).unwrap().status, 200);
    let allocation =
        super::client::until(|| emulator.allocations().pop().filter(|it| it["ClientStatus"] == "running"));
    let id = allocation["ID"].as_str().unwrap();
    let end = |token: &str| {
        let mut exec = Exec::with(&emulator, id, "t", &["true"], token);
        if token == FULL {
            exec.close_stdin();
        }
        exec.end()
    };
    assert_eq!(end(FULL), End::Exited(0));
    for token in [WRITE, ""] {
        assert_eq!(end(token), End::Closed(1011, "Permission denied".to_owned()));
    }
    assert_eq!(end(ABSENT), End::Closed(1008, "rpc error: Permission denied".to_owned()));
    let tokens: Vec<_> =
        emulator.requests().iter().filter(|it| it.is_exec()).map(|it| it.token().is_some()).collect();
    assert_eq!(tokens, [true, true, false, true]);
}
