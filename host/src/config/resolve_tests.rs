use serde_json::json;

use super::*;
use crate::paths::Paths;

fn schema() -> Schema {
    let schema = json!({
        "type": "object",
        "required": ["template"],
        "additionalProperties": false,
        "properties": {
            "address": {"type": "string", "default": "http://127.0.0.1", "x-crabbox":
                {"env": ["NIMBO_ADDR", "NIMBO_ADDRESS"], "userOnly": true}},
            "caCert": {"type": ["string", "null"], "x-crabbox": {"path": true}},
            "count": {"type": "integer", "minimum": 1, "maximum": 9},
            "mode": {"type": "string", "enum": ["fast", "slow"]},
            "namespace": {"type": "string", "x-crabbox": {"release": true}},
            "tags": {"type": "array", "items": {"type": "string"}},
            "template": {"type": "string"},
            "token": {"type": "string", "x-crabbox": {"secret": true, "env": "NIMBO_TOKEN"}},
            "tokenEnv": {"type": "string", "default": "NIMBO_TOKEN_2", "x-crabbox": {"envName": true}},
            "wait": {"type": "integer", "default": 60_000, "minimum": 1_000, "x-crabbox":
                {"duration": true, "env": {"name": "WAIT_S", "unit": "s"}}},
        },
    });
    Schema::parse(Some(&schema)).unwrap()
}

/// A repository's file, a user's file, variables.
struct Place<'a> {
    repo: &'a str,
    user: &'a str,
    vars: &'a [(&'a str, &'a str)],
}

const NOTHING: Place<'_> = Place { repo: "", user: "", vars: &[] };

impl Place<'_> {
    fn resolve_as(&self, provider: &str, flags: impl Into<FlagValues>) -> Result<(Resolved, String)> {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path();
        for name in ["repo/.git", "repo/cwd", "config"] {
            std::fs::create_dir_all(base.join(name)).unwrap();
        }
        std::fs::write(base.join("repo/crabbox.yaml"), self.repo).unwrap();
        std::fs::write(base.join("config/config.yaml"), self.user).unwrap();
        let env = Env::new(base.join("repo/cwd"), self.vars.iter().copied().chain([("HOME", "/home/me")]));
        let paths = Paths { state: base.into(), cache: base.into(), config: base.join("config") };
        let files = Files::load(&env, &paths, Some(&base.join("repo")))?;
        let resolved = resolve(provider, &schema(), &env, &files, &flags.into())?;
        Ok((resolved, base.to_str().unwrap().to_owned()))
    }

    fn resolve(&self, flags: impl Into<FlagValues>) -> Result<Resolved> {
        self.resolve_as("nimbo", flags).map(|(resolved, _)| resolved)
    }

    /// The problems, whether there is one or more.
    fn problems(&self, flags: impl Into<FlagValues>) -> (u8, Vec<String>) {
        let error = self.resolve(flags).unwrap_err();
        let problems = if error.causes.is_empty() { vec![error.message] } else { error.causes };
        (error.exit.code(), problems)
    }
}

/// The files of a user who wrote this one.
fn files(user: &str) -> Files {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path();
    std::fs::write(base.join("config.yaml"), user).unwrap();
    let paths = Paths { state: base.into(), cache: base.into(), config: base.into() };
    Files::load(&Env::new(base, [("HOME", "/home/me")]), &paths, None).unwrap()
}

fn no_files() -> Files {
    files("")
}

fn no_flags() -> FlagValues {
    FlagValues::default()
}

fn source<'a>(resolved: &'a Resolved, key: &str) -> &'a str {
    resolved.values.iter().find(|value| value.key == key).map_or("absent", |value| &value.source)
}

