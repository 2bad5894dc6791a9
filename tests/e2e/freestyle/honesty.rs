//! Holds the emulator to Freestyle's own clients, pinned in `tests/freestyle` and unmodified: what they do not like
//! is a mistake of the emulator, not theirs. `npm ci` in that directory installs them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crabbox_tests::freestyle::{Emulator, KEY, Request};
use crabbox_tests::{skip, tool};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Where the clients are installed, and the scripts that drive their SDKs.
fn packages() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("freestyle")
}

/// An emulator, and a home without anything for its clients.
struct Site {
    emulator: Emulator,
    node: PathBuf,
    home: TempDir,
}

impl Site {
    /// `None`: the clients are not installed or cannot work here, and that has been said.
    fn new() -> Option<Self> {
        let node = tool("node")?;
        if !packages().join("node_modules/freestyle/package.json").is_file() {
            skip("freestyle", "Freestyle's own clients are not installed (npm ci in tests/freestyle)");
            return None;
        }
        let emulator = Emulator::start();
        if !emulator.isolation().has_paths() {
            skip("unshare", "the kernel allows no mount namespaces, so that a VM has no paths of its own");
            return None;
        }
        Some(Self { emulator, node, home: TempDir::new().unwrap() })
    }

    /// Node with arguments, where nothing of this machine's user is to be found. Without a key, v5's CLI would
    /// download a program and run it.
    fn node(&self, arguments: &[&str]) -> Output {
        let users = if self.emulator.isolation().has_users() { "yes" } else { "no" };
        Command::new(&self.node)
            .args(arguments)
            .current_dir(self.home.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", self.home.path())
            .env("CI", "1")
            .env("NO_COLOR", "1")
            .env("EMULATOR_USERS", users)
            .env("FREESTYLE_API_KEY", KEY)
            .env("FREESTYLE_BASE_URL", self.emulator.url())
            .env("FREESTYLE_API_URL", self.emulator.url())
            .env("FREESTYLE_PROXY", self.emulator.url())
            .output()
            .unwrap()
    }

    /// Drives an SDK with a script, which must get to its end.
    fn script(&self, name: &str, arguments: &[&str]) {
        let script = packages().join(name);
        let output = self.node(&[&[script.to_str().unwrap()], arguments].concat());
        let (stdout, stderr) = texts(&output);
        assert!(output.status.success() && stdout.ends_with("done\n"), "{stdout}{stderr}");
    }

    /// The CLI of v5: its exit code, standard output and standard error.
    fn cli(&self, arguments: &[&str]) -> (i32, String, String) {
        self.program("freestyle/dist/cli/index.js", arguments)
    }

    /// A program of a package: its exit code, standard output and standard error.
    fn program(&self, program: &str, arguments: &[&str]) -> (i32, String, String) {
        let program = packages().join("node_modules").join(program);
        let mut all = vec![program.to_str().unwrap()];
        all.extend(arguments);
        let output = self.node(&all);
        let (stdout, stderr) = texts(&output);
        (output.status.code().unwrap(), stdout, stderr)
    }

    /// What the CLI of v5 says when it succeeds.
    fn says(&self, arguments: &[&str]) -> String {
        let (code, stdout, stderr) = self.cli(arguments);
        assert_eq!(code, 0, "{arguments:?}: {stdout}{stderr}");
        stdout
    }

    /// What the CLI of v5 says in JSON.
    fn json(&self, arguments: &[&str]) -> Value {
        let mut all = vec!["--output", "json"];
        all.extend(arguments);
        serde_json::from_str(&self.says(&all)).unwrap()
    }

    /// Nothing is left: no VM, no process, no rule.
    fn nothing_is_left(&self) {
        assert_eq!(self.emulator.vms(), Vec::<Value>::new());
        assert_eq!(self.emulator.processes(), Vec::<u32>::new());
        assert_eq!(self.emulator.tls_rules(), Vec::<Value>::new());
    }
}

fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn the_clients_are_the_pinned_ones() {
    let Some(_site) = Site::new() else { return };
    let read = |path: PathBuf| -> Value { serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap() };
    let pinned = read(packages().join("package.json"));
    for (name, version) in pinned["dependencies"].as_object().unwrap() {
        let installed = read(packages().join("node_modules").join(name).join("package.json"));
        assert!(version.as_str().unwrap().ends_with(installed["version"].as_str().unwrap()), "{name}");
    }
    let lock = std::fs::read_to_string(packages().join("package-lock.json")).unwrap();
    assert!(!lock.contains("://"), "the lockfile names a host");
}

#[test]
fn the_sdk_of_v5_is_happy() {
    let Some(site) = Site::new() else { return };
    site.script("v5.mjs", &[]);
    site.nothing_is_left();
    let requests = site.emulator.requests();
    assert!(requests.iter().any(|it| it.path.contains("/background-requests/")), "nothing was polled");
    assert!(requests.iter().any(|it| it.path.contains("/fs/uploads/")), "nothing came in chunks");
}

#[test]
fn the_sdks_of_v1_are_happy() {
    for package in ["freestyle-sandboxes", "freestyle-v1"] {
        let Some(site) = Site::new() else { return };
        site.emulator.faults(|faults| faults.always_background = true);
        site.script("v1.mjs", &[package]);
        site.nothing_is_left();
        let polled = |request: &Request| request.path.starts_with("/auth/v1/background-requests/");
        assert!(site.emulator.requests().iter().any(polled), "nothing was polled");
    }
}

#[test]
fn the_clis_of_v1_are_happy() {
    for package in ["freestyle-sandboxes", "freestyle-v1"] {
        let Some(site) = Site::new() else { return };
        let program = format!("{package}/cli.mjs");
        let said = |arguments: &[&str]| {
            let (code, stdout, stderr) = site.program(&program, arguments);
            assert_eq!(code, 0, "{package} {arguments:?}: {stdout}{stderr}");
            stdout
        };
        let script = "import('PACKAGE').then(async ({ Freestyle }) => \
                      console.log((await new Freestyle().vms.create()).vmId))";
        let script = script.replace(
            "PACKAGE",
            packages().join("node_modules").join(package).join("index.mjs").to_str().unwrap(),
        );
        let (id, stderr) = texts(&site.node(&["-e", &script]));
        let id = id.trim();
        assert!(!id.is_empty(), "{stderr}");
        assert!(said(&["vm", "list"]).contains(id));
        assert!(said(&["vm", "exec", id, "echo from $(pwd)"]).contains("from /root"));
        said(&["vm", "delete", id]);
        site.nothing_is_left();
    }
}

#[test]
fn the_cli_of_v5_is_happy() {
    let Some(site) = Site::new() else { return };
    let made = site.json(&["vm", "create", "--slug", "demo", "--metadata", "lease=abc", "--no-internet"]);
    let id = made["id"].as_str().unwrap();
    assert_eq!(made["state"], "running");
    assert!(site.says(&["vm", "create"]).contains("running"));
    let (code, _, stderr) = site.cli(&["vm", "create", "--slug", "demo"]);
    assert_eq!((code, stderr.contains(id) && stderr.contains("already used")), (1, true), "{stderr}");
    assert!(site.says(&["vm", "list"]).contains("2 VMs"));
    assert_eq!(site.json(&["vm", "list", "--metadata", "lease:abc"])["totalCount"], 1);
    assert!(site.says(&["vm", "get", "demo"]).contains(id));
    let updated =
        site.json(&["vm", "update", "demo", "--metadata", "more=1", "--idle-timeout-seconds", "60"]);
    assert_eq!(updated["metadata"], json!({"lease": "abc", "more": "1"}));

    let ran =
        site.cli(&["vm", "exec", "demo", "--env", "A=b", "--", "sh", "-c", "echo $A; echo e >&2; exit 3"]);
    assert_eq!(ran, (3, "b\n".to_owned(), "e\n".to_owned()));
    // The CLI stumbles over an argument that is a number.
    let late = |ms| ["vm", "exec", "demo", "--timeout-ms", ms, "--", "sh", "-c", "echo early; sleep 60"];
    // Long enough for the command to begin, however much else is to be done.
    assert_eq!(site.cli(&late("5000")), (1, "early\n".to_owned(), String::new()));
    let told = site.cli(&[&["--output", "json"], &late("300")[..]].concat()).1;
    assert_eq!(serde_json::from_str::<Value>(&told).unwrap()["statusCode"], Value::Null);

    let file = site.home.path().join("large");
    let bytes: Vec<u8> = (0..(9_u32 << 20)).map(|number| (number % 251) as u8).collect();
    std::fs::write(&file, &bytes).unwrap();
    site.says(&["vm", "fs", "write", "demo", "/workspace/large", file.to_str().unwrap()]);
    let back = site.home.path().join("back");
    site.says(&["vm", "fs", "read", "demo", "/workspace/large", "--out", back.to_str().unwrap()]);
    assert!(std::fs::read(&back).unwrap() == bytes, "what is read is what was written");
    let tree = site.home.path().join("tree");
    std::fs::create_dir_all(tree.join("empty")).unwrap();
    std::fs::write(tree.join("file"), "text").unwrap();
    site.says(&["vm", "scp", "-r", tree.to_str().unwrap(), "demo:/workspace"]);
    assert_eq!(site.says(&["vm", "fs", "read", "demo", "/workspace/tree/file"]), "text");
    let listed = site.says(&["vm", "fs", "ls", "demo", "/workspace/tree"]);
    assert!(listed.contains("empty") && listed.contains("file"), "{listed}");
    assert!(site.says(&["vm", "fs", "stat", "demo", "/workspace/tree/file"]).contains("0600"));
    site.says(&["vm", "fs", "rm", "demo", "/workspace/tree"]);
    let (code, _, stderr) = site.cli(&["vm", "fs", "read", "demo", "/workspace/tree/file"]);
    assert_eq!((code, stderr.contains("not found")), (1, true), "{stderr}");

    assert_eq!(site.json(&["vm", "pause", "demo"])["state"], "paused");
    assert!(site.says(&["vm", "list"]).contains("1 paused"));
    assert_eq!(site.json(&["vm", "start", "demo"])["state"], "running");
    assert_eq!(site.json(&["vm", "resize", "demo", "--cpu", "8"])["resources"]["cpu"], 8);

    let lands = format!("vm={id},port=8080");
    let rule = ["tls", "create", "--domain", "demo-0123456789.style.dev", "--from", "public", "--to", &lands];
    let rule = site.json(&rule);
    assert_eq!(rule["dependencies"][0]["id"], id);
    assert!(site.says(&["tls", "list"]).contains("demo-0123456789.style.dev"));
    site.says(&["tls", "get", rule["id"].as_str().unwrap()]);
    assert!(site.says(&["firewall", "list"]).contains("1 rule"));

    for vm in site.json(&["vm", "list"])["vms"].as_array().unwrap() {
        site.says(&["vm", "delete", vm["id"].as_str().unwrap()]);
    }
    site.nothing_is_left();
}

#[test]
fn a_key_that_is_wrong_is_told_to_the_official_client() {
    let Some(site) = Site::new() else { return };
    let (code, _, stderr) = site.cli(&["vm", "list", "--api-key", "somebody-else"]);
    assert_eq!(code, 1);
    assert!(stderr.contains("invalid") && !stderr.contains("somebody-else"), "{stderr}");
}
