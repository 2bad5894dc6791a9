//! The flags with which a new lease joins a tailnet.

use clap::Args;
use crabbox_protocol::Tailscale;

use crate::config::is_variable_name;
use crate::crew::{AUTH_KEY, control_url, tag};
use crate::error::{Error, Result};
use crate::host::Host;

/// How a new lease joins a tailnet.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct TailnetArgs {
    /// Join the new lease to your tailnet
    #[arg(long)]
    tailscale: bool,

    /// The environment variable that holds the tailnet's auth key, else CRABBOX_TAILSCALE_AUTH_KEY
    #[arg(long, value_name = "NAME", requires = "tailscale")]
    tailscale_auth_key_env: Option<String>,

    /// Tag the new lease in the tailnet, beside its crew's tag; can be repeated
    #[arg(long, value_name = "TAG", requires = "tailscale", value_parser = tailnet_tag)]
    tailscale_tag: Vec<String>,
}

impl TailnetArgs {
    /// What the provider is told, the host's name apart: that comes with the slug.
    pub(super) fn wish(&self, host: &Host, crew: Option<&str>) -> Result<Option<Tailscale>> {
        if !self.tailscale {
            return Ok(None);
        }
        let name = self.tailscale_auth_key_env.as_deref().unwrap_or(AUTH_KEY);
        if !is_variable_name(name) {
            return Err(Error::usage(format!("`{}` is not a variable's name", name.escape_debug()))
                .hint("`--tailscale-auth-key-env` takes the name of the variable, not the key"));
        }
        let mut tags: Vec<String> = crew.map(|crew| tag(host, crew)).transpose()?.into_iter().collect();
        for tag in &self.tailscale_tag {
            if !tags.contains(tag) {
                tags.push(tag.clone());
            }
        }
        let control_url = control_url(&host.env)?.map(|url| url.trim_end_matches('/').to_owned());
        let (auth_key_env, hostname) = (name.to_owned(), String::new());
        Ok(Some(Tailscale { tags, auth_key_env, hostname, control_url }))
    }

    /// What is given.
    pub(super) fn given(&self) -> Option<&'static str> {
        self.tailscale.then_some("--tailscale")
    }
}

/// A tag as Tailscale takes it: `tag:`, a letter, then letters, digits and dashes; the prefix may be left out.
/// <https://tailscale.com/kb/1068/tags>
fn tailnet_tag(text: &str) -> Result<String, String> {
    let name = text.strip_prefix("tag:").unwrap_or(text);
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    match plain && name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        true => Ok(format!("tag:{name}")),
        false => Err("a tag is a letter, then letters, digits and dashes, such as tag:ci".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_one_that_tailscale_takes() {
        assert_eq!(tailnet_tag("tag:ci-1").as_deref(), Ok("tag:ci-1"));
        assert_eq!(tailnet_tag("ci").as_deref(), Ok("tag:ci"));
        for text in ["", "tag:", "tag:1a", "a_b", "tag:tag:a", "a b"] {
            assert!(tailnet_tag(text).is_err(), "{text}");
        }
    }
}
