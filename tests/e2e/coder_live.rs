//! The life of a lease on every Coder that there is: the double of its CLI, and a deployment that is given. What is asked
//! here holds on both.
//!
//! A deployment is given by `CRABBOX_LIVE=1`, a `coder` on PATH that is logged in, and `CRABBOX_CODER_TEMPLATE`, which
//! names a template that asks for nothing. Other workspaces are left alone, and none is left behind.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use crabbox_tests::coder::Coder;
use crabbox_tests::{World, binary, ended, skip};
use serde_json::{Value, json};

use crate::support::assert_has;

/// A world with a deployment.
struct Site {
    world: World,
    environment: BTreeMap<String, String>,
    double: Option<Coder>,
}

impl Site {
    /// One for each deployment.
    fn all() -> impl Iterator<Item = Self> {
        Self::double().into_iter().chain(Self::given())
    }

    fn double() -> Option<Self> {
        let (world, double) = (World::new(), Coder::start()?);
        double.install(&world);
        let root = world.root().join("work root");
        Some(Self::new(world, BTreeMap::new(), Some(double), json!({"template": "docker", "workRoot": root})))
    }

    /// The deployment that the user of this machine is logged in to.
    fn given() -> Option<Self> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        if variable("CRABBOX_LIVE").as_deref() != Some("1") {
            skip("coder", "CRABBOX_LIVE is not 1, so no real deployment is used");
            return None;
        }
        let (Some(cli), Some(template)) = (which("coder"), variable("CRABBOX_CODER_TEMPLATE")) else {
            skip("coder", "there is no coder CLI, or CRABBOX_CODER_TEMPLATE names no template");
            return None;
        };
        if !Command::new(&cli).arg("whoami").output().is_ok_and(|output| output.status.success()) {
            skip("coder", "the coder CLI is not logged in");
            return None;
        }
        let mut environment: BTreeMap<_, _> =
            std::env::vars().filter(|(name, _)| name.starts_with("CODER_")).collect();
        // The world has a home of its own.
        let home = PathBuf::from(variable("HOME").unwrap_or_default());
        let usual = match cfg!(target_os = "macos") {
            true => home.join("Library/Application Support/coderv2"),
            false => home.join(".config/coderv2"),
        };
        environment.entry("CODER_CONFIG_DIR".to_owned()).or_insert_with(|| usual.display().to_string());
        Some(Self::new(World::new(), environment, None, json!({"template": template, "cli": cli})))
    }

    fn new(
        world: World,
        environment: BTreeMap<String, String>,
        double: Option<Coder>,
        mut config: Value,
    ) -> Self {
        world.install(&binary("crabbox-provider-coder"));
        config["deleteOnRelease"] = json!(true);
        world.write_config(&json!({"provider": "coder", "coder": config}).to_string());
        Self { world, environment, double }
    }

    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        ended(self.world.crabbox(arguments).envs(&self.environment))
    }

    fn ok(&self, arguments: &[&str]) -> String {
        let (code, stdout, stderr) = self.run(arguments);
        let on = if self.double.is_some() { "the double" } else { "the deployment" };
        assert_eq!(code, 0, "{arguments:?} on {on}: {stderr}");
        stdout
    }
}

fn which(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|directory| directory.join(name))
        .find(|path: &PathBuf| Path::is_file(path))
}

#[test]
fn the_whole_life_of_a_lease() {
    for site in Site::all() {
        assert_has(&site.ok(&["doctor"]), &["cli", "auth", "leases", "template"]);
        site.ok(&["warmup", "--slug", "demo"]);
        let status: Value = serde_json::from_str(&site.ok(&["status", "demo", "--json"])).unwrap();
        assert_eq!((&status["state"], &status["ready"]), (&json!("ready"), &json!(true)), "{status}");

        // What the first command built is there for the second, and only what changed is sent.
        let build = ["run", "--id", "demo", "--", "sh", "-c", "mkdir -p target; cat src/main.c >>target/log"];
        site.ok(&build);
        site.world.write("src/main.c", "int main(void) { return 3; }\n");
        let (code, _, stderr) = site.run(&build);
        assert_eq!(code, 0, "{stderr}");
        assert_has(&stderr, &["1 file, "]);

        let script = "echo out; echo err >&2; exit 7";
        let (code, stdout, stderr) = site.run(&["run", "--id", "demo", "--", "sh", "-c", script]);
        assert_eq!((code, stdout.as_str()), (7, "out\n"), "{stderr}");
        assert_has(&stderr, &["err\n", "nothing sent"]);
        for (script, code) in [("kill -9 $$", 137), ("exit 255", 255), ("nonesuch", 127)] {
            let ran = site.run(&["run", "--id", "demo", "--no-sync", "--", "sh", "-c", script]);
            assert_eq!(ran.0, code, "{script}: {}", ran.2);
        }
        let much = site.ok(&["run", "--id", "demo", "--no-sync", "--", "head", "-c", "5000000", "/dev/zero"]);
        assert_eq!(much.len(), 5_000_000);

        // Stopped, it keeps its tree, and is started to be used.
        site.ok(&["stop", "demo", "--coder-delete-on-release=false"]);
        let log = site.ok(&["run", "--id", "demo", "--", "cat", "target/log"]);
        assert_eq!(log, "int main(void) { return 0; }\nint main(void) { return 3; }\n");
        site.ok(&["stop", "demo"]);
        assert_eq!(site.ok(&["list", "--json"]).trim(), "[]");
        if let Some(double) = &site.double {
            assert!(double.workspaces().is_empty());
        }
    }
}
