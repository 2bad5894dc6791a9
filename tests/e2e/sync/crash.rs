//! SIGKILL of the host at random moments of a sync: the lease has one tree or the other, and what a build left.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crabbox_tests::Plugin;

use super::Demo;
use crate::crash::{kills, random};
use crate::support::files;

type Files = BTreeMap<PathBuf, Vec<u8>>;

/// Some files that change, come and go, become links or directories, in round `n`.
fn edit(demo: &Demo, n: usize) {
    let path = |name: String| demo.world.repo().join(name);
    for file in 0..60 {
        let (place, was) = (format!("d{}/f{file}", file % 7), path(format!("d{}/f{file}", file % 7)));
        match random(5) {
            0 if was.is_dir() => fs::remove_dir_all(&was).unwrap(),
            0 => drop(fs::remove_file(&was)),
            1 if !was.exists() => drop(demo.world.write(&format!("{place}/inside"), format!("{n}"))),
            2 if !was.is_dir() => drop(demo.world.write(&place, format!("{n}\n").repeat(3000))),
            _ => {}
        }
    }
    demo.world.write("round", format!("{n}\n"));
    // Where nothing of ours is, the link that the command plants is its own, and stays.
    demo.world.write("d5/ours", "1");
}

/// What a build leaves, and what a command breaks.
const BUILD: &str = "mkdir -p target d1/out; echo built >target/out; echo built >d1/out/x; echo theirs >round
    rm -rf d3/f* d5; ln -s target d5; for file in d4/f*; do [ ! -f \"$file\" ] || echo theirs >\"$file\"; done";

const OUTPUTS: [(&str, &str); 2] = [("target/out", "644 built\n"), ("d1/out/x", "644 built\n")];

fn there(demo: &Demo) -> Files {
    files(&demo.ws())
}

fn ours_and_outputs(demo: &Demo) -> Files {
    let mut ours = demo.here();
    ours.extend(OUTPUTS.map(|(path, is)| (path.into(), is.as_bytes().to_vec())));
    ours
}

/// Kills hosts while they sync. Every other time the next run takes the tree as it is.
fn kill_syncs(demo: &Demo, kills: usize) {
    edit(demo, 0);
    let begun = Instant::now();
    demo.run(BUILD);
    let longest = u64::try_from(begun.elapsed().as_millis()).unwrap();
    let mut cut_short = 0;
    for n in 1..=kills {
        let before = there(demo);
        edit(demo, n);
        let mut host = demo.world.crabbox(&["run", "--id", "demo", "--sync-only"]);
        let mut host = host.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(random(longest)));
        host.kill().unwrap();
        cut_short += usize::from(!host.wait().unwrap().success());
        if n % 2 == 0 {
            demo.run_with(&["--no-sync", "--", "true"]);
            let now = there(demo);
            assert!(now == before || now == ours_and_outputs(demo), "{:?}, round {n}: {now:?}", demo.plugin);
        }
        demo.sync();
        demo.has_ours_and(&OUTPUTS);
        demo.run(BUILD);
    }
    assert!(cut_short > 0, "{:?}: no host was killed in time", demo.plugin);
}

#[test]
fn a_host_that_is_killed_leaves_one_tree_or_the_other_and_the_caches() {
    // Each waits two seconds for the guard of the dead host.
    let share = kills().max(24).div_ceil(6);
    let plugins = [Plugin::Local, Plugin::Local, Plugin::Local, Plugin::Local, Plugin::Python, Plugin::Sh];
    let demos: Vec<_> = plugins.into_iter().filter_map(Demo::on).collect();
    std::thread::scope(|scope| {
        for demo in &demos {
            scope.spawn(move || kill_syncs(demo, share));
        }
    });
}
