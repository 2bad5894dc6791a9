//! `crabbox-provider-flue setup`: puts the runner and the workflow, or agent, into a Flue project.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::cli::Cli;
use crate::config::Config;
use crate::project::{modules, sources};
use crate::settings::Settings;
use crate::version::Generation;

/// How it is used.
pub(crate) const USAGE: &str = "\
Setup:
  crabbox-provider-flue setup --root DIR [--cli CLI] [--force]

  Puts what runs commands into the Flue project DIR: the runner, and the workflow
  or agent for the version of Flue that is there. What you changed stays.

  --root DIR  the Flue project
  --cli CLI   the Flue CLI, where it is not the project's own
  --force     replace what differs";

macro_rules! example {
    ($path:literal) => {
        include_str!(concat!("../../../docs/examples/flue/", $path))
    };
}

/// A file of a project.
#[derive(Debug)]
pub(crate) struct Part {
    /// Where it belongs.
    pub(crate) path: PathBuf,
    /// What is in it.
    pub(crate) text: &'static str,
    /// Whether a project may have one of its own there, which is never touched.
    pub(crate) is_optional: bool,
}

impl Part {
    /// Whether this very text is there, or another one; `None`: nothing.
    pub(crate) fn is_current(&self) -> Option<bool> {
        match fs::read(&self.path) {
            Ok(text) => Some(text == self.text.as_bytes()),
            Err(_) if self.path.symlink_metadata().is_ok() => Some(false),
            Err(_) => None,
        }
    }
}

/// What belongs into a project: the runner's two files, and what Flue runs.
pub(crate) fn parts(root: &Path, generation: Generation) -> Vec<Part> {
    let sources = home(root, generation);
    let part = |path: &str, text| Part { path: sources.join(path), text, is_optional: false };
    let mut parts = vec![
        part("crabbox-runner.mjs", example!("crabbox-runner.mjs")),
        part("crabbox-archive.mjs", example!("crabbox-archive.mjs")),
    ];
    match generation {
        Generation::Payload => {
            parts.push(part("workflows/crabbox.ts", example!("0.11/workflows/crabbox.ts")));
        }
        Generation::Workflow => {
            parts.push(part("workflows/crabbox.ts", example!("1.0-beta/workflows/crabbox.ts")));
        }
        Generation::Agent => {
            parts.push(part("agents/crabbox.ts", example!("2/agents/crabbox.ts")));
            parts.push(Part { is_optional: true, ..part("db.ts", example!("2/db.ts")) });
        }
    }
    parts
}

/// Where the parts go. A project without any sources gets `src`; one that has them at its top keeps them there,
/// because with `src` Flue would not see them any more.
fn home(root: &Path, generation: Generation) -> PathBuf {
    let sources = sources(root, generation);
    let at_top = ["workflows", "agents"].iter().any(|name| root.join(name).is_dir());
    if sources == root && !at_top { root.join("src") } else { sources }
}

/// Does what the command line says.
pub(crate) fn main(words: impl Iterator<Item = OsString>) -> ExitCode {
    let (text, code) = match parse(words) {
        Ok(Some(wish)) => match set_up(&wish) {
            Ok(text) => (text, 0),
            Err((text, code)) => (text, code),
        },
        Ok(None) => (USAGE.to_owned(), 0),
        Err(what) => (format!("error: {what}\n\n{USAGE}"), 2),
    };
    // Whoever closed the stream has read enough.
    _ = if code == 0 { writeln!(io::stdout(), "{text}") } else { writeln!(io::stderr(), "{text}") };
    ExitCode::from(code)
}

/// What is to be set up.
#[derive(Debug, PartialEq)]
struct Wish {
    root: PathBuf,
    cli: Option<String>,
    force: bool,
}

fn parse(mut words: impl Iterator<Item = OsString>) -> Result<Option<Wish>, String> {
    let (mut root, mut cli, mut force) = (None, None, false);
    while let Some(word) = words.next() {
        let word = word.to_string_lossy().into_owned();
        let (name, attached) = word
            .split_once('=')
            .map_or((word.as_str(), None), |(name, value)| (name, Some(value.to_owned())));
        let mut value = || {
            let value =
                attached.clone().or_else(|| words.next().map(|word| word.to_string_lossy().into_owned()));
            value.filter(|value| !value.is_empty()).ok_or_else(|| format!("`{name}` needs a value"))
        };
        match name {
            "--root" => root = Some(PathBuf::from(value()?)),
            "--cli" => cli = Some(value()?),
            "--force" => force = true,
            "--help" | "-h" => return Ok(None),
            _ => return Err(format!("unknown argument `{}`", word.escape_debug())),
        }
    }
    let root = root.ok_or("`--root DIR` says which project")?;
    let root = root.canonicalize().map_err(|error| format!("`{}`: {error}", root.display()))?;
    Ok(Some(Wish { root, cli, force }))
}

