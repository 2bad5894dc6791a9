//! Which environment variables a plugin gets: what programs need to run at all, what its manifest asks
//! for, what its configuration names, what the user adds.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};

use crabbox_protocol::Manifest;
use serde_json::{Map, Value};

use crate::config::{Env, Schema, matches_variable, screaming};

/// What every plugin gets: names, and prefixes with `*`.
const BASE: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "TERM",
    "TMPDIR",
    "LANG",
    "LC_*",
    "TZ",
    "XDG_*",
    // The way out, and whom to believe there.
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "all_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "CURL_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    // What language runtimes need to start. Few prefixes: NODE_AUTH_TOKEN, GEM_HOST_API_KEY,
    // MISE_GITHUB_TOKEN and others like them are credentials.
    "NODE_PATH",
    "NODE_OPTIONS",
    "NODE_ENV",
    "NODE_NO_WARNINGS",
    "NODE_EXTRA_CA_CERTS",
    "NVM_DIR",
    "NVM_BIN",
    "NVM_INC",
    "VOLTA_HOME",
    "BUN_INSTALL",
    "DENO_DIR",
    "PYTHON*",
    "VIRTUAL_ENV",
    "CONDA_PREFIX",
    "PYENV_*",
    "PERL5LIB",
    "PERL5OPT",
    "PERL_LOCAL_LIB_ROOT",
    "RUBYLIB",
    "RUBYOPT",
    "RBENV_*",
    "GEM_HOME",
    "GEM_PATH",
    "BUNDLE_PATH",
    "BUNDLE_GEMFILE",
    "JAVA_HOME",
    "GOROOT",
    "GOPATH",
    "DOTNET_ROOT",
    "PHPRC",
    "PHP_INI_SCAN_DIR",
    "LUA_PATH",
    "LUA_CPATH",
    "ASDF_DIR",
    "ASDF_DATA_DIR",
    "MISE_DATA_DIR",
    "MISE_CONFIG_DIR",
    "NIX_PATH",
    "NIX_PROFILES",
    "NIX_SSL_CERT_FILE",
    "LOCALE_ARCHIVE",
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
    "DYLD_FALLBACK_LIBRARY_PATH",
    "RUST_BACKTRACE",
];

/// What every plugin gets, also to say who it is.
pub(super) fn base(env: &Env) -> Vec<(OsString, OsString)> {
    pick(env, |name| fits(BASE, name))
}

/// What a plugin gets: on top of the base what its manifest declares, `extra` names and prefixes of the
/// user's configuration, and the variables that its own configuration names.
pub(super) fn of_plugin(
    env: &Env,
    manifest: &Manifest,
    extra: &[String],
    pass: &BTreeSet<String>,
) -> Vec<(OsString, OsString)> {
    pick(env, |name| {
        fits(BASE, name)
            || fits(&manifest.env, name)
            || fits(extra, name)
            || name.to_str().is_some_and(|name| pass.contains(name))
    })
}

/// Variables that look like the provider's and are not among those that its plugin is given.
pub(super) fn withheld(
    env: &Env,
    provider: &str,
    schema: &Schema,
    given: &[(OsString, OsString)],
) -> Vec<String> {
    let prefix = format!("{}_", screaming(provider));
    let known: BTreeSet<&str> =
        schema.keys.iter().flat_map(|key| &key.env).map(|variable| variable.name.as_str()).collect();
    let looks_like = |name: &str| name.starts_with(&prefix) || known.contains(name);
    let is_given = |name: &str| given.iter().any(|(other, _)| other == name);
    let names = env.vars().filter_map(|(name, _)| name.to_str());
    names.filter(|name| looks_like(name) && !is_given(name)).map(str::to_owned).collect()
}

/// The variables that hold a provider's credentials: those of its secrets, and those that its `envName` keys
/// name, in a configuration or by default. They never reach the command on the lease.
pub(crate) fn credential_names(
    provider: &str,
    schema: &Schema,
    config: Option<&Map<String, Value>>,
) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for key in &schema.keys {
        if key.secret {
            names.extend(key.variables(provider).into_iter().map(|variable| variable.name));
        } else if key.env_name {
            let values = [key.default.as_ref(), config.and_then(|config| config.get(&key.name))];
            names.extend(values.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned));
        }
    }
    names
}

