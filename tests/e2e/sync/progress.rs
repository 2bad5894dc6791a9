//! How far a sync is, shown while it goes on.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

use crabbox_tests::{World, tool, wait_for};

use super::size::noise;
use super::trouble::{goes_on, slow_tar, stands_still};

/// Goes to the beginning of the line and erases it.
const ERASE: &str = "\r\u{1b}[K";

#[test]
fn on_a_terminal_a_line_is_drawn_and_erased() {
    let Some(script) = tool("script") else { return };
    let world = World::new();
    world.write("large", noise(1_000_000));
    slow_tar(&world);
    let seen = world.root().join("seen");
    let program = world.crabbox(&[]).get_program().to_owned();
    let mut run = world.command(script);
    run.args(["-qfec", &format!("'{}' run -- true", program.display())]).arg(&seen).env("TERM", "xterm");
    let mut run = run.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let said = || String::from_utf8_lossy(&fs::read(&seen).unwrap_or_default()).into_owned();
    // Not to the last digit: the script that goes along grows and shrinks.
    let line = format!("{ERASE}bringing 989.");
    wait_for("the line", || said().contains(&line));
    goes_on(&world);
    assert!(run.wait().unwrap().success(), "{}", said());
    let said = said();
    let after = said.rsplit_once(&line).unwrap().1;
    let (drawn, after) = after.split_once(ERASE).unwrap();
    assert!(!drawn.contains('\n') && after.starts_with("sync complete in "), "{said:?}");
}

#[test]
fn elsewhere_a_line_is_said_every_few_seconds() {
    let world = World::new();
    world.write("large", noise(1_000_000));
    let mut run = stands_still(&world, &[]);
    let mut stderr = BufReader::new(run.stderr.take().unwrap());
    let mut said = String::new();
    while !said.contains("bringing ") {
        assert!(stderr.read_line(&mut said).unwrap() > 0, "{said}");
    }
    goes_on(&world);
    stderr.read_to_string(&mut said).unwrap();
    assert!(run.wait().unwrap().success(), "{said}");
    assert!(said.contains(" KiB over, 5s so far\n") && !said.contains(ERASE), "{said:?}");
}
