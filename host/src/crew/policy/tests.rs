//! Policies that were thought of, and policies that were not.
//!
//! `corpus/good` has policies and what becomes of them: `two-` gets two lines and `one-` one, with every other line as
//! it was; `none-` has all it needs; `inline-` leaves no room for a line of its own. `corpus/bad` has what is refused,
//! and with which words. `UPDATE_CORPUS=1` writes what becomes of the good ones. Tailscale's own reader has read all
//! of it: what we take it takes, and understands as meant.

use std::fs;
use std::path::{Path, PathBuf};

use jsonc_parser::tokens::Token;
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};
use serde_json::Value;

use super::parse::parse;
use super::{Owners, edit};

const TAG: &str = "tag:cbx-crew-alice-shop";

/// As for Tailscale.
fn edit(policy: &[u8], tag: &str) -> Result<Option<String>, String> {
    edit::edit(policy, tag, Owners::Administrators)
}

/// The files of a directory of the corpus that are put in, with their names.
fn corpus(directory: &str) -> Vec<(String, PathBuf)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/crew/policy/corpus").join(directory);
    let paths = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "in"))
        .map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), path))
        .collect();
    files.sort();
    assert!(files.len() > 20, "{files:?}");
    files
}

/// The lines of a text, each with its end.
fn lines(text: &str) -> Vec<&str> {
    text.split_inclusive('\n').collect()
}

/// What has to be left out of a list to get another one. `None`: nothing that is left out does it.
fn left_out<T: PartialEq + Copy>(all: &[T], some: &[T]) -> Option<Vec<T>> {
    let mut wanted = some.iter().peekable();
    let out = all.iter().filter(|one| wanted.next_if_eq(one).is_none()).copied().collect();
    wanted.next().is_none().then_some(out)
}

#[test]
fn two_lines_are_added_and_no_other_changes() {
    for (name, path) in corpus("good") {
        let policy = fs::read(&path).unwrap();
        let edited = edit(&policy, TAG).unwrap_or_else(|why| panic!("{name}: {why}"));
        let policy = String::from_utf8(policy).unwrap();
        let out = path.with_extension("out");
        if std::env::var_os("UPDATE_CORPUS").is_some()
            && let Some(edited) = &edited
        {
            fs::write(&out, edited).unwrap();
        }
        let kind = name.split('-').next().unwrap();
        if kind == "none" {
            assert_eq!(edited, None, "{name}");
            continue;
        }
        let edited = edited.unwrap_or_else(|| panic!("{name} is not edited"));
        assert_eq!(edited, fs::read_to_string(out).unwrap(), "{name}");
        assert_eq!(edit(edited.as_bytes(), TAG), Ok(None), "{name}: the second time nothing is to be done");
        let added = left_out(&lines(&edited), &lines(&policy));
        match kind {
            "two" | "one" => {
                let added = added.unwrap_or_else(|| panic!("{name}: a line has changed:\n{edited}"));
                assert_eq!(added.len(), if kind == "two" { 2 } else { 1 }, "{name}: {added:?}");
                assert!(added.iter().all(|line| line.contains(TAG)), "{name}: {added:?}");
            }
            "inline" => {
                assert_eq!(lines(&edited).len(), lines(&policy).len(), "{name}");
                assert!(left_out(edited.as_bytes(), policy.as_bytes()).is_some(), "{name}");
            }
            kind => panic!("what is `{kind}`?"),
        }
    }
}

#[test]
fn where_nobody_owns_a_tag_nothing_else_differs() {
    let [administrators, nobody] =
        ["[\"autogroup:admin\"]", "[]"].map(|owners| format!("\"{TAG}\": {owners}"));
    let mut differ = 0;
    for (name, path) in corpus("good") {
        let policy = fs::read_to_string(&path).unwrap();
        let of = |owners| edit::edit(policy.as_bytes(), TAG, owners).unwrap();
        let (ours, theirs) = (of(Owners::Administrators), of(Owners::Nobody));
        differ += usize::from(ours != theirs);
        match policy.contains(&nobody) {
            true => assert_eq!(theirs, ours, "{name}: it has an owner"),
            false => {
                assert_eq!(theirs.as_ref().map(|it| it.replace(&nobody, &administrators)), ours, "{name}")
            }
        }
        if let Some(theirs) = theirs {
            assert_eq!(edit(theirs.as_bytes(), TAG), Ok(None), "{name}");
        }
    }
    assert!(differ > 10, "{differ}");
}

#[test]
fn whatever_is_not_tailscales_is_taken_for_headscale() {
    let of = |vars: &[(&str, &str)]| Owners::of(&crate::config::Env::new("/", vars.iter().copied()));
    let key = |key: &'static str| ("TS_API_KEY", key);
    let control = |url: &'static str| ("TS_CONTROL_URL", url);
    for vars in [&[][..], &[key("tskey-api-k")], &[control("https://controlplane.tailscale.com")]] {
        assert_eq!(of(vars), Owners::Administrators, "{vars:?}");
    }
    for vars in [&[key("hskey-api-k")][..], &[control("https://head.example.com"), key("tskey-api-k")]] {
        assert_eq!(of(vars), Owners::Nobody, "{vars:?}");
    }
}

