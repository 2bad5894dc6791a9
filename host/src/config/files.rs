//! The configuration files: which there are, what is in them, and which of them to trust.
//!
//! In a repository these are `crabbox.yaml` and `.crabbox.yaml` at its root (outside of one, in the
//! current directory); both are read, and what `.crabbox.yaml` says wins. Then the user's own. A key is
//! taken from the strongest file that has it; lists and maps are replaced, never joined. `CRABBOX_CONFIG`
//! names one file that stands for all of them; it is trusted unless it lies in the repository, for which
//! the current directory stands where there is none.
//!
//! A repository is code that somebody else wrote: its files may name a provider, never an executable and
//! never where a credential goes.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use serde_json::{Map, Value};

use super::Env;
use crate::error::{Error, Result};
use crate::output::foreign;
use crate::paths::Paths;

/// The files in a repository, the weaker first.
const REPOSITORY_FILES: [&str; 2] = ["crabbox.yaml", ".crabbox.yaml"];

/// The variable that names one file instead of all others.
const VARIABLE: &str = "CRABBOX_CONFIG";

/// The largest configuration file.
const LARGEST: u64 = 1024 * 1024;

/// A configuration file.
#[derive(Debug, Clone)]
pub(crate) struct ConfigFile {
    /// Where it is, or would be.
    pub(crate) path: PathBuf,
    /// Whose it is: `repository`, `user` or `CRABBOX_CONFIG`.
    pub(crate) role: &'static str,
    /// Whether it may say where executables are and where credentials go.
    pub(crate) trusted: bool,
    /// Whether it is there.
    pub(crate) found: bool,
    content: Map<String, Value>,
}

impl ConfigFile {
    /// The value at a path of keys. `null` counts as absent.
    pub(crate) fn get(&self, path: &[&str]) -> Option<&Value> {
        let (last, first) = path.split_last()?;
        let mut map = &self.content;
        for key in first {
            map = map.get(*key)?.as_object()?;
        }
        map.get(*last).filter(|value| !value.is_null())
    }

    /// Everything in it.
    pub(crate) fn content(&self) -> &Map<String, Value> {
        &self.content
    }

    /// The directory that relative paths in it start from.
    pub(crate) fn directory(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }
}

/// All configuration files, the strongest first.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    files: Vec<ConfigFile>,
    /// Where a user puts what only the user may set.
    user_file: PathBuf,
}

impl Files {
    /// Reads the files for whoever stands in `env`'s directory. `root` is the repository's, if there is one.
    pub(crate) fn load(env: &Env, paths: &Paths, root: Option<&Path>) -> Result<Self> {
        let root = root.unwrap_or(env.cwd());
        let user_file = paths.config.join("config.yaml");
        if let Some(named) = env.get(VARIABLE) {
            let path = env.cwd().join(named);
            let Some(content) = read(&path)? else {
                return Err(Error::usage(format!("there is no file `{}`", path.display()))
                    .hint(format!("{VARIABLE} names it; correct it or unset it")));
            };
            let trusted = !lies_in(&path, root);
            let file = ConfigFile { path, role: VARIABLE, trusted, found: true, content };
            return Ok(Self { files: vec![file], user_file });
        }
        let repository = REPOSITORY_FILES.iter().rev().map(|name| (root.join(name), "repository", false));
        let mut files = Vec::new();
        for (path, role, trusted) in repository.chain([(user_file.clone(), "user", true)]) {
            let content = read(&path)?;
            let found = content.is_some();
            files.push(ConfigFile { path, role, trusted, found, content: content.unwrap_or_default() });
        }
        Ok(Self { files, user_file })
    }

    /// The files, the strongest first, also those that are not there.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &ConfigFile> {
        self.files.iter()
    }

    /// The value at a path of keys, from the strongest file that has it.
    #[cfg(test)]
    fn get(&self, path: &[&str]) -> Option<(&ConfigFile, &Value)> {
        self.files.iter().find_map(|file| Some((file, file.get(path)?)))
    }

    /// Where a user puts what only the user may set.
    pub(crate) fn user_file(&self) -> &Path {
        &self.user_file
    }
}

/// The root of the repository that a directory is in: the nearest parent with a `.git`.
pub(crate) fn repository_root(directory: &Path) -> Option<PathBuf> {
    directory.ancestors().find(|parent| parent.join(".git").exists()).map(Path::to_owned)
}

