//! Who asks, and what they may do.

use super::Agent;
use super::answer::Answer;
use super::log::Request;
use super::options::Grants;

/// Who asks.
pub(super) enum Caller {
    /// Access is not controlled, or not for this one.
    Anyone,
    /// A token is known, or none came and anonymous access is what it is.
    Known(Grants),
    /// A token came that there is not.
    Unknown,
}

impl Caller {
    pub(super) fn of(agent: &Agent, request: &Request) -> Self {
        Self::with_token(agent, request.token())
    }

    pub(super) fn with_token(agent: &Agent, token: Option<&str>) -> Self {
        match (&agent.options.acl, token.filter(|token| !token.is_empty())) {
            (None, _) => Self::Anyone,
            (Some(acl), None) => Self::Known(acl.anonymous.clone()),
            (Some(acl), Some(token)) => {
                acl.tokens.get(token).map_or(Self::Unknown, |it| Self::Known(it.clone()))
            }
        }
    }

    pub(super) fn may(&self, allowed: impl FnOnce(&Grants) -> bool) -> bool {
        match self {
            Self::Anyone => true,
            Self::Known(grants) => allowed(grants),
            Self::Unknown => false,
        }
    }

    pub(super) fn require(&self, allowed: impl FnOnce(&Grants) -> bool) -> Result<(), Answer> {
        if self.may(allowed) { Ok(()) } else { Err(Answer::permission_denied()) }
    }

    /// Requires a capability on a namespace.
    pub(super) fn require_on(&self, namespace: &str, capability: &str) -> Result<(), Answer> {
        self.require(|grants| grants.may(namespace, capability))
    }
}

/// What is said of a token that is not even a UUID, where that is said.
pub(super) fn junk(token: &str) -> Option<&'static str> {
    let text = "failed to parse signed token: go-jose/go-jose: compact JWS format must have three parts";
    (token.len() != 36).then_some(text)
}
