//! The script that gives the members of a crew their names on a machine in the tailnet: `guest.sh`.

use std::ffi::OsStr;

use crate::remote::Script;

/// Takes the crew's tag.
const GUEST: &str = include_str!("guest.sh");

/// Who may write the files: root, or whoever owns them. Else root is asked for, without a password.
const AS_ROOT: &str = r#"
cbx_names=${CBX_NAMES:-/etc/hosts.cbx}
if [ "$(id -u)" = 0 ] || { [ -w "${CBX_HOSTS:-/etc/hosts}" ] && [ -w "${cbx_names%/*}" ]; }; then
  exec sh -c "$cbx_guest" crabbox "$cbx_tag"
elif command -v sudo >/dev/null 2>&1; then
  exec sudo -n sh -c "$cbx_guest" crabbox "$cbx_tag"
fi
echo 'only root may write /etc/hosts, and there is no sudo' >&2
exit 1
"#;

/// The script by itself, for a timer or cron of the guest.
pub(crate) fn printed(tag: &str) -> String {
    format!("#!/bin/sh\nset -- {tag}\n{GUEST}")
}

/// What the host sends.
pub(crate) fn sent(tag: &str) -> Vec<u8> {
    let mut script = Script::new(None);
    script.assign("cbx_guest", OsStr::new(GUEST));
    script.assign("cbx_tag", OsStr::new(tag));
    script.source(AS_ROOT);
    script.finish()
}
