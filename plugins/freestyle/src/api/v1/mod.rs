//! Version 1, as the last clients of it (npm `freestyle-sandboxes` 0.1.46 and `freestyle` 0.1.63) speak it.

mod exec;
mod files;
mod machines;
mod names;

use serde_json::{Map, Value, json};

use super::client::{Client, Dialect};
use crate::settings::Settings;

pub(super) use exec::BY_COMMAND;

/// Version 1 of the API.
#[derive(Debug)]
pub(crate) struct V1 {
    client: Client,
    /// What was configured of how a machine is made, as the order to make it has it.
    made_of: Map<String, Value>,
}

impl V1 {
    /// Connects to nothing yet.
    pub(super) fn new(settings: &Settings) -> Self {
        let dialect = Dialect { results: "/auth/v1/background-requests/", all_in_background: false };
        Self { client: Client::new(settings, dialect), made_of: made_of(settings) }
    }
}

/// Sizes go into a template and nowhere else, and only what was configured is asked for: a plan without that
/// entitlement refuses the order (`CUSTOM_SIZING_NOT_ALLOWED`).
fn made_of(settings: &Settings) -> Map<String, Value> {
    let snapshot = settings.snapshot.as_ref().map(|name| ("snapshotId".to_owned(), json!(name)));
    let Some(size) = settings.size else {
        return snapshot.into_iter().collect();
    };
    let mut template: Map<String, Value> = snapshot.into_iter().collect();
    if size.cpu > 0 {
        // It has to be a power of two; what was configured is the least.
        template.insert("vcpuCount".to_owned(), json!(size.cpu.next_power_of_two()));
    }
    if size.memory_mib > 0 {
        template.insert("memSizeGb".to_owned(), json!(size.memory_mib.div_ceil(1024)));
    }
    Map::from_iter([("template".to_owned(), Value::Object(template))])
}

#[cfg(test)]
mod tests {
    use crabbox_provider_kit::protocol::Secret;

    use super::*;

    #[test]
    fn sizes_are_in_a_template_and_absent_unless_configured() {
        for (config, expected) in [
            (json!({}), json!({})),
            (json!({"snapshot": "sc-1"}), json!({"snapshotId": "sc-1"})),
            (json!({"vcpus": 3}), json!({"template": {"vcpuCount": 4}})),
            (json!({"memoryGb": 3}), json!({"template": {"memSizeGb": 3}})),
            (
                json!({"vcpus": 2, "memoryGb": 4, "snapshot": "sc-1"}),
                json!({"template": {"vcpuCount": 2, "memSizeGb": 4, "snapshotId": "sc-1"}}),
            ),
        ] {
            let mut all = config.clone();
            all["apiVersion"] = json!("v1");
            let settings = Settings::new(
                &serde_json::from_value(all).unwrap(),
                Some(Secret::new("key-1234".to_owned())),
            );
            assert_eq!(Value::Object(made_of(&settings.unwrap())), expected, "{config}");
        }
    }
}
