//! Which environment variables the command on the lease sees.
//!
//! Nothing is forwarded that is not allowed by name or by a prefix with `*`. A credential of the provider
//! in use never is, whatever is allowed; one of another provider is, with a warning.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};

use super::{Env, Source, Sourced};
use crate::error::{Error, Result};
use crate::output::foreign;

/// Set by crabbox itself on the lease, so never forwarded.
const RESERVED: [&str; 3] = ["CRABBOX_LEASE_ID", "CRABBOX_RUN_ID", "CRABBOX_SLUG"];

/// What is forwarded.
#[derive(Debug, Clone, Default)]
pub(crate) struct Forwarded {
    /// The variables with their bytes.
    pub(crate) vars: BTreeMap<String, OsString>,
    /// What was left out, or should have been.
    pub(crate) warnings: Vec<String>,
    /// A line that says what is forwarded, without values, where somebody asked for it.
    pub(crate) summary: Option<String>,
}

/// The variables that hold credentials.
pub(crate) struct Credentials<'a> {
    /// Those of the provider in use.
    pub(crate) own: &'a BTreeSet<String>,
    /// Those of tailnets, which are nobody's but the host's and a new lease's.
    pub(crate) tailnet: &'a [&'a str],
    /// Those of other installed providers, with the provider's name. Asked for only when it matters.
    pub(crate) others: &'a dyn Fn() -> BTreeMap<String, String>,
}

/// Decides what is forwarded: what the settings allow and, on top, what `--allow-env` does.
pub(crate) fn forward(
    provider: &str,
    env: &Env,
    settings: &Sourced<Vec<String>>,
    allow_env: &[String],
    credentials: &Credentials<'_>,
) -> Result<Forwarded> {
    let flags: Vec<String> = allow_env.iter().flat_map(|text| super::value::items(text)).collect();
    if let Some(wrong) = flags.iter().find(|pattern| !is_pattern(pattern)) {
        return Err(Error::usage(format!(
            "`{}` is not a variable's name (from flag --allow-env)",
            foreign(wrong)
        ))
        .hint("name variables, such as `CI` or `NPM_*`; their values come from your environment"));
    }
    let mut forwarded = Forwarded::default();
    let mut allowed: Vec<&str> = Vec::new();
    for pattern in settings.value.iter().chain(&flags) {
        if pattern == "*" {
            forwarded.warnings.push("`*` alone does not allow every variable; name them".to_owned());
        } else if is_pattern(pattern) {
            allowed.push(pattern);
        } else {
            let pattern = foreign(pattern);
            forwarded
                .warnings
                .push(format!("`{pattern}` is not a variable's name (from {})", settings.source));
        }
    }
    let is_reserved = |name: &str| RESERVED.iter().any(|reserved| reserved.eq_ignore_ascii_case(name));
    for (name, value) in env.vars() {
        let Some(name) = name.to_str().filter(|name| is_variable_name(name) && !is_reserved(name)) else {
            continue;
        };
        if !allowed.iter().any(|pattern| matches(pattern, name)) {
            continue;
        }
        if credentials.own.contains(name) {
            let text = format!("{name} is not forwarded: it is a credential of provider {provider}");
            forwarded.warnings.push(text);
        } else if credentials.tailnet.contains(&name) {
            forwarded.warnings.push(format!("{name} is not forwarded: it is the key to a tailnet"));
        } else {
            forwarded.vars.insert(name.to_owned(), value.to_owned());
        }
    }
    if forwarded.vars.keys().any(|name| looks_secret(name)) {
        let others = (credentials.others)();
        for name in forwarded.vars.keys() {
            if let Some(other) = others.get(name) {
                let text = format!("{name}, a credential of provider {other}, is forwarded to the command");
                forwarded.warnings.push(text);
            }
        }
    }
    let asked = !flags.is_empty() || matches!(settings.source, Source::Variable(_));
    forwarded.summary = asked.then(|| summary(provider, &forwarded.vars, &allowed));
    Ok(forwarded)
}

fn summary(provider: &str, vars: &BTreeMap<String, OsString>, allowed: &[&str]) -> String {
    let begin = format!("env forwarding provider={provider} behavior=forwarded");
    if vars.is_empty() {
        return format!("{begin} matched=none allow={}", allowed.join(","));
    }
    let one = |(name, value): (&String, &OsString)| match value.len() {
        0 => format!("{name}=empty"),
        length if looks_secret(name) => format!("{name}=set len={length} secret=true"),
        _ => format!("{name}=set"),
    };
    format!("{begin} vars={}", vars.iter().map(one).collect::<Vec<_>>().join(","))
}

/// Whether a text can name a variable: `[A-Za-z_][A-Za-z0-9_]*`.
pub(crate) fn is_variable_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Whether a text is a variable's name, or the beginning of one and `*`.
pub(super) fn is_pattern(text: &str) -> bool {
    text == "*" || is_variable_name(text.strip_suffix('*').unwrap_or(text))
}