/// Whether a file lies in a directory once symlinks are resolved.
fn lies_in(path: &Path, directory: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    // The file's name may be a link out of the repository, or into it: neither is trusted.
    let parent = path.parent().map(real);
    let directory = real(directory);
    real(path).starts_with(&directory) || parent.is_some_and(|parent| parent.starts_with(&directory))
}

/// Reads one file; nothing if it is not there.
fn read(path: &Path) -> Result<Option<Map<String, Value>>> {
    match small_text(path) {
        Ok(text) => parse(path, &text).map(Some),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(Error::usage(format!("cannot read the configuration file `{}`", path.display()))
            .cause(error)
            .hint("make it a readable text file, or move it away")),
    }
}

/// The text of a file of bearable size. In a repository a name may lead anywhere: to a pipe that nobody
/// writes to, to a device without an end.
pub(crate) fn small_text(path: &Path) -> io::Result<String> {
    // Opening a pipe or a terminal must not wait, and no terminal may become ours.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut text = Vec::new();
    // Not the size that it claims to have: it may grow, and some files have none.
    file.take(LARGEST + 1).read_to_end(&mut text)?;
    if text.len() as u64 > LARGEST {
        return Err(io::Error::other("it is larger than 1 MiB"));
    }
    String::from_utf8(text).map_err(|_| io::Error::other("it is not UTF-8"))
}

