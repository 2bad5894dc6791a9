//! From a line to a message: one strict, borrowed pass; what fails is repaired once.

use std::borrow::Cow;
use std::fmt;

use schemars::JsonSchema;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::output::note;
use crate::{Cancel, ErrorObject, LeaseEvent, Output, Progress, Repair, RequestId, Stream, decode_lenient};

/// What a line from a plugin turned out to be.
#[derive(Debug)]
pub enum Decoded<'a> {
    /// A message, with what had to be repaired to read it.
    Message(PluginMessage<'a>, Vec<Repair>),
    /// No message at all: something that the plugin printed by mistake. The session goes on.
    Stray,
    /// Meant as a message and not readable as one. The session is over; here is why.
    Broken(String),
}

/// A message from a plugin to the host.
#[derive(Debug)]
pub enum PluginMessage<'a> {
    /// The answer to a request.
    Response {
        /// The number of the request.
        id: RequestId,
        /// The result, still to be decoded for its method, or the error.
        outcome: Result<Cow<'a, RawValue>, ErrorObject>,
    },
    /// A piece of output.
    Output(Output<'a>),
    /// How a request is getting on.
    Progress(Progress),
    /// Something about a lease is known early.
    Lease(Box<LeaseEvent>),
    /// A notification that this version does not know.
    Unknown(String),
}

/// A message from the host to a plugin.
#[derive(Debug)]
pub enum HostMessage {
    /// A request: its number, its method, and its parameters (`null` where there are none).
    Request(RequestId, String, Box<RawValue>),
    /// End a request.
    Cancel(Cancel),
    /// A notification that this version does not know.
    Unknown(String),
}

/// A line from the host that is not a message: what a plugin says about it.
#[derive(Debug)]
pub struct Incoming {
    /// The number of the request, where it could be read.
    pub id: Option<RequestId>,
    /// What is wrong.
    pub message: String,
}

/// Decodes a line from a plugin.
pub fn decode_plugin_line(line: &[u8]) -> Decoded<'_> {
    // Some runtimes begin their output with a byte order mark.
    let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
    let strict = std::str::from_utf8(line).ok().map(serde_json::from_str::<Strict<'_>>);
    let problem = match strict {
        Some(Ok(Strict(Some(message)))) => return Decoded::Message(message, Vec::new()),
        Some(Ok(Strict(None))) => return Decoded::Stray,
        Some(Err(error)) => error.to_string(),
        None => "it is not UTF-8".to_owned(),
    };
    let Ok(value) = serde_json::from_slice::<Value>(line) else {
        return if looks_like_a_message(line) { Decoded::Broken(problem) } else { Decoded::Stray };
    };
    repaired(value).unwrap_or(Decoded::Broken(problem))
}

/// Whether a line that cannot be parsed was meant as a message: it opens like one.
fn looks_like_a_message(line: &[u8]) -> bool {
    let text = String::from_utf8_lossy(&line[..line.len().min(64)]).into_owned();
    let Some(rest) = text.trim_start().strip_prefix('{') else { return false };
    let key = rest.trim_start();
    ["jsonrpc", "id", "method", "params", "result", "error"].iter().any(|name| {
        key.strip_prefix('"').and_then(|k| k.strip_prefix(name)).is_some_and(|k| k.starts_with('"'))
    })
}

/// Reads a parsed line that the strict pass refused. `None`: it cannot be read.
fn repaired(value: Value) -> Option<Decoded<'static>> {
    let Value::Object(mut object) = value else { return Some(Decoded::Stray) };
    let mut repairs = Vec::new();
    let nothing = object.get("result").is_some_and(Value::is_null);
    object.retain(|_, value| !value.is_null());
    let mut result = object.remove("result");
    let error = object.remove("error");
    if let Some(method) = object.remove("method") {
        let params = object.remove("params").unwrap_or_else(|| Value::Object(Default::default()));
        let message = match method.as_str()? {
            note::OUTPUT => {
                let output: OwnedOutput = decode_lenient(params, &mut repairs).ok()?;
                PluginMessage::Output(output.into())
            }
            note::PROGRESS => PluginMessage::Progress(decode_lenient(params, &mut repairs).ok()?),
            note::LEASE => PluginMessage::Lease(decode_lenient(params, &mut repairs).ok()?),
            other => PluginMessage::Unknown(other.to_owned()),
        };
        return Some(Decoded::Message(message, repairs));
    }
    if nothing && error.is_none() && object.contains_key("id") {
        repairs.push(Repair::new("/result", "`null` where an object belongs"));
        result = Some(Value::Object(Default::default()));
    }
    let said_to_be_ours = object.contains_key("id") || object.contains_key("jsonrpc");
    // A log line in JSON may have an `error`, too.
    if (result.is_none() && error.is_none()) || !said_to_be_ours {
        return Some(Decoded::Stray);
    }
    let id = match object.remove("id")? {
        Value::String(text) => {
            repairs.push(Repair::new("/id", "a string where a number belongs"));
            text.parse().ok()?
        }
        Value::Number(number) => number.as_u64().or_else(|| {
            repairs.push(Repair::new("/id", "a fraction where an integer belongs"));
            number.as_f64().filter(|f| f.fract() == 0.0 && *f >= 0.0).map(|f| f as u64)
        })?,
        _ => return None,
    };
    let outcome = match (result, error) {
        (_, Some(error)) => Err(decode_lenient(error, &mut repairs).ok()?),
        (Some(result), None) => Ok(Cow::Owned(serde_json::value::to_raw_value(&result).ok()?)),
        (None, None) => return Some(Decoded::Stray),
    };
    Some(Decoded::Message(PluginMessage::Response { id, outcome }, repairs))
}