#[test]
fn what_is_not_understood_is_refused_with_its_own_words() {
    let mut wrong = Vec::new();
    for (name, path) in corpus("bad") {
        let error = fs::read_to_string(path.with_extension("error")).unwrap();
        let why = edit(&fs::read(&path).unwrap(), TAG).expect_err(&name);
        if !why.contains(error.trim_end()) {
            wrong.push(format!("{name}: {why}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A policy with other blanks, comments and trailing commas.
fn shaken(policy: &str, random: &mut fastrand::Rng) -> String {
    let collect = CollectOptions { tokens: true, ..Default::default() };
    let tokens = parse_to_ast(policy, &collect, &ParseOptions::default()).unwrap().tokens.unwrap();
    const BLANKS: [&str; 12] = [
        "",
        "",
        " ",
        "\n",
        "\t",
        "\r\n",
        "// } ] \" ,\n",
        "/* { [ \" , // */",
        " // c\r\n",
        "\n\n  ",
        "/**/",
        "/*\n*/",
    ];
    let mut text = String::new();
    for (n, token) in tokens.iter().enumerate() {
        for _ in 0..random.usize(..3) {
            text += random.choice(BLANKS).unwrap();
        }
        let closes = |n: usize| matches!(tokens.get(n), Some(one) if matches!(one.token, Token::CloseBrace | Token::CloseBracket));
        if token.token == Token::Comma && closes(n + 1) && random.bool() {
            continue;
        }
        let open = n
            .checked_sub(1)
            .is_some_and(|n| matches!(tokens[n].token, Token::OpenBrace | Token::OpenBracket | Token::Comma));
        if closes(n) && !open && random.bool() {
            text.push(',');
            text += random.choice(BLANKS).unwrap();
        }
        text += &policy[token.range.start..token.range.end];
    }
    text + random.choice(BLANKS).unwrap()
}

/// What a policy means, whatever the order of its rules.
fn meaning(policy: &str) -> Value {
    let mut value = parse(policy.as_bytes()).unwrap().value;
    for rules in value.as_object_mut().unwrap().values_mut().filter_map(Value::as_array_mut) {
        rules.sort_by_key(Value::to_string);
    }
    value
}

#[test]
fn wherever_blanks_and_comments_and_commas_are_they_stay() {
    let mut random = fastrand::Rng::with_seed(9);
    for (name, path) in corpus("good") {
        let policy = fs::read_to_string(&path).unwrap();
        let wanted = fs::read_to_string(path.with_extension("out")).unwrap_or_else(|_| policy.clone());
        for _ in 0..60 {
            let shaken = shaken(&policy, &mut random);
            let edited = edit(shaken.as_bytes(), TAG).unwrap_or_else(|why| panic!("{name}: {why}\n{shaken}"));
            let edited = edited.unwrap_or_else(|| shaken.clone());
            assert_eq!(meaning(&edited), meaning(&wanted), "{name}\n{shaken}\n--\n{edited}");
            assert_eq!(edit(edited.as_bytes(), TAG), Ok(None), "{name}\n{edited}");
            assert!(
                left_out(edited.as_bytes(), shaken.as_bytes()).is_some(),
                "{name}\n{shaken}\n--\n{edited}"
            );
            let rows = edited.len() - shaken.len();
            assert!(rows < 250, "{name}: {rows} bytes more\n{edited}");
        }
    }
}

#[test]
fn a_policy_that_is_damaged_anywhere_is_edited_or_refused_and_never_worse() {
    let mut random = fastrand::Rng::with_seed(7);
    for (name, path) in corpus("good") {
        let policy = fs::read(&path).unwrap();
        for _ in 0..100 {
            let mut damaged = policy.clone();
            let at = random.usize(..damaged.len());
            match random.u8(..3) {
                0 => drop(damaged.remove(at)),
                1 => damaged.insert(at, random.choice(*b"{}[],:\"\\/*\n\r\0 a1\xff").unwrap()),
                _ => damaged.truncate(at),
            }
            if let Ok(Some(edited)) = edit(&damaged, TAG) {
                assert!(left_out(edited.as_bytes(), &damaged).is_some(), "{name}");
                assert_eq!(edit(edited.as_bytes(), TAG), Ok(None), "{name}");
            }
        }
    }
}

#[test]
fn what_is_said_to_somebody_who_adds_them_by_hand_is_what_is_written() {
    let [owner, grant, acl] = <[String; 3]>::try_from(super::rows(TAG, Owners::Administrators)).unwrap();
    let row = |text: &str| text.split_once(": ").unwrap().1.to_owned();
    let policy = format!("{{\"tagOwners\": {{{}}}, \"grants\": [{}]}}", row(&owner), row(&grant));
    assert_eq!(edit(policy.as_bytes(), TAG), Ok(None));
    let policy = format!("{{\"tagOwners\": {{{}}}, \"acls\": [{}]}}", row(&owner), row(&acl));
    assert_eq!(edit(policy.as_bytes(), TAG), Ok(None));
}

#[test]
fn an_opt_in_is_said_as_elsewhere() {
    let of = |value: &str| super::is_opted_in(&crate::config::Env::new("/", [(super::OPT_IN, value)]));
    for (value, opted) in
        [("1", true), ("yes", true), ("ON", true), ("0", false), ("off", false), ("", false)]
    {
        assert_eq!(of(value).unwrap(), opted, "{value}");
    }
    assert_eq!(
        of("maybe").unwrap_err().to_string(),
        "`CRABBOX_CREW_ACL_BOOTSTRAP`: `maybe` is not true or false"
    );
}
