//! How guests are kept from each other and from the host.

use std::path::Path;
use std::process::{Command, Stdio};

/// How guests are kept from each other and from the host. They always share the host's network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Namespaces of its own, and users as in a real guest: root and uid 1000. Only root can have this.
    Users,
    /// Namespaces of its own, but all that runs in it is root.
    Namespaces,
    /// None: commands run on the host, so that those with a guest's absolute path are refused.
    None,
}

impl Isolation {
    /// The most that the kernel allows.
    pub(super) fn detect() -> Self {
        let works = |arguments: &[&str]| {
            let mut command = Command::new("unshare");
            command.args(arguments).args(["--mount", "--pid", "--fork", "--kill-child", "true"]);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            command.status().is_ok_and(|status| status.success())
        };
        match () {
            () if rustix::process::geteuid().is_root() && works(&[]) => Self::Users,
            () if works(&["--user", "--map-root-user"]) => Self::Namespaces,
            () => Self::None,
        }
    }

    /// Says whether a guest has paths of its own, such as `/workspace`.
    pub fn has_paths(self) -> bool {
        self != Self::None
    }

    /// Says whether a guest has users of its own, so that a file of root's is not to be read by uid 1000.
    pub fn has_users(self) -> bool {
        self == Self::Users
    }
}

/// A user of every guest, as Freestyle's Ubuntu images have them.
#[derive(Clone, Copy, Debug)]
pub(super) struct User {
    pub(super) name: &'static str,
    pub(super) id: u32,
    pub(super) home: &'static str,
}

/// The users of every guest.
pub(super) const USERS: &[User] = &[ROOT, UBUNTU];

/// Who files belong to that come by the API, and who runs commands on v1.
pub(super) const ROOT: User = User { name: "root", id: 0, home: "/root" };

/// Who runs commands on v5 if nothing else is said.
pub(super) const UBUNTU: User = User { name: "ubuntu", id: 1000, home: "/home/ubuntu" };

/// The host's directories that every guest sees, read-only.
const SHARED: &[&str] = &["usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "etc", "opt"];

/// Says whether a name at a guest's root is the host's.
pub(super) fn is_shared(name: &str) -> bool {
    SHARED.contains(&name) && Path::new("/").join(name).exists()
}

/// The host's directories that are mounted in a guest.
pub(super) fn mounted() -> impl Iterator<Item = &'static str> {
    SHARED.iter().copied().filter(|name| Path::new("/").join(name).is_dir() && !is_link(name))
}

/// The host's links at its root, such as `bin` to `usr/bin`, which a guest has, too.
pub(super) fn links() -> impl Iterator<Item = &'static str> {
    SHARED.iter().copied().filter(|name| is_link(name))
}

fn is_link(name: &str) -> bool {
    Path::new("/").join(name).is_symlink()
}

/// What becomes a guest's first process. Its arguments: the guest's root, and the directories to mount there.
/// It lives until its stdin is closed, and waits for what has lost its parent, as an init does.
pub(super) const INIT: &str = r#"
set -e
root=$1
shift
read -r pid _ </proc/self/stat
for name in "$@"; do
    mount --rbind "/$name" "$root/$name"
    mount -o remount,bind,ro "$root/$name" 2>/dev/null || true
done
for name in passwd group; do
    if [ -e "$root/etc/$name" ]; then mount --bind "$root/../etc/$name" "$root/etc/$name"; fi
done
mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc" 2>/dev/null || mount --rbind /proc "$root/proc"
echo "$pid"
exec chroot "$root" /bin/sh -c '
    exec 3<&0 </dev/null
    cat <&3 >/dev/null &
    echo ready
    exec >/dev/null 2>&1
    wait $!'
"#;