/// [`Output`] without the borrowing, which a repaired value cannot lend itself to.
#[derive(Deserialize, JsonSchema)]
struct OwnedOutput {
    request: RequestId,
    stream: Stream,
    text: Option<String>,
    base64: Option<String>,
}

impl From<OwnedOutput> for Output<'static> {
    fn from(owned: OwnedOutput) -> Self {
        let OwnedOutput { request, stream, text, base64 } = owned;
        Output { request, stream, text: text.map(Cow::Owned), base64: base64.map(Cow::Owned) }
    }
}

/// The strict pass. `None`: valid JSON that is no message.
struct Strict<'a>(Option<PluginMessage<'a>>);

impl<'de: 'a, 'a> Deserialize<'de> for Strict<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Envelope).map(Strict)
    }
}

struct Envelope;

impl<'de> Visitor<'de> for Envelope {
    type Value = Option<PluginMessage<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON-RPC message")
    }

    /// Decodes `params` in place where `method` came before it, as every writer that we know does.
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        use serde::de::Error as _;
        let mut id = None;
        let mut method: Option<Cow<'de, str>> = None;
        let mut message = None;
        let mut early_params: Option<&'de RawValue> = None;
        let mut result: Option<&'de RawValue> = None;
        let mut no_result = false;
        let mut error: Option<ErrorObject> = None;
        while let Some(Text(key)) = map.next_key::<Text<'de>>()? {
            match &*key {
                "id" => id = map.next_value::<Option<RequestId>>()?,
                "method" => method = Some(map.next_value::<Text<'de>>()?.0),
                "params" => match method.as_deref() {
                    Some(note::OUTPUT) => message = Some(PluginMessage::Output(map.next_value()?)),
                    Some(note::PROGRESS) => message = Some(PluginMessage::Progress(map.next_value()?)),
                    Some(note::LEASE) => message = Some(PluginMessage::Lease(map.next_value()?)),
                    Some(_) => drop(map.next_value::<IgnoredAny>()?),
                    None => early_params = Some(map.next_value()?),
                },
                "result" => {
                    result = map.next_value::<Option<&'de RawValue>>()?;
                    no_result = result.is_none();
                }
                "error" => error = map.next_value()?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        if let Some(method) = method {
            if message.is_some() {
                return Ok(message);
            }
            let params = early_params.map_or("{}", RawValue::get);
            let message = match &*method {
                note::OUTPUT => serde_json::from_str(params).map(PluginMessage::Output),
                note::PROGRESS => serde_json::from_str(params).map(PluginMessage::Progress),
                note::LEASE => serde_json::from_str(params).map(PluginMessage::Lease),
                other => Ok(PluginMessage::Unknown(other.to_owned())),
            };
            return message.map(Some).map_err(A::Error::custom);
        }
        let outcome = match (result, error) {
            (_, Some(error)) => Err(error),
            (Some(result), None) => Ok(Cow::Borrowed(result)),
            (None, None) if no_result && id.is_some() => return Err(A::Error::custom("`result` is null")),
            (None, None) => return Ok(None),
        };
        let id = id.ok_or_else(|| A::Error::custom("a response without `id`"))?;
        Ok(Some(PluginMessage::Response { id, outcome }))
    }
}

/// A string, borrowed where it has no escapes.
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Borrow<'a>(#[serde(borrow)] Cow<'a, str>);
        Borrow::deserialize(deserializer).map(|b| Text(b.0))
    }
}

/// Reads an optional string, borrowed where it has no escapes.
pub(crate) fn borrowed<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Cow<'de, str>>, D::Error> {
    Ok(Option::<Text<'de>>::deserialize(deserializer)?.map(|text| text.0))
}

