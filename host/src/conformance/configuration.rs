//! `configure` and `doctor`, and whether the plugin can be tried at all without anybody's account.

use std::collections::BTreeSet;
use std::time::Duration;

use crabbox_protocol::{
    CheckStatus, ConfigureParams, ConfigureResult, DoctorParams, Method, Problem, SecretSource, VERSIONS,
};
use serde_json::{Map, Value, json};

use super::check::{Check, Place, hello, read, value};
use super::ledger::{Finding, Verdict};
use super::manifest::no_network;
use super::rules;
use super::talk::{Launch, SOON, Talk};
use crate::config::{FlagValues, Key, Kind, Schema, resolve};
use crate::error::{Error, Result};
use crate::lease::{new_lease_id, remote_name};
use crate::output::{foreign, hide};
use crate::provider::default_scope;

/// How long `doctor` may take.
const DOCTOR: Duration = Duration::from_secs(30);

/// The value of a secret that is none.
const CANARY: &str = "crabbox-check-no-secret-5f3a9c0e71b2";

/// How many keys are tried to be got wrong.
const MOST_KEYS: usize = 12;

/// Tries all of them, with nothing configured but defaults.
pub(super) async fn check(check: &mut Check<'_>) {
    let schema = check.manifest.as_ref().map(Schema::of).unwrap_or_default();
    check.params = ConfigureParams { config: defaults(&schema), ..ConfigureParams::default() };
    check.rule(rules::CONFIGURED, answers).await;
    if check.has(Method::Configure) && !check.ledger.borrow().passed(rules::CONFIGURED) {
        return;
    }
    check.rule(rules::CONFIGURE_STABLE, stable).await;
    let mut problems = check.configured.problems.clone();
    check.rule(rules::CONFIGURE_ALL, async |check| at_once(check, &schema, &mut problems).await).await;
    check.rule(rules::CONFIGURE_KEYS, async |_| names_keys(&schema, &problems)).await;
    check.rule(rules::CONFIGURE_OFFLINE, offline).await;
    check.rule(rules::SECRETS, async |check| secrets(check, &schema).await).await;
    check.rule(rules::DOCTOR, async |check| doctor(check).await.map(drop)).await;
}

/// The defaults, and something of the right kind where there is none and a value has to be.
fn defaults(schema: &Schema) -> Map<String, Value> {
    let mut config = Map::new();
    for key in schema.keys.iter().filter(|key| !key.secret) {
        if let Some(default) = &key.default {
            config.insert(key.name.clone(), default.clone());
        } else if key.required {
            config.insert(key.name.clone(), something(&key.kind));
        }
    }
    config
}

/// A value of a kind.
fn something(kind: &Kind) -> Value {
    match kind {
        Kind::String | Kind::Any => "something".into(),
        Kind::Path => "/nonexistent/something".into(),
        Kind::Integer | Kind::Number | Kind::Duration => 1.into(),
        Kind::Boolean => false.into(),
        Kind::Enum(values) => values.first().cloned().unwrap_or_default(),
        Kind::List(_) => json!([]),
        Kind::Map(_) => json!({}),
    }
}

/// What a fresh process says to a configuration.
async fn configure(
    check: &Check<'_>,
    launch: &Launch,
    params: &ConfigureParams,
) -> Result<(Talk, ConfigureResult), Finding> {
    let mut talk = Talk::start(launch, &check.ledger)?;
    talk.call(Method::Initialize, hello(VERSIONS), SOON).await?;
    let result = talk.call(Method::Configure, value(params), SOON).await?;
    Ok((talk, read::<ConfigureParams>(result)?))
}

async fn answers(check: &mut Check<'_>) -> Verdict {
    let (talk, result) = configure(check, &check.launch(&check.env), &check.params).await?;
    if result.scope.is_empty() && result.problems.is_empty() {
        return Err(talk.finding("the scope is empty, and there are no problems"));
    }
    check.configured = result;
    talk.close().await;
    Ok(())
}

/// The same configuration once more.
async fn stable(check: &mut Check<'_>) -> Verdict {
    let launch = check.launch(&check.env);
    again(check, &launch, "in another process").await
}

async fn offline(check: &mut Check<'_>) -> Verdict {
    if !check.ledger.borrow().passed(rules::CONFIGURE_STABLE) {
        return Err(Finding::skipped("it changes by itself: see `configure-is-stable`"));
    }
    let mut launch = check.launch(&check.env);
    launch.before = no_network()?;
    again(check, &launch, "without a network").await
}