/// Whether a pattern, a name or a prefix with `*`, fits a name. A bare `*` fits none.
pub(crate) fn matches(pattern: &str, name: impl AsRef<OsStr>) -> bool {
    let name = name.as_ref().as_encoded_bytes();
    match pattern.strip_suffix('*') {
        Some("") => false,
        Some(prefix) => name.starts_with(prefix.as_bytes()),
        None => name == pattern.as_bytes(),
    }
}

fn looks_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    ["KEY", "TOKEN", "SECRET", "PASSWORD", "PASS", "CREDENTIAL", "AUTH"]
        .iter()
        .any(|word| name.contains(word))
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    const VARS: [(&str, &str); 9] = [
        ("CI", "1"),
        ("EMPTY", ""),
        ("NPM_A", "a"),
        ("NPM_B", "b"),
        ("GH_TOKEN", "123456789012"),
        ("FREE_KEY", "zzz"),
        ("crabbox_slug", "x"),
        ("CRABBOX_LEASE_ID", "x"),
        ("BASH_FUNC_f%%", "() {"),
    ];

    fn forwarded(allow: &[&str], source: Source, flags: &[&str], own: &[&str]) -> Result<Forwarded> {
        let own = own.iter().map(|name| (*name).to_owned()).collect();
        let others = || BTreeMap::from([("FREE_KEY".to_owned(), "elsewhere".to_owned())]);
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let credentials = Credentials { own: &own, tailnet: &["TS_KEY"], others: &others };
        forward(
            "nimbo",
            &Env::new("/", VARS),
            &Sourced::new(owned(allow), source),
            &owned(flags),
            &credentials,
        )
    }

    fn names(forwarded: &Forwarded) -> Vec<&str> {
        forwarded.vars.keys().map(String::as_str).collect()
    }

    #[test]
    fn only_what_is_allowed_is_forwarded() {
        for (allow, flags, want) in [
            (&["CI", "NODE_OPTIONS"][..], &[][..], &["CI"][..]),
            (&["CI"], &["NPM_*", "EMPTY,ci"], &["CI", "EMPTY", "NPM_A", "NPM_B"]),
            (&[], &["CRABBOX_*", "crabbox_slug", "BASH_*"], &[]),
            (&["*"], &[], &[]),
        ] {
            let found = forwarded(allow, Source::Default, flags, &[]).unwrap();
            assert_eq!(names(&found), want, "{allow:?} {flags:?}");
        }
    }

    #[test]
    fn what_is_no_name_is_refused_or_warned_of() {
        let error = forwarded(&[], Source::Default, &["A=1"], &[]).unwrap_err();
        assert_eq!(error.message, "`A=1` is not a variable's name (from flag --allow-env)");
        assert_eq!(error.exit.code(), 2);
        let found = forwarded(&["*", "A-B", "CI"], Source::Variable("V".into()), &[], &[]).unwrap();
        assert_eq!(names(&found), ["CI"]);
        assert_eq!(found.warnings.len(), 2);
        assert!(found.warnings[1].ends_with("(from variable V)"));
    }

    #[test]
    fn credentials_of_the_provider_in_use_stay_here() {
        let found = forwarded(&["*_TOKEN", "GH_*", "FREE_KEY"], Source::Default, &[], &["GH_TOKEN"]).unwrap();
        assert_eq!(names(&found), ["FREE_KEY"]);
        let warnings = found.warnings.join("\n");
        assert!(warnings.contains("GH_TOKEN is not forwarded: it is a credential of provider nimbo"));
        assert!(warnings.contains("FREE_KEY, a credential of provider elsewhere, is forwarded"));
    }

    #[test]
    fn the_summary_has_no_values() {
        let found = forwarded(&["CI"], Source::Default, &["GH_TOKEN", "EMPTY"], &[]).unwrap();
        assert_eq!(
            found.summary.unwrap(),
            "env forwarding provider=nimbo behavior=forwarded vars=CI=set,EMPTY=empty,GH_TOKEN=set len=12 secret=true"
        );
        let found = forwarded(&["X", "Y*"], Source::Variable("V".into()), &[], &[]).unwrap();
        assert_eq!(
            found.summary.unwrap(),
            "env forwarding provider=nimbo behavior=forwarded matched=none allow=X,Y*"
        );
        assert_eq!(forwarded(&["CI"], Source::Default, &[], &[]).unwrap().summary, None);
    }

    #[test]
    fn values_are_bytes() {
        let value = OsString::from_vec(vec![0xff, b'\n', b'=']);
        let env = Env::new("/", [("RAW", value.clone())]);
        let none = BTreeSet::new();
        let credentials = Credentials { own: &none, tailnet: &[], others: &BTreeMap::new };
        let allow = Sourced::new(vec!["RAW".to_owned()], Source::Default);
        assert_eq!(forward("x", &env, &allow, &[], &credentials).unwrap().vars["RAW"], value);
    }
}
