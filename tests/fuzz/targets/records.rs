//! A claim as the host reads it from its file, and a request as a plugin does: each comes back as it was.
#![no_main]

use crabbox_protocol::records::Claim;
use crabbox_protocol::*;
use libfuzzer_sys::fuzz_target;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

fn round_trip<T: Serialize + DeserializeOwned>(text: &[u8]) {
    let Ok(read) = serde_json::from_slice::<T>(text) else { return };
    let written: Value = serde_json::to_value(&read).expect("every record is a value");
    let again: T = serde_json::from_value(written.clone()).expect("what we write is read");
    assert_eq!(serde_json::to_value(&again).expect("as before"), written);
}

fuzz_target!(|text: &[u8]| {
    round_trip::<Claim>(text);
    let (method, params) = match decode_host_line(text) {
        Ok(HostMessage::Request(_, method, params)) => (method, params),
        _ => return,
    };
    let Ok(method) = method.parse::<Method>() else { return };
    let params = params.get().as_bytes();
    match method {
        Method::Initialize => round_trip::<InitializeParams>(params),
        Method::Configure => round_trip::<ConfigureParams>(params),
        Method::Doctor => round_trip::<DoctorParams>(params),
        Method::Acquire => round_trip::<AcquireParams>(params),
        Method::Resolve => round_trip::<ResolveParams>(params),
        Method::Run => round_trip::<RunParams>(params),
        Method::Put => round_trip::<PutParams>(params),
        Method::Kill => round_trip::<KillParams>(params),
        Method::Release => round_trip::<ReleaseParams>(params),
        Method::Touch => round_trip::<TouchParams>(params),
        Method::List => round_trip::<ListParams>(params),
        Method::Bridge => round_trip::<BridgeParams>(params),
        Method::Unbridge => round_trip::<UnbridgeParams>(params),
    }
});