async fn again(check: &Check<'_>, launch: &Launch, how: &str) -> Verdict {
    let (talk, result) = configure(check, launch, &check.params).await?;
    if result.scope != check.configured.scope {
        let (one, other) = (foreign(&check.configured.scope), foreign(&result.scope));
        return Err(talk.finding(format!("the scope is `{one}`, and then `{other}` {how}")));
    }
    talk.close().await;
    Ok(())
}

fn names_keys(schema: &Schema, problems: &[Problem]) -> Verdict {
    let unknown =
        problems.iter().find(|problem| !problem.key.is_empty() && schema.key(&problem.key).is_none());
    match unknown {
        None => Ok(()),
        Some(problem) => {
            let (key, message) = (foreign(&problem.key), foreign(&problem.message));
            Err(Finding::broken(format!("`{key}` is no key of the schema; its problem is: {message}")))
        }
    }
}

/// Gets one key wrong after the other, and then all that the plugin objected to at once.
async fn at_once(check: &mut Check<'_>, schema: &Schema, seen: &mut Vec<Problem>) -> Verdict {
    let valid = validator(schema);
    let keys_of = |problems: &[Problem]| -> BTreeSet<String> {
        problems.iter().map(|problem| problem.key.clone()).collect()
    };
    let mut expected = keys_of(&check.configured.problems);
    let mut params = check.params.clone();
    for key in schema.keys.iter().filter(|key| !key.secret).take(MOST_KEYS) {
        for wrong in wrong_values(check, key) {
            let mut one = check.params.clone();
            one.config.insert(key.name.clone(), wrong.clone());
            if expected.contains(&key.name) || !valid(&one.config) {
                continue;
            }
            let (talk, result) = configure(check, &check.launch(&check.env), &one).await?;
            talk.close().await;
            if keys_of(&result.problems).contains(&key.name) {
                expected.insert(key.name.clone());
                params.config.insert(key.name.clone(), wrong);
            }
            seen.extend(result.problems);
        }
    }
    if expected.len() < 2 {
        return Err(Finding::skipped("its schema leaves fewer than two values to get wrong"));
    }
    let (talk, result) = configure(check, &check.launch(&check.env), &params).await?;
    let reported = keys_of(&result.problems);
    if let Some(missing) = expected.iter().find(|key| !reported.contains(*key)) {
        let list = expected.iter().map(|key| format!("`{}`", foreign(key))).collect::<Vec<_>>().join(", ");
        let missing = foreign(missing);
        return Err(talk.finding(format!(
            "wrong are {list}, each of them a problem by itself; `{missing}` is not reported"
        )));
    }
    talk.close().await;
    Ok(())
}

/// Values that fit their schema, and that a plugin may well object to.
fn wrong_values(check: &Check<'_>, key: &Key) -> Vec<Value> {
    let below_a_file = check.world.path("file/below");
    match &key.kind {
        Kind::Path => {
            let _ = std::fs::write(check.world.path("file"), "no directory\n");
            vec![below_a_file.to_string_lossy().into_owned().into(), "/dev/null".into()]
        }
        Kind::String | Kind::Any => vec!["::: no such thing :::".into(), "".into()],
        Kind::Integer | Kind::Number | Kind::Duration => vec![0.into(), (-1).into(), (1u64 << 53).into()],
        Kind::List(_) => vec![json!([]), json!(["::: no such thing :::"])],
        Kind::Boolean | Kind::Enum(_) | Kind::Map(_) => Vec::new(),
    }
}

/// Whether a configuration is one that the host would hand over.
fn validator(schema: &Schema) -> impl Fn(&Map<String, Value>) -> bool {
    let validator = jsonschema::validator_for(&schema.wire).ok();
    move |config| {
        validator.as_ref().is_none_or(|validator| validator.is_valid(&Value::Object(config.clone())))
    }
}

/// Hands over secrets that are none, and looks for them in everything that is said.
async fn secrets(check: &mut Check<'_>, schema: &Schema) -> Verdict {
    let secrets: Vec<_> = schema.keys.iter().filter(|key| key.secret).collect();
    if secrets.is_empty() {
        return Err(Finding::skipped("its configuration has no secrets"));
    }
    let mut params = check.params.clone();
    let mut env = check.env.clone();
    for key in secrets {
        let Some(variable) = key.variables(&check.name()).into_iter().next() else { continue };
        env.push((variable.name.clone().into(), CANARY.into()));
        params.secrets.insert(key.name.clone(), SecretSource { env: variable.name });
    }
    check.ledger.borrow_mut().secrets.push(CANARY.to_owned());
    let (mut talk, _) = configure(check, &check.launch(&env), &params).await?;
    // An error may repeat what it is given.
    let lease = json!({"id": "none", "secrets": params.secrets});
    let _ = talk.ask("crabbox/nothing", json!({"lease": lease}), SOON).await?;
    talk.close().await;
    // Also in what came before: then it is broken already.
    Ok(())
}

