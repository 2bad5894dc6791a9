//! The JSON Schemas of everything on the wire, in the claims and in `--json` output.

use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, transform_subschemas};
use schemars::{JsonSchema, Schema};
use serde_json::Value;

use crate::{records, *};

/// The schema of `T` (JSON Schema, draft 2020-12).
///
/// A field that may be absent may not be `null`: our messages leave out what is absent.
pub fn of<T: JsonSchema>() -> Schema {
    let settings = SchemaSettings::draft2020_12().with_transform(RecursiveTransform(without_null));
    settings.into_generator().into_root_schema_for::<T>()
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
                all.push((format!("{name}.request"), of::<Request<$params>>()));
                all.push((format!("{name}.response"), of::<Success<<$params as Call>::Result>>()));
            })*
        };
    }
    calls! {
        InitializeParams ConfigureParams DoctorParams AcquireParams ResolveParams RunParams PutParams
        KillParams ReleaseParams TouchParams ListParams BridgeParams UnbridgeParams
    }
    macro_rules! others {
        ($($name:literal $type:ty;)*) => { $(all.push(($name.to_owned(), of::<$type>()));)* };
    }
    others! {
        "error" Failure;
        "output" Note<Output<'static>>;
        "progress" Note<Progress>;
        "lease" Note<LeaseEvent>;
        "cancel" Note<Cancel>;
        "manifest" Manifest;
        "claim" records::Claim;
        "timing" records::Timing;
        "leases" records::LeaseRows;
        "status" records::StatusRow;
        "plugins" records::PluginRows;
        "plugin" records::PluginDescription;
        "doctor" records::DoctorReport;
        "config" records::ConfigReport;
        "cleanup" records::CleanupReport;
    }
    all
}
