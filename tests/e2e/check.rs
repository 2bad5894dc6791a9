//! `crabbox plugins check`: what keeps to the protocol passes, and what does not is told by the rule.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crabbox_tests::{Plugin, World, binary, skip, tool};
use serde_json::{Value, json};

use crate::support::{ALL, assert_fits, assert_has, assert_nothing_left, repository};

/// The report on an executable, and what crabbox exited with.
fn report(world: &World, plugin: &Path, more: &[&str]) -> (i32, Value) {
    let path = plugin.to_str().unwrap();
    let (code, stdout, stderr) = world.run(&[&["plugins", "check", path, "--json"], more].concat());
    let report = serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}{stderr}"));
    assert_fits("check", &report);
    (code, report)
}

/// The rules that came out so, by id.
fn rules<'r>(report: &'r Value, status: &str) -> BTreeSet<&'r str> {
    let rules = report["rules"].as_array().unwrap().iter();
    rules.filter(|rule| rule["status"] == status).map(|rule| rule["id"].as_str().unwrap()).collect()
}

/// Why a rule came out as it did.
fn reason<'r>(report: &'r Value, id: &str) -> &'r str {
    let rule = report["rules"].as_array().unwrap().iter().find(|rule| rule["id"] == id);
    rule.unwrap_or_else(|| panic!("no rule {id}"))["reason"].as_str().unwrap_or_default()
}

/// Fails unless nothing is broken, nor warned of.
fn assert_passes(report: &Value, code: i32) {
    let (failed, warned) = (rules(report, "fail"), rules(report, "warn"));
    assert!(failed.is_empty() && warned.is_empty(), "{failed:?} {warned:?} in {report:#}");
    assert_eq!((code, &report["ok"]), (0, &json!(true)));
}

#[test]
fn the_providers_that_come_along_pass() {
    for plugin in ALL {
        let Some(world) = World::with(plugin) else { continue };
        let path = match plugin {
            Plugin::Local => binary("crabbox-provider-local"),
            _ => world.bin().join(format!("crabbox-provider-{}", plugin.name())),
        };
        let (code, report) = report(&world, &path, &[]);
        assert_passes(&report, code);
        assert_eq!(report["live"], true, "{plugin:?} needs nothing");
        // In a home of its own: nothing of it is in the user's.
        assert_nothing_left(&world, plugin);
        assert!(!plugin.leases(&world).exists() && world.processes().is_empty(), "{plugin:?}");
    }
}

#[test]
fn a_real_lease_is_made_by_name_and_released() {
    for plugin in ALL {
        let Some(world) = World::with(plugin) else { continue };
        let (code, report) = report(&world, Path::new(plugin.name()), &["--live"]);
        assert_passes(&report, code);
        assert!(rules(&report, "pass").contains("output-of-100-mb"), "{report:#}");
        assert_nothing_left(&world, plugin);
        assert_eq!(world.processes(), Vec::<String>::new());
    }
}

#[test]
fn an_example_of_the_kit_is_checked_by_its_path() {
    let world = World::new();
    let minimal = binary("examples/minimal");
    if !minimal.exists() {
        return skip("minimal", "the example `minimal` is not built");
    }
    let (code, without) = report(&world, &minimal, &[]);
    assert_passes(&without, code);
    assert_has(reason(&without, "acquire-answers"), &["it needs something", "`root`"]);
    let root = world.root().join("leases");
    let mut command = world.crabbox(&["plugins", "check", minimal.to_str().unwrap(), "--live", "--json"]);
    let (code, stdout, stderr) = crabbox_tests::ended(command.env("CRABBOX_MINIMAL_ROOT", &root));
    let live: Value = serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stderr}"));
    assert_passes(&live, code);
    assert_eq!(fs::read_dir(root).unwrap().count(), 0);
}

/// A provider without leases, in Python.
const ONE_SHOT: &str = r#"#!/usr/bin/env python3
import json, os, subprocess, sys, tarfile, tempfile, threading
if "--stdio" not in sys.argv:
    sys.exit(print("a provider without leases"))