/// What `doctor` says. What fails there comes back.
async fn doctor(check: &Check<'_>) -> Result<Option<String>, Finding> {
    let mut talk = check.ready().await?;
    let result = talk.call(Method::Doctor, value(&DoctorParams::default()), DOCTOR).await?;
    let checks = read::<DoctorParams>(result)?.checks;
    if checks.is_empty() && !check.configured.problems.is_empty() {
        return Err(talk.finding("`configure` has problems, and `doctor` has no row"));
    }
    talk.close().await;
    let failed = checks.into_iter().find(|check| check.status == CheckStatus::Fail);
    Ok(failed.map(|check| format!("{}: {}", foreign(&check.name), foreign(&check.message))))
}

/// Where leases and runs can be tried, or why nowhere. With `--live` that is with the user's configuration;
/// else only where the plugin needs nothing, not even a home.
pub(super) async fn place(check: &mut Check<'_>) -> Result<Result<Place, String>> {
    if check.has(Method::Configure) && !check.ledger.borrow().passed(rules::CONFIGURED) {
        return Ok(Err("`configure` fails: see `configure-answers`".to_owned()));
    }
    if check.live {
        users_own(check).await?;
    } else if let Some(why) = needs(check).await {
        return Ok(Err(format!("it needs something: {why}; `--live` uses your configuration")));
    }
    if check.is_one_shot() {
        return Ok(Ok(Place::OneShot));
    }
    let id = new_lease_id()?;
    let slug = format!("check-{}", &id.as_str()[4..10]);
    let name = remote_name(&id, &slug);
    let lease = crabbox_protocol::Lease {
        id,
        slug,
        name,
        labels: Default::default(),
        crew: None,
        r#ref: None,
        state: None,
        root: None,
    };
    Ok(Ok(Place::Lease(Box::new(lease))))
}

/// What a plugin needs that is not in an empty home.
async fn needs(check: &Check<'_>) -> Option<String> {
    let schema = check.manifest.as_ref().map(Schema::of).unwrap_or_default();
    if let Some(key) = schema.keys.iter().find(|key| key.required) {
        return Some(format!("the configuration has to have `{}`", key.name));
    }
    if let Some(problem) = check.configured.problems.first() {
        return Some(foreign(&problem.message));
    }
    if check.has(Method::Doctor) {
        return doctor(check).await.unwrap_or_else(|finding| Some(finding.why));
    }
    None
}

/// From here on the plugin is configured as the user has it.
async fn users_own(check: &mut Check<'_>) -> Result<()> {
    let Some(manifest) = check.manifest.clone() else { return Ok(()) };
    let name = check.name();
    let schema = Schema::of(&manifest);
    let resolved = resolve(&name, &schema, &check.host.env, &check.host.files, &FlagValues::default())?;
    for source in resolved.secrets.values() {
        let Some(secret) = check.host.env.get(&source.env).and_then(|secret| secret.to_str()) else {
            continue;
        };
        hide(secret);
        if secret.len() >= 6 {
            check.ledger.borrow_mut().secrets.push(secret.to_owned());
        }
    }
    check.env = check.host.plugins.environment(&name, &manifest, &resolved.pass);
    check.params = ConfigureParams { config: resolved.config, secrets: resolved.secrets };
    check.configured = ConfigureResult { scope: default_scope(&check.params), ..ConfigureResult::default() };
    if !check.has(Method::Configure) {
        return Ok(());
    }
    let configured = configure(check, &check.launch(&check.env), &check.params).await;
    let (talk, configured) = configured.map_err(|finding| Error::failure(finding.why))?;
    talk.close().await;
    if let Some(problem) = configured.problems.first() {
        return Err(Error::usage(format!(
            "provider `{name}` is not configured: {}",
            foreign(&problem.message)
        ))
        .hint(format!("`crabbox plugins describe {name}` shows every key and where it can be set")));
    }
    check.configured = configured;
    Ok(())
}