/// Puts everything in place, or nothing.
fn set_up(wish: &Wish) -> Result<String, (String, u8)> {
    let cli = find(wish).map_err(|text| (format!("error: {text}"), 3))?;
    let parts = parts(&wish.root, cli.generation);
    let changed: Vec<_> =
        parts.iter().filter(|part| !part.is_optional && part.is_current() == Some(false)).collect();
    if !changed.is_empty() && !wish.force {
        let paths: Vec<_> = changed.iter().map(|part| format!("`{}`", part.path.display())).collect();
        let text = format!(
            "error: not this version's, or changed by you: {}\nhint: nothing was written; `--force` replaces them",
            paths.join(", ")
        );
        return Err((text, 4));
    }
    let mut said = vec![format!("Flue {} in {}", cli.version, wish.root.display())];
    for part in &parts {
        let path = part.path.strip_prefix(&wish.root).unwrap_or(&part.path).display();
        said.push(match part.is_current() {
            Some(true) => format!("is there  {path}"),
            Some(false) if part.is_optional => format!("yours     {path}"),
            _ if part.is_optional && has_other(&part.path) => format!("yours     {path} (another ending)"),
            found => {
                place(part).map_err(|error| (format!("error: cannot write `{path}`: {error}"), 1))?;
                format!("{}  {path}", if found.is_none() { "written " } else { "replaced" })
            }
        });
    }
    Ok(said.join("\n"))
}

fn find(wish: &Wish) -> Result<Cli, String> {
    let config = serde_json::json!({"root": wish.root, "cli": wish.cli});
    let config: Config = serde_json::from_value(config).map_err(|error| error.to_string())?;
    let settings = Settings::new(config).map_err(|problems| {
        problems.into_iter().map(|problem| problem.message).collect::<Vec<_>>().join("; ")
    })?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let found = runtime.map_err(|error| error.to_string())?.block_on(Cli::find(&settings));
    found.map_err(|error| {
        let data = error.as_object().data.as_ref();
        let causes = data.map(|data| data.causes.iter().map(|cause| format!("\ncaused by: {cause}")));
        let hint = data.and_then(|data| data.hint.as_ref()).map(|hint| format!("\nhint: {hint}"));
        let causes = causes.into_iter().flatten().collect::<String>();
        format!("{error}{causes}{}", hint.unwrap_or_default())
    })
}

/// Whether the same module is there with another ending.
fn has_other(path: &Path) -> bool {
    modules(&path.with_extension("")).any(|other| other != path && other.is_file())
}

/// Writes a part beside its place and renames it there.
fn place(part: &Part) -> io::Result<()> {
    let directory = part.path.parent().unwrap_or(&part.path);
    fs::create_dir_all(directory)?;
    let new = part.path.with_extension(format!("new-{}", std::process::id()));
    fs::write(&new, part.text)?;
    fs::rename(&new, &part.path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_says_which_project() {
        let of = |words: &[&str]| parse(words.iter().map(OsString::from));
        let root = std::env::temp_dir().canonicalize().unwrap();
        let text = root.to_str().unwrap();
        let wish = Wish { root: root.clone(), cli: Some("x".into()), force: true };
        assert_eq!(of(&["--root", text, "--cli=x", "--force"]), Ok(Some(wish)));
        assert_eq!(of(&["--help"]), Ok(None));
        for wrong in
            [&[][..], &["--root"], &["--root="], &["--root", "/no/such/place"], &["--rot", "/"], &["/tmp"]]
        {
            assert!(of(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn the_parts_go_where_flue_looks() {
        let home = tempfile::tempdir().unwrap();
        let root = home.path();
        let places = |generation| {
            let parts = parts(root, generation).into_iter();
            parts.map(|part| part.path.strip_prefix(root).unwrap().display().to_string()).collect::<Vec<_>>()
        };
        let runner = |at: &str| [format!("{at}crabbox-runner.mjs"), format!("{at}crabbox-archive.mjs")];
        assert_eq!(places(Generation::Agent)[2..], ["src/agents/crabbox.ts", "src/db.ts"]);
        assert_eq!(places(Generation::Workflow)[..2], runner("src/"));
        fs::create_dir(root.join("workflows")).unwrap();
        assert_eq!(places(Generation::Payload)[..2], runner(""));
        fs::create_dir(root.join(".flue")).unwrap();
        assert_eq!(places(Generation::Payload)[2], ".flue/workflows/crabbox.ts");
    }
}
