//! The documents: their links lead somewhere, their command lines are command lines, their paths exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crabbox_tests::{World, binary, ended};

use crate::support::repository;

/// README.md and everything in docs/, with its text.
fn documents() -> Vec<(PathBuf, String)> {
    let mut paths = vec![repository().join("README.md")];
    let mut directories = vec![repository().join("docs")];
    while let Some(directory) = directories.pop() {
        for path in fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                paths.push(path);
            }
        }
    }
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read_to_string(&path).unwrap())).collect()
}

/// A line of a document, and whether it stands in a block of code.
fn lines(text: &str) -> impl Iterator<Item = (bool, &str)> {
    let mut fence: Option<&str> = None;
    text.lines().filter_map(move |line| {
        let marks = line.trim_start();
        let mark = ["```", "~~~"].into_iter().find(|mark| marks.starts_with(mark));
        match (mark, fence) {
            (Some(mark), None) => fence = Some(mark),
            (Some(mark), Some(open)) if mark == open => fence = None,
            _ => return Some((fence.is_some(), line)),
        }
        None
    })
}

/// The text outside of blocks and spans of code.
fn prose(text: &str) -> String {
    let outside: Vec<_> = lines(text).filter(|(code, _)| !code).map(|(_, line)| line).collect();
    outside.join("\n").split('`').step_by(2).collect::<Vec<_>>().join("code")
}

/// The spans of code outside of blocks.
fn spans(text: &str) -> Vec<String> {
    let outside: Vec<_> = lines(text).filter(|(code, _)| !code).map(|(_, line)| line).collect();
    outside.join("\n").split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The anchors of a document: its headings as the forges write them.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    for (code, line) in lines(text) {
        let title = line.trim_start_matches('#');
        if code || title == line || !title.starts_with(' ') {
            continue;
        }
        let letters = title.trim().to_lowercase();
        let kept = letters.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        let anchor: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
        let same = (1..).map(|n| format!("{anchor}-{n}"));
        let free = [anchor.clone()].into_iter().chain(same).find(|anchor| !anchors.contains(anchor));
        anchors.extend(free);
    }
    anchors
}

#[test]
fn every_link_leads_somewhere() {
    let mut broken = Vec::new();
    let mut seen = 0;
    for (path, text) in documents() {
        let prose = prose(&text);
        for link in prose.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            seen += 1;
            let (file, anchor) =
                link.split_once('#').map_or((link, None), |(file, anchor)| (file, Some(anchor)));
            let target = if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
            let has_anchor =
                |anchor: &str| fs::read_to_string(&target).is_ok_and(|text| anchors(&text).contains(anchor));
            if !target.exists() || anchor.is_some_and(|anchor| !has_anchor(anchor)) {
                broken.push(format!("{}: {link}", path.strip_prefix(repository()).unwrap().display()));
            }
        }
    }
    assert!(seen > 10, "only {seen} links were found");
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn every_command_line_is_one() {
    let world = World::new();
    // Their manifests are enough: that of Python is written down here, so that no Python is needed.
    world.install(&binary("crabbox"));
    let python = repository().join("tests/providers/python/crabbox-provider-pydir");
    assert!(fs::read_to_string(python).unwrap().contains(r#""grace": {"type": "integer""#));
    let grace = serde_json::json!({"type": "integer", "x-crabbox": {"duration": true}});
    let config = serde_json::json!({"config": {"type": "object", "properties": {"grace": grace}}});
    world.provider("pydir", &config, "");
    let (mut seen, mut wrong) = (0, Vec::new());
    for (path, text) in documents() {
        for line in lines(&text).filter(|(code, _)| *code).map(|(_, line)| line.trim()) {
            let Some(words) = line.strip_prefix("$ ").unwrap_or(line).strip_prefix("crabbox ") else {
                continue;
            };
            if words.starts_with("──") {
                continue;
            }
            seen += 1;
            // By a shell, as a reader would: it takes off the quotes and the comments.
            let parse = format!("crabbox __parse {words}");
            let (code, _, stderr) = ended(world.command("sh").args(["-c", &parse]));
            if code != 0 {
                let path = path.strip_prefix(repository()).unwrap().display();
                wrong.push(format!("{path}: {line}: {stderr}"));
            }
        }
    }
    assert!(seen > 20, "only {seen} lines were found");
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_ne!(world.run(&["__parse", "run", "--no-such-flag"]).0, 0);
    assert_eq!(world.leftovers(crabbox_tests::Plugin::Local), Vec::<PathBuf>::new());
}

#[test]
fn every_path_that_is_named_exists() {
    let top: Vec<_> =
        ["protocol", "plugins", "host", "schemas", "tests", "docs"].map(|name| format!("{name}/")).into();
    let is_path = |text: &str| {
        top.iter().any(|top| text.starts_with(top.as_str()))
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte))
    };
    let mut missing = Vec::new();
    for (path, text) in documents() {
        for span in spans(&text).iter().filter(|span| is_path(span)) {
            if !repository().join(Path::new(span)).exists() {
                missing.push(format!("{}: {span}", path.strip_prefix(repository()).unwrap().display()));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn every_test_that_the_threat_model_names_is_there() {
    let path = repository().join("docs/security.md");
    let text = fs::read_to_string(&path).unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
    let mut seen = 0;
    let mut missing = Vec::new();
    for (before, after) in text.match_indices("` in [").map(|(at, _)| text.split_at(at)) {
        let name = before.rsplit('`').next().unwrap();
        let file = after.split("](").nth(1).and_then(|rest| rest.split(')').next()).unwrap();
        let code = fs::read_to_string(path.parent().unwrap().join(file)).unwrap();
        seen += 1;
        if !code.contains(&format!("fn {name}()")) {
            missing.push(format!("{name} in {file}"));
        }
    }
    assert!(seen > 20, "only {seen} were found");
    assert!(missing.is_empty(), "{missing:#?}");
}
