//! `crabbox plugins new`: a provider that works, to start from.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use crabbox_protocol::is_provider_name;

use super::templates::{File, files};
use super::{PREFIX, Plugins, check};
use crate::config::screaming;
use crate::error::{Error, Result};
use crate::output::{self, foreign};

/// Write a provider that works, to start from
#[derive(Debug, Clone, Args)]
pub(crate) struct NewArgs {
    /// What to call the provider
    #[arg(value_name = "NAME")]
    pub(crate) name: String,

    /// Write it in this language
    #[arg(long, value_enum)]
    pub(crate) lang: Lang,

    /// Make its directory in this one, instead of where you stand
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,

    /// Where the provider kit for Rust is: its directory, or the URL of a git repository
    #[arg(long, value_name = "PATH")]
    pub(crate) kit: Option<String>,
}

/// A language that there is a template in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Lang {
    Python,
    Node,
    Go,
    Sh,
    Rust,
}

/// The name that the templates have.
const NAME: &str = "example";

/// Where the kit is, seen from the template in its place.
const KIT_HERE: &str = r#"path = "../../../plugins/kit""#;

/// Where the kit is thought to be when nobody says.
const KIT_THERE: &str = "../crabbox/plugins/kit";

/// Writes the directory, or nothing.
pub(crate) fn new(plugins: &Plugins, cwd: &Path, args: &NewArgs) -> Result<()> {
    let name = &args.name;
    check_name(plugins, name)?;
    let kit = kit(cwd, args)?;
    let parent = args.dir.as_ref().map_or_else(|| cwd.to_owned(), |dir| cwd.join(dir));
    let directory = parent.join(format!("{PREFIX}{name}"));
    DirBuilder::new().create(&directory).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => Error::usage(format!("`{}` is there already", directory.display()))
            .hint("nothing is overwritten: remove it, or choose another name or --dir"),
        _ => Error::usage(format!("cannot make the directory `{}`", directory.display())).cause(error),
    })?;
    for file in files(args.lang) {
        let path = directory.join(file.path.replace(NAME, name));
        write(&path, &text(file, name, &kit), file.executable).map_err(|error| {
            // It is ours: it was not there before.
            let _ = fs::remove_dir_all(&directory);
            Error::failure(format!("cannot write `{}`", path.display())).cause(error)
        })?;
    }
    output::data(&format!("{}\n", directory.display()))?;
    if args.lang == Lang::Rust && args.kit.is_none() {
        output::say(format!(
            "say in Cargo.toml where `crabbox-provider-kit` is, unless it is in `{KIT_THERE}`; next time by --kit"
        ));
    }
    output::say("its README.md says how to run and test it");
    Ok(())
}

fn check_name(plugins: &Plugins, name: &str) -> Result<()> {
    if !is_provider_name(name) {
        return Err(Error::usage(format!("`{}` is not a provider's name", foreign(name)))
            .hint("a name is a lowercase letter and up to 31 lowercase letters, digits or dashes"));
    }
    if let Some(taken) = check::taken(name) {
        return Err(Error::usage(format!("a provider cannot be named `{name}`: that is {taken}")));
    }
    if plugins.has(name) {
        return Err(Error::usage(format!("there is a provider `{name}` already"))
            .hint("choose another name; `crabbox plugins list` shows where it is"));
    }
    Ok(())
}

/// Where the kit is, as Cargo.toml says it.
fn kit(cwd: &Path, args: &NewArgs) -> Result<String> {
    let Some(kit) = &args.kit else { return Ok(format!("path = {}", quoted(KIT_THERE))) };
    if args.lang != Lang::Rust {
        return Err(Error::usage("--kit is for --lang rust"));
    }
    if kit.contains("://") || kit.starts_with("git@") {
        return Ok(format!("git = {}", quoted(kit)));
    }
    let path = cwd.join(kit);
    let is_kit = fs::read_to_string(path.join("Cargo.toml"))
        .is_ok_and(|text| text.contains(r#"name = "crabbox-provider-kit""#));
    match path.canonicalize() {
        Ok(path) if is_kit => Ok(format!("path = {}", quoted(&path.to_string_lossy()))),
        _ => Err(Error::usage(format!("`{}` is not the provider kit", path.display()))
            .hint("it is the directory `plugins/kit` of crabbox's sources")),
    }
}

/// A string of TOML. What JSON escapes, TOML escapes in the same way.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A file of a template, for this name.
fn text(file: &File, name: &str, kit: &str) -> String {
    let text = file.text.replace(NAME, name).replace(&screaming(NAME), &screaming(name));
    text.replace(KIT_HERE, kit)
}

fn write(path: &Path, text: &str, executable: bool) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let mode = if executable { 0o777 } else { 0o666 };
    OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_everywhere_and_nothing_else_is_touched() {
        for lang in Lang::value_variants() {
            let kit = r#"path = "/src/example/plugins/kit""#;
            for file in files(*lang) {
                let text = text(file, "my-cloud", kit);
                let left = text.replace(kit, "").to_lowercase();
                assert!(!left.contains(NAME), "{lang:?} {}", file.path);
                assert!(text.ends_with('\n'), "{lang:?} {}", file.path);
                assert_eq!(text.contains(kit), file.path == "Cargo.toml", "{lang:?} {}", file.path);
            }
            assert!(files(*lang).iter().any(|file| file.path == "README.md"), "{lang:?}");
        }
    }
}
