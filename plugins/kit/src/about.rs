//! What a provider says about itself, and the manifest that is made from it.

use crabbox_protocol::{InitializeParams, Lifecycle, Limits, Manifest, Method, Transport, VERSIONS, feature};
use schemars::JsonSchema;

/// What a provider says about itself: the answer to `initialize`, without what the kit knows.
///
/// It has to be the same wherever and whenever it is asked for: no network, no files, no environment.
#[derive(Debug, Clone, PartialEq)]
pub struct About {
    manifest: Manifest,
}

impl About {
    /// Begins with the provider's name and the plugin's version (`env!("CARGO_PKG_VERSION")`).
    ///
    /// The name is that of the executable after `crabbox-provider-`: `[a-z][a-z0-9-]{0,31}`. Without
    /// more said, leases live on between runs, the methods are `acquire`, `run` and `release` besides
    /// what the kit answers by itself (`configure`, `doctor`), and the only feature is `cancel`.
    pub fn new(name: impl Into<String>, version: impl Into<String>) -> Self {
        let methods = [Method::Configure, Method::Doctor, Method::Acquire, Method::Run, Method::Release];
        Self {
            manifest: Manifest {
                protocol: VERSIONS[0],
                name: name.into(),
                version: version.into(),
                lifecycle: Lifecycle::Leased,
                summary: None,
                targets: Vec::new(),
                methods: methods.map(|method| method.name().to_owned()).to_vec(),
                features: vec![feature::CANCEL.to_owned()],
                requires: Vec::new(),
                config: None,
                env: Vec::new(),
                limits: Limits::default(),
                transports: Vec::new(),
            },
        }
    }

    /// What the provider is, in one line.
    pub fn summary(mut self, summary: impl Into<String>) -> Self {
        self.manifest.summary = Some(summary.into());
        self
    }

    /// A run is all there is: no leases, and `run` is the only method.
    pub fn one_shot(mut self) -> Self {
        self.manifest.lifecycle = Lifecycle::OneShot;
        let ends = [Method::Acquire, Method::Release].map(Method::name);
        self.manifest.methods.retain(|method| !ends.contains(&method.as_str()));
        self
    }

    /// The operating systems of the leases, such as `linux`. The first is the default.
    pub fn targets<T: Into<String>>(mut self, targets: impl IntoIterator<Item = T>) -> Self {
        self.manifest.targets.extend(targets.into_iter().map(Into::into));
        self
    }

    /// Further methods that the provider answers. The host never calls one that is not named.
    pub fn methods(mut self, methods: impl IntoIterator<Item = Method>) -> Self {
        for method in methods {
            if method != Method::Initialize && !self.manifest.has(method) {
                self.manifest.methods.push(method.name().to_owned());
            }
        }
        self
    }

    /// Leaves out a method that is there by default: a lease that is reached by SSH has no `run`.
    pub fn without(mut self, method: Method) -> Self {
        self.manifest.methods.retain(|name| name != method.name());
        self
    }

    /// A feature of [`feature`] that the provider has. With [`feature::CONCURRENT`]
    /// requests are begun as they come; without it one at a time.
    pub fn feature(mut self, name: impl Into<String>) -> Self {
        let name = name.into();
        if !self.manifest.feature(&name) {
            self.manifest.features.push(name);
        }
        self
    }

    /// A feature that the provider cannot do without. A host that does not know it refuses the plugin.
    pub fn requires(mut self, name: impl Into<String>) -> Self {
        self.manifest.requires.push(name.into());
        self
    }

    /// The environment variables that the plugin wants to see: names, or prefixes that end in `*`.
    pub fn env<T: Into<String>>(mut self, names: impl IntoIterator<Item = T>) -> Self {
        self.manifest.env.extend(names.into_iter().map(Into::into));
        self
    }

    /// Numbers that the host has to respect.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.manifest.limits = limits;
        self
    }

    /// How other leases may reach one of this provider's.
    pub fn transports(mut self, transports: impl IntoIterator<Item = Transport>) -> Self {
        self.manifest.transports.extend(transports);
        self
    }

    /// The provider's name.
    pub fn name(&self) -> &str {
        &self.manifest.name
    }

    /// The manifest, without what depends on the host and on the type of the configuration.
    pub(crate) fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The answer to `initialize`: the newest version that both sides speak, or the newest of ours, so
    /// that the host can say which side to update.
    pub(crate) fn answer<C: JsonSchema>(&self, params: &InitializeParams) -> Manifest {
        let common = VERSIONS.iter().find(|version| params.versions.contains(version));
        let mut schema = crabbox_protocol::schemas::of::<C>();
        schema.remove("$schema");
        schema.remove("title");
        // `()` is no configuration.
        let config = schema.get("type").is_some_and(|kind| kind == "object").then(|| schema.to_value());
        Manifest { protocol: *common.unwrap_or(&VERSIONS[0]), config, ..self.manifest.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crabbox_protocol::Peer;

    fn asked(versions: &[u32]) -> InitializeParams {
        let host = Peer { name: "crabbox".into(), version: "1".into() };
        InitializeParams { versions: versions.to_vec(), host }
    }

    #[test]
    fn the_newest_common_version_is_picked_or_our_own() {
        let about = About::new("x", "1");
        assert_eq!(about.answer::<()>(&asked(&[7, 1])).protocol, 1);
        assert_eq!(about.answer::<()>(&asked(&[998, 999])).protocol, VERSIONS[0]);
        assert_eq!(about.answer::<()>(&asked(&[])).protocol, VERSIONS[0]);
    }

    #[test]
    fn the_schema_and_its_annotations_come_from_the_type() {
        /// Where.
        #[derive(JsonSchema)]
        #[expect(dead_code)]
        struct Config {
            /// The region.
            #[schemars(extend("x-crabbox" = {"env": ["X_REGION"], "userOnly": true}))]
            region: Option<String>,
        }
        let manifest = About::new("x", "1").answer::<Config>(&asked(&[1]));
        let properties = manifest.config_properties();
        assert_eq!(
            *properties["region"],
            serde_json::json!({"type": "string", "description": "The region.",
                "x-crabbox": {"env": ["X_REGION"], "userOnly": true}})
        );
        assert_eq!(About::new("x", "1").answer::<()>(&asked(&[1])).config, None);
    }

    #[test]
    fn methods_follow_the_lifecycle() {
        let leased = About::new("x", "1").methods([Method::Resolve, Method::Run]);
        let names = &leased.manifest().methods;
        assert_eq!(names, &["configure", "doctor", "acquire", "run", "release", "resolve"]);
        let once = About::new("x", "1").one_shot();
        assert_eq!(once.manifest().methods, ["configure", "doctor", "run"]);
        assert!(!About::new("x", "1").without(Method::Run).manifest().has(Method::Run));
    }
}
