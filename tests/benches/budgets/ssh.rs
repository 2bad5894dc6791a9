//! A warm lease that is reached by SSH, one file of 2,000 changed: `run --id` against rsync and ssh by hand, over the
//! very same connection.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crabbox_tests::sshd::{Client, Identity, Options, Sshd};
use crabbox_tests::{Profile, binaries, quoted, tool};
use serde_json::json;

use crate::measure::{median, ms, quietly, row};
use crate::repository::{path, repository};

const FILES: u32 = 2_000;

pub(crate) fn runs() {
    let world = repository(FILES, 10_000);
    let key = Identity::new(&world.home().join(".ssh/id_box"));
    let options = Options { authorized: vec![key.public()], ..Options::default() };
    let (Some(sshd), Some(_)) = (Sshd::with(options), tool("rsync")) else { return };
    Client::install(&world).host("box", &sshd, &key).knows("box", &sshd);
    world.install(&binaries(Profile::Release).join("crabbox-provider-ssh"));
    world.write_config(&json!({"provider": "ssh", "ssh": {"host": "box"}}).to_string());
    world.ok(&["warmup", "--slug", "warm"]);
    let id = world.json(&["list", "--json"])[0]["id"].as_str().unwrap().to_owned();
    let over = format!("ssh -S {}", quoted(&socket(&id).display().to_string()));
    let by_hand =
        format!("rsync -a --delete --exclude=.git -e {} ./ box:by-hand/ && {over} box true", quoted(&over));
    let ours = || quietly(&mut world.crabbox(&["run", "--id", "warm", "--", "true"]));
    let theirs = || quietly(world.command("sh").args(["-c", &by_hand]));
    let bare = || quietly(world.command("sh").args(["-c", &format!("{over} box true")]));
    let things: [(&str, &dyn Fn(), bool); 5] = [
        ("yardstick: ssh true, over the open connection", &bare, false),
        ("yardstick: rsync && ssh true, nothing changed", &theirs, false),
        ("run --id -- true, nothing changed", &ours, false),
        ("yardstick: rsync && ssh true, one file changed", &theirs, true),
        ("run --id -- true, one file changed", &ours, true),
    ];
    let mut times = [const { Vec::<Duration>::new() }; 5];
    ours();
    theirs();
    for round in 0..20 {
        for ((_, thing, changes), times) in things.iter().zip(&mut times) {
            // Whoever comes first finds what the other saw changed already, so each gets a change of its own.
            thing();
            if *changes {
                fs::write(world.repo().join(path(FILES / 2)), format!("{round} {}", times.len())).unwrap();
            }
            let begun = Instant::now();
            thing();
            times.push(begun.elapsed());
        }
    }
    println!("a lease that is reached by SSH, {FILES} files of 10 KB");
    for ((what, ..), times) in things.iter().zip(times) {
        row(what, ms(median(times)), "");
    }
    assert_eq!(
        sshd.connections(),
        2,
        "one of the provider's, to make the lease, and the one that all of it went over"
    );
    world.ok(&["stop", "warm"]);
}

/// The socket of a lease's connection.
fn socket(id: &str) -> PathBuf {
    let base = format!("/tmp/crabbox-{}", rustix::process::geteuid().as_raw());
    let directories = fs::read_dir(base).unwrap().map(|entry| entry.unwrap().path());
    let own = directories.into_iter().find(|path| path.to_string_lossy().ends_with(id));
    own.unwrap().join("s")
}
