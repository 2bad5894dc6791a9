//! The snapshots that Freestyle publishes, which are how a VM is sized on v5.
//!
//! From `vms/types.ts` of npm `freestyle@0.2.17`.

use super::answer::Answer;
use super::state::{Resources, Snapshot};

const fn snapshot(id: &'static str, slug: &'static str, resources: Resources) -> Snapshot {
    Snapshot { id, slug, resources }
}

const SNAPSHOTS: &[Snapshot] = &[
    snapshot("sh-00000000000000000000000000000001", "freestyle/ubuntu-sm", Resources::new(2, 4, 16)),
    UBUNTU,
    snapshot("sh-00000000000000000000000000000003", "freestyle/ubuntu-lg", Resources::new(8, 16, 64)),
    snapshot("sh-00000000000000000000000000000004", "freestyle/ubuntu-xl", Resources::new(16, 32, 128)),
    snapshot("sh-00000000000000000000000000000005", "freestyle/ubuntu-2xl", Resources::new(32, 64, 128)),
    snapshot("sh-00000000000000000000000000000006", "freestyle/ubuntu-3xl", Resources::new(64, 128, 256)),
    snapshot(
        "sh-00000000000000000000000000000007",
        "freestyle/busybox",
        Resources { cpu: 1, memory: 128, storage: 1024 },
    ),
];

/// What a VM is booted from if nothing else is said.
const UBUNTU: Snapshot =
    snapshot("sh-00000000000000000000000000000002", "freestyle/ubuntu", Resources::new(4, 8, 32));

/// The most CPUs that any plan allows.
const MAX_CPU: u64 = 32;

/// Finds a snapshot by its id or its slug.
pub(super) fn find(key: Option<&str>) -> Result<Snapshot, Answer> {
    let Some(key) = key else { return Ok(UBUNTU) };
    let found = SNAPSHOTS.iter().find(|it| it.id == key || it.slug == key);
    let found = *found.ok_or_else(|| Answer::not_found(&format!("snapshot `{key}`")))?;
    if found.resources.cpu > MAX_CPU {
        let message = format!("`{}` is larger than your plan allows", found.slug);
        return Err(Answer::error(403, "LIMIT_EXCEEDED", message));
    }
    Ok(found)
}