#[test]
fn flag_before_variable_before_repository_before_user_before_default() {
    let both = "nimbo: {template: r, namespace: r, mode: fast}";
    let user = "nimbo: {template: u, namespace: u, mode: slow, count: 3}";
    let vars = [("CRABBOX_NIMBO_TEMPLATE", "v"), ("CRABBOX_NIMBO_NAMESPACE", "v")];
    let place = Place { repo: both, user, vars: &vars };
    let resolved = place.resolve([("template", &["f"][..])]).unwrap();
    let expected = json!({
        "template": "f", "namespace": "v", "mode": "fast", "count": 3,
        "address": "http://127.0.0.1", "tokenEnv": "NIMBO_TOKEN_2", "wait": 60_000,
    });
    assert_eq!(Value::Object(resolved.config.clone()), expected);
    assert_eq!(source(&resolved, "nimbo.template"), "flag --nimbo-template");
    assert_eq!(source(&resolved, "nimbo.namespace"), "variable CRABBOX_NIMBO_NAMESPACE");
    assert!(source(&resolved, "nimbo.mode").ends_with("repo/crabbox.yaml"));
    assert!(source(&resolved, "nimbo.count").ends_with("config/config.yaml"));
    assert_eq!(source(&resolved, "nimbo.wait"), "default");
    assert_eq!(resolved.release_flags, ["--nimbo-namespace=v"]);
    assert!(resolved.warnings.is_empty());
}

#[test]
fn the_variables_of_other_programs_come_after_ours_in_their_order() {
    let all = [("CRABBOX_NIMBO_ADDRESS", "a"), ("NIMBO_ADDR", "b"), ("NIMBO_ADDRESS", "c")];
    for (from, value) in [(0, "a"), (1, "b"), (2, "c")] {
        let place = Place { repo: "nimbo: {template: t}", vars: &all[from..], ..NOTHING };
        assert_eq!(place.resolve(no_flags()).unwrap().config["address"], value);
    }
    let vars = [("WAIT_S", "90"), ("CRABBOX_NIMBO_TAGS", "a, b"), ("CRABBOX_NIMBO_COUNT", "2")];
    let place = Place { repo: "nimbo: {template: t}", vars: &vars, ..NOTHING };
    let resolved = place.resolve(no_flags()).unwrap();
    assert_eq!(resolved.config["wait"], 90_000);
    assert_eq!(resolved.config["tags"], json!(["a", "b"]));
    assert_eq!(resolved.config["count"], 2);
    assert_eq!(resolved.values.iter().find(|value| value.key == "nimbo.wait").unwrap().value, "1m30s");
}

#[test]
fn what_only_the_user_may_set_a_repository_does_not_set() {
    let repo = "nimbo: {template: t, address: 'http://evil.example', tokenEnv: AWS_SECRET_ACCESS_KEY}";
    let resolved =
        Place { repo, user: "nimbo: {address: 'http://mine'}", ..NOTHING }.resolve(no_flags()).unwrap();
    assert_eq!(resolved.config["address"], "http://mine");
    assert_eq!(resolved.config["tokenEnv"], "NIMBO_TOKEN_2");
    assert_eq!(resolved.warnings.len(), 1, "{:?}", resolved.warnings);
    let warning = &resolved.warnings[0];
    assert!(warning.contains("`nimbo.address`, `nimbo.tokenEnv` is ignored"), "{warning}");
    assert!(warning.contains("--nimbo-address, --nimbo-token-env, or in "), "{warning}");
    assert!(!warning.contains("evil.example"), "{warning}");
    // What is not needed because something stronger is set is ignored as silently as ever.
    let resolved = Place { repo, vars: &[("NIMBO_ADDR", "x")], ..NOTHING }.resolve(no_flags()).unwrap();
    assert_eq!(resolved.config["address"], "x");
}

#[test]
fn secrets_come_from_the_environment_only_and_are_never_shown() {
    let user = "nimbo: {template: t, token: hunter2}";
    let place = Place { user, vars: &[("NIMBO_TOKEN", "hunter3")], ..NOTHING };
    let resolved = place.resolve(no_flags()).unwrap();
    assert_eq!(resolved.secrets["token"].env, "NIMBO_TOKEN");
    assert_eq!(resolved.pass.iter().collect::<Vec<_>>(), ["NIMBO_TOKEN", "NIMBO_TOKEN_2"]);
    assert_eq!(source(&resolved, "nimbo.token"), "variable NIMBO_TOKEN");
    assert!(resolved.warnings[0].contains("CRABBOX_NIMBO_TOKEN or NIMBO_TOKEN"), "{:?}", resolved.warnings);
    assert!(!format!("{resolved:?}").contains("hunter"));
    let vars = [("CRABBOX_NIMBO_TOKEN", "x"), ("NIMBO_TOKEN", "y")];
    let resolved = Place { vars: &vars, ..place }.resolve(no_flags()).unwrap();
    assert_eq!(resolved.secrets["token"].env, "CRABBOX_NIMBO_TOKEN");
    let resolved = Place { repo: "nimbo: {template: t}", ..NOTHING }.resolve(no_flags()).unwrap();
    assert!(resolved.secrets.is_empty());
    let shown = resolved.values.iter().find(|value| value.key == "nimbo.token").unwrap();
    assert_eq!(shown.value, "missing");
}

