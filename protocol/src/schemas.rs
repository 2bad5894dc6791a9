//! The JSON Schemas of everything on the wire, in the claims and in `--json` output.

use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, transform_subschemas};
use schemars::{JsonSchema, Schema};
use serde_json::{Value, json};

use crate::{records, *};

/// The schema of `T` (JSON Schema, draft 2020-12).
///
/// A field that may be absent may not be `null`: our messages leave out what is absent.
pub fn of<T: JsonSchema>() -> Schema {
    let settings = SchemaSettings::draft2020_12()
        .with_transform(RecursiveTransform(without_null))
        .with_transform(RecursiveTransform(plain));
    settings.into_generator().into_root_schema_for::<T>()
}

/// Says what only Rust's formats say by means that every validator knows, and joins the lines that a
/// source file's width cut a description into.
fn plain(schema: &mut Schema) {
    let bounds = match schema.get("format").and_then(Value::as_str) {
        Some("int32") => Some((Some(i32::MIN), Some(i64::from(i32::MAX)))),
        Some("int64") => Some((None, None)),
        Some("uint16") => Some((Some(0), Some(i64::from(u16::MAX)))),
        Some("uint32") => Some((Some(0), Some(i64::from(u32::MAX)))),
        Some("uint" | "uint64") => Some((Some(0), None)),
        _ => None,
    };
    if let Some((least, most)) = bounds {
        schema.remove("format");
        // Bounds that are closer were said on purpose.
        let said = |key| schema.get(key).and_then(Value::as_i64);
        let least = least.map(|least| said("minimum").unwrap_or(i64::MIN).max(i64::from(least)));
        let most = most.map(|most| said("maximum").unwrap_or(i64::MAX).min(most));
        least.map(|least| schema.insert("minimum".to_owned(), least.into()));
        most.map(|most| schema.insert("maximum".to_owned(), most.into()));
    }
    if let Some(text) = schema.get("description").and_then(Value::as_str) {
        let paragraphs: Vec<_> = text.split("\n\n").map(|paragraph| paragraph.replace('\n', " ")).collect();
        schema.insert("description".to_owned(), paragraphs.join("\n\n").into());
    }
}

/// Gives the schema of a message its title, the description of what it carries, and its method.
fn message(mut schema: Schema, title: String, carries: &str, method: Option<&str>) -> Schema {
    schema.insert("title".to_owned(), title.into());
    if let Some(version) = schema.pointer_mut("/properties/jsonrpc") {
        *version = json!({"description": "The version of JSON-RPC.", "const": "2.0"});
    }
    let reference = schema.pointer(&format!("/properties/{carries}/$ref")).and_then(Value::as_str);
    let carried = reference.and_then(|r| schema.pointer(r.trim_start_matches('#')));
    if let Some(description) = carried.and_then(|carried| carried.get("description")).cloned() {
        schema.insert("description".to_owned(), description);
    }
    if let Some(Value::Object(name)) = schema.pointer_mut("/properties/method") {
        name.extend(method.map(|method| ("const".to_owned(), method.into())));
    }
    schema
}

/// Takes `null` out of what the generator makes of an optional field.
fn without_null(schema: &mut Schema) {
    let Some(object) = schema.as_object_mut() else { return };
    if let Some(Value::Array(kinds)) = object.get_mut("type") {
        kinds.retain(|kind| kind != "null");
        if let [only] = kinds.as_slice() {
            let only = only.clone();
            object.insert("type".to_owned(), only);
        }
    }
    let alternatives = object.get_mut("anyOf").and_then(Value::as_array_mut);
    let Some(alternatives) = alternatives else { return };
    alternatives.retain(|schema| schema.get("type").is_none_or(|kind| kind != "null"));
    if let [Value::Object(only)] = alternatives.as_slice() {
        let only = only.clone();
        object.remove("anyOf");
        object.extend(only);
    }
    transform_subschemas(&mut without_null, schema);
}

/// Every schema that is checked in, by the name of its file in `schemas/v1/`.
pub fn all() -> Vec<(String, Schema)> {
    let mut all = Vec::new();
    macro_rules! calls {
        ($($params:ident)*) => {
            $({
                let name = <$params as Call>::METHOD.name();
                let request = of::<Request<$params>>();
                let request = message(request, format!("Request `{name}`"), "params", Some(name));
                all.push((format!("{name}.request"), request));
                let response = of::<Success<<$params as Call>::Result>>();
                let response = message(response, format!("Response to `{name}`"), "result", None);
                all.push((format!("{name}.response"), response));
            })*
        };
    }
    calls! {
        InitializeParams ConfigureParams DoctorParams AcquireParams ResolveParams RunParams PutParams
        KillParams ReleaseParams TouchParams ListParams BridgeParams UnbridgeParams
    }
    macro_rules! notes {
        ($($name:expr, $type:ty;)*) => {
            $({
                let title = format!("Notification `{}`", $name);
                let note = message(of::<Note<$type>>(), title, "params", Some($name));
                all.push(($name.to_owned(), note));
            })*
        };
    }
    notes! {
        note::OUTPUT, Output<'static>;
        note::PROGRESS, Progress;
        note::LEASE, LeaseEvent;
        note::CANCEL, Cancel;
    }
    let error = message(of::<Failure>(), "Response that carries an error".to_owned(), "", None);
    all.push(("error".to_owned(), error));
    macro_rules! others {
        ($($name:literal, $title:literal, $type:ty;)*) => {
            $({
                let mut schema = of::<$type>();
                schema.insert("title".to_owned(), $title.into());
                all.push(($name.to_owned(), schema));
            })*
        };
    }
    others! {
        "manifest", "Manifest of a plugin", Manifest;
        "claim", "Claim of a lease", records::Claim;
        "timing", "Output of `crabbox run --timing-json`", records::Timing;
        "leases", "Output of `crabbox list --json`", records::LeaseRows;
        "status", "Output of `crabbox status --json`", records::StatusRow;
        "status-crew", "Output of `crabbox status --crew --json`", records::StatusRows;
        "crew-connect", "Output of `crabbox crew connect --json`", records::CrewConnection;
        "crew-peers", "Output of `crabbox crew peers --json`", records::CrewPeers;
        "plugins", "Output of `crabbox plugins list --json`", records::PluginRows;
        "plugin", "Output of `crabbox plugins describe --json`", records::PluginDescription;
        "check", "Output of `crabbox plugins check --json`", records::CheckReport;
        "doctor", "Output of `crabbox doctor --json`", records::DoctorReport;
        "config", "Output of `crabbox config show --json`", records::ConfigReport;
        "cleanup", "Output of `crabbox cleanup --json`", records::CleanupReport;
        "sync-plan", "Output of `crabbox sync-plan --json`", records::SyncPlan;
    }
    all
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn bounds_that_were_said_are_kept() {
        #[derive(schemars::JsonSchema)]
        #[expect(dead_code, reason = "its schema is what counts")]
        struct Bounds {
            #[schemars(range(min = 1, max = 9))]
            closer: Option<u32>,
            own: u16,
            #[schemars(range(min = 3))]
            open: u64,
        }
        let schema = super::of::<Bounds>().to_value();
        let of =
            |key: &str| json!([schema["properties"][key]["minimum"], schema["properties"][key]["maximum"]]);
        assert_eq!(of("closer"), json!([1, 9]));
        assert_eq!(of("own"), json!([0, 65535]));
        assert_eq!(of("open"), json!([3, null]));
    }
}
