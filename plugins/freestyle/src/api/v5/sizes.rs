//! How large a machine of version 5 is: as the snapshot that it begins with, or enlarged afterwards.

use super::super::Size;

/// What Freestyle's own snapshots have: CPUs, GiB of memory and their names, the smallest first.
const SIZES: &[(u32, u32, &str)] = &[
    (2, 4, "freestyle/ubuntu-sm"),
    (4, 8, "freestyle/ubuntu"),
    (8, 16, "freestyle/ubuntu-lg"),
    (16, 32, "freestyle/ubuntu-xl"),
    (32, 64, "freestyle/ubuntu-2xl"),
];

/// How a machine comes to have what was configured.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sized {
    /// The snapshot to begin with, if not Freestyle's default.
    pub(super) snapshot: Option<String>,
    /// What the machine has to have, where that may be more than the snapshot has.
    pub(super) enlarged: Option<Size>,
}

impl Sized {
    /// The smallest of Freestyle's snapshots that has what is wanted; else the largest, to be enlarged. Nothing is
    /// asked for that was not configured.
    pub(super) fn new(own: Option<&str>, wanted: Option<Size>) -> Self {
        let Some(size) = wanted.filter(|_| own.is_none()) else {
            return Self { snapshot: own.map(str::to_owned), enlarged: wanted };
        };
        let has = |(cpu, gib, _): &&(u32, u32, &str)| *cpu >= size.cpu && gib * 1024 >= size.memory_mib;
        let fits = SIZES.iter().find(has);
        let snapshot = fits.or(SIZES.last()).map(|(_, _, name)| (*name).to_owned());
        Self { snapshot, enlarged: fits.is_none().then_some(size) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_the_smallest_snapshot_that_has_it() {
        let of = |own: Option<&str>, wanted: Option<(u32, u32)>| {
            let sized = Sized::new(own, wanted.map(|(cpu, gib)| Size { cpu, memory_mib: gib * 1024 }));
            let enlarged = sized.enlarged.map(|size| (size.cpu, size.memory_mib / 1024));
            (sized.snapshot, enlarged)
        };
        let named = |name: &str| Some(name.to_owned());
        assert_eq!(of(None, None), (None, None));
        assert_eq!(of(None, Some((1, 0))), (named("freestyle/ubuntu-sm"), None));
        assert_eq!(of(None, Some((2, 5))), (named("freestyle/ubuntu"), None));
        assert_eq!(of(None, Some((0, 64))), (named("freestyle/ubuntu-2xl"), None));
        assert_eq!(of(None, Some((2, 100))), (named("freestyle/ubuntu-2xl"), Some((2, 100))));
        assert_eq!(of(Some("sh-1"), Some((0, 1))), (named("sh-1"), Some((0, 1))));
        assert_eq!(of(Some("sh-1"), None), (named("sh-1"), None));
    }
}
