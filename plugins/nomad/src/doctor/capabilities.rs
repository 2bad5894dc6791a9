//! What a token may do, read from its policies: Nomad lets everybody read their own.

use std::collections::BTreeSet;

use crabbox_provider_kit::check;
use crabbox_provider_kit::protocol::{Check, CheckStatus};

use super::{detailed, failed, hinted};
use crate::api::{NamespaceRule, Policy, PolicyRow, Token, segment};
use crate::provider::Nomad;

/// What every lease needs in its namespace: to be made, seen, listed, used and taken away.
const NEEDED: &[&str] = &["submit-job", "read-job", "list-jobs", "alloc-exec"];

/// What executing something needs as well where tasks see the node's file system.
const ON_NODE: &str = "alloc-node-exec";

impl Nomad {
    /// Whether the token's policies hold what a lease needs.
    pub(super) async fn capabilities(&self, token: Option<&Token>) -> Check {
        const NAME: &str = "capabilities";
        let needed: Vec<&str> =
            NEEDED.iter().copied().chain(self.settings.shares_node().then_some(ON_NODE)).collect();
        let Some(token) = token else {
            return check(NAME, CheckStatus::Ok, "everybody may do everything");
        };
        if token.r#type == "management" {
            return check(NAME, CheckStatus::Ok, "the token is a management token, which may do everything");
        }
        let who = if self.api.has_token() { "the token" } else { "whoever has no token" };
        let mut names = BTreeSet::new();
        if self.api.has_token() {
            // Its own policies, those of its roles among them. What is allowed without a token is not its (seen).
            match self.api.ask::<Vec<PolicyRow>>("/v1/acl/policies").await {
                Ok(Ok(rows)) => names.extend(rows.into_iter().map(|row| row.name)),
                Ok(Err(_)) => names.extend(token.policies.iter().cloned()),
                Err(error) => return failed(NAME, error),
            }
        } else {
            names.insert("anonymous".to_owned());
        }
        let mut rules = Vec::new();
        for name in &names {
            match self.api.ask::<Policy>(&format!("/v1/acl/policy/{}", segment(name))).await {
                Ok(Ok(policy)) => rules.extend(policy.rules_json.namespaces),
                // `anonymous` need not exist, nor what a role names.
                Ok(Err(_)) => {}
                Err(error) => return failed(NAME, error),
            }
        }
        let held = held(&rules, &self.settings.namespace);
        let missing: Vec<_> = needed.iter().filter(|name| !held.contains(**name)).copied().collect();
        match missing.is_empty() {
            true => check(NAME, CheckStatus::Ok, format!("{who} holds {}", needed.join(", "))),
            false => {
                let missing = missing.join(", ");
                let message = format!("{who} lacks {missing} in namespace `{}`", self.settings.namespace);
                let row = check(NAME, CheckStatus::Fail, message);
                detailed(
                    hinted(row, "capability", "docs/providers/nomad.md has a policy that holds them"),
                    "missing",
                    &missing,
                )
            }
        }
    }
}

/// What the rules allow in a namespace. A rule by name beats those with `*`, and of these the closest counts;
/// what several policies allow adds up, and `deny` takes it all away.
fn held<'a>(rules: &'a [NamespaceRule], namespace: &str) -> BTreeSet<&'a str> {
    let fits = |rule: &NamespaceRule| glob(&rule.name, namespace);
    let closest = rules.iter().filter(|rule| fits(rule)).map(|rule| weight(&rule.name)).max();
    let counting = rules.iter().filter(|rule| fits(rule) && Some(weight(&rule.name)) == closest);
    let held: BTreeSet<&str> =
        counting.flat_map(|rule| rule.capabilities.iter().map(String::as_str)).collect();
    if held.contains("deny") { BTreeSet::new() } else { held }
}

/// How close a pattern is: a name is the closest, then what has the most letters.
fn weight(pattern: &str) -> (bool, usize) {
    (!pattern.contains('*'), pattern.chars().filter(|letter| *letter != '*').count())
}

/// Whether `text` is as `pattern` says, where `*` stands for anything.
fn glob(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(mut text) = text.strip_prefix(first) else {
        return false;
    };
    loop {
        if glob(rest, text) {
            return true;
        }
        let mut letters = text.chars();
        if letters.next().is_none() {
            return false;
        }
        text = letters.as_str();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(name: &str, capabilities: &[&str]) -> NamespaceRule {
        NamespaceRule {
            name: name.to_owned(),
            capabilities: capabilities.iter().map(|&name| name.to_owned()).collect(),
        }
    }

    #[test]
    fn patterns_are_nomads() {
        for (pattern, text, fits) in [
            ("default", "default", true),
            ("default", "defaul", false),
            ("*", "", true),
            ("*", "x", true),
            ("team-*", "team-a", true),
            ("team-*", "tea", false),
            ("*-dev", "a-dev", true),
            ("*-dev", "a-dev2", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "ac", false),
        ] {
            assert_eq!(glob(pattern, text), fits, "{pattern} {text}");
        }
    }

    #[test]
    fn the_closest_rule_counts_and_deny_wins() {
        let rules =
            [rule("*", &["alloc-exec"]), rule("team-*", &["read-job"]), rule("team-a", &["submit-job"])];
        assert_eq!(held(&rules, "team-a"), BTreeSet::from(["submit-job"]));
        assert_eq!(held(&rules, "team-b"), BTreeSet::from(["read-job"]));
        assert_eq!(held(&rules, "other"), BTreeSet::from(["alloc-exec"]));
        let two = [rule("x", &["read-job"]), rule("x", &["alloc-exec"])];
        assert_eq!(held(&two, "x"), BTreeSet::from(["alloc-exec", "read-job"]));
        assert!(held(&[rule("x", &["read-job"]), rule("x", &["deny"])], "x").is_empty());
        assert!(held(&[], "x").is_empty());
    }
}
