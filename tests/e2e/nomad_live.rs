//! The nomad provider on every cluster that there is: an emulated one, a real agent, and one that is given. What is
//! asked here holds on all of them.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use crabbox_tests::nomad::Grants;
use crabbox_tests::nomad::cluster::{Cluster, clusters, clusters_with_tokens};
use crabbox_tests::{World, binary, ended, wait_for};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::nomad::sleeps;
use crate::support::{assert_has, end, spawn};

/// What a token needs for leases with the driver raw_exec, by docs/providers/nomad.md.
const POLICY: &[&str] = &["submit-job", "read-job", "list-jobs", "alloc-exec", "alloc-node-exec"];

/// A world on a cluster.
struct Site {
    world: World,
    cluster: Cluster,
    token: Option<String>,
}

impl Site {
    /// One for each cluster.
    fn all() -> impl Iterator<Item = Self> {
        clusters().into_iter().map(|cluster| Self::on(cluster, None))
    }

    fn on(cluster: Cluster, token: Option<String>) -> Self {
        let world = World::new();
        world.install(&binary("crabbox-provider-nomad"));
        world.write_config(&json!({"provider": "nomad", "nomad": cluster.config()}).to_string());
        Self { world, cluster, token }
    }

    fn crabbox(&self, arguments: &[&str]) -> Command {
        let mut command = self.world.crabbox(arguments);
        command.envs(self.cluster.env());
        if let Some(token) = &self.token {
            command.env("NOMAD_TOKEN", token);
        }
        command
    }

    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        ended(&mut self.crabbox(arguments))
    }

    /// What crabbox prints when all is well.
    fn ok(&self, arguments: &[&str]) -> String {
        let (code, stdout, stderr) = self.run(arguments);
        assert_eq!(code, 0, "{arguments:?} on {}: {stderr}", self.cluster.name());
        stdout
    }

    fn nothing_is_left(&self) {
        let on = self.cluster.name();
        assert_eq!(self.ok(&["list", "--json"]).trim(), "[]", "{on}");
        assert_eq!(self.cluster.jobs(), Vec::<Value>::new(), "{on}");
        assert_eq!(self.cluster.processes(), Vec::<u32>::new(), "{on}");
    }
}

#[test]
fn the_whole_life_of_a_lease() {
    for site in Site::all() {
        let on = site.cluster.name();
        let doctor = site.ok(&["doctor"]);
        assert_has(&doctor, &["agent", "region", "token", "namespace", "capabilities", "nodes", "leases"]);
        site.ok(&["warmup", "--slug", "demo"]);
        let listed: Value = serde_json::from_str(&site.ok(&["list", "--json"])).unwrap();
        assert_eq!(listed.as_array().unwrap().len(), 1, "{on}");
        let status: Value = serde_json::from_str(&site.ok(&["status", "demo", "--json"])).unwrap();
        assert_eq!((&status["state"], &status["ready"]), (&json!("ready"), &json!(true)), "{on}: {status}");
        assert_eq!(site.cluster.jobs().len(), 1, "{on}");

        // What the first command built is there for the second, and only what changed is sent.
        let build =
            ["run", "--id", "demo", "--", "sh", "-c", "mkdir -p target; ls -A; cat src/main.c >>target/log"];
        let (code, stdout, stderr) = site.run(&build);
        assert_eq!((code, stdout.contains("README.md\n")), (0, true), "{on}: {stderr}");
        site.world.write("src/main.c", "int main(void) { return 3; }\n");
        let (_, _, stderr) = site.run(&build);
        assert_has(&stderr, &["1 file, "]);
        let log = site.ok(&["run", "--id", "demo", "--", "cat", "target/log"]);
        assert_eq!(log, "int main(void) { return 0; }\nint main(void) { return 3; }\n", "{on}");
        let (_, _, stderr) = site.run(&["run", "--id", "demo", "--", "true"]);
        assert_has(&stderr, &["nothing sent"]);

        let both = [
            "run",
            "--id",
            "demo",
            "--allow-env",
            "GREETING",
            "--",
            "sh",
            "-c",
            "echo $GREETING; echo err >&2; exit 7",
        ];
        let mut greeted = site.crabbox(&both);
        let (code, stdout, stderr) = ended(greeted.env("GREETING", "hi"));
        assert_eq!((code, stdout.as_str()), (7, "hi\n"), "{on}: {stderr}");
        assert_has(&stderr, &["err\n"]);
        for (script, code) in
            [("kill -9 $$", 137), ("kill -15 $$", 143), ("exit 255", 255), ("nonesuch", 127)]
        {
            let ran = site.run(&["run", "--id", "demo", "--no-sync", "--", "sh", "-c", script]);
            assert_eq!(ran.0, code, "{script} on {on}: {}", ran.2);
        }
        site.ok(&["stop", "demo"]);
        site.nothing_is_left();
    }
}

