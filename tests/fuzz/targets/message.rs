//! A line from a plugin: what is read strictly is read the same leniently, and comes back as it was.
#![no_main]

use crabbox_protocol::*;
use libfuzzer_sys::fuzz_target;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// The result of every method, in the order of [`Method::ALL`].
const RESULTS: [(Method, fn(Value)); 13] = [
    of::<InitializeParams>(),
    of::<ConfigureParams>(),
    of::<DoctorParams>(),
    of::<AcquireParams>(),
    of::<ResolveParams>(),
    of::<RunParams>(),
    of::<PutParams>(),
    of::<KillParams>(),
    of::<ReleaseParams>(),
    of::<TouchParams>(),
    of::<ListParams>(),
    of::<BridgeParams>(),
    of::<UnbridgeParams>(),
];

const fn of<C: Call>() -> (Method, fn(Value)) {
    (C::METHOD, result::<C>)
}

fn result<C: Call>(value: Value) {
    let mut repairs = Vec::new();
    let lenient = decode_lenient::<C::Result>(value.clone(), &mut repairs);
    let in_order = value.as_array().is_some_and(|items| !items.is_empty());
    if let Ok(strict) = C::Result::deserialize(&value)
        && !in_order
    {
        let lenient = lenient.as_ref().expect("what is read strictly is read leniently");
        assert_eq!((to_value(&strict), &repairs[..]), (to_value(lenient), &[][..]));
    }
    let Ok(lenient) = lenient else { return assert_eq!(repairs, []) };
    let plain = to_value(&lenient);
    let again = C::Result::deserialize(&plain).expect("what we write is read strictly");
    assert_eq!(to_value(&again), plain);
}

fn to_value(value: &impl serde::Serialize) -> Value {
    serde_json::to_value(value).expect("every type of the wire is a value")
}

/// A message with every borrow and every repair forgotten.
#[derive(Debug, PartialEq)]
enum Plain {
    Success(RequestId, Value),
    Failure(RequestId, ErrorObject),
    Output(Output<'static>),
    Progress(Progress),
    Lease(Box<LeaseEvent>),
}

impl Plain {
    /// `None`: nothing to be compared.
    fn new(message: PluginMessage<'_>) -> Option<Self> {
        Some(match message {
            PluginMessage::Response { id, outcome: Err(error) } => Self::Failure(id, error),
            PluginMessage::Response { id, outcome: Ok(raw) } => Self::Success(id, plain(&raw)?),
            PluginMessage::Output(Output { request, stream, text, base64 }) => {
                let [text, base64] = [text, base64].map(|text| text.map(|t| t.into_owned().into()));
                Self::Output(Output { request, stream, text, base64 })
            }
            PluginMessage::Progress(progress) => Self::Progress(progress),
            PluginMessage::Lease(lease) => Self::Lease(lease),
            PluginMessage::Unknown(_) => return None,
        })
    }

    /// The message as a plugin writes it that keeps to the protocol.
    fn to_value(&self) -> Value {
        match self {
            Self::Success(id, result) => to_value(&Success::new(*id, result)),
            Self::Failure(id, error) => to_value(&Failure::new(*id, error.clone())),
            Self::Output(output) => to_value(&Note::new(note::OUTPUT, output)),
            Self::Progress(progress) => to_value(&Note::new(note::PROGRESS, progress)),
            Self::Lease(lease) => to_value(&Note::new(note::LEASE, lease)),
        }
    }
}

/// A result that is read the same from what is written of it. One nested too deep is not.
fn plain(raw: &RawValue) -> Option<Value> {
    let value: Value = serde_json::from_str(raw.get()).ok()?;
    let text = value.to_string();
    (!value.is_null() && serde_json::from_str::<Value>(&text).ok()? == value).then_some(value)
}

fn read(line: &Value) -> (Plain, Vec<Repair>) {
    match decode_plugin_line(line.to_string().as_bytes()) {
        Decoded::Message(message, repairs) => (Plain::new(message).expect("it is a known one"), repairs),
        other => panic!("{line}: {other:?}"),
    }
}

fuzz_target!(|line: &[u8]| {
    let Decoded::Message(message, _) = decode_plugin_line(line) else { return };
    if let PluginMessage::Output(output) = &message
        && let Ok(bytes) = output.clone().into_bytes()
    {
        let again = Output::new(output.request, output.stream, &bytes);
        assert_eq!(again.into_bytes().as_ref(), Ok(&bytes));
    }
    let Some(message) = Plain::new(message) else { return };
    if let Plain::Success(id, value) = &message {
        // The examples number their requests in the order of the methods.
        let n = (id.wrapping_sub(1) % 13) as usize;
        assert_eq!(RESULTS[n].0, Method::ALL[n]);
        RESULTS[n].1(value.clone());
    }
    let mut line = message.to_value();
    let (strict, repairs) = read(&line);
    assert_eq!((&strict, &repairs[..]), (&message, &[][..]));
    // As text, the number has to be repaired, and all else stays as it is.
    let number = match line.get_mut("id") {
        Some(id) => id,
        None => &mut line["params"]["request"],
    };
    if number.as_i64().is_none() {
        return;
    }
    *number = json!(number.to_string());
    let (lenient, repairs) = read(&line);
    assert_eq!((&lenient, repairs.len()), (&message, 1), "{line}: {repairs:?}");
});
