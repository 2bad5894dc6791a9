//! Real builds on a lease that stays: what changed is compiled again and nothing else, whatever the clocks say.
//!
//! No clock is set here, nor need it be. All that ties the clock of this machine to that of a lease is the times
//! of the files that go over: with a lease whose clock is 10 s behind, our files are from 10 s in the
//! future, and with one whose clock is ahead, a file that was edited just now is older than what was built
//! from it before. So it is the times of the files that these tests move.

use std::fs::File;
use std::os::unix::fs::symlink;
use std::time::{Duration, SystemTime};

use crabbox_tests::{World, tool};

/// A program of three units, of which one is edited.
struct Project {
    world: World,
    files: Vec<&'static str>,
    /// Builds, with everything that is said on standard output.
    build: &'static str,
    /// What a line has that says that a unit is compiled.
    compiles: &'static str,
    program: &'static str,
    /// The file to edit, and its text before and after the word that the program prints.
    unit: &'static str,
    around: [&'static str; 2],
}

const MAKEFILE: &str = "program: main.o greet.o count.o\n\tcc -o $@ $^\n%.o: %.c all.h\n\tcc -c -o $@ $<\n";
const MAIN: &str =
    "#include <stdio.h>\n#include \"all.h\"\nint main(void) { printf(\"%s %d\\n\", greet(), count()); }\n";

impl Project {
    /// In C, with make.
    fn c() -> Option<Self> {
        tool("cc")?;
        tool("make")?;
        let files = [
            ("Makefile", MAKEFILE),
            ("main.c", MAIN),
            ("all.h", "const char *greet(void);\nint count(void);\n"),
            ("count.c", "#include \"all.h\"\nint count(void) { return 3; }\n"),
        ];
        let around = ["#include \"all.h\"\nconst char *greet(void) { return \"", "\"; }\n"];
        Some(Self::new(&files, ["make 2>&1", " -c ", "./program", "greet.c"], around))
    }

    /// In Rust, with cargo.
    fn cargo() -> Self {
        let files = [
            ("Cargo.toml", "[workspace]\nresolver = \"3\"\nmembers = [\"hello\", \"count\", \"aside\"]\n"),
            (
                "hello/Cargo.toml",
                "[package]\nname = \"hello\"\n[dependencies]\ncount = { path = \"../count\" }\n",
            ),
            ("count/Cargo.toml", "[package]\nname = \"count\"\n"),
            ("count/src/lib.rs", "pub fn count() -> u32 {\n    3\n}\n"),
            ("aside/Cargo.toml", "[package]\nname = \"aside\"\n"),
            ("aside/src/lib.rs", ""),
        ];
        let how = ["cargo build --offline 2>&1", " Compiling ", "target/debug/hello", "hello/src/main.rs"];
        let project =
            Self::new(&files, how, ["fn main() {\n    println!(\"", " {}\", count::count());\n}\n"]);
        // The one that runs this test: what is on PATH may be a shim that needs its owner's home.
        let cargo = std::env::var_os("CARGO").map_or_else(|| which::which("cargo").unwrap(), Into::into);
        for name in ["cargo", "rustc"] {
            symlink(cargo.with_file_name(name), project.world.bin().join(name)).unwrap();
        }
        project
    }

    fn new(
        files: &[(&'static str, &'static str)],
        [build, compiles, program, unit]: [&'static str; 4],
        around: [&'static str; 2],
    ) -> Self {
        let world = World::new();
        for (path, content) in files {
            world.write(path, content);
        }
        let files = files.iter().map(|(path, _)| *path).chain([unit]).collect();
        let project = Self { world, files, build, compiles, program, unit, around };
        project.edit("one");
        project.world.git(&["add", "--all"]);
        project.world.ok(&["warmup", "--slug", "demo"]);
        project
    }

    /// Both, as far as their tools are here.
    fn all() -> impl Iterator<Item = Self> {
        Self::c().into_iter().chain([Self::cargo()])
    }

    /// Has the program print this word.
    fn edit(&self, word: &str) {
        self.world.write(self.unit, [self.around[0], word, self.around[1]].concat());
    }

    /// Gives a file a time so many seconds from now.
    fn date(&self, file: &str, seconds: i64) {
        let (now, by) = (SystemTime::now(), Duration::from_secs(seconds.unsigned_abs()));
        let time = if seconds < 0 { now - by } else { now + by };
        File::options().write(true).open(self.world.repo().join(file)).unwrap().set_modified(time).unwrap();
    }

    /// Builds on the lease: how many units were compiled, and what the program printed.
    fn build(&self) -> (usize, String) {
        let command = format!("{} && {}", self.build, self.program);
        let said = self.world.ok(&["run", "--id", "demo", "--", "sh", "-c", &command]);
        assert!(!said.contains("skew"), "{said}");
        let units = said.lines().filter(|line| line.contains(self.compiles)).count();
        (units, said.lines().next_back().unwrap().to_owned())
    }

    fn built(&self, units: usize, printed: &str) {
        assert_eq!(self.build(), (units, printed.to_owned()), "{}", self.build);
    }
}

#[test]
fn a_second_build_compiles_what_changed_and_a_third_nothing() {
    for project in Project::all() {
        project.built(3, "one 3");
        project.edit("two");
        project.built(1, "two 3");
        project.built(0, "two 3");
    }
}

#[test]
fn what_changed_is_built_on_a_lease_whose_clock_is_behind() {
    for project in Project::all() {
        for file in &project.files {
            project.date(file, 10);
        }
        project.built(3, "one 3");
        project.built(0, "one 3");
        project.edit("two");
        project.date(project.unit, 10);
        project.built(1, "two 3");
        project.built(0, "two 3");
    }
}

#[test]
fn what_changed_is_built_on_a_lease_whose_clock_is_ahead() {
    for project in Project::all() {
        project.built(3, "one 3");
        for (seconds, word) in [(-10, "two"), (-3600, "six")] {
            project.edit(word);
            project.date(project.unit, seconds);
            project.built(1, &format!("{word} 3"));
        }
        project.built(0, "six 3");
    }
}

#[test]
fn an_older_version_that_git_checked_out_is_built() {
    for project in Project::all() {
        project.date(project.unit, -3600);
        project.edit("two");
        project.built(3, "two 3");
        project.world.git(&["checkout", "--quiet", "--", project.unit]);
        project.built(1, "one 3");
        // As some tools do, with the time that the older version had.
        project.edit("two");
        project.built(1, "two 3");
        project.world.git(&["checkout", "--quiet", "--", project.unit]);
        project.date(project.unit, -3600);
        project.built(1, "one 3");
    }
}

#[test]
fn what_a_command_did_to_a_source_is_undone_and_built_again() {
    for project in Project::all() {
        project.built(3, "one 3");
        project.world.ok(&[
            "run",
            "--id",
            "demo",
            "--",
            "sh",
            "-c",
            &format!("echo broken >{}", project.unit),
        ]);
        project.built(1, "one 3");
        project.built(0, "one 3");
    }
}
