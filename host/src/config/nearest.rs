//! What somebody may have meant.

/// The one of `known` that is nearest to `given`, if any is near enough to be meant.
pub(crate) fn nearest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let given = given.to_lowercase();
    let near = (given.chars().count() / 3).clamp(1, 3);
    let distance = |name: &str| strsim::damerau_levenshtein(&given, &name.to_lowercase());
    let best = known.into_iter().map(|name| (distance(name), name)).min()?;
    (best.0 <= near).then_some(best.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_near_name_is_meant() {
        let known = ["provider", "sync", "env", "lease"];
        for (given, meant) in [
            ("proivder", Some("provider")),
            ("Provider", Some("provider")),
            ("snyc", Some("sync")),
            ("envs", Some("env")),
            ("hetzner", None),
            ("x", None),
        ] {
            assert_eq!(nearest(given, known), meant, "{given}");
        }
    }
}
