//! Finding a lease's workspace: by what is known of it, in what the deployment lists.

use std::time::Duration;

use crabbox_provider_kit::protocol::{Lease, LeaseReport};
use crabbox_provider_kit::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::time::sleep;

use crate::cli::{Cli, Workspace};
use crate::name::{self, Reference};
use crate::settings::Settings;

/// A list may be behind what was done a moment ago: how often one that does not have the workspace is asked for
/// again, and after how long.
const LOOKS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(500);

/// What is known of the workspace that is looked for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sought {
    /// Its name, and its owner's where that is known.
    pub(crate) reference: Reference,
    /// Coder's own identifier, once it was seen.
    id: Option<String>,
    /// Whether the name was given rather than made: by an earlier answer, or by the user, who adopts a workspace.
    given: bool,
    /// The name that the lease's workspace would get today.
    own: String,
}

/// What is kept in a lease's `state`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct State {
    id: Option<String>,
    owner: Option<String>,
}

/// What a look found.
#[derive(Debug)]
pub(crate) enum Found {
    /// The workspace.
    One(Box<Workspace>),
    /// Several have that name, of different owners.
    Several(Vec<Reference>),
    /// There is none.
    Absent,
    /// Another workspace has its name: it was deleted, and made again by somebody else.
    Replaced,
    /// It is somebody else's, and the user who is logged in now cannot see it.
    Unseen,
}

impl Sought {
    /// What is known of a lease's workspace.
    ///
    /// # Errors
    ///
    /// `notFound` for a `ref` that no workspace can have.
    pub(crate) fn of(lease: &Lease, settings: &Settings) -> Result<Self> {
        let own = name::workspace(&settings.prefix, &lease.id, &lease.slug);
        let state = lease.state.clone().and_then(|state| serde_json::from_value::<State>(state).ok());
        let State { id, owner } = state.unwrap_or_default();
        let (reference, given) = match &lease.r#ref {
            None => (Reference { owner: None, name: own.clone() }, false),
            Some(text) => match Reference::parse(text) {
                Some(reference) => (reference, true),
                None => {
                    let text = text.escape_debug();
                    return Err(Error::not_found(format!("`{text}` is no workspace's name"))
                        .hint("say NAME or OWNER/NAME, as `coder list` has them"));
                }
            },
        };
        let owner = reference.owner.or(owner);
        Ok(Self { reference: Reference { owner, ..reference }, id, given, own })
    }

    /// The same of somebody, where that is known.
    pub(crate) fn of_owner(self, owner: Option<String>) -> Self {
        Self { reference: Reference { owner, ..self.reference }, ..self }
    }

    /// What the host is told before there is a workspace: what it will be called, and whose it will be.
    pub(crate) fn announcement(&self) -> LeaseReport {
        LeaseReport {
            r#ref: Some(self.reference.to_string()),
            state: Some(json!(State { id: None, owner: self.reference.owner.clone() })),
            ..LeaseReport::default()
        }
    }

    /// Checks that a workspace that was found by its name may be used and ended: it was made by crabbox.
    ///
    /// # Errors
    ///
    /// `conflict`.
    fn verify(&self, workspace: &Workspace, settings: &Settings) -> Result<()> {
        let name = workspace.name.to_lowercase();
        if self.id.is_some() || !self.given || name == self.own || name.starts_with(&settings.prefix) {
            return Ok(());
        }
        let reference = workspace.reference();
        Err(Error::conflict(format!("the workspace {reference} was not made by crabbox")).hint(format!(
            "the names of those that were begin with `{}`, which `workspacePrefix` sets",
            settings.prefix
        )))
    }
}

impl Workspace {
    /// How it is spoken of, owner included.
    pub(crate) fn reference(&self) -> Reference {
        Reference { owner: Some(self.owner_name.clone()), name: self.name.clone() }
    }

    /// What is kept of it in `state`.
    pub(crate) fn state(&self) -> serde_json::Value {
        json!(State { id: Some(self.id.clone()), owner: Some(self.owner_name.clone()) })
    }
}

impl Cli {
    /// Looks for a workspace, more than once where it is not found at first.
    pub(crate) async fn find(&self, sought: &Sought, settings: &Settings) -> Result<Found> {
        for _ in 1..LOOKS {
            match self.look(sought, settings).await? {
                Found::Absent => sleep(PAUSE).await,
                found => return Ok(found),
            }
        }
        self.look(sought, settings).await
    }

    /// Looks for a workspace once: among the user's own, and only where it can be somebody else's among all.
    pub(crate) async fn look(&self, sought: &Sought, settings: &Settings) -> Result<Found> {
        let mine = self.list(false).await?;
        let me = mine.first().map(|workspace| workspace.owner_name.clone());
        match narrow(sought, mine) {
            Found::Absent => {}
            found => return found.verified(sought, settings),
        }
        match &sought.reference.owner {
            None if !sought.given => return Ok(Found::Absent),
            None => {}
            Some(owner) => {
                let me = match me {
                    Some(me) => Some(me),
                    None => self.me().await?,
                };
                if me.is_some_and(|me| owner.eq_ignore_ascii_case(&me)) {
                    return Ok(Found::Absent);
                }
            }
        }
        let found = narrow(sought, self.list(true).await?);
        match found {
            // That this user does not see another's proves nothing.
            Found::Absent if sought.reference.owner.is_some() => Ok(Found::Unseen),
            found => found.verified(sought, settings),
        }
    }
}

