//! The emulated Coder: that it does what the real CLI does, as far as that is known.

mod create;
mod power;
mod read;
mod ssh;

use std::process::{Command, Stdio};

use crabbox_tests::coder::Coder;
use crabbox_tests::sshd::Client;
use crabbox_tests::{World, ended};

use crate::support::assert_has;

/// A world with a `coder` that is logged in.
struct Site {
    world: World,
    coder: Coder,
    client: Client,
}

impl Site {
    fn new() -> Option<Self> {
        let (world, coder) = (World::new(), Coder::start()?);
        let client = coder.install(&world);
        Some(Self { world, coder, client })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.world.command("coder");
        command.args(arguments).stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        ended(&mut self.command(arguments))
    }

    /// Runs a command, which must succeed, and returns its standard output.
    fn ok(&self, arguments: &[&str]) -> String {
        let (code, stdout, stderr) = self.run(arguments);
        assert_eq!(code, 0, "{stdout}{stderr}");
        stdout
    }

    /// Runs a command, which must fail, and returns what it says of that.
    fn fails(&self, arguments: &[&str]) -> String {
        let (code, stdout, stderr) = self.run(arguments);
        assert_eq!(code, 1, "{stdout}{stderr}");
        stderr
    }

    /// A workspace named `w`.
    fn create(&self) {
        self.ok(&["create", "w", "--template", "docker", "--yes"]);
    }

    /// `coder list -o json`.
    fn list(&self) -> serde_json::Value {
        serde_json::from_str(&self.ok(&["list", "-o", "json"])).unwrap()
    }
}

/// What the CLI writes when a command fails.
fn failure(command: &str, text: &str) -> String {
    format!(
        "Encountered an error running \"coder {command}\", see \"coder {command} --help\" for more information\n\
         error: {text}\n"
    )
}

#[test]
fn every_call_is_written_down() {
    let Some(site) = Site::new() else { return };
    let mut command = site.command(&["list", "--all"]);
    ended(command.env("CODER_SESSION_TOKEN", "secret"));
    let calls = site.coder.calls();
    assert_eq!(site.coder.argv(), [["list", "--all"]]);
    assert!(calls[0].env.contains(&"CODER_SESSION_TOKEN".to_owned()), "{calls:?}");
    assert!(!format!("{calls:?}").contains("secret"));
    assert_eq!((site.coder.asked(&["list"]), site.coder.asked(&["create"])), (1, 0));
    site.coder.forget();
    assert!(site.coder.calls().is_empty());
}

#[test]
fn who_is_not_logged_in_is_told_so() {
    let Some(site) = Site::new() else { return };
    std::fs::remove_file(Coder::config_dir(&site.world).join("url")).unwrap();
    let path = site.world.bin().join("coder");
    let text = format!("You are not logged in. Try logging in using '{} login <url>'.", path.display());
    assert_eq!(site.fails(&["whoami"]), failure("whoami", &text));
    // The environment does as well as a login.
    let (code, _, stderr) = ended(site.command(&["whoami"]).envs(site.coder.env()));
    assert_eq!(code, 0, "{stderr}");
}

#[test]
fn the_login_may_be_in_another_directory() {
    let Some(site) = Site::new() else { return };
    let (usual, other) = (Coder::config_dir(&site.world), site.world.root().join("other"));
    std::fs::rename(usual, &other).unwrap();
    assert_has(&site.fails(&["whoami"]), &["You are not logged in."]);
    assert_eq!(ended(site.command(&["whoami"]).env("CODER_CONFIG_DIR", &other)).0, 0);
    site.ok(&["--global-config", other.to_str().unwrap(), "whoami"]);
    let elsewhere = ["--global-config", other.to_str().unwrap(), "whoami", "--url", "https://x.test"];
    let stderr = site.fails(&elsewhere);
    assert_has(&stderr, &["lookup x.test: no such host"]);
}

#[test]
fn a_session_that_has_expired_is_told_apart_from_a_server_that_is_not_there() {
    let Some(site) = Site::new() else { return };
    let expired = "You are signed out or your session has expired. Please sign in again to continue.\n\
                   Suggestion: Try logging in using 'coder login'.";
    site.coder.faults(|it| it.signed_out = true);
    assert_eq!(site.fails(&["whoami"]), failure("whoami", expired));
    assert_eq!(site.fails(&["list"]), failure("list", &format!("Trace=[query workspaces: ]\n{expired}")));
    site.coder.heal();
    let (code, _, stderr) = ended(site.command(&["whoami"]).env("CODER_SESSION_TOKEN", "another"));
    assert_eq!((code, stderr), (1, failure("whoami", expired)));
    site.coder.faults(|it| it.unreachable = true);
    assert_has(&site.fails(&["whoami"]), &["dial tcp", "no such host"]);
    site.coder.faults(|it| {
        (it.unreachable, it.server_error) = (false, Some((502, "unexpected status code 502".to_owned())));
    });
    assert_eq!(site.fails(&["whoami"]), failure("whoami", "unexpected status code 502"));
}

#[test]
fn warnings_go_to_standard_error() {
    let Some(site) = Site::new() else { return };
    site.coder.faults(|it| it.warnings = vec!["Your license expires soon.".to_owned()]);
    site.coder.deployment(|it| it.server_version = Some((2, 34, 0)));
    let (code, stdout, stderr) = site.run(&["list", "-o", "json"]);
    assert_eq!((code, &*stdout), (0, "[]\n"));
    assert_has(
        &stderr,
        &["version mismatch: client v2.33.1", "server v2.34.0", "Your license expires soon."],
    );
}

#[test]
fn a_flag_that_the_version_does_not_have_is_an_error() {
    let Some(site) = Site::new() else { return };
    let text = "parsing flags ([list --nope]) for \"coder list\": unknown flag: --nope\n";
    assert_eq!(site.fails(&["list", "--nope"]), text);
    site.coder.deployment(|it| it.version = (2, 24, 0));
    let stderr = site.fails(&["create", "w", "-t", "docker", "-y", "--use-parameter-defaults"]);
    assert_has(&stderr, &["unknown flag: --use-parameter-defaults"]);
    assert!(site.coder.workspaces().is_empty());
    assert_eq!(site.fails(&["nope"]), "unrecognized subcommand \"nope\"\n");
}
