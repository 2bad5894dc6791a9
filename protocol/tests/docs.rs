//! The documents show what is true: every example on the wire, and the very files of the providers.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}")).replace("\r\n", "\n")
}

/// The blocks of a document that are fenced as `language`, with the number of their first line.
fn blocks(document: &str, language: &str) -> Vec<(usize, String)> {
    let mut blocks = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (number, line) in document.lines().enumerate() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(found)) => open = Some((number + 2, format!("{found}\n"))),
            (Some(block), None) => block.1 += &format!("{line}\n"),
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block is not closed");
    let wanted = format!("{language}\n");
    let chosen =
        blocks.into_iter().filter_map(|(at, text)| Some((at, text.strip_prefix(&wanted)?.to_owned())));
    chosen.collect()
}

/// The lines of a text that say something.
fn lines(text: &str) -> Vec<&str> {
    text.lines().filter(|line| !line.trim().is_empty()).collect()
}

#[test]
fn the_specification_shows_every_wire_example_and_no_other() {
    let document = read("docs/protocol.md");
    let shown = blocks(&document, "json").into_iter().map(|(at, block)| {
        let value: Value =
            serde_json::from_str(&block).unwrap_or_else(|e| panic!("docs/protocol.md:{at}: {e}"));
        (value.to_string(), format!("docs/protocol.md:{at}"))
    });
    let shown: Vec<_> = shown.collect();
    let mut examples = BTreeSet::new();
    for entry in fs::read_dir(root().join("protocol/wire")).unwrap() {
        let path = entry.unwrap().path();
        for (number, line) in fs::read_to_string(&path).unwrap().lines().enumerate() {
            let example = serde_json::from_str::<Value>(line).unwrap().to_string();
            let found = shown.iter().any(|(text, _)| *text == example);
            assert!(found, "docs/protocol.md does not show {}:{}", path.display(), number + 1);
            examples.insert(example);
        }
    }
    for (text, at) in shown {
        assert!(examples.contains(&text), "{at}: no line of protocol/wire is this: {text}");
    }
}

#[test]
fn the_specification_links_every_schema_of_the_wire() {
    let document = read("docs/protocol.md");
    for (name, _) in crabbox_protocol::schemas::all() {
        let of_the_wire = name.contains('.')
            || ["error", "output", "progress", "lease", "cancel", "manifest"].contains(&name.as_str());
        let link = format!("(../schemas/v1/{name}.schema.json)");
        assert!(!of_the_wire || document.contains(&link), "docs/protocol.md does not link {name}");
    }
}

#[test]
fn the_specification_names_every_kind_and_every_method() {
    let document = read("docs/protocol.md");
    let error = crabbox_protocol::schemas::of::<crabbox_protocol::ErrorKind>();
    for kind in error.get("oneOf").and_then(Value::as_array).unwrap() {
        let row = format!("\n| `{}` | ", kind["const"].as_str().unwrap());
        assert!(document.contains(&row), "docs/protocol.md has no row {row:?}");
    }
    for method in crabbox_protocol::Method::ALL {
        let heading = document
            .lines()
            .any(|line| line.starts_with("### ") && line[4..].split(", ").any(|name| name == method.name()));
        assert!(heading, "docs/protocol.md has no heading {method}");
    }
}

/// The guide walks through these files from their first line to their last.
#[test]
fn the_guide_shows_the_very_files_that_the_tests_run() {
    let guide = read("docs/writing-a-provider.md");
    for (language, path) in [
        ("python", "tests/providers/python/crabbox-provider-pydir"),
        ("sh", "tests/providers/sh/crabbox-provider-shdir"),
        ("rust", "plugins/kit/examples/minimal.rs"),
    ] {
        let file = read(path);
        let mut rest = &lines(&file)[..];
        for (at, block) in blocks(&guide, language) {
            let block = lines(&block);
            let same = rest.iter().zip(&block).take_while(|(a, b)| a == b).count();
            assert!(
                same == block.len(),
                "docs/writing-a-provider.md:{at} is not what comes next in {path}: it says `{}`, the file `{}`",
                block[same],
                rest.get(same).unwrap_or(&"nothing")
            );
            rest = &rest[same..];
        }
        assert!(rest.is_empty(), "docs/writing-a-provider.md does not show {path} from `{}` on", rest[0]);
    }
}
