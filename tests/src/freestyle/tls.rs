//! TLS rules, `/v5/tls`: what publishes a VM's port under a name. The edge that they rule is in [`super::edge`].
//!
//! From `tls.ts` of npm `freestyle@0.2.17`.

use serde_json::{Map, Value};

use super::answer::{Answer, Answered};
use super::body::{self, Field, Kind, optional, required};
use super::firewall::{list, name_end, one_end_is_new, resolve, rules_of};
use super::server::Call;
use super::state::{Rule, State};

const RULE: &[Field] = &[
    required("action", Kind::Text),
    required("domain", Kind::Text),
    optional("protocol", Kind::Text),
    required("source", Kind::Object),
    required("destination", Kind::Object),
];

const ENDPOINT: &[Field] = &[
    optional("vmId", Kind::Text),
    optional("vpcId", Kind::Text),
    optional("public", Kind::Flag),
    optional("host", Kind::Text),
    optional("port", Kind::Count),
];

/// The fields of which one says who or where an end is.
const IDENTITY: &[&str] = &["vmId", "vpcId", "public", "host"];

/// The domain whose subdomains need no verification.
pub(super) const FREE_DOMAIN: &str = ".style.dev";

/// Reads the rules of a create. Exactly one end of each is the VM that is created, which is not named.
pub(super) fn inline(spec: &Value) -> Result<Vec<Map<String, Value>>, Answer> {
    let rules = rules_of(spec, "tls")?;
    for (number, rule) in rules.iter().enumerate() {
        let at = format!("tls.rules[{number}].");
        check(rule, &at)?;
        one_end_is_new(rule, IDENTITY, &at)?;
        let lands_here = IDENTITY.iter().all(|name| rule["destination"].get(name).is_none());
        if lands_here && rule["destination"].get("port").is_none() {
            return Err(Answer::bad(format!("`{at}destination.port` is required")));
        }
    }
    Ok(rules)
}

fn check(rule: &Map<String, Value>, at: &str) -> Result<(), Answer> {
    body::check(rule, RULE, at)?;
    if rule["action"] != "allow" {
        return Err(Answer::bad(format!("`{at}action` must be \"allow\"")));
    }
    if rule.get("protocol").is_some_and(|it| it != "http") {
        return Err(Answer::bad(format!("`{at}protocol`: the emulator's edge speaks only http")));
    }
    for end in ["source", "destination"] {
        let at = format!("{at}{end}.");
        let Some(endpoint) = rule[end].as_object() else { continue };
        body::check(endpoint, ENDPOINT, &at)?;
        if endpoint.get("public").is_some_and(|it| *it != true) {
            return Err(Answer::bad(format!("`{at}public` must be true when present")));
        }
        let port = endpoint.get("port").and_then(Value::as_u64);
        if port.is_some_and(|port| !(1..=65535).contains(&port)) {
            return Err(Answer::bad(format!("`{at}port` must be 1-65535")));
        }
        if end == "source" && (endpoint.contains_key("port") || endpoint.contains_key("host")) {
            return Err(Answer::bad(format!("`{at}` has no `port` and no `host`")));
        }
        if end == "destination" && endpoint.contains_key("vmId") && port.is_none() {
            return Err(Answer::bad(format!("`{at}port` is required")));
        }
    }
    let domain = rule["domain"].as_str().unwrap_or_default();
    if !is_domain(domain) {
        return Err(Answer::bad(format!("`{at}domain` `{domain}` is not a domain")));
    }
    let ingress = rule["source"].get("public").is_some();
    if ingress && !domain.ends_with(FREE_DOMAIN) {
        return Err(Answer::error(403, "DOMAIN_NOT_VERIFIED", format!("{domain} is not verified")));
    }
    Ok(())
}

/// Labels of 1 to 63 of `[a-z0-9-]`, without a hyphen at an end; 253 characters in all.
fn is_domain(domain: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    domain.len() <= 253 && domain.contains('.') && domain.split('.').all(label)
}

/// Checks that no other rule has the domain.
pub(super) fn domain_is_free(state: &State, rule: &Map<String, Value>) -> Result<(), Answer> {
    let domain = rule["domain"].as_str().unwrap_or_default();
    let public = rule["source"].get("public").is_some();
    if public && state.tls.iter().any(|it| it.text("domain") == domain) {
        return Err(Answer::error(409, "CONFLICT", format!("{domain} is already in use")));
    }
    Ok(())
}

/// Keeps a rule; `created` is the VM that an end without identity stands for.
pub(super) fn add(state: &mut State, mut rule: Map<String, Value>, created: Option<&str>) -> Value {
    name_end(&mut rule, IDENTITY, created);
    rule.entry("protocol").or_insert("http".into());
    let rule = Rule::new("tls", rule.clone(), &state.named_in(&rule));
    state.tls.push(rule.clone());
    rule.value()
}

/// Where `/v5/tls...` goes.
pub(super) fn route(call: &Call, rest: &[&str]) -> Answered {
    let cloud = &call.cloud;
    let find = |id: &str| {
        let rule = cloud.read(|state| state.tls.iter().find(|rule| rule.id == id).cloned());
        rule.ok_or_else(|| Answer::not_found("TLS rule"))
    };
    match (call.request.method.as_str(), rest) {
        ("POST", []) => {
            let mut rule = body::read(&call.body, RULE)?;
            check(&rule, "")?;
            resolve(call, &mut rule)?;
            let told = cloud.change(|state| {
                domain_is_free(state, &rule)?;
                Ok(add(state, rule, None))
            })?;
            Ok(Answer::json(201, &told))
        }
        ("GET", []) => list(call, |state| &state.tls),
        ("GET", [id]) => Ok(Answer::ok(&find(id)?.value())),
        ("DELETE", [id]) => {
            find(id)?;
            cloud.change(|state| state.tls.retain(|rule| rule.id != *id));
            Ok(Answer::empty())
        }
        (method, _) => Err(Answer::no_route(method, &call.request.path)),
    }
}

impl Rule {
    /// The VM and the port that a rule leads to, if it is one that publishes a domain.
    pub(super) fn lands_on(&self, domain: &str) -> Option<(String, u16)> {
        let public = self.body["source"].get("public").is_some();
        let destination = &self.body["destination"];
        let vm = destination.get("vmId")?.as_str()?;
        let port = destination.get("port")?.as_u64()?.try_into().ok()?;
        (public && self.text("domain") == domain).then(|| (vm.to_owned(), port))
    }
}
