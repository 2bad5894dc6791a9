//! Where settings come from: flags, environment variables, files, defaults, in this order.
//!
//! `files` reads the YAML files and knows which of them to trust, `settings` has what the host itself can
//! be told. What a provider can be told is in its manifest: `schema` reads it, `flags` makes flags of it,
//! `resolve` finds every value and its source. `env_forward` decides which variables a command sees.

mod duration;
mod env_forward;
mod environment;
mod files;
mod flags;
mod keys;
mod names;
mod nearest;
mod redact;
mod resolve;
mod schema;
mod settings;
mod show;
mod source;
mod value;

pub(crate) use duration::parse as parse_duration;
pub(crate) use env_forward::{
    Credentials, Forwarded, forward, is_variable_name, matches as matches_variable,
};
pub(crate) use environment::Env;
pub(crate) use files::{Files, repository_root, small_text};
pub(crate) use flags::{FlagValues, args as flag_args, secrets_help, values as flag_values};
pub(crate) use keys::HOST_KEYS;
pub(crate) use names::{flag as flag_name, screaming, variable as variable_name};
pub(crate) use nearest::nearest;
pub(crate) use redact::redact;
pub(crate) use resolve::{Resolved, override_recorded, resolve};
pub(crate) use schema::{Key, Kind, Schema, plain};
pub(crate) use settings::{HostFlags, PluginSettings, Settings};
pub(crate) use show::{ShowArgs, show};
pub(crate) use source::{Source, Sourced};
pub(crate) use value::boolean;

/// The provider when none is named: the one that needs nothing. No other is known by name.
pub(crate) const DEFAULT_PROVIDER: &str = "local";