#[test]
fn a_required_secret_is_asked_for() {
    let schema = json!({"required": ["key"], "properties": {
        "key": {"type": "string", "x-crabbox": {"secret": true, "env": "OTHER_KEY"}},
    }});
    let env = Env::new("/", [("A", "")]);
    let schema = Schema::parse(Some(&schema)).unwrap();
    let error = override_recorded("x", &schema, &Map::new(), &env, &no_files(), &no_flags()).unwrap_err();
    assert_eq!(error.message, "`x.key` is not set: it is a secret, set CRABBOX_X_KEY or OTHER_KEY");
    assert_eq!(error.exit.code(), 3);
    assert_eq!(error.hints, ["`crabbox plugins describe x` shows every key and where it can be set"]);
}

#[test]
fn a_password_in_a_url_is_refused_wherever_it_stands_and_never_repeated() {
    let url = "https://me:hunter22@host/";
    let repo = format!("nimbo: {{template: '{url}', tags: ['{url}']}}");
    let vars = [("NIMBO_ADDR", url)];
    let place = Place { repo: &repo, vars: &vars, ..NOTHING };
    let error = place.resolve([("namespace", &[url][..])]).unwrap_err();
    let said = format!("{error:?}");
    assert!(!said.contains("hunter22"), "{said}");
    assert_eq!((error.exit.code(), error.causes.len()), (2, 4), "{said}");
    for (key, source) in [
        ("address", "variable NIMBO_ADDR"),
        ("namespace", "flag --nimbo-namespace"),
        ("tags", "crabbox.yaml"),
        ("template", "crabbox.yaml"),
    ] {
        let named = |cause: &&String| cause.starts_with(&format!("`nimbo.{key}`: there is a password"));
        let cause = error.causes.iter().find(named).unwrap_or_else(|| panic!("{key}: {said}"));
        assert!(cause.contains(source), "{cause}");
    }
    let hint = "take it out, and set the secret in the environment: CRABBOX_NIMBO_TOKEN or NIMBO_TOKEN";
    assert_eq!(error.hints[0], hint);
    // What was recorded once can still be released.
    let recorded = json!({"template": url});
    let env = Env::new("/", [("A", "")]);
    let recorded = recorded.as_object().unwrap();
    assert!(override_recorded("nimbo", &schema(), recorded, &env, &no_files(), &no_flags()).is_ok());
    let place = Place { repo: "nimbo: {template: 'ssh://git@host:22/a'}", ..NOTHING };
    assert!(place.resolve(no_flags()).is_ok());
}

#[test]
fn paths_start_where_they_were_written() {
    let place = Place { repo: "nimbo: {template: t, caCert: a.pem}", ..NOTHING };
    let (resolved, base) = place.resolve_as("nimbo", no_flags()).unwrap();
    assert_eq!(resolved.config["caCert"], format!("{base}/repo/a.pem"));
    let (resolved, base) = place.resolve_as("nimbo", [("caCert", &["./b.pem"][..])]).unwrap();
    assert_eq!(resolved.config["caCert"], format!("{base}/repo/cwd/b.pem"));
    let place = Place { vars: &[("CRABBOX_NIMBO_CA_CERT", "~/c.pem")], ..place };
    assert_eq!(place.resolve(no_flags()).unwrap().config["caCert"], "/home/me/c.pem");
}

