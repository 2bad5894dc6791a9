//! Providers that break the protocol in one way each: they break the rules that they should, and no other.

mod bridge;
mod lease;
mod line;
mod requests;
mod start;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Mutex;

use crabbox_tests::{World, tool};

use super::{reason, report, rules};
use crate::support::repository;

/// A provider that breaks the protocol in one way: the one in Python, with a part of it replaced.
pub(super) struct Broken {
    what: &'static str,
    replace: &'static [(&'static str, &'static str)],
    /// The rules that it breaks.
    breaks: &'static [&'static str],
}

pub(super) const fn broken(
    what: &'static str,
    replace: &'static [(&'static str, &'static str)],
    breaks: &'static [&'static str],
) -> Broken {
    Broken { what, replace, breaks }
}

pub(super) const PYTHON: &str = "tests/providers/python/crabbox-provider-pydir";

/// Checks providers that are broken in several ways each: they break the rules that they should, and no other.
pub(super) fn check_all(all: &[&[Broken]]) {
    let Some(python) = tool("python3") else { return };
    let text = fs::read_to_string(repository().join(PYTHON)).unwrap();
    // A command that does not end by itself is given less time.
    let text = text.replace("3000", "300");
    let next = Mutex::new(all.iter());
    let wrong = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let take = || next.lock().unwrap().next();
                while let Some(broken) = take() {
                    wrong.lock().unwrap().extend(check_one(&text, &python, broken));
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// What is not as it should be.
pub(super) fn check_one(text: &str, python: &Path, broken: &[Broken]) -> Option<String> {
    let world = World::new();
    symlink(python, world.bin().join("python3")).unwrap();
    let mut text = text.to_owned();
    for Broken { what, replace, .. } in broken {
        for (from, to) in *replace {
            assert!(text.contains(from), "{what}: `{from}` is not in {PYTHON}");
            text = text.replace(from, to);
        }
    }
    let path = world.script("crabbox-provider-pydir", &text);
    let (code, report) = report(&world, &path, &[]);
    let found: BTreeSet<_> = rules(&report, "fail").union(&rules(&report, "warn")).copied().collect();
    let expected: BTreeSet<_> = broken.iter().flat_map(|broken| broken.breaks).copied().collect();
    assert_eq!(code, i32::from(!rules(&report, "fail").is_empty()));
    let what: Vec<_> = broken.iter().map(|broken| broken.what).collect();
    let why: BTreeMap<_, _> = found.iter().map(|id| (*id, reason(&report, id))).collect();
    (found != expected).then(|| format!("{what:?}: breaks {expected:?}, and the check found {why:#?}"))
}

pub(super) const INITIALIZE: &str = r#""initialize": lambda _: MANIFEST"#;
pub(super) const LINE: &str = "    message = json.loads(line)";
pub(super) const SUMMARY: &str = "\"Directories on";
pub(super) const FIRST: &str = "writing = threading.Lock()";
pub(super) const CONFIGURED: &str =
    r#"return {"scope": root, "problems": [{"key": "root", "message": "not a directory"}] if wrong else []}"#;
pub(super) const ACQUIRED: &str = r#"return {"lease": {"ref": params["lease"]["id"], "root": path}}"#;
pub(super) const RESOLVED: &str =
    r#"return {"state": "ready", "lease": {"root": path}} if there else {"state": "missing"}"#;
pub(super) const RELEASED: &str = r#"return {"outcome": "released" if there else "absent"}"#;
pub(super) const LISTED: &str = r#"return {"leases": leases, "complete": True}"#;
pub(super) const ENDED: &str =
    r#"send(id=request, result={"exitCode": code} if code >= 0 else {"signal": str(-code)})"#;
pub(super) const SEND: &str = r#"json.dumps({"jsonrpc": "2.0", **message}).encode("ascii") + b"\n""#;
pub(super) const TWO: (&str, &str) =
    (r#""root": {"#, r#""one": {"type": "string"}, "two": {"type": "string"}, "root": {"#);
pub(super) const SECRET: (&str, &str) =
    (r#""root": {"#, r#""token": {"type": "string", "x-crabbox": {"secret": True}}, "root": {"#);