fn pick(env: &Env, wanted: impl Fn(&OsStr) -> bool) -> Vec<(OsString, OsString)> {
    let vars = env.vars().filter(|(name, _)| wanted(name));
    vars.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn fits(patterns: &[impl AsRef<str>], name: &OsStr) -> bool {
    patterns.iter().any(|pattern| matches_variable(pattern.as_ref(), name))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const VARS: [(&str, &str); 10] = [
        ("PATH", "/bin"),
        ("LC_ALL", "C"),
        ("NIMBO_ADDR", "a"),
        ("NIMBO_TOKEN", "t"),
        ("NIMBOIC", "n"),
        ("AWS_SECRET", "s"),
        ("SSH_AUTH_SOCK", "x"),
        ("MY_TOKEN", "m"),
        ("KUBECONFIG", "k"),
        ("CRABBOX_OTHER_KEY", "o"),
    ];

    fn manifest(env: &[&str]) -> Manifest {
        let manifest =
            json!({"protocol": 1, "name": "nimbo", "version": "1", "lifecycle": "leased", "env": env});
        serde_json::from_value(manifest).unwrap()
    }

    fn names(env: &[(OsString, OsString)]) -> Vec<&str> {
        env.iter().map(|(name, _)| name.to_str().unwrap()).collect()
    }

    #[test]
    fn a_plugin_gets_what_it_declares_and_no_more() {
        let env = Env::new("/", VARS);
        assert_eq!(names(&base(&env)), ["LC_ALL", "PATH"]);
        let pass = BTreeSet::from(["MY_TOKEN".to_owned()]);
        for (declared, extra, want) in [
            (&[][..], vec![], &["LC_ALL", "MY_TOKEN", "PATH"][..]),
            (&["NIMBO_*"], vec![], &["LC_ALL", "MY_TOKEN", "NIMBO_ADDR", "NIMBO_TOKEN", "PATH"]),
            (
                &["SSH_AUTH_SOCK"],
                vec!["KUBE*".to_owned()],
                &["KUBECONFIG", "LC_ALL", "MY_TOKEN", "PATH", "SSH_AUTH_SOCK"],
            ),
            (&["*"], vec!["*".to_owned()], &["LC_ALL", "MY_TOKEN", "PATH"]),
        ] {
            assert_eq!(names(&of_plugin(&env, &manifest(declared), &extra, &pass)), want, "{declared:?}");
        }
    }

    fn schema() -> Schema {
        let schema = json!({"properties": {
            "token": {"type": "string", "x-crabbox": {"secret": true, "env": "NIMBO_TOKEN"}},
            "tokenEnv": {"type": "string", "default": "T1", "x-crabbox": {"envName": true}},
            "address": {"type": "string", "x-crabbox": {"env": ["NIMBO_ADDR", "KUBECONFIG"]}},
        }});
        Schema::parse(Some(&schema)).unwrap()
    }

    #[test]
    fn what_is_withheld_is_named() {
        let env = Env::new("/", VARS);
        let given = of_plugin(&env, &manifest(&["NIMBO_ADDR"]), &[], &BTreeSet::new());
        assert_eq!(withheld(&env, "nimbo", &schema(), &given), ["KUBECONFIG", "NIMBO_TOKEN"]);
    }

    #[test]
    fn credentials_are_those_of_secrets_and_of_named_variables() {
        let names = |config| credential_names("nimbo", &schema(), config).into_iter().collect::<Vec<_>>();
        assert_eq!(names(None), ["CRABBOX_NIMBO_TOKEN", "NIMBO_TOKEN", "T1"]);
        let config = json!({"tokenEnv": "T2", "address": "T3"});
        assert_eq!(names(config.as_object()), ["CRABBOX_NIMBO_TOKEN", "NIMBO_TOKEN", "T1", "T2"]);
    }
}
