//! Adds a crew's two rows to a policy. Every byte that was there stays, in its order: there are insertions and nothing
//! else. Where a list or an object is written over several lines, a row is a line of its own and no other line changes;
//! that may be the first line of a list whose last item has no comma behind it. One that is written in one line stays
//! in one line.

use std::ops::Range;

use jsonc_parser::common::Ranged;
use serde_json::{Value, json};

use super::Owners;
use super::parse::{Policy, parse};
use super::shape::{Shape, shape};

/// The row of `tagOwners`.
pub(super) fn owner_row(tag: &str, owners: Owners) -> String {
    format!("{}: {}", json!(tag), owners.list())
}

/// The row of `grants`.
pub(super) fn grant_row(tag: &str) -> String {
    let tag = json!(tag);
    format!(r#"{{"src": [{tag}], "dst": [{tag}], "ip": ["*"]}}"#)
}

/// The row of `acls`.
pub(super) fn acl_row(tag: &str) -> String {
    let (src, dst) = (json!(tag), json!(format!("{tag}:*")));
    format!(r#"{{"action": "accept", "src": [{src}], "dst": [{dst}]}}"#)
}

/// The policy with a tag's rows; nothing when they are there. Fails when anything is not understood.
pub(super) fn edit(bytes: &[u8], tag: &str, owners: Owners) -> Result<Option<String>, String> {
    let policy = parse(bytes)?;
    let shape = shape(&policy)?;
    let mut insertions = Vec::new();
    if !shape.has_owner(tag) {
        insertions.push(match shape.owners {
            Some(section) => {
                let members = section.properties.iter().map(|member| member.range());
                insertion(&policy, section.range(), members, &owner_row(tag, owners))
            }
            None => {
                let sections = policy.root.properties.iter().map(|section| section.range());
                let row = format!(r#""tagOwners": {{{}}}"#, owner_row(tag, owners));
                insertion(&policy, policy.root.range(), sections, &row)
            }
        });
    }
    let (rules, row) = match shape.grants {
        Some(grants) => (Some(grants), grant_row(tag)),
        None => (shape.acls, acl_row(tag)),
    };
    if let (false, Some(rules)) = (shape.has_rule(tag), rules) {
        let elements = rules.elements.iter().map(|rule| rule.range());
        insertions.push(insertion(&policy, rules.range(), elements, &row));
    }
    if insertions.is_empty() {
        return Ok(None);
    }
    insertions.sort_by_key(|insertion| insertion.at);
    let mut edited = policy.text.to_owned();
    for Insertion { at, text } in insertions.iter().rev() {
        edited.insert_str(*at, text);
    }
    verify(&policy, &shape, &edited, &insertions, (tag, owners))?;
    Ok(Some(edited))
}

/// A text to be inserted.
#[derive(Debug)]
struct Insertion {
    at: usize,
    text: String,
}

/// Where and how a row joins the items of an object or a list, whose place is with its brackets.
fn insertion(
    policy: &Policy<'_>,
    whole: jsonc_parser::common::Range,
    items: impl Iterator<Item = jsonc_parser::common::Range>,
    row: &str,
) -> Insertion {
    let items: Vec<Range<usize>> = items.map(|item| item.start..item.end).collect();
    // Between the brackets and the items there are blanks, comments, and one comma or none.
    let starts = std::iter::once(whole.start + 1).chain(items.iter().map(|item| item.end));
    let ends = items.iter().map(|item| item.start).chain([whole.end - 1]);
    let gaps: Vec<Range<usize>> = starts.zip(ends).map(|(start, end)| start..end).collect();
    let (first, last) = (gaps[0].clone(), gaps[gaps.len() - 1].clone());
    let comma =
        |gap: &Range<usize>| policy.outside(gap.clone()).find(|(_, byte)| *byte == b',').map(|(at, _)| at);
    let after_comma = |gap: &Range<usize>| comma(gap).map(|at| at + 1..gap.end);
    let line = |at: usize, row: String, like: Option<&Range<usize>>| {
        let indent = indent(policy, &items, like, whole.start);
        let end = if policy.text[..at].ends_with("\r\n") { "\r\n" } else { "\n" };
        Insertion { at, text: format!("{indent}{row}{end}") }
    };
    // As the last line, where a comma is behind the last item.
    if let Some(at) = after_comma(&last).and_then(|rest| policy.lines(rest).next_back()) {
        return line(at, format!("{row},"), items.last());
    }
    // As the first line.
    if let Some(at) = policy.lines(first.clone()).next() {
        let comma = if items.is_empty() { "" } else { "," };
        return line(at, format!("{row}{comma}"), items.first());
    }
    // As a line in between.
    if let Some(at) = gaps.iter().filter_map(after_comma).find_map(|rest| policy.lines(rest).next()) {
        return line(at, format!("{row},"), None);
    }
    // As a line that begins with a comma: behind an item that has none behind it in its line.
    let led = gaps.iter().skip(1).map(|gap| gap.start..comma(gap).unwrap_or(gap.end));
    if let Some(at) = led.filter_map(|gap| policy.lines(gap).next_back()).next_back() {
        return line(at, format!(", {row}"), None);
    }
    // In the one line that there is.
    let used = policy.text[last.clone()].trim_end().len();
    let (before, after) = match (items.is_empty(), comma(&last).is_some()) {
        (true, _) => (if used == 0 { "" } else { " " }, ""),
        (false, true) => (" ", ","),
        (false, false) => (", ", ""),
    };
    Insertion { at: last.start + used, text: format!("{before}{row}{after}") }
}

/// How far a new line is indented: as a neighbour that begins a line, else one step more than the line of the bracket.
fn indent(
    policy: &Policy<'_>,
    items: &[Range<usize>],
    like: Option<&Range<usize>>,
    bracket: usize,
) -> String {
    let text = policy.text;
    let mut neighbours = like.into_iter().chain(items);
    if let Some(same) = neighbours.find_map(|item| blanks_before(text, item.start)) {
        return same.to_owned();
    }
    let line = text[..bracket].rfind('\n').map_or(0, |end| end + 1);
    let rest = text[line..].trim_start_matches([' ', '\t']);
    let base = &text[line..text.len() - rest.len()];
    // As the first section does it, else as Tailscale's own editor does.
    let sections = &policy.root.properties;
    let step = sections.iter().find_map(|section| blanks_before(text, section.range.start));
    let step = step.filter(|step| !step.is_empty()).unwrap_or("\t");
    format!("{base}{step}")
}

/// The blanks that something begins its line with, if nothing else is before it.
fn blanks_before(text: &str, at: usize) -> Option<&str> {
    let line = text[..at].rfind('\n')? + 1;
    let before = &text[line..at];
    before.bytes().all(|byte| matches!(byte, b' ' | b'\t')).then_some(before)
}

/// Reads the result again: without the insertions it is the policy as it was, and what it means is what the policy
/// meant, the rows, and nothing else.
fn verify(
    policy: &Policy<'_>,
    old: &Shape<'_>,
    edited: &str,
    insertions: &[Insertion],
    (tag, owners): (&str, Owners),
) -> Result<(), String> {
    let wrong = |why: &str| Err(format!("the edited policy is not as it should be: {why}"));
    let mut rest = edited.to_owned();
    for Insertion { at, text } in insertions {
        if rest.get(*at..at + text.len()) != Some(text) {
            return wrong("a row is not where it belongs");
        }
        rest.replace_range(*at..at + text.len(), "");
    }
    if rest != policy.text {
        return wrong("a byte of it has changed");
    }
    let new = parse(edited.as_bytes())?;
    let now = shape(&new)?;
    if !now.has_owner(tag) || !now.has_rule(tag) {
        return wrong("a row is missing");
    }
    let mut value = new.value.clone();
    if !old.has_owner(tag) && !without_owner(&mut value, (tag, owners), old.owners.is_none()) {
        return wrong("the owner is not as it should be");
    }
    if !old.has_rule(tag) && !without_rule(&mut value, tag, old.grants.is_some()) {
        return wrong("the rule is not as it should be");
    }
    if value != policy.value { wrong("it means something else") } else { Ok(()) }
}

/// Takes the owner away again, and with it the section if that is new.
fn without_owner(policy: &mut Value, (tag, owners): (&str, Owners), whole: bool) -> bool {
    let Some((key, section)) = section(policy, "tagOwners") else { return false };
    let owner = section.as_object_mut().and_then(|section| section.remove(tag));
    let alone = section.as_object().is_some_and(serde_json::Map::is_empty);
    if whole
        && alone
        && let Some(policy) = policy.as_object_mut()
    {
        policy.remove(&key);
    }
    owner == Some(owners.list()) && (!whole || alone)
}

/// Takes the rule away again.
fn without_rule(policy: &mut Value, tag: &str, is_grant: bool) -> bool {
    let (name, rule) = match is_grant {
        true => ("grants", json!({"src": [tag], "dst": [tag], "ip": ["*"]})),
        false => ("acls", json!({"action": "accept", "src": [tag], "dst": [format!("{tag}:*")]})),
    };
    let rules = section(policy, name).and_then(|(_, rules)| rules.as_array_mut());
    let Some(rules) = rules else { return false };
    let at = rules.iter().position(|one| *one == rule);
    at.map(|at| rules.remove(at)).is_some()
}

/// A section, whatever the case of its letters.
fn section<'v>(policy: &'v mut Value, name: &str) -> Option<(String, &'v mut Value)> {
    let mut sections = policy.as_object_mut()?.iter_mut();
    sections.find(|(key, _)| super::shape::same(key, name)).map(|(key, value)| (key.clone(), value))
}
