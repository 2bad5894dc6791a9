//! What the host accepts although our own messages never look like it: docs/protocol.md, "Leniency".

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use crabbox_protocol::*;

/// Reads a line that has to be readable; how many repairs it took.
fn read(line: &str) -> (PluginMessage<'_>, usize) {
    match decode_plugin_line(line.as_bytes()) {
        Decoded::Message(message, repairs) => (message, repairs.len()),
        other => panic!("{line}: {other:?}"),
    }
}

/// Reads a response and its result.
fn result<C: Call>(line: &str) -> (C::Result, usize) {
    let (PluginMessage::Response { id: 7, outcome: Ok(result) }, repairs) = read(line) else {
        panic!("{line}");
    };
    let mut more = Vec::new();
    let decoded = decode_lenient(serde_json::from_str(result.get()).unwrap(), &mut more);
    (decoded.unwrap_or_else(|e| panic!("{line}: {e}")), repairs + more.len())
}

#[test]
fn a_missing_jsonrpc() {
    let (done, repairs) = result::<RunParams>(r#"{"id":7,"result":{"exitCode":3}}"#);
    assert_eq!((done.exit_code, repairs), (Some(3), 0));
    let (message, _) = read(r#"{"method":"progress","params":{"request":7,"message":"booting"}}"#);
    assert!(matches!(message, PluginMessage::Progress(p) if p.message == "booting"));
}

#[test]
fn an_id_as_text_or_with_a_fraction() {
    assert_eq!(result::<PutParams>(r#"{"jsonrpc":"2.0","id":"7","result":{}}"#).1, 1);
    assert_eq!(result::<PutParams>(r#"{"jsonrpc":"2.0","id":7.0,"result":{}}"#).1, 1);
    let (message, repairs) = read(r#"{"method":"progress","params":{"request":"7","message":"m"}}"#);
    assert!(matches!(message, PluginMessage::Progress(p) if p.request == 7));
    assert_eq!(repairs, 1);
}

#[test]
fn null_for_absent() {
    let line =
        r#"{"jsonrpc":"2.0","id":7,"error":null,"result":{"lease":{"ref":null,"labels":null,"ssh":null}}}"#;
    assert_eq!(result::<AcquireParams>(line).0.lease, LeaseReport::default());
    let line =
        r#"{"jsonrpc":"2.0","id":7,"method":null,"result":{"exitCode":0,"signal":null,"dropped":null}}"#;
    assert_eq!(result::<RunParams>(line).0.exit_code, Some(0));
    let (_, repairs) = result::<PutParams>(r#"{"jsonrpc":"2.0","id":7,"result":null}"#);
    assert_eq!(repairs, 1);
    let line = r#"{"method":"output","params":{"request":7,"stream":"stdout","text":"x","base64":null}}"#;
    assert!(
        matches!(read(line).0, PluginMessage::Output(o) if o.clone().into_bytes().unwrap().as_ref() == b"x")
    );
}

#[test]
fn numbers_for_booleans() {
    let (listed, repairs) = result::<ListParams>(r#"{"id":7,"result":{"leases":[],"complete":1}}"#);
    assert_eq!((listed.complete, repairs), (true, 1));
    let line = r#"{"method":"progress","params":{"request":7,"message":"m","waitingOnUser":0}}"#;
    assert!(matches!(read(line).0, PluginMessage::Progress(p) if p.waiting_on_user == Some(false)));
}

#[test]
fn an_empty_list_for_an_empty_object() {
    for line in [r#"{"id":7,"result":[]}"#, r#"{"id":7,"result":{"lease":[]}}"#] {
        assert_eq!(result::<AcquireParams>(line).0.lease, LeaseReport::default(), "{line}");
    }
    let line = r#"{"id":7,"result":{"scope":"s","deadlines":[],"problems":[]}}"#;
    assert_eq!(result::<ConfigureParams>(line).0.deadlines, Deadlines::default());
    let line = r#"{"id":7,"result":{"checks":[{"name":"a","status":"ok","message":"m","details":[]}]}}"#;
    assert_eq!(result::<DoctorParams>(line).1, 1);
}

#[test]
fn integers_with_a_fraction_or_as_text_and_text_as_numbers() {
    let (done, repairs) = result::<RunParams>(r#"{"id":7,"result":{"exitCode":3.0}}"#);
    assert_eq!((done.exit_code, repairs), (Some(3), 1));
    let (done, repairs) = result::<RunParams>(r#"{"id":7,"result":{"exitCode":"3"}}"#);
    assert_eq!((done.exit_code, repairs), (Some(3), 1));
    let (done, repairs) = result::<RunParams>(r#"{"id":7,"result":{"signal":15}}"#);
    assert_eq!((done.signal.unwrap().number(), repairs), (Some(15), 1));
    let (made, _) = result::<AcquireParams>(r#"{"id":7,"result":{"lease":{"ref":4711}}}"#);
    assert_eq!(made.lease.r#ref.as_deref(), Some("4711"));
    let mut repairs = Vec::new();
    for wrong in [r#"{"exitCode":3.5}"#, r#"{"exitCode":"three"}"#, r#"{"exitCode":true}"#] {
        let value = serde_json::from_str(wrong).unwrap();
        assert!(decode_lenient::<RunResult>(value, &mut repairs).is_err(), "{wrong}");
    }
}

#[test]
fn a_carriage_return_before_the_line_feed() {
    let mut buffer = LineBuffer::new();
    buffer.input(0).extend_from_slice(b"{\"id\":7,\"result\":{}}\r\n");
    let line = buffer.next_line().unwrap().unwrap();
    assert!(matches!(decode_plugin_line(line), Decoded::Message(_, repairs) if repairs.is_empty()));
}

#[test]
fn unknown_notifications() {
    let (message, repairs) =
        read(r#"{"jsonrpc":"2.0","method":"log","params":{"request":7,"level":"info"}}"#);
    assert!(matches!(message, PluginMessage::Unknown(name) if name == "log"));
    assert_eq!(repairs, 0);
}

/// Each word is replaced by what its place says about words that nobody knows.
#[test]
fn unknown_words() {
    let (found, _) = result::<ResolveParams>(r#"{"id":7,"result":{"state":"hibernating"}}"#);
    assert_eq!(found.state, LeaseState::Unknown);
    let (done, _) = result::<ReleaseParams>(r#"{"id":7,"result":{"outcome":"archiving"}}"#);
    assert_eq!(done.outcome, ReleaseOutcome::Pending);
    let (done, _) = result::<KillParams>(r#"{"id":7,"result":{"remote":"undead"}}"#);
    assert_eq!(done.remote, Remote::Unknown);
    let (way, _) = result::<BridgeParams>(r#"{"id":7,"result":{"state":"half","transport":"pigeon"}}"#);
    assert_eq!((way.state, way.transport), (BridgeState::Unsupported, Transport::Unknown));
    let line = r#"{"id":7,"result":{"checks":[{"name":"a","status":"meh","message":"m"}]}}"#;
    assert_eq!(result::<DoctorParams>(line).0.checks[0].status, CheckStatus::Unknown);
    let line = r#"{"id":7,"error":{"code":-32000,"message":"m","data":{"kind":"melted"}}}"#;
    let (PluginMessage::Response { outcome: Err(error), .. }, _) = read(line) else { panic!() };
    assert_eq!(error.kind(), ErrorKind::Unknown);
    let line =
        r#"{"protocol":1,"name":"p","version":"1","lifecycle":"leased","features":["x"],"methods":["y"]}"#;
    let manifest: Manifest = serde_json::from_str(line).unwrap();
    assert!(manifest.feature("x") && !manifest.has(Method::Run));
}

#[test]
fn a_repair_says_where_and_what() {
    let line = br#"{"id":"7","error":{"code":-32000,"message":"m","data":{"kind":"auth","retryable":1}}}"#;
    let Decoded::Message(_, repairs) = decode_plugin_line(line) else { panic!() };
    let found: Vec<_> = repairs.iter().map(|r| (r.pointer.as_str(), r.found)).collect();
    assert!(found.contains(&("/id", "a string where a number belongs")), "{found:?}");
    assert!(found.iter().any(|(pointer, _)| pointer.ends_with("/data/retryable")), "{found:?}");
}