MANIFEST = {"protocol": 1, "name": "once", "version": "1", "lifecycle": "one-shot", "features": ["outputPaths"]}
def send(**message):
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)
def run(request, params):
    with tempfile.TemporaryDirectory(dir=params["scratch"]) as tree:
        tarfile.open(params["workspace"]["path"]).extractall(tree)
        with open(params["stdout"]["path"], "wb") as out, open(params["stderr"]["path"], "wb") as err:
            code = subprocess.run(params["argv"], cwd=tree, env={**os.environ, **params["env"]},
                                  stdin=subprocess.DEVNULL, stdout=out, stderr=err).returncode
    send(id=request, result={"exitCode": code} if code >= 0 else {"signal": str(-code)})
for line in sys.stdin:
    message = json.loads(line)
    if message["method"] == "initialize":
        send(id=message["id"], result=MANIFEST)
    elif message["method"] == "run":
        threading.Thread(target=run, args=(message["id"], message["params"])).start()
    elif "id" in message:
        error = {"code": -32601, "message": "no such method", "data": {"kind": "unsupported"}}
        send(id=message["id"], error=error)
os._exit(0)
"#;

#[test]
fn a_provider_without_leases_is_tried_by_runs() {
    let Some(python) = tool("python3") else { return };
    let world = World::new();
    symlink(python, world.bin().join("python3")).unwrap();
    let (code, good) = report(&world, &world.script("crabbox-provider-once", ONE_SHOT), &["--live"]);
    assert_passes(&good, code);
    let passed = rules(&good, "pass");
    for rule in
        ["workspace-is-unpacked", "argv-is-exact", "output-is-exact", "output-of-100-mb", "ends-in-mid-run"]
    {
        assert!(passed.contains(rule), "{rule}: {good:#}");
    }
    assert_eq!(reason(&good, "release-confirms"), "it has no leases");
    let bare = ONE_SHOT.replace("{**os.environ, **params[\"env\"]}", "os.environ");
    let (_, broken) = report(&world, &world.script("crabbox-provider-once", &bare), &[]);
    assert_eq!(rules(&broken, "fail"), BTreeSet::from(["workspace-is-unpacked"]), "{broken:#}");
}

#[test]
fn people_get_a_line_per_rule_and_what_was_sent_and_received() {
    let world = World::new();
    let sh = world.provider("acme", &json!({"methods": ["acquire", "run", "release"]}), "");
    let (code, stdout, _) = world.run(&["plugins", "check", sh.to_str().unwrap()]);
    assert_eq!(code, 1);
    assert_has(
        &stdout,
        &[
            "handshake\n",
            "  pass  initialize-answers ",
            "  FAIL  unknown-method-refused ",
            "          why       it refused with another code than -32601\n",
            "          sent      {",
            "          received  {",
            "          see       docs/protocol.md#7-methods\n",
            "  skip  configure-answers             it has no `configure`\n",
            "acme 1.0.0: ",
        ],
    );
    assert_eq!(world.run(&["plugins", "check", "./nothing/there"]).0, 4);
    assert_eq!(world.run(&["plugins", "check", "nobody"]).0, 4);
    assert_eq!(world.run(&["plugins", "check", "./README.md"]).0, 2);
    assert_eq!(world.run(&["plugins", "check"]).0, 2);
}

#[test]
fn one_that_says_nothing_breaks_one_rule_and_the_others_are_not_tried() {
    let world = World::new();
    let dead = world.provider_that("dead", "echo 'no licence' >&2; exit 3");
    let (code, report) = report(&world, &dead, &[]);
    assert_eq!((code, rules(&report, "fail")), (1, BTreeSet::from(["initialize-answers"])));
    assert!(rules(&report, "pass").is_empty());
    let row = &report["rules"][0];
    assert_has(row["reason"].as_str().unwrap(), &["did not answer `initialize`", "exit status: 3"]);
    assert_eq!(row["stderr"], "no licence");
}

/// A provider that breaks the protocol in one way: the one in Python, with a part of it replaced.
struct Broken {
    what: &'static str,
    replace: &'static [(&'static str, &'static str)],
    /// The rules that it breaks.
    breaks: &'static [&'static str],
}

const fn broken(
    what: &'static str,
    replace: &'static [(&'static str, &'static str)],
    breaks: &'static [&'static str],
) -> Broken {
    Broken { what, replace, breaks }
}

const PYTHON: &str = "tests/providers/python/crabbox-provider-pydir";