/// Decodes a line from the host.
///
/// # Errors
///
/// [`Incoming`] says what is wrong, and which request could be answered with it.
pub fn decode_host_line(line: &[u8]) -> Result<HostMessage, Incoming> {
    #[derive(Deserialize, Serialize)]
    struct Raw {
        #[serde(default)]
        id: Option<RequestId>,
        method: String,
        #[serde(default)]
        params: Option<Box<RawValue>>,
    }
    let raw: Raw = serde_json::from_slice(line).map_err(|error| {
        let value = serde_json::from_slice::<Value>(line).ok();
        let id = value.as_ref().and_then(|v| v.get("id")).and_then(Value::as_u64);
        Incoming { id, message: format!("not a message: {error}") }
    })?;
    let params = raw.params.unwrap_or_else(|| RawValue::NULL.to_owned());
    match raw.id {
        Some(id) => Ok(HostMessage::Request(id, raw.method, params)),
        None if raw.method == note::CANCEL => serde_json::from_str(params.get())
            .map(HostMessage::Cancel)
            .map_err(|error| Incoming { id: None, message: format!("not a `cancel`: {error}") }),
        None => Ok(HostMessage::Unknown(raw.method)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(line: &str) -> (RequestId, Result<String, ErrorObject>, usize) {
        match decode_plugin_line(line.as_bytes()) {
            Decoded::Message(PluginMessage::Response { id, outcome }, repairs) => {
                (id, outcome.map(|r| r.get().to_owned()), repairs.len())
            }
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn responses_are_read_in_every_dialect() {
        let (id, outcome, repairs) = response(r#"{"jsonrpc":"2.0","id":7,"result":{"a":1}}"#);
        assert_eq!((id, outcome.unwrap().as_str(), repairs), (7, r#"{"a":1}"#, 0));
        assert_eq!(response(r#"{"id":7,"result":{},"error":null,"x":[1]}"#).2, 0);
        assert_eq!(response(r#"{"id":"7","result":{}}"#).0, 7);
        assert_eq!(response(r#"{"id":7.0,"result":{}}"#).0, 7);
        let (_, outcome, repairs) = response(
            r#"{"id":1,"error":{"code":-32000.0,"message":"m","data":{"kind":"auth","retryable":0}}}"#,
        );
        let data = outcome.unwrap_err().data.unwrap();
        assert_eq!((data.retryable, repairs), (Some(false), 2));
    }

    #[test]
    fn output_is_borrowed_and_key_order_does_not_matter() {
        for line in [
            r#"{"jsonrpc":"2.0","method":"output","params":{"request":1,"stream":"stdout","text":"hello"}}"#,
            r#"{"params":{"text":"hello","stream":"stdout","request":1},"method":"output"}"#,
        ] {
            let Decoded::Message(PluginMessage::Output(output), _) = decode_plugin_line(line.as_bytes())
            else {
                panic!("{line}");
            };
            assert!(matches!(output.text, Some(Cow::Borrowed("hello"))), "{line}");
        }
    }

    #[test]
    fn unknown_notifications_and_keys_are_no_error() {
        let line = br#"{"jsonrpc":"2.0","method":"$/trace","params":[1,2]}"#;
        assert!(
            matches!(decode_plugin_line(line), Decoded::Message(PluginMessage::Unknown(m), _) if m == "$/trace")
        );
    }

    #[test]
    fn junk_is_a_stray_and_a_broken_message_is_not() {
        for stray in [
            "hello",
            "{}",
            "{\"a\":1}",
            "[1]",
            "3",
            "",
            "{oops",
            "{\"level\":\"info\"",
            "{\"level\":\"error\",\"error\":\"x\"}",
            "\u{1b}[31m",
        ] {
            assert!(matches!(decode_plugin_line(stray.as_bytes()), Decoded::Stray), "{stray}");
        }
        for broken in [
            "{\"jsonrpc\":\"2.0\",\"id\":1,\"resu",
            "{ \"id\":1,\"result\":",
            "{\"jsonrpc\":\"2.0\",\"result\":{}}",
            "{\"id\":true,\"result\":{}}",
            "{\"method\":\"output\",\"params\":{\"request\":1,\"stream\":\"stdout\",\"text\":\"\\udcff\"}}",
            "{\"method\":\"output\",\"params\":{\"stream\":\"stdout\"}}",
        ] {
            assert!(matches!(decode_plugin_line(broken.as_bytes()), Decoded::Broken(_)), "{broken}");
        }
        assert!(matches!(decode_plugin_line(b"{\"id\":1,\"result\":\"\xff\"}"), Decoded::Broken(_)));
    }

    #[test]
    fn host_lines() {
        let line = br#"{"jsonrpc":"2.0","id":2,"method":"list","params":{}}"#;
        assert!(matches!(decode_host_line(line), Ok(HostMessage::Request(2, m, _)) if m == "list"));
        let line = br#"{"jsonrpc":"2.0","method":"cancel","params":{"request":2,"reason":"moonphase"}}"#;
        assert!(matches!(decode_host_line(line), Ok(HostMessage::Cancel(c)) if c.request == 2));
        assert!(matches!(decode_host_line(br#"{"method":"new"}"#), Ok(HostMessage::Unknown(_))));
        assert_eq!(decode_host_line(br#"{"id":4,"method":5}"#).unwrap_err().id, Some(4));
    }
}