impl Found {
    fn verified(self, sought: &Sought, settings: &Settings) -> Result<Self> {
        if let Self::One(workspace) = &self {
            sought.verify(workspace, settings)?;
        }
        Ok(self)
    }
}

/// Those of a list that are meant.
fn narrow(sought: &Sought, workspaces: Vec<Workspace>) -> Found {
    let is_meant = |workspace: &Workspace| sought.reference.means(&workspace.owner_name, &workspace.name);
    // A deleted workspace is not listed; should it be, it is none.
    let mut meant: Vec<_> =
        workspaces.into_iter().filter(|one| is_meant(one) && one.latest_build.status != "deleted").collect();
    match (meant.pop(), meant.is_empty()) {
        (None, _) => Found::Absent,
        (Some(one), true) => match &sought.id {
            Some(id) if *id != one.id => Found::Replaced,
            _ => Found::One(Box::new(one)),
        },
        (Some(last), false) => {
            let mut all: Vec<_> = meant.iter().map(Workspace::reference).collect();
            all.push(last.reference());
            Found::Several(all)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn settings() -> Settings {
        Settings::new(serde_json::from_value(json!({})).unwrap()).unwrap()
    }

    fn sought(extra: Value) -> Sought {
        let mut lease =
            json!({"id": "cbx_5f3a9c0e71b2", "slug": "blue-otter", "name": "crabbox-blue-otter-1"});
        for (key, value) in extra.as_object().unwrap() {
            lease[key] = value.clone();
        }
        Sought::of(&serde_json::from_value(lease).unwrap(), &settings()).unwrap()
    }

    fn row(owner: &str, name: &str, id: &str) -> Workspace {
        serde_json::from_value(json!({"id": id, "name": name, "owner_name": owner, "created_at": null,
            "dormant_at": null, "latest_build": {"status": "running"}}))
        .unwrap()
    }

    #[test]
    fn a_name_is_looked_for_whatever_its_case_and_a_ref_wins_over_it() {
        let made = sought(json!({}));
        let name = made.own.clone();
        let rows = || vec![row("ada", "other", "1"), row("ada", &name.to_uppercase(), "2")];
        assert!(matches!(narrow(&made, rows()), Found::One(found) if found.id == "2"));
        let referred = sought(json!({"ref": "ada/crabbox-older-1"}));
        assert!(matches!(narrow(&referred, rows()), Found::Absent));
        assert!(matches!(narrow(&referred, vec![row("Ada", "crabbox-older-1", "3")]), Found::One(_)));
        assert!(matches!(narrow(&referred, vec![row("bob", "crabbox-older-1", "3")]), Found::Absent));
    }

    #[test]
    fn the_same_name_of_two_owners_is_ambiguous_and_a_reused_name_is_another_workspace() {
        let bare = sought(json!({"ref": "crabbox-x-1"}));
        let rows = vec![row("ada", "crabbox-x-1", "1"), row("bob", "crabbox-x-1", "2")];
        let Found::Several(all) = narrow(&bare, rows) else { panic!("two match") };
        assert_eq!(
            all.iter().map(Reference::to_string).collect::<Vec<_>>(),
            ["ada/crabbox-x-1", "bob/crabbox-x-1"]
        );
        let known = sought(json!({"ref": "ada/crabbox-x-1", "state": {"id": "1", "owner": "ada"}}));
        assert!(matches!(narrow(&known, vec![row("ada", "crabbox-x-1", "1")]), Found::One(_)));
        assert!(matches!(narrow(&known, vec![row("ada", "crabbox-x-1", "9")]), Found::Replaced));
    }

    #[test]
    fn only_what_crabbox_made_is_adopted() {
        let check = |extra: Value, name: &str| sought(extra).verify(&row("ada", name, "1"), &settings());
        assert!(check(json!({"ref": "crabbox-x-1"}), "crabbox-x-1").is_ok());
        assert!(check(json!({"ref": "Crabbox-X-1"}), "Crabbox-X-1").is_ok());
        assert!(check(json!({"ref": "my-own"}), "my-own").is_err());
        // Of a lease that we made under another prefix.
        assert!(check(json!({"ref": "ada/team-x-1", "state": {"id": "1"}}), "team-x-1").is_ok());
        let lease = json!({"id": "cbx_5f3a9c0e71b2", "slug": "s", "name": "n", "ref": "!!!"});
        assert!(Sought::of(&serde_json::from_value(lease).unwrap(), &settings()).is_err());
    }
}
