//! What members are called where ports are looked up: hosts in `.cbx`, and variables.

use std::collections::BTreeMap;

use crabbox_protocol::records::Claim;

use crate::commands::ROLE;
use crate::lease::normalise;

/// The last of a host's name.
const DOMAIN: &str = "cbx";

/// What a member is called. All of it is letters, digits and dashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Names {
    /// A name that no other member has.
    pub(super) own: String,
    /// What the member is in its crew, if it is the only one that is that.
    pub(super) role: Option<String>,
}

/// The names of all members of a crew, in their order.
pub(super) fn names(claims: &[Claim]) -> Vec<Names> {
    let own = own_names(claims);
    let roles: Vec<Option<String>> = claims.iter().map(role).collect();
    let only = |role: &String| {
        roles.iter().flatten().filter(|other| *other == role).count() == 1 && !own.contains(role)
    };
    own.iter()
        .zip(&roles)
        .map(|(own, role)| Names { own: own.clone(), role: role.clone().filter(only) })
        .collect()
}

fn role(claim: &Claim) -> Option<String> {
    claim.lease.labels.get(ROLE).map(|role| normalise(role)).filter(|role| !role.is_empty())
}

/// The slug; where that is not enough, with the provider behind it, then with the last of the identifier, then all of it.
fn own_names(claims: &[Claim]) -> Vec<String> {
    const MOST: usize = 3;
    let mut more = vec![0; claims.len()];
    loop {
        let names: Vec<String> =
            claims.iter().zip(&more).map(|(claim, more)| own_name(claim, *more)).collect();
        let mut count: BTreeMap<&str, usize> = BTreeMap::new();
        names.iter().for_each(|name| *count.entry(name).or_default() += 1);
        let mut changed = false;
        for (more, name) in more.iter_mut().zip(&names) {
            if count.get(name.as_str()).is_some_and(|count| *count > 1) && *more < MOST {
                *more += 1;
                changed = true;
            }
        }
        if !changed {
            return names;
        }
    }
}

fn own_name(claim: &Claim, more: usize) -> String {
    let id = claim.lease.id.as_str().trim_start_matches("cbx_");
    let mut name = claim.lease.slug.clone();
    if more > 0 {
        name = format!("{name}-{}", normalise(&claim.provider));
    }
    match more {
        0 | 1 => name,
        2 => format!("{name}-{}", &id[id.len().saturating_sub(6)..]),
        _ => format!("{name}-{id}"),
    }
}

/// A host's name.
pub(super) fn host_name(name: &str) -> String {
    format!("{name}.{DOMAIN}")
}

/// The variable that says where a port is.
pub(super) fn variable(name: &str, port: u16) -> String {
    let word: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect();
    format!("CRABBOX_CREW_{word}_{port}")
}

#[cfg(test)]
mod tests {
    use super::super::plan::tests::claim;
    use super::*;

    fn all(members: &[(&str, &str, &str, &str)]) -> Vec<(String, Option<String>)> {
        let claims: Vec<_> = members
            .iter()
            .map(|(id, slug, provider, role)| {
                let mut claim = claim(slug, provider);
                claim.lease.id = format!("cbx_{id:0>12}").parse().unwrap();
                claim.lease.labels.insert(ROLE.to_owned(), (*role).to_owned());
                claim
            })
            .collect();
        names(&claims).into_iter().map(|names| (names.own, names.role)).collect()
    }

    fn own(members: &[(&str, &str, &str)]) -> Vec<String> {
        let members: Vec<_> =
            members.iter().map(|(id, slug, provider)| (*id, *slug, *provider, "")).collect();
        all(&members).into_iter().map(|names| names.0).collect()
    }

    #[test]
    fn a_member_is_called_by_its_slug_and_by_more_where_that_is_not_enough() {
        assert_eq!(own(&[("1", "a", "ssh"), ("2", "b", "ssh")]), ["a", "b"]);
        assert_eq!(own(&[("1", "a", "ssh"), ("2", "a", "local")]), ["a-ssh", "a-local"]);
        assert_eq!(
            own(&[("111222333444", "a", "ssh"), ("555666777888", "a", "ssh"), ("3", "a", "local")]),
            ["a-ssh-333444", "a-ssh-777888", "a-local"]
        );
        assert_eq!(
            own(&[("111222333444", "a", "ssh"), ("555666333444", "a", "ssh")]),
            ["a-ssh-111222333444", "a-ssh-555666333444"]
        );
        // One that is called as another would be then.
        assert_eq!(
            own(&[("1", "a", "ssh"), ("2", "a", "local"), ("3", "a-ssh", "local")]),
            ["a-ssh-000001", "a-local", "a-ssh-local"]
        );
    }

    #[test]
    fn a_role_is_a_name_where_only_one_has_it() {
        let named = |members: &[(&str, &str, &str, &str)]| {
            all(members).into_iter().map(|names| names.1).collect::<Vec<_>>()
        };
        let some = |name: &str| Some(name.to_owned());
        assert_eq!(named(&[("1", "a", "p", "db"), ("2", "b", "p", "web")]), [some("db"), some("web")]);
        assert_eq!(named(&[("1", "a", "p", "db"), ("2", "b", "q", "DB")]), [None, None]);
        assert_eq!(named(&[("1", "a", "p", "b"), ("2", "b", "p", "a b/c:d")]), [None, some("a-b-c-d")]);
        assert_eq!(named(&[("1", "a", "p", "a"), ("2", "b", "p", "/ :")]), [None, None]);
    }

    #[test]
    fn a_variable_is_one_for_every_shell() {
        assert_eq!(variable("my-db", 5432), "CRABBOX_CREW_MY_DB_5432");
        for name in ["a;b$(c)", "a b", "ä", "a.b", "a'\"`\\"] {
            let variable = variable(name, 1);
            assert!(variable.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'), "{variable}");
        }
    }
}