/// Checks providers that are broken in several ways each: they break the rules that they should, and no other.
fn check_all(all: &[&[Broken]]) {
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
fn check_one(text: &str, python: &Path, broken: &[Broken]) -> Option<String> {
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

const INITIALIZE: &str = r#""initialize": lambda _: MANIFEST"#;
const LINE: &str = "    message = json.loads(line)";
const SUMMARY: &str = "\"Directories on";
const FIRST: &str = "writing = threading.Lock()";
const CONFIGURED: &str =
    r#"return {"scope": root, "problems": [{"key": "root", "message": "not a directory"}] if wrong else []}"#;
const ACQUIRED: &str = r#"return {"lease": {"ref": params["lease"]["id"], "root": path}}"#;
const RESOLVED: &str =
    r#"return {"state": "ready", "lease": {"root": path}} if there else {"state": "missing"}"#;
const RELEASED: &str = r#"return {"outcome": "released" if there else "absent"}"#;
const LISTED: &str = r#"return {"leases": leases, "complete": True}"#;
const ENDED: &str = r#"send(id=request, result={"exitCode": code} if code >= 0 else {"signal": str(-code)})"#;
const SEND: &str = r#"json.dumps({"jsonrpc": "2.0", **message}).encode("ascii") + b"\n""#;
const TWO: (&str, &str) =
    (r#""root": {"#, r#""one": {"type": "string"}, "two": {"type": "string"}, "root": {"#);
const SECRET: (&str, &str) =
    (r#""root": {"#, r#""token": {"type": "string", "x-crabbox": {"secret": True}}, "root": {"#);

#[test]
fn a_broken_handshake_or_manifest_is_told_by_its_rule() {
    check_all(&[
        &[broken("as it is", &[], &[])],
        &[
            broken(
                "ends where it does not speak a version",
                &[(INITIALIZE, r#""initialize": lambda p: MANIFEST if 1 in p["versions"] else os._exit(1)"#)],
                &["versions-of-the-future"],
            ),
            broken(
                "wants every line to have its end",
                &[(LINE, "    if line[-1:] != b'\\n': break\n    message = json.loads(line)")],
                &["last-line-without-lf"],
            ),
            broken(
                "has no help",
                &[("sys.exit(print(__doc__, ", "sys.exit((lambda *_, **__: None)(")],
                &["help-without-stdio"],
            ),
            broken(
                "requires something",
                &[("\"features\":", "\"requires\": [\"magic\"], \"features\":")],
                &["requires-known"],
            ),
            broken("declares something", &[("[\"cancel\"]", "[\"cancel\", \"magic\"]")], &["names-known"]),
        ],
        &[
            broken(
                "picks the first version",
                &[(
                    INITIALIZE,
                    r#""initialize": lambda p: {**MANIFEST, "protocol": p["versions"][0] if 1 in p["versions"] else 1}"#,
                )],
                &["versions-picked"],
            ),
            broken(
                "leaves a process",
                &[(FIRST, "writing = threading.Lock()\nsubprocess.Popen(['sleep', '60'])")],
                &["leaves-no-process"],
            ),
            broken(
                "has no schema",
                &[("\"type\": \"string\", \"desc", "\"type\": \"strong\", \"desc")],
                &["schema-sound"],
            ),
        ],
        &[
            broken(
                "objects to a field",
                &[(
                    INITIALIZE,
                    r#""initialize": lambda p: MANIFEST if len(p["host"]) == 2 else os._exit(1)"#,
                )],
                &["unknown-fields-ignored"],
            ),
            broken(
                "writes a file",
                &[(
                    FIRST,
                    "writing = threading.Lock()\nif 'HOME' in os.environ: open(os.environ['HOME'] + '/seen', 'w')",
                )],
                &["initialize-writes-nothing"],
            ),
            broken(
                "has another name",
                &[("\"name\": \"pydir\"", "\"name\": \"other\"")],
                &["name-is-the-files"],
            ),
            broken(
                "says how large its environment is",
                &[(SUMMARY, "str(len(os.environ)) + \"Directories on")],
                &["initialize-with-path-alone"],
            ),
        ],
        &[
            broken(
                "does not end",
                &[("os._exit(0)", "time.sleep(60)")],
                &["ends-with-its-input", "ends-in-mid-run"],
            ),
            broken(
                "says where it is",
                &[(SUMMARY, "os.getcwd() + \"Directories on")],
                &["initialize-is-pure"],
            ),
            broken("has no release", &[("\"release\", \"list\"]", "\"list\"]")], &["methods-complete"]),
        ],
    ]);
}

#[test]
fn a_broken_request_or_configuration_is_told_by_its_rule() {
    check_all(&[
        &[
            broken("has a code of its own", &[(", code=-32601)", ")")], &["unknown-method-refused"]),
            broken(
                "has short lines",
                &[(LINE, "    if len(line) > 500_000: sys.exit(1)\n    message = json.loads(line)")],
                &["request-of-1-mib"],
            ),
            broken(
                "names what is no key",
                &[(
                    CONFIGURED,
                    r#"return {"scope": root, "problems": [{"key": "rot", "message": "no"}] if wrong else []}"#,
                )],
                &["problems-name-keys"],
            ),
        ],
        &[
            broken(
                "answers notifications",
                &[("elif request is not None:", "else:")],
                &["unknown-notification-ignored"],
            ),
            broken(
                "has small ids",
                &[(r#"message.get("id")"#, r#"(lambda id: id and min(id, 1000))(message.get("id"))"#)],
                &["ids-echoed"],
            ),
            broken(
                "reports the first thing that is wrong",
                &[
                    TWO,
                    (
                        CONFIGURED,
                        r#"return {"scope": root, "problems": [{"key": k, "message": "empty"} for k in ("one", "two") if config.get(k) == ""][:1]}"#,
                    ),
                ],
                &["problems-at-once"],
            ),
        ],
        &[
            broken("keeps its secret", &[SECRET], &[]),
            broken(
                "reports what is wrong",
                &[
                    TWO,
                    (
                        CONFIGURED,
                        r#"return {"scope": root, "problems": [{"key": k, "message": "empty"} for k in ("one", "two") if config.get(k) == ""]}"#,
                    ),
                ],
                &[],
            ),
        ],
        &[broken("has no scope", &[(CONFIGURED, r#"return {"scope": ""}"#)], &["configure-answers"])],
        &[
            broken(
                "has a scope of the moment",
                &[(CONFIGURED, r#"return {"scope": str(os.getpid())}"#)],
                &["configure-is-stable"],
            ),
            broken(
                "has no doctor",
                &[("[\"configure\",", "[\"configure\", \"doctor\",")],
                &["doctor-answers"],
            ),
        ],
        &[broken(
            "has its secret in the scope",
            &[SECRET, (CONFIGURED, r#"return {"scope": os.environ.get("CRABBOX_PYDIR_TOKEN", "none")}"#)],
            &["secrets-not-echoed"],
        )],
        &[broken(
            "says its secret",
            &[
                SECRET,
                (
                    CONFIGURED,
                    r#"print(os.environ.get("CRABBOX_PYDIR_TOKEN"), flush=True); return {"scope": root}"#,
                ),
            ],
            &["secrets-not-echoed"],
        )],
    ]);
}

#[test]
fn a_broken_lease_is_told_by_its_rule() {
    check_all(&[
        &[
            broken("acquires once", &[("exist_ok=True", "exist_ok=False")], &["acquire-is-idempotent"]),
            broken(
                "needs what it said",
                &[(
                    RESOLVED,
                    r#"return {"state": "ready" if there and "ref" in params["lease"] else "missing"}"#,
                )],
                &["works-without-state"],
            ),
            broken(
                "lists nothing",
                &[(LISTED, r#"return {"leases": [], "complete": True}"#)],
                &["list-has-the-lease"],
            ),
            broken(
                "releases what is not there",
                &[(RELEASED, r#"return {"outcome": "released"}"#)],
                &["release-of-nothing"],
            ),
        ],
        &[
            broken(
                "acquires another each time",
                &[(ACQUIRED, r#"return {"lease": {"ref": os.urandom(4).hex(), "root": path}}"#)],
                &["acquire-is-idempotent"],
            ),
            broken(
                "stops what is observed",
                &[(
                    RESOLVED,
                    r#"return {"state": ("stopped" if params["intent"] == "observe" else "ready") if there else "missing"}"#,
                )],
                &["observe-changes-nothing"],
            ),
            broken("lists what it may", &[(LISTED, r#"return {"leases": [], "complete": False}"#)], &[]),
            broken(
                "is never done",
                &[(
                    RELEASED,
                    r#"return {"outcome": "released" if there else "absent" if params["lease"]["slug"] == "nobody" else "pending"}"#,
                )],
                &["release-is-idempotent"],
            ),
        ],
        &[broken(
            "acquires somebody else's",
            &[(ACQUIRED, r#"return {"lease": {"id": "cbx_000000000000"}}"#)],
            &["acquire-answers"],
        )],
        &[
            broken(
                "finds whatever is looked for",
                &[(RESOLVED, r#"return {"state": "ready"}"#)],
                &["never-made-is-not-there", "released-is-missing"],
            ),
            broken(
                "objects to what is gone",
                &[(
                    RELEASED,
                    "if not there: raise Failure('it is gone', 'notFound')\n    return {\"outcome\": \"released\"}",
                )],
                &["release-of-nothing", "release-is-idempotent"],
            ),
        ],
        &[broken(
            "does not know what is gone",
            &[(RESOLVED, r#"return {"state": "ready" if there else "unknown"}"#)],
            &["released-is-missing"],
        )],
        &[broken(
            "releases nothing",
            &[(RELEASED, r#"return {"outcome": "absent"}"#)],
            &["release-confirms"],
        )],
    ]);
}

#[test]
fn a_broken_run_is_told_by_its_rule() {
    check_all(&[
        &[
            broken(
                "strips its words",
                &[(r#"params["argv"], stdin"#, r#"[word.strip() for word in params["argv"]], stdin"#)],
                &["argv-is-exact"],
            ),
            broken(
                "cuts codes",
                &[(
                    ENDED,
                    r#"send(id=request, result={"exitCode": code & 127} if code >= 0 else {"signal": str(-code)})"#,
                )],
                &["exit-codes-are-exact"],
            ),
            broken("takes more than a piece", &[("32768", "70000")], &["output-in-pieces"]),
        ],
        &[
            broken(
                "says 1 for a signal",
                &[(ENDED, r#"send(id=request, result={"exitCode": max(code, 0) or int(code < 0)})"#)],
                &["signals-are-told"],
            ),
            broken(
                "answers a cancel too late",
                &[(
                    "    if request in runs and",
                    "    if request not in runs: send(id=request, result={\"signal\": \"TERM\"})\n    if request in runs and",
                )],
                &["answers-come-once"],
            ),
            broken(
                "mixes the streams",
                &[(r#"process.stderr: "stderr"}"#, r#"process.stderr: "stdout"}"#)],
                &["output-is-exact", "directory-is-the-leases"],
            ),
        ],
        &[
            broken(
                "loses carriage returns",
                &[(
                    "output(request, pipes[pipe], data)",
                    "output(request, pipes[pipe], data.replace(b'\\r', b''))",
                )],
                &["argv-is-exact", "output-is-exact", "stdin-is-exact", "sync-round-trip"],
            ),
            broken(
                "kills the leader alone",
                &[("os.killpg(group, number)", "os.kill(group, number)")],
                &["cancel-in-mid-run", "ends-in-mid-run"],
            ),
        ],
        &[
            broken(
                "holds output to the end",
                &[
                    ("    ended, ready = False, []", "    ended, ready, held = False, [], []"),
                    ("output(request, pipes[pipe], data)", "held.append((pipes[pipe], data))"),
                    (
                        "    del runs[request]\n",
                        "    for piece in held: output(request, *piece)\n    del runs[request]\n",
                    ),
                ],
                &["output-is-live"],
            ),
            broken(
                "tells after the end",
                &[(
                    ENDED,
                    "send(id=request, result={\"exitCode\": code} if code >= 0 else {\"signal\": str(-code)})\n    send(method=\"progress\", params={\"request\": request, \"message\": \"done\"})",
                )],
                &["notifications-come-before"],
            ),
        ],
        &[broken(
            "ignores a cancel",
            &[("            cancel(params[\"request\"])", "            pass")],
            &["cancel-in-mid-run"],
        )],
    ]);
}

#[test]
fn a_broken_line_is_told_by_its_rule() {
    check_all(&[
        &[
            broken(
                "prints",
                &[(
                    FIRST,
                    "writing = threading.Lock()\nif '--stdio' in sys.argv: print('hello', flush=True)",
                )],
                &["stdout-is-the-protocols"],
            ),
            broken(
                "says maybe",
                &[(LISTED, r#"return {"leases": leases, "complete": "maybe"}"#)],
                &["results-fit"],
            ),
            broken("has kinds of its own", &[("\"unsupported\"", "\"woe\"")], &["errors-have-kinds"]),
        ],
        &[broken(
            "writes half a message",
            &[(
                FIRST,
                "writing = threading.Lock()\nif '--stdio' in sys.argv: print('{\"jsonrpc\":\"2.0\",\"id\":1,\"resu', flush=True)",
            )],
            &["messages-can-be-read"],
        )],
        &[broken(
            "answers twice",
            &[(
                "send(id=request, result=METHODS[method](params))",
                "[send(id=request, result=METHODS[method](params)) for _ in (1, 2)]",
            )],
            &["answers-come-once"],
        )],
        &[
            broken(
                "leaves out the version",
                &[(SEND, r#"json.dumps(message).encode("ascii") + b"\n""#)],
                &["jsonrpc-is-said"],
            ),
            broken(
                "says 1 for true",
                &[(LISTED, r#"return {"leases": leases, "complete": 1}"#)],
                &["types-are-exact"],
            ),
        ],
        &[
            broken(
                "has ids of text",
                &[(
                    SEND,
                    r#"json.dumps({"jsonrpc": "2.0", **message, **({"id": str(message["id"])} if "id" in message else {})}).encode("ascii") + b"\n""#,
                )],
                &["ids-are-integers"],
            ),
            broken(
                "has words of its own",
                &[(
                    LISTED,
                    r#"return {"leases": [{**lease, "state": "happy"} for lease in leases], "complete": True}"#,
                )],
                &["words-are-known"],
            ),
        ],
        &[
            broken(
                "ends lines in CR LF, and begins them with a byte order mark",
                &[(
                    SEND,
                    r#"b"\xef\xbb\xbf" + json.dumps({"jsonrpc": "2.0", **message}).encode("ascii") + b"\r\n""#,
                )],
                &["lines-end-in-lf", "no-byte-order-mark"],
            ),
            broken(
                "says null",
                &[(
                    LISTED,
                    r#"return {"leases": [{**lease, "labels": None} for lease in leases], "complete": True}"#,
                )],
                &["absent-is-left-out"],
            ),
        ],
    ]);
}

#[test]
fn what_was_made_is_released_when_the_check_is_interrupted() {
    let world = World::new();
    let (script, marker) = (world.root().join("made"), world.root().join("gone"));
    let (made, gone) = (script.display(), marker.display());
    let cases = format!(
        "acquire) echo >'{made}'; sleep 30; ok '{{\"lease\":{{}}}}' ;;\n\
         release) echo >>'{gone}'; ok '{{\"outcome\":\"released\"}}' ;;"
    );
    let plugin = world.provider("slow", &json!({}), &cases);
    let check =
        crate::support::spawn(&mut world.crabbox(&["plugins", "check", plugin.to_str().unwrap(), "--live"]));
    crabbox_tests::wait_for("the lease", || script.exists());
    assert_eq!(fs::read_dir(world.state().join("claims")).unwrap().count(), 1, "recorded before it is made");
    let pid = rustix::process::Pid::from_child(&check);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let (code, _, stderr) = crate::support::end(check);
    assert_eq!(code, 130, "{stderr}");
    assert!(marker.exists(), "{stderr}");
    assert_nothing_left(&world, Plugin::Local);
}

#[test]
fn what_cannot_be_released_is_named_with_the_command_that_does() {
    let world = World::new();
    let cases = r#"acquire) ok '{"lease":{}}' ;; release) no 'the backend is down' '{"kind":"unavailable"}' ;; run) ok '{"exitCode":0}' ;;"#;
    let plugin = world.provider("stuck", &json!({}), cases);
    let (code, report) = report(&world, &plugin, &["--live"]);
    assert_eq!(code, 1);
    assert!(rules(&report, "fail").contains("release-confirms"));
    let left = report["left"][0].as_str().unwrap();
    assert_has(left, &["may still exist", "crabbox stop check-", "the backend is down"]);
    world.provider("stuck", &json!({}), r#"release) ok '{"outcome":"released"}' ;;"#);
    let words: Vec<_> = left.split('`').nth(1).unwrap().split(' ').collect();
    let (_, slug) = words.join(" ").rsplit_once(' ').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    world.ok(&["stop", &slug]);
    assert_nothing_left(&world, Plugin::Local);
}

/// What a mode of the rude provider breaks, among other rules: after a fault nothing is as it should be.
const RUDE: &[(&str, &[&str])] = &[
    ("exit start", &["initialize-answers"]),
    ("silent initialize", &["initialize-answers"]),
    ("stubborn initialize", &["initialize-answers"]),
    ("closed initialize", &["initialize-answers"]),
    ("exit initialize", &["initialize-answers"]),
    ("half initialize", &["messages-can-be-read"]),
    ("version initialize", &["results-fit"]),
    ("wrong-id initialize", &["messages-can-be-read"]),
    ("holder initialize", &["leaves-no-process"]),
    ("flood initialize 1", &["stdout-is-the-protocols", "words-are-known"]),
    ("silent configure", &["configure-answers"]),
    ("exit acquire", &["acquire-answers"]),
    ("refuse acquire", &["acquire-answers"]),
    ("other-id acquire", &["acquire-answers"]),
    ("lease-exit acquire", &["acquire-answers"]),
    ("wrong-id acquire", &["messages-can-be-read"]),
    ("wrong-type acquire", &["results-fit"]),
    ("junk acquire", &["stdout-is-the-protocols"]),
    ("twice acquire", &["answers-come-once"]),
    ("liar resolve", &["works-without-state", "observe-changes-nothing"]),
    ("exit run", &["argv-is-exact"]),
    ("abort run", &["argv-is-exact"]),
    ("die run", &["argv-is-exact"]),
    ("code run 5", &["exit-codes-are-exact"]),
    ("nothing run", &["results-fit"]),
    ("twice run", &["answers-come-once"]),
    ("surrogate run", &["messages-can-be-read"]),
    ("both-ways run", &["messages-can-be-read"]),
    ("print run", &["output-goes-one-way"]),
    ("after run", &["notifications-come-before"]),
    ("drip run", &["lines-end-in-lf", "exit-codes-are-exact"]),
    ("binary run", &["stdout-is-the-protocols"]),
    ("exit release", &["release-confirms"]),
    ("liar release", &["release-confirms"]),
    ("deep release", &["results-fit"]),
    ("huge release", &["messages-can-be-read"]),
];

#[test]
fn a_rude_provider_fails_by_the_rule_that_it_breaks() {
    let next = Mutex::new(RUDE.iter());
    let wrong = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let take = || next.lock().unwrap().next();
                while let Some((mode, breaks)) = take() {
                    let world = World::rude(mode);
                    let (code, report) = report(&world, &world.bin().join("crabbox-provider-rude"), &[]);
                    let found: BTreeSet<_> =
                        rules(&report, "fail").union(&rules(&report, "warn")).copied().collect();
                    if code != 1
                        || !breaks.iter().all(|rule| found.contains(rule))
                        || world.reached().is_empty()
                    {
                        wrong
                            .lock()
                            .unwrap()
                            .push(format!("{mode}: {code}, breaks {breaks:?}, found {found:?}"));
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn where_the_rude_provider_is_not_rude_it_passes() {
    for mode in ["", "blind resolve"] {
        let world = World::rude(mode);
        let (code, report) = report(&world, &world.bin().join("crabbox-provider-rude"), &[]);
        assert_passes(&report, code);
        assert_nothing_left(&world, Plugin::Rude);
    }
}

/// A path that is nobody's plugin has no name of its own.
#[test]
fn an_executable_may_have_any_name() {
    let world = World::new();
    let plugin = world.provider("acme", &json!({}), "");
    let other: PathBuf = world.root().join("anything");
    fs::copy(plugin, &other).unwrap();
    fs::set_permissions(&other, fs::Permissions::from_mode(0o755)).unwrap();
    let (_, report) = report(&world, &other, &[]);
    assert_eq!(report["name"], "acme");
    assert!(rules(&report, "pass").contains("name-is-the-files"), "{report:#}");
}
