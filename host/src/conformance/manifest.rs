//! What the plugin says about itself: always the same, and something that the host can use.

use std::process::{Command, Stdio};
use std::str::FromStr;

use crabbox_protocol::{Manifest, Method, VERSIONS, feature};
use serde_json::Value;

use super::check::{Check, hello};
use super::ledger::{Finding, Verdict};
use super::rules;
use super::talk::{Launch, SOON, Talk};
use super::world::World;
use crate::plugins::{Refusal, check_methods, check_name, check_requires, check_schema};

/// Tries all of them.
pub(super) async fn check(check: &mut Check<'_>) {
    check.rule(rules::PURE, elsewhere).await;
    check.rule(rules::PATH_ALONE, path_alone).await;
    check.rule(rules::NO_FILES, no_files).await;
    check.rule(rules::OFFLINE, offline).await;
    let Some(manifest) = check.manifest.clone() else { return };
    let verdict = |checked: Result<(), Refusal>| checked.map_err(|refusal| Finding::broken(refusal.reason));
    let name = check.name();
    check.judge(rules::NAMED, verdict(check_name(&name, &manifest)));
    check.judge(rules::REQUIRES, verdict(check_requires(&name, &manifest)));
    check.judge(rules::METHODS, verdict(check_methods(&name, &manifest)));
    check.judge(rules::SCHEMA, verdict(check_schema(&name, &manifest)));
    check.judge(rules::NAMES_KNOWN, names_known(&manifest));
}

/// What the plugin says when it is started in this way.
async fn said(check: &Check<'_>, launch: &Launch) -> Result<(Talk, Value), Finding> {
    let mut talk = Talk::start(launch, &check.ledger)?;
    let result = talk.call(Method::Initialize, hello(VERSIONS), SOON).await?;
    Ok((talk, result))
}

/// Fails unless it says the same as the first time.
async fn the_same(check: &Check<'_>, launch: &Launch, how: &str) -> Verdict {
    let (talk, result) = said(check, launch).await?;
    if result != check.raw {
        let difference = difference(&check.raw, &result, "");
        return Err(talk.finding(format!("the manifest is another {how}: {difference}")));
    }
    talk.close().await;
    Ok(())
}

/// The first place where two values differ.
fn difference(one: &Value, other: &Value, at: &str) -> String {
    if let (Value::Object(one), Value::Object(other)) = (one, other) {
        let keys = one.keys().chain(other.keys());
        for key in keys {
            let (a, b) = (one.get(key).unwrap_or(&Value::Null), other.get(key).unwrap_or(&Value::Null));
            if a != b {
                return difference(a, b, &format!("{at}/{key}"));
            }
        }
    }
    format!("`{at}` is {one}, and then {other}")
}

async fn elsewhere(check: &mut Check<'_>) -> Verdict {
    let other = World::new().map_err(|error| Finding::skipped(error.to_string()))?;
    let mut launch = check.launch(&other.seal(&check.host.plugins.base()));
    launch.directory = other.cwd();
    the_same(check, &launch, "under another working directory and HOME").await
}

async fn path_alone(check: &mut Check<'_>) -> Verdict {
    let env: Vec<_> = check.env.iter().filter(|(name, _)| name == "PATH").cloned().collect();
    the_same(check, &check.launch(&env), "with PATH alone in the environment").await
}

async fn no_files(check: &mut Check<'_>) -> Verdict {
    let other = World::new().map_err(|error| Finding::skipped(error.to_string()))?;
    let mut launch = check.launch(&other.seal(&check.host.plugins.base()));
    launch.directory = other.cwd();
    let before = other.files();
    let (talk, _) = said(check, &launch).await?;
    let finding = talk.finding("");
    talk.close().await;
    match other.files().difference(&before).next() {
        None => Ok(()),
        Some(made) => Err(Finding { why: format!("it made `{}`", made.display()), ..finding }),
    }
}

async fn offline(check: &mut Check<'_>) -> Verdict {
    let mut launch = check.launch(&check.env);
    launch.before = no_network()?;
    the_same(check, &launch, "without a network").await
}

/// The words that start a program without a network.
pub(super) fn no_network() -> Result<Vec<String>, Finding> {
    let words = ["unshare", "-r", "-n"].map(str::to_owned);
    let mut probe = Command::new(&words[0]);
    probe.args(&words[1..]).arg("true").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    match probe.status() {
        Ok(status) if status.success() => Ok(words.to_vec()),
        _ => Err(Finding::skipped("this machine has no `unshare -r -n` to take the network away")),
    }
}

fn names_known(manifest: &Manifest) -> Verdict {
    let method = manifest.methods.iter().find(|name| Method::from_str(name).is_err());
    let feature = manifest.features.iter().find(|name| !feature::ALL.contains(&name.as_str()));
    match (method, feature) {
        (None, None) => Ok(()),
        (Some(name), _) => Err(Finding::broken(format!("`{name}` is no method of version 1"))),
        (_, Some(name)) => Err(Finding::broken(format!("`{name}` is no feature of version 1"))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_difference_is_named_where_it_is() {
        let (one, other) = (json!({"a": 1, "b": {"c": [1]}}), json!({"a": 1, "b": {"c": [2]}}));
        assert_eq!(difference(&one, &other, ""), "`/b/c` is [1], and then [2]");
        assert_eq!(difference(&json!({}), &json!({"x": 1}), ""), "`/x` is null, and then 1");
    }
}
