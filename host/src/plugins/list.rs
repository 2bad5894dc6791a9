//! `crabbox plugins list`.

use std::collections::BTreeSet;

use clap::Args;
use crabbox_protocol::records::{PluginRow, PluginRows, PluginState};
use crabbox_protocol::{Manifest, feature};

use super::cache::Asked;
use super::{Found, Plugins};
use crate::config::nearest;
use crate::error::{Error, Result};
use crate::output::{self, foreign};

/// The methods that a provider may leave out; a list shows them beside the features.
const OPTIONAL: &[&str] =
    &["configure", "doctor", "resolve", "put", "kill", "touch", "list", "bridge", "unbridge"];

const KINDS: &[&str] = &["delegated-run", "ssh-lease"];

const TARGETS: &[&str] = &["linux", "macos", "windows"];

/// List the providers that are installed
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ListArgs {
    /// Only providers of these kinds: delegated-run, ssh-lease
    #[arg(long, value_name = "KIND", value_delimiter = ',')]
    pub(crate) kind: Vec<String>,

    /// Only providers that have all of these features or optional methods
    #[arg(long, value_name = "FEATURE", value_delimiter = ',')]
    pub(crate) feature: Vec<String>,

    /// Only providers whose leases run one of these systems
    #[arg(long, value_name = "SYSTEM", value_delimiter = ',')]
    pub(crate) target: Vec<String>,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,

    /// Ask every plugin again, and say what was not looked at
    #[arg(long)]
    pub(crate) probe: bool,
}

/// Prints what is installed.
pub(crate) async fn list(plugins: &Plugins, args: &ListArgs) -> Result<()> {
    let discovered = plugins.all();
    let startable: Vec<Found> = discovered.usable().cloned().collect();
    let asked = plugins.ask(&startable, args.probe).await;
    let remembers_failures = asked.iter().any(|asked| asked.cached && asked.outcome.is_err());
    let mut asked = asked.into_iter();
    let mut rows = Vec::new();
    for found in &discovered.plugins {
        let is_startable = found.shadowed_by.is_none() && found.problem.is_none();
        let mut row = row(found, if is_startable { asked.next() } else { None }.as_ref());
        if is_startable && row.pin.is_none() {
            row.pin = plugins.pin_of(found);
        }
        rows.push(row);
    }
    if args.probe || rows.is_empty() {
        for skipped in &discovered.skipped {
            output::say(format!("skipped `{}`: {}", skipped.path.display(), skipped.reason));
        }
    }
    let nothing_there = rows.is_empty();
    let rows = filter(rows, args)?;
    if args.json {
        return output::json(&PluginRows(rows));
    }
    if nothing_there {
        output::say("no providers are installed: put executables named `crabbox-provider-NAME` on PATH");
        return Ok(());
    }
    output::data(&render(&rows))?;
    if remembers_failures {
        output::say("why a plugin is invalid is remembered: `crabbox plugins list --probe` asks again");
    }
    Ok(())
}

/// What is to be said about one plugin.
pub(super) fn row(found: &Found, asked: Option<&Asked>) -> PluginRow {
    let mut row = PluginRow {
        name: found.name.clone(),
        state: PluginState::Ok,
        reason: None,
        hint: None,
        version: None,
        protocol: None,
        kind: None,
        lifecycle: None,
        summary: None,
        targets: Vec::new(),
        features: Vec::new(),
        pin: None,
        path: found.path.display().to_string(),
        source: found.source.name().to_owned(),
    };
    if let Some(first) = &found.shadowed_by {
        row.state = PluginState::Shadowed;
        row.reason = Some(format!("`{}` comes before it", first.display()));
    } else if let Some(problem) = &found.problem {
        row.state = PluginState::Invalid;
        row.reason = Some(format!("it {problem}"));
        let executable = problem.contains("executable");
        row.hint = executable.then(|| format!("make it executable: `chmod +x {}`", found.path.display()));
    }
    match asked.map(|asked| &asked.outcome) {
        Some(Ok(manifest)) => describe(&mut row, manifest),
        Some(Err(refusal)) => {
            row.state = refusal.state;
            row.reason = Some(refusal.reason.clone());
            row.hint = refusal.hint.clone();
            row.pin = refusal.pin;
        }
        None => {}
    }
    row
}

