//! The rules themselves: their names, their sentences, and the table of them in the specification.

use std::collections::BTreeSet;
use std::{env, fs};

use super::rules;

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/protocol.md");

/// What stands around the table.
const MARKS: [&str; 2] =
    ["<!-- The rules, from host/src/conformance/rules.rs -->", "<!-- End of the rules -->"];

#[test]
fn every_rule_has_a_name_of_its_own_and_a_sentence() {
    let mut names = BTreeSet::new();
    for rule in rules::ALL {
        assert!(names.insert(rule.id), "{} is there twice", rule.id);
        assert!(
            rule.id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'),
            "{}",
            rule.id
        );
        assert!(rule.says.ends_with('.') && !rule.says.contains('|'), "{}", rule.says);
    }
}

#[test]
fn the_specification_has_the_section_of_every_rule() {
    let document = fs::read_to_string(DOCUMENT).unwrap();
    let anchor = |line: &str| {
        let title = line.trim_start_matches('#').trim().to_lowercase();
        let kept = title.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect::<String>()
    };
    let anchors: BTreeSet<_> = document.lines().filter(|line| line.starts_with('#')).map(anchor).collect();
    for rule in rules::ALL {
        assert!(
            anchors.contains(rule.section),
            "{}: docs/protocol.md has no heading {}",
            rule.id,
            rule.section
        );
    }
}

#[test]
fn the_specification_has_the_table_of_rules() {
    let document = fs::read_to_string(DOCUMENT).unwrap().replace("\r\n", "\n");
    let [begin, end] =
        MARKS.map(|mark| document.find(mark).unwrap_or_else(|| panic!("docs/protocol.md has no {mark}")));
    let begin = begin + MARKS[0].len();
    let table = format!("\n{}\n", rules::table());
    if document[begin..end] == table {
        return;
    }
    assert!(
        env::var_os("UPDATE_RULES").is_some(),
        "the rules in docs/protocol.md are stale; run `UPDATE_RULES=1 cargo test -p crabbox --lib conformance`"
    );
    fs::write(DOCUMENT, format!("{}{table}{}", &document[..begin], &document[end..])).unwrap();
}
