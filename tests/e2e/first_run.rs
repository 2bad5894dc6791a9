//! The main job, on every provider that is at hand.

use crabbox_tests::{Plugin, World};

const ALL: [Plugin; 3] = [Plugin::Local, Plugin::Python, Plugin::Sh];

#[test]
fn a_run_gives_output_and_exit_code_and_leaves_nothing() {
    for plugin in ALL {
        let Some(world) = World::with(plugin) else { continue };
        let command = "ls | wc -l; echo err >&2; exit 7";
        let (code, stdout, stderr) = world.run(&["run", "--provider", plugin.name(), "--", "sh", "-c", command]);
        assert_eq!((code, stdout.trim()), (7, "2"), "{plugin:?}: {stderr}");
        assert!(stderr.lines().any(|line| line == "err"), "{plugin:?}: {stderr}");
        assert_eq!(world.ok(&["list"]), "", "{plugin:?}");
        assert_eq!(world.leftovers(plugin), Vec::<std::path::PathBuf>::new(), "{plugin:?}");
    }
}
