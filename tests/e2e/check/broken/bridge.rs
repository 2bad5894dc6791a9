//! What is said of how others reach a lease, and is not so.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;

use crabbox_tests::{World, tool};

use super::PYTHON;
use crate::check::{report, rules};
use crate::support::repository;

/// A way to each port that is asked about, and a list of what is published in a file.
const SOUND: &str = r#"
def published(params, change=None):
    path = find(params["lease"])[0] + ".published"
    ports = set(json.load(open(path))) if os.path.exists(path) else set()
    if change:
        with open(path, "w") as file:
            json.dump(sorted(change(ports)), file)
    return ports

def targets(ports):
    return [{"port": port, "url": f"https://{port}.example", "id": str(port)} for port in sorted(ports)]

def bridge(params):
    port = params.get("port")
    ports = published(params, (lambda ports: ports | {port}) if params["publish"] else None)
    ports = ports | {port} if params["publish"] else ports
    if port not in ports:
        return {"state": "unsupported", "transport": "none"}
    return {"state": "ready", "transport": "url", "targets": targets({port})}

def unbridge(params):
    ports = published(params)
    there = params["port"] in ports
    published(params, lambda ports: ports - {params["port"]})
    return {"outcome": "released" if there else "absent"}

METHODS = {"bridge": bridge, "unbridge": unbridge, "#;

/// What stands in the place of what.
type Replaced<'t> = &'t [(&'t str, &'t str)];

/// The rules that such a provider breaks, and those that it keeps.
fn broken(replace: Replaced<'_>, live: bool) -> (BTreeSet<String>, BTreeSet<String>) {
    let world = World::new();
    symlink(tool("python3").unwrap(), world.bin().join("python3")).unwrap();
    let mut text = fs::read_to_string(repository().join(PYTHON)).unwrap();
    let add =
        [(r#""list"], "features""#, r#""list", "bridge", "unbridge"], "features""#), ("METHODS = {", SOUND)];
    for (from, to) in add.iter().chain(replace) {
        assert!(text.contains(from), "`{from}` is not there");
        text = text.replace(from, to);
    }
    let path = world.script("crabbox-provider-pydir", &text);
    let (_, report) = report(&world, &path, if live { &["--live"] } else { &[] });
    let of = |status: &str| rules(&report, status).into_iter().map(str::to_owned).collect();
    (of("fail"), of("pass"))
}

#[test]
fn a_broken_bridge_is_told_by_its_rule() {
    if tool("python3").is_none() {
        return;
    }
    const NOTHING: &str = r#"return {"state": "unsupported", "transport": "none"}"#;
    const NOWHERE: &str = r#"return {"state": "ready", "transport": "url"}"#;
    const ANOTHER: &str = r#"return {"state": "ready", "transport": "url", "targets": targets({7})}"#;
    const MOVING: &str =
        r#"return {"state": "ready", "transport": "url", "endpoint": f"https://{os.getpid()}.example"}"#;
    let closes_nothing = (r#""released" if there"#, r#""released" if True"#);
    let elsewhere = (r#""id": str(port)"#, r#""id": os.urandom(4).hex()"#);
    let cases: [(Replaced<'_>, bool, &[&str]); 5] = [
        (&[], true, &[]),
        (&[(NOTHING, NOWHERE), closes_nothing], false, &["bridge-answers", "unbridge-of-nothing"]),
        (&[(NOTHING, ANOTHER)], false, &["bridge-answers"]),
        (&[(NOTHING, MOVING)], false, &["bridge-only-looks"]),
        (&[elsewhere], true, &["published-and-taken-back"]),
    ];
    std::thread::scope(|scope| {
        for (replace, live, breaks) in cases {
            scope.spawn(move || {
                let (failed, passed) = broken(replace, live);
                // What cannot be answered breaks whatever asks for it.
                assert!(breaks.iter().all(|rule| failed.contains(*rule)), "{replace:?}: {failed:?}");
                let all = [
                    "bridge-answers",
                    "bridge-only-looks",
                    "unbridge-of-nothing",
                    "published-and-taken-back",
                ];
                if breaks.is_empty() {
                    assert!(failed.is_empty() && all.iter().all(|rule| passed.contains(*rule)), "{failed:?}");
                }
            });
        }
    });
}