#[test]
fn output_is_whole() {
    // More by CRABBOX_TEST_FLOOD_MIB.
    let mib =
        std::env::var("CRABBOX_TEST_FLOOD_MIB").ok().and_then(|text| text.parse().ok()).unwrap_or(16_u64);
    for site in Site::all() {
        let script = format!(
            "head -c {} /dev/urandom | tee /dev/stderr | cksum >sum; cat sum >&2; printf '\\303'; sleep 0.1; printf '\\251\\000\\377'",
            mib << 20
        );
        let output = site
            .crabbox(&["run", "--", "bash", "-c", &format!("({script}) 2> >(cksum >&2)")])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(
            output.stdout,
            "é\0".bytes().chain([0xff]).collect::<Vec<u8>>(),
            "{}",
            site.cluster.name()
        );
        let script = format!("head -c {} /dev/zero; echo done >&2", mib << 20);
        let output = site.crabbox(&["run", "--", "sh", "-c", &script]).output().unwrap();
        assert_eq!(output.stdout.len() as u64, mib << 20, "{}", site.cluster.name());
        assert!(output.stdout.iter().all(|byte| *byte == 0));
        site.nothing_is_left();
    }
}

#[test]
fn ctrl_c_ends_the_command_where_it_runs() {
    for site in Site::all() {
        site.ok(&["warmup", "--slug", "demo"]);
        // A given cluster's are not to be seen.
        let all = || site.cluster.processes();
        wait_for("the task to sleep", || all().is_empty() || sleeps(&all()));
        let before = all();
        // Children in other groups, one of which does not listen.
        let script = "setsid sleep 600 & (trap '' TERM INT; sleep 600) & echo up; sleep 600; echo never";
        let mut child = spawn(&mut site.crabbox(&["run", "--id", "demo", "--", "sh", "-c", script]));
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "up\n");
        kill_process(Pid::from_child(&child), Signal::INT).unwrap();
        let (code, _, stderr) = end(child);
        assert_eq!(code, 130, "{}: {stderr}", site.cluster.name());
        wait_for("the end of the command's processes", || site.cluster.processes() == before);
        assert_eq!(site.ok(&["run", "--id", "demo", "--", "echo", "again"]), "again\n");
        site.ok(&["stop", "demo"]);
        site.nothing_is_left();
    }
}

#[test]
fn a_host_that_was_killed_leaves_what_cleanup_finds() {
    for site in Site::all() {
        let mut command = site.crabbox(&["run", "--", "sh", "-c", "echo up; exec sleep 600"]);
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(site.cluster.jobs().len(), 1, "{}", site.cluster.name());
        wait_for("cleanup to find the lease without an owner", || {
            site.ok(&["cleanup", "--wait"]).contains("removed=1") || site.cluster.jobs().is_empty()
        });
        site.nothing_is_left();
    }
}

#[test]
fn ten_runs_at_once_do_not_meet() {
    for site in Site::all() {
        let runs: Vec<_> = (0..10)
            .map(|number| {
                let script = format!("echo {number} >own; sleep 0.2; cat own README.md");
                spawn(&mut site.crabbox(&["run", "--", "sh", "-c", &script]))
            })
            .collect();
        for (number, run) in runs.into_iter().enumerate() {
            let (code, stdout, stderr) = end(run);
            assert_eq!(
                (code, stdout),
                (0, format!("{number}\nhello\n")),
                "{}: {stderr}",
                site.cluster.name()
            );
        }
        site.nothing_is_left();
    }
}