fn describe(row: &mut PluginRow, manifest: &Manifest) {
    row.version = Some(manifest.version.clone());
    row.protocol = Some(manifest.protocol);
    row.kind = Some(manifest.kind().to_owned());
    row.lifecycle = Some(manifest.lifecycle);
    row.summary = manifest.summary.clone();
    row.targets = manifest.targets.clone();
    let methods = manifest.methods.iter().filter(|method| OPTIONAL.contains(&method.as_str()));
    row.features = manifest.features.iter().chain(methods).cloned().collect();
}

/// The rows that were asked for. What nobody has and nobody could have is an error.
fn filter(mut rows: Vec<PluginRow>, args: &ListArgs) -> Result<Vec<PluginRow>> {
    let of_rows = |values: fn(&PluginRow) -> &Vec<String>| {
        rows.iter().flat_map(values).map(String::as_str).collect::<BTreeSet<_>>()
    };
    known("--kind", &args.kind, KINDS.iter().copied())?;
    let features = of_rows(|row| &row.features);
    known("--feature", &args.feature, feature::ALL.iter().chain(OPTIONAL).copied().chain(features))?;
    known("--target", &args.target, TARGETS.iter().copied().chain(of_rows(|row| &row.targets)))?;
    rows.retain(|row| {
        (args.kind.is_empty() || row.kind.as_ref().is_some_and(|kind| args.kind.contains(kind)))
            && args.feature.iter().all(|feature| row.features.contains(feature))
            && (args.target.is_empty() || args.target.iter().any(|target| row.targets.contains(target)))
    });
    Ok(rows)
}

fn known<'a>(flag: &str, given: &[String], known: impl Iterator<Item = &'a str>) -> Result<()> {
    let known: BTreeSet<&str> = known.collect();
    let Some(unknown) = given.iter().find(|value| !known.contains(value.as_str())) else { return Ok(()) };
    let all: Vec<_> = known.iter().map(|value| foreign(value)).collect();
    let mut error = Error::usage(format!("{flag} {}: there is no such thing", foreign(unknown)))
        .hint(format!("known are: {}", all.join(", ")));
    if let Some(meant) = nearest(unknown, known.iter().copied()) {
        error = error.hint(format!("did you mean `{}`?", foreign(meant)));
    }
    Err(error)
}