#[test]
fn all_problems_at_once_each_with_its_key_and_source() {
    let repo = "nimbo: {count: 12, mode: medium, adress: x, wait: 5, tags: 3}";
    let vars = [("CRABBOX_NIMBO_TOKEN_ENV", "A B")];
    let (exit, problems) = Place { repo, vars: &vars, ..NOTHING }.problems([("wait", &["1ms"][..])]);
    assert_eq!(exit, 2);
    for part in [
        "`nimbo.count`: 12 is greater than the maximum of 9 (from ",
        "`nimbo.mode`: \"medium\" is not one of \"fast\" or \"slow\" (from ",
        "repo/crabbox.yaml: there is no such key; did you mean `nimbo.address`?",
        "`nimbo.wait`: 1 is less than the minimum of 1000, in milliseconds (from flag --nimbo-wait)",
        "`nimbo.tags`: 3 is not of type \"array\" (from ",
        "`nimbo.template` is not set: use --nimbo-template, CRABBOX_NIMBO_TEMPLATE, or `nimbo.template` in crabbox.yaml",
        "`nimbo.tokenEnv`: `A B` is not the name of a variable (from variable CRABBOX_NIMBO_TOKEN_ENV)",
    ] {
        assert!(problems.iter().any(|problem| problem.contains(part)), "{part}\nis not in\n{problems:#?}");
    }
    assert_eq!(problems.len(), 7, "{problems:#?}");
}

#[test]
fn one_problem_is_the_message() {
    let (exit, problems) = Place { repo: "nimbo: [1]", ..NOTHING }.problems([("template", &["t"][..])]);
    assert_eq!(exit, 2);
    assert!(problems[0].starts_with("`nimbo` in ") && problems[0].ends_with("has to be a mapping"));
    let (_, problems) = Place { repo: "nimbo: {template: t, foo: 1}", ..NOTHING }.problems(no_flags());
    assert!(problems[0].ends_with("there is no such key; `crabbox plugins describe nimbo` shows all"));
    let (_, problems) = Place {
        repo: "nimbo: {template: 'https://me:hunter2@host', mode: 'https://me:hunter2@host'}",
        ..NOTHING
    }
    .problems(no_flags());
    assert!(!problems[0].contains("hunter2"), "{problems:?}");
}

#[test]
fn keys_of_the_go_crabbox_in_a_block_of_the_same_name_are_ignored() {
    let place = Place { repo: "actions: {template: t, foo: 1}", ..NOTHING };
    let (resolved, _) = place.resolve_as("actions", no_flags()).unwrap();
    assert!(resolved.warnings[0].contains("`actions.foo`"), "{:?}", resolved.warnings);
}

#[test]
fn a_lease_keeps_what_was_recorded_until_a_flag_says_otherwise() {
    let recorded = json!({"template": "old", "count": 4, "gone": true, "tokenEnv": "MINE"});
    let recorded = recorded.as_object().unwrap();
    let vars = [("CRABBOX_NIMBO_TEMPLATE", "new"), ("NIMBO_TOKEN", "t")];
    let env = Env::new("/", vars);
    let flags = FlagValues::from([("count", &["5"][..])]);
    let resolved = override_recorded("nimbo", &schema(), recorded, &env, &no_files(), &flags).unwrap();
    assert_eq!(resolved.config["template"], "old");
    assert_eq!(resolved.config["count"], 5);
    assert_eq!(resolved.config["wait"], 60_000);
    assert_eq!(resolved.config.get("gone"), None);
    assert_eq!(resolved.secrets["token"].env, "NIMBO_TOKEN");
    assert!(resolved.pass.contains("MINE"));
    assert!(resolved.warnings[0].contains("`nimbo.gone`"));
    assert_eq!(source(&resolved, "nimbo.template"), "lease");
}

#[test]
fn how_a_lease_ends_is_what_today_says() {
    let recorded = json!({"template": "old", "namespace": "old"});
    let recorded = recorded.as_object().unwrap();
    let of = |env: &[(&'static str, &'static str)], user: &str| {
        let env = Env::new("/", env.iter().copied().chain([("HOME", "/home/me")]));
        let resolved =
            override_recorded("nimbo", &schema(), recorded, &env, &files(user), &no_flags()).unwrap();
        assert_eq!(resolved.config["template"], "old");
        resolved.config.get("namespace").cloned()
    };
    let user = "nimbo: {namespace: file, template: new}";
    assert_eq!(of(&[("CRABBOX_NIMBO_NAMESPACE", "variable")], user), Some(json!("variable")));
    assert_eq!(of(&[], user), Some(json!("file")));
    assert_ne!(of(&[], ""), Some(json!("old")));
}

#[test]
fn a_provider_without_a_schema_has_no_keys() {
    let env = Env::new("/", [("A", "")]);
    let schema = Schema::parse(None).unwrap();
    let resolved = override_recorded("x", &schema, &Map::new(), &env, &no_files(), &no_flags()).unwrap();
    assert!(resolved.config.is_empty() && resolved.values.is_empty());
}