/// Nomad itself ends neither what an execution left behind nor takes away its files: the task does.
#[test]
fn leases_on_one_node_share_nothing_and_end_with_all_that_they_started() {
    for site in Site::all() {
        let on = site.cluster.name();
        let mut directories = Vec::new();
        for slug in ["one", "two"] {
            site.ok(&["warmup", "--slug", slug]);
            let script =
                "setsid sleep 600 >/dev/null 2>&1 & nohup sleep 600 >/dev/null 2>&1 & echo $0 >file; pwd";
            let pwd = site.ok(&["run", "--id", slug, "--", "sh", "-c", script, slug]);
            directories.push(pwd.trim_end().to_owned());
        }
        // In containers of their own they are called the same.
        let own = site.cluster.driver() == "docker";
        assert_eq!(directories[0] == directories[1], own, "{on}");
        let left =
            |slug: &str| site.ok(&["run", "--id", slug, "--no-sync", "--", "sh", "-c", "cat file; ls"]);
        assert_eq!(left("one"), "one\nREADME.md\nfile\nsrc\n", "{on}");
        let both = site.cluster.processes().len();
        site.ok(&["stop", "one"]);
        // Of a cluster that is given nothing of this is to be seen from here.
        assert_eq!(both > 0, !matches!(site.cluster, Cluster::Given(_)), "{on}");
        if both > 0 {
            assert!((1..both).contains(&site.cluster.processes().len()), "{on}");
            let there = |nth: usize| fs::exists(&directories[nth]).unwrap();
            assert!(own || (!there(0) && there(1)), "{on}");
        }
        assert_eq!(left("two"), "two\nREADME.md\nfile\nsrc\n", "{on}");
        site.ok(&["stop", "two"]);
        assert!(own || both == 0 || !fs::exists(&directories[1]).unwrap(), "{on}");
        site.nothing_is_left();
    }
}

#[test]
fn the_documented_policy_is_enough_and_no_less_is() {
    for missing in [None, Some("alloc-exec"), Some("alloc-node-exec"), Some("read-job"), Some("submit-job")] {
        let held: Vec<&str> = POLICY.iter().copied().filter(|name| Some(*name) != missing).collect();
        for cluster in clusters_with_tokens(&[Grants::on_default(&held)]) {
            let token = cluster.token(0).unwrap().to_owned();
            let site = Site::on(cluster, Some(token));
            let on = site.cluster.name();
            let (code, doctor, _) = site.run(&["doctor"]);
            let (ran, stdout, stderr) = site.run(&["run", "--", "echo", "in"]);
            match missing.filter(|missing| site.cluster.needs().contains(missing)) {
                None => {
                    assert_eq!((code, ran, stdout.as_str()), (0, 0, "in\n"), "{on}: {doctor}{stderr}");
                    site.nothing_is_left();
                }
                Some(missing) => {
                    assert_eq!(
                        (code, ran, stdout.as_str()),
                        (1, 3, ""),
                        "{on} without {missing}: {doctor}{stderr}"
                    );
                    assert_has(&doctor, &[&format!("lacks {missing}")]);
                }
            }
        }
    }
}

#[test]
fn the_token_is_nowhere_but_in_the_requests() {
    for cluster in clusters_with_tokens(&[Grants::on_default(POLICY)]) {
        let token = cluster.token(0).unwrap().to_owned();
        let site = Site::on(cluster, Some(token.clone()));
        let trace = site.world.root().join("trace");
        let show = [
            "run",
            "--keep",
            "--allow-env",
            "NOMAD_TOKEN,CRABBOX_NOMAD_TOKEN",
            "--",
            "sh",
            "-c",
            "env; cat /proc/*/cmdline 2>/dev/null || true",
        ];
        let output = site.crabbox(&show).env("CRABBOX_PLUGIN_TRACE", &trace).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let traced = fs::read(&trace).unwrap();
        assert!(!traced.is_empty() && !output.stdout.is_empty());
        let said = [output.stdout, output.stderr, traced].concat();
        assert!(!String::from_utf8_lossy(&said).contains(&token), "{}", site.cluster.name());
        let mut grep = Command::new("grep");
        let found = grep.args(["-rlF", &token]).arg(site.world.root()).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&found.stdout), "", "{}", site.cluster.name());
        for job in site.cluster.jobs() {
            assert!(!job.to_string().contains(&token));
        }
        let listed: Value = serde_json::from_str(&site.ok(&["list", "--json"])).unwrap();
        site.ok(&["stop", listed[0]["slug"].as_str().or(listed[0]["lease"]["slug"].as_str()).unwrap()]);
    }
}

#[test]
fn the_checker_is_content() {
    for site in Site::all() {
        let (code, stdout, stderr) = site.run(&["plugins", "check", "nomad", "--live"]);
        assert_eq!(code, 0, "{}: {stdout}{stderr}", site.cluster.name());
        site.nothing_is_left();
    }
}