fn parse(path: &Path, text: &str) -> Result<Map<String, Value>> {
    let options = serde_saphyr::options! { strict_booleans: true, with_snippet: false };
    let value = serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let place = match error.location() {
            Some(at) => format!("{}:{}:{}", path.display(), at.line(), at.column()),
            None => path.display().to_string(),
        };
        Error::usage(format!("{place}: invalid YAML")).cause(foreign(&error.without_snippet().to_string()))
    })?;
    match value {
        Value::Object(content) => Ok(content),
        Value::Null => Ok(Map::new()),
        _ => Err(Error::usage(format!("{}: the file has to be a mapping", path.display()))
            .hint("write `KEY: VALUE` lines, such as `provider: local`")),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    struct Place {
        dir: tempfile::TempDir,
    }

    impl Place {
        fn new(files: &[(&str, &str)]) -> Self {
            let dir = tempfile::tempdir().unwrap();
            for (name, text) in files {
                let path = dir.path().join(name);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            fs::create_dir_all(dir.path().join("repo/.git")).unwrap();
            fs::create_dir_all(dir.path().join("repo/sub")).unwrap();
            Self { dir }
        }

        fn load(&self, config: Option<&str>) -> Result<Files> {
            let base = self.dir.path();
            let cwd = base.join("repo/sub");
            let env = Env::new(&cwd, config.map(|path| (VARIABLE, path.to_owned())));
            let paths =
                Paths { state: base.join("state"), cache: base.join("cache"), config: base.join("config") };
            Files::load(&env, &paths, repository_root(&cwd).as_deref())
        }
    }

    #[test]
    fn the_strongest_file_that_has_a_key_wins() {
        let place = Place::new(&[
            ("repo/crabbox.yaml", "provider: a\nlease: {ttl: 1h, idleTimeout: 1m}\nsync:\n"),
            ("repo/.crabbox.yaml", "provider: b\nlease: {ttl: null}\n"),
            ("config/config.yaml", "provider: c\nttl: 2h\nsync: {delete: false}\n"),
        ]);
        let files = place.load(None).unwrap();
        let value = |path: &[&str]| files.get(path).map(|(_, value)| value.clone());
        assert_eq!(value(&["provider"]), Some("b".into()));
        assert_eq!(value(&["lease", "ttl"]), Some("1h".into()));
        assert_eq!(value(&["ttl"]), Some("2h".into()));
        assert_eq!(value(&["sync", "delete"]), Some(false.into()));
        assert_eq!(value(&["sync", "delete", "x"]), None);
        let roles: Vec<_> = files.iter().map(|file| (file.role, file.trusted, file.found)).collect();
        assert_eq!(roles, [("repository", false, true), ("repository", false, true), ("user", true, true)]);
    }

    #[test]
    fn a_named_file_replaces_all_and_is_trusted_only_outside_of_the_repository() {
        let place = Place::new(&[
            ("repo/crabbox.yaml", "provider: a\n"),
            ("repo/mine.yaml", "provider: b\n"),
            ("outside/mine.yaml", "provider: c\n"),
            ("config/config.yaml", "provider: d\n"),
        ]);
        let base = place.dir.path();
        symlink(base.join("outside/mine.yaml"), base.join("repo/out.yaml")).unwrap();
        symlink(base.join("repo/mine.yaml"), base.join("outside/in.yaml")).unwrap();
        symlink(base.join("repo"), base.join("outside/repo")).unwrap();
        for (name, provider, trusted) in [
            ("../mine.yaml", "b", false),
            ("../../outside/mine.yaml", "c", true),
            ("../out.yaml", "c", false),
            ("../../outside/in.yaml", "b", false),
            ("../../outside/repo/mine.yaml", "b", false),
        ] {
            let files = place.load(Some(name)).unwrap();
            let (file, value) = files.get(&["provider"]).unwrap();
            assert_eq!((value.as_str(), file.trusted), (Some(provider), trusted), "{name}");
            assert_eq!(files.iter().count(), 1);
        }
        let error = place.load(Some("absent.yaml")).unwrap_err();
        assert!(error.message.contains("sub/absent.yaml"), "{error}");
    }

    #[test]
    fn invalid_files_are_named_with_line_and_column() {
        for (text, message) in [
            ("a: 1\nb: [1, 2\nc: 3\n", "crabbox.yaml:"),
            ("a: 1\na: 2\n", "crabbox.yaml:2:1: invalid YAML"),
            ("a:\n  b: 2\n c: 3\n", "crabbox.yaml:3:2: invalid YAML"),
            ("- 1\n", "the file has to be a mapping"),
            ("just text", "the file has to be a mapping"),
        ] {
            let error = Place::new(&[("repo/crabbox.yaml", text)]).load(None).unwrap_err();
            assert!(error.message.contains(message), "{text:?}: {error}");
            assert_eq!(error.exit.code(), 2);
            assert!(!format!("{error:?}").contains("\\n"), "{error:?}");
        }
        for text in ["", "# nothing\n", "---\n", "null\n"] {
            assert!(Place::new(&[("repo/crabbox.yaml", text)]).load(None).is_ok(), "{text:?}");
        }
    }

    #[test]
    fn an_unreadable_file_is_named() {
        let place = Place::new(&[("repo/crabbox.yaml/inside", "")]);
        let error = place.load(None).unwrap_err();
        assert!(error.message.contains("crabbox.yaml"), "{error}");
    }

    #[test]
    fn what_is_no_file_of_bearable_size_is_refused_at_once() {
        let refused = |what: &dyn Fn(&Path), why: &str| {
            let place = Place::new(&[]);
            let path = place.dir.path().join("repo/crabbox.yaml");
            what(&path);
            let error = place.load(None).unwrap_err();
            assert!(error.message.contains(path.to_str().unwrap()), "{error}");
            assert!(error.to_string().contains(why) && error.hints.len() == 1, "{error}");
            assert_eq!(error.exit.code(), 2);
        };
        let pipe = |path: &Path| {
            rustix::fs::mkfifoat(rustix::fs::CWD, path, Mode::RUSR | Mode::WUSR).unwrap();
        };
        refused(&pipe, "it is not a regular file");
        refused(&|path| symlink("/dev/zero", path).unwrap(), "it is not a regular file");
        refused(&|path| fs::create_dir(path).unwrap(), "it is not a regular file");
        let large = |path: &Path| File::create(path).unwrap().set_len(1 << 40).unwrap();
        refused(&large, "it is larger than 1 MiB");
        refused(&|path| fs::write(path, b"a: \xff\n").unwrap(), "it is not UTF-8");
        let comment = format!("#{}\n", "x".repeat(1024 * 1024 - 2));
        assert!(Place::new(&[("repo/crabbox.yaml", &comment)]).load(None).is_ok());
        let place = Place::new(&[("elsewhere.yaml", "provider: a\n")]);
        let base = place.dir.path();
        symlink(base.join("elsewhere.yaml"), base.join("repo/crabbox.yaml")).unwrap();
        assert!(place.load(None).unwrap().get(&["provider"]).is_some());
    }

    #[test]
    fn words_stay_words() {
        let files =
            Place::new(&[("repo/crabbox.yaml", "a: no\nb: on\nc: true\nd: 1.5\n")]).load(None).unwrap();
        let value = |key| files.get(&[key]).unwrap().1.clone();
        assert_eq!([value("a"), value("b"), value("c")], ["no".into(), "on".into(), Value::Bool(true)]);
        assert_eq!(value("d"), 1.5);
    }
}
