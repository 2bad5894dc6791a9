//! The firewall: `/v5/firewall/rules`, and the rules that a create brings along. They are kept, not enforced.
//!
//! From `firewall.ts` of npm `freestyle@0.2.17`.

use serde_json::{Map, Value, json};

use super::answer::{Answer, Answered};
use super::body::{self, Field, Kind, optional, required};
use super::server::Call;
use super::state::{Rule, State};
use super::vms;

const RULE: &[Field] = &[
    required("action", Kind::Text),
    required("source", Kind::Object),
    required("destination", Kind::Object),
    optional("description", Kind::Text),
];

const ENDPOINT: &[Field] = &[
    optional("vmId", Kind::Text),
    optional("vpcId", Kind::Text),
    optional("tunnelId", Kind::Text),
    optional("cidr", Kind::Text),
    optional("public", Kind::Flag),
    optional("port", Kind::Count),
    optional("protocol", Kind::Text),
];

/// The fields of which one says who or where an end is.
const IDENTITY: &[&str] = &["vmId", "vpcId", "tunnelId", "cidr", "public"];

/// Reads the rules of a create. Exactly one end of each is the VM that is created, which is not named.
pub(super) fn inline(spec: &Value) -> Result<Vec<Map<String, Value>>, Answer> {
    let rules = rules_of(spec, "firewall")?;
    for (number, rule) in rules.iter().enumerate() {
        let at = format!("firewall.rules[{number}].");
        check(rule, &at)?;
        one_end_is_new(rule, IDENTITY, &at)?;
    }
    Ok(rules)
}

/// The rules of a block that a create brings along.
pub(super) fn rules_of(spec: &Value, block: &str) -> Result<Vec<Map<String, Value>>, Answer> {
    let wrong = || Answer::bad(format!("`{block}` must be an object with a list `rules` of objects"));
    let spec = spec.as_object().ok_or_else(wrong)?;
    body::check(spec, &[required("rules", Kind::List)], &format!("{block}."))?;
    let rules = spec["rules"].as_array().ok_or_else(wrong)?;
    rules.iter().map(|rule| rule.as_object().cloned().ok_or_else(wrong)).collect()
}

/// Checks that exactly one end of a rule has no identity.
pub(super) fn one_end_is_new(rule: &Map<String, Value>, identity: &[&str], at: &str) -> Result<(), Answer> {
    let names = |end: &str| identity.iter().any(|name| rule[end].get(name).is_some());
    match (names("source"), names("destination")) {
        (false, false) => Err(Answer::bad(format!("{at} both ends are the VM that is created"))),
        (true, true) => Err(Answer::bad(format!("{at} neither end is the VM that is created"))),
        _ => Ok(()),
    }
}

fn check(rule: &Map<String, Value>, at: &str) -> Result<(), Answer> {
    body::check(rule, RULE, at)?;
    if rule["action"] != "allow" {
        return Err(Answer::bad(format!("`{at}action` must be \"allow\"")));
    }
    let length = rule.get("description").and_then(Value::as_str).map_or(0, |text| text.chars().count());
    if length > 1024 {
        return Err(Answer::bad(format!("`{at}description` is limited to 1024 characters")));
    }
    for end in ["source", "destination"] {
        let at = format!("{at}{end}.");
        let Some(endpoint) = rule[end].as_object() else { continue };
        body::check(endpoint, ENDPOINT, &at)?;
        let protocol = endpoint.get("protocol").and_then(Value::as_str);
        if protocol.is_some_and(|it| !["tcp", "udp", "icmp"].contains(&it)) {
            return Err(Answer::bad(format!("`{at}protocol` must be tcp, udp or icmp")));
        }
        if endpoint.get("public").is_some_and(|it| *it != true) {
            return Err(Answer::bad(format!("`{at}public` must be true when present")));
        }
        if let Some(port) = endpoint.get("port").and_then(Value::as_u64)
            && (!(1..=65535).contains(&port) || !matches!(protocol, Some("tcp" | "udp")))
        {
            return Err(Answer::bad(format!("`{at}port` must be 1-65535, with `protocol` tcp or udp")));
        }
    }
    Ok(())
}

/// Keeps a rule; `created` is the VM that an end without identity stands for.
pub(super) fn add(state: &mut State, mut rule: Map<String, Value>, created: Option<&str>) -> Value {
    name_end(&mut rule, IDENTITY, created);
    let rule = Rule::new("fw", rule.clone(), &state.named_in(&rule));
    state.firewall.push(rule.clone());
    rule.value()
}

/// Gives the end without identity the name of the VM that is created.
pub(super) fn name_end(rule: &mut Map<String, Value>, identity: &[&str], created: Option<&str>) {
    let Some(created) = created else { return };
    for end in ["source", "destination"] {
        if identity.iter().all(|name| rule[end].get(name).is_none()) {
            rule[end]["vmId"] = created.into();
        }
    }
}

impl State {
    /// The VMs that a rule names.
    pub(super) fn named_in(&self, rule: &Map<String, Value>) -> Vec<&super::state::Vm> {
        let named = ["source", "destination"].iter().filter_map(|end| rule[*end].get("vmId")?.as_str());
        named.filter_map(|id| self.vm(id)).collect()
    }
}

/// Puts ids in place of slugs in a rule's ends.
pub(super) fn resolve(call: &Call, rule: &mut Map<String, Value>) -> Result<(), Answer> {
    for end in ["source", "destination"] {
        if let Some(key) = rule[end].get("vmId").and_then(Value::as_str) {
            rule[end]["vmId"] = vms::id_of(&call.cloud, key)?.into();
        }
    }
    Ok(())
}

/// Where `/v5/firewall/rules...` goes.
pub(super) fn route(call: &Call, rest: &[&str]) -> Answered {
    let cloud = &call.cloud;
    let find = |id: &str| {
        let rule = cloud.read(|state| state.firewall.iter().find(|rule| rule.id == id).cloned());
        rule.ok_or_else(|| Answer::not_found("firewall rule"))
    };
    match (call.request.method.as_str(), rest) {
        ("POST", []) => {
            let mut rule = body::read(&call.body, RULE)?;
            check(&rule, "")?;
            resolve(call, &mut rule)?;
            Ok(Answer::json(201, &cloud.change(|state| add(state, rule, None))))
        }
        ("GET", []) => list(call, |state| &state.firewall),
        ("GET", [id]) => Ok(Answer::ok(&find(id)?.value())),
        ("DELETE", [id]) => {
            find(id)?;
            cloud.change(|state| state.firewall.retain(|rule| rule.id != *id));
            Ok(Answer::empty())
        }
        (method, _) => Err(Answer::no_route(method, &call.request.path)),
    }
}

/// Lists rules, the newest first, those of one VM if it is asked for.
pub(super) fn list(call: &Call, rules: impl Fn(&State) -> &Vec<Rule>) -> Answered {
    let vm = call.query.get("vmId").map(|key| vms::id_of(&call.cloud, key)).transpose()?;
    let all: Vec<Value> = call.cloud.read(|state| {
        let applies = |rule: &&Rule| vm.as_ref().is_none_or(|id| rule.depends_on(id));
        rules(state).iter().rev().filter(applies).map(Rule::value).collect()
    });
    let total = all.len();
    Ok(Answer::ok(&json!({"rules": vms::page(call, all)?, "totalCount": total})))
}
