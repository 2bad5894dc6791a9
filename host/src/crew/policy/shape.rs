//! What we know of a policy: the owners of tags, and the rules that let leases reach each other. Anything in these
//! sections that is not as expected is refused; what is in others is none of our business.
//!
//! Sections and fields are known whatever the case of their letters, because Tailscale reads them so: its own examples
//! once had `ACLs` with `Users` and `Ports`, which are the old names of `src` and `dst`.

use std::collections::BTreeMap;

use jsonc_parser::ast::{Array, Object, ObjectProp, Value};

use super::parse::Policy;

/// The sections that count.
#[derive(Debug)]
pub(super) struct Shape<'p> {
    /// Who may give a tag.
    pub(super) owners: Option<&'p Object<'p>>,
    /// The rules of the newer kind.
    pub(super) grants: Option<&'p Array<'p>>,
    /// The rules of the older kind.
    pub(super) acls: Option<&'p Array<'p>>,
}

/// Finds the sections, or says what is wrong with them.
pub(super) fn shape<'p>(policy: &'p Policy<'p>) -> Result<Shape<'p>, String> {
    let sections = members(&policy.root, "the policy", fold)?;
    let section = |name: &str| sections.get(name).map(|section| &section.value);
    let list = |name: &str| {
        let list = |value: &'p Value<'p>| value.as_array().ok_or(format!("`{name}` is no list"));
        section(name).map(list).transpose()
    };
    let owners =
        section("tagowners").map(|value| value.as_object().ok_or("`tagOwners` is no object")).transpose()?;
    let shape = Shape { owners, grants: list("grants")?, acls: list("acls")? };
    if let Some(owners) = shape.owners {
        for (tag, owner) in members(owners, "`tagOwners`", str::to_owned)? {
            texts(&owner.value).ok_or(format!("the owners of `{tag}` are no list of names"))?;
        }
    }
    for (name, rules) in [("grants", shape.grants), ("acls", shape.acls)] {
        for (n, rule) in rules.iter().flat_map(|rules| &rules.elements).enumerate() {
            let what = format!("rule {} of `{name}`", n + 1);
            rule_of(rule, &what)?;
        }
    }
    Ok(shape)
}

impl Shape<'_> {
    /// Whether a tag has an owner.
    pub(super) fn has_owner(&self, tag: &str) -> bool {
        self.owners.is_some_and(|owners| owners.properties.iter().any(|owner| owner.name.as_str() == tag))
    }

    /// Whether one and the same rule, without a condition, leads from the tag to all ports of the tag. A policy without
    /// any rules at all lets everything reach everything: with the first rule that would end
    /// (github.com/tailscale/tailscale/issues/2799).
    pub(super) fn has_rule(&self, tag: &str) -> bool {
        if self.grants.is_none() && self.acls.is_none() {
            return true;
        }
        let grant = |rule: &Value<'_>| {
            let Ok(rule) = rule_of(rule, "") else { return false };
            has(&rule, &["src"], tag)
                && has(&rule, &["dst"], tag)
                && has(&rule, &["ip"], "*")
                && rule.keys().all(|key| ["src", "dst", "ip", "app"].contains(&key.as_str()))
        };
        let acl = |rule: &Value<'_>| {
            let Ok(rule) = rule_of(rule, "") else { return false };
            let accept = rule.get("action").and_then(|action| action.value.as_string_lit());
            accept.is_some_and(|action| action.value == "accept")
                && has(&rule, &["src", "users"], tag)
                && has(&rule, &["dst", "ports"], &format!("{tag}:*"))
                && rule.keys().all(|key| ["action", "src", "users", "dst", "ports"].contains(&key.as_str()))
        };
        self.grants.is_some_and(|grants| grants.elements.iter().any(grant))
            || self.acls.is_some_and(|acls| acls.elements.iter().any(acl))
    }
}

type Members<'p> = BTreeMap<String, &'p ObjectProp<'p>>;

/// The members of an object by their names, each of which must be there once.
fn members<'p>(
    object: &'p Object<'p>,
    what: &str,
    name: impl Fn(&str) -> String,
) -> Result<Members<'p>, String> {
    let mut members = BTreeMap::new();
    for member in &object.properties {
        let written = member.name.as_str();
        if members.insert(name(written), member).is_some() {
            return Err(format!("`{}` is there more than once in {what}", written.escape_debug()));
        }
    }
    Ok(members)
}

/// The fields of a rule. Those that we read are lists of texts.
fn rule_of<'p>(rule: &'p Value<'p>, what: &str) -> Result<Members<'p>, String> {
    let fields = members(rule.as_object().ok_or(format!("{what} is no object"))?, what, fold)?;
    for name in ["src", "users", "dst", "ports", "ip"] {
        if fields.get(name).is_some_and(|field| texts(&field.value).is_none()) {
            return Err(format!("`{name}` in {what} is no list of texts"));
        }
    }
    Ok(fields)
}

fn has(rule: &Members<'_>, fields: &[&str], wanted: &str) -> bool {
    let lists = fields.iter().filter_map(|name| texts(&rule.get(*name)?.value));
    lists.flatten().any(|text| text == wanted)
}

/// A list of texts.
fn texts<'p>(value: &'p Value<'p>) -> Option<Vec<&'p str>> {
    let text = |value: &'p Value<'p>| value.as_string_lit().map(|text| &*text.value);
    value.as_array()?.elements.iter().map(text).collect()
}

/// Whether two names are one.
pub(super) fn same(one: &str, other: &str) -> bool {
    fold(one) == fold(other)
}

/// A name as it is compared by Go's JSON: whatever the case of its letters, also of those that are not ASCII.
fn fold(name: &str) -> String {
    name.to_uppercase().to_lowercase()
}