/// The rows as a person reads them; why something cannot be used stands below it.
fn render(rows: &[PluginRow]) -> String {
    let head = ["NAME", "STATE", "VERSION", "PROTOCOL", "KIND", "LIFECYCLE", "PATH", "SOURCE", "FEATURES"];
    let has_pins = rows.iter().any(|row| row.pin.is_some());
    let cells = |row: &PluginRow| {
        let or_dash = |text: Option<String>| text.map_or_else(|| "-".to_owned(), |text| foreign(&text));
        let features = Some(row.features.join(",")).filter(|features| !features.is_empty());
        let mut cells = vec![
            row.name.clone(),
            row.state.name().to_owned(),
            or_dash(row.version.clone()),
            or_dash(row.protocol.map(|number| number.to_string())),
            or_dash(row.kind.clone()),
            or_dash(row.lifecycle.map(|lifecycle| lifecycle.name().to_owned())),
            foreign(&row.path),
            row.source.clone(),
            or_dash(features),
        ];
        if has_pins {
            cells.insert(2, or_dash(row.pin.map(|pin| pin.name().to_owned())));
        }
        cells
    };
    let mut head = head.map(str::to_owned).to_vec();
    if has_pins {
        head.insert(2, "PIN".to_owned());
    }
    let mut table = vec![head];
    table.extend(rows.iter().map(cells));
    let table = output::table(&table);
    let mut lines = table.lines();
    let mut text = format!("{}\n", lines.next().unwrap_or_default());
    for (row, line) in rows.iter().zip(lines) {
        text += &format!("{line}\n");
        if row.state != PluginState::Shadowed {
            text.extend(row.reason.iter().map(|reason| format!("    {}\n", foreign(reason))));
            text.extend(row.hint.iter().map(|hint| format!("    hint: {}\n", foreign(hint))));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::cache::Refusal;
    use super::super::discovery::FoundIn;
    use super::*;

    fn found(name: &str) -> Found {
        Found {
            name: name.into(),
            path: format!("/bin/crabbox-provider-{name}").into(),
            source: FoundIn::Path,
            identity: Default::default(),
            shadowed_by: None,
            problem: None,
        }
    }

    fn good(name: &str, changes: Value) -> PluginRow {
        let mut manifest = json!({"protocol": 1, "name": name, "version": "1.2", "lifecycle": "leased"});
        for (key, value) in changes.as_object().unwrap() {
            manifest[key] = value.clone();
        }
        let outcome = Ok(serde_json::from_value(manifest).unwrap());
        row(&found(name), Some(&Asked { outcome, sha256: String::new(), cached: true }))
    }

    fn rows() -> Vec<PluginRow> {
        let refusal = Refusal {
            state: PluginState::Invalid,
            reason: "it said \u{1b}[31m".into(),
            hint: None,
            exit: None,
            pin: None,
        };
        let refused = Asked { outcome: Err(refusal), sha256: String::new(), cached: true };
        let ssh = json!({"methods": ["acquire", "release", "doctor"], "targets": ["linux", "plan9"]});
        vec![
            good("a", json!({"features": ["cancel", "outputPaths"], "targets": ["linux"]})),
            good("b", ssh),
            row(&found("c"), Some(&refused)),
            row(&Found { shadowed_by: Some("/first".into()), ..found("d") }, None),
            row(&Found { problem: Some("is not executable".into()), ..found("e") }, None),
        ]
    }

    #[test]
    fn columns_and_reasons() {
        assert_eq!(
            render(&rows()),
            "NAME  STATE     VERSION  PROTOCOL  KIND           LIFECYCLE  PATH                     SOURCE  FEATURES\n\
             a     ok        1.2      1         delegated-run  leased     /bin/crabbox-provider-a  PATH    cancel,outputPaths\n\
             b     ok        1.2      1         ssh-lease      leased     /bin/crabbox-provider-b  PATH    doctor\n\
             c     invalid   -        -         -              -          /bin/crabbox-provider-c  PATH    -\n    \
             it said \\u{1b}[31m\n\
             d     shadowed  -        -         -              -          /bin/crabbox-provider-d  PATH    -\n\
             e     invalid   -        -         -              -          /bin/crabbox-provider-e  PATH    -\n    \
             it is not executable\n    hint: make it executable: `chmod +x /bin/crabbox-provider-e`\n"
        );
    }

    #[test]
    fn filters() {
        let names = |kind: &[&str], feature: &[&str], target: &[&str]| {
            let owned = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
            let args = ListArgs {
                kind: owned(kind),
                feature: owned(feature),
                target: owned(target),
                ..Default::default()
            };
            filter(rows(), &args).map(|rows| rows.into_iter().map(|row| row.name).collect::<String>())
        };
        for (kind, feature, target, want) in [
            (&[][..], &[][..], &[][..], "abcde"),
            (&["ssh-lease"], &[], &[], "b"),
            (&["ssh-lease", "delegated-run"], &[], &[], "ab"),
            (&[], &["cancel", "outputPaths"], &[], "a"),
            (&[], &["cancel", "doctor"], &[], ""),
            (&[], &["touch"], &[], ""),
            (&[], &[], &["plan9", "windows"], "b"),
        ] {
            assert_eq!(names(kind, feature, target).unwrap(), want, "{kind:?} {feature:?} {target:?}");
        }
        let error = names(&["ssh"], &[], &[]).unwrap_err();
        assert_eq!((error.exit.code(), error.hints[0].as_str()), (2, "known are: delegated-run, ssh-lease"));
        let error = names(&[], &["cancle"], &[]).unwrap_err();
        assert_eq!(error.hints[1], "did you mean `cancel`?");
        assert!(names(&[], &[], &["beos"]).is_err());
    }
}
