//! Lists that come in pages.

use std::collections::HashSet;

use crabbox_provider_kit::Result;
use crabbox_provider_kit::http::Query;
use serde::de::DeserializeOwned;

use super::client::Client;

/// How many are asked for at once.
const LIMIT: usize = 100;

/// A page of a list.
pub(super) trait Page: DeserializeOwned {
    /// What is listed.
    type Item;

    /// What is on this page, and how many there are in all, where that is told.
    fn open(self) -> (Vec<Self::Item>, Option<usize>);

    /// What tells one from another.
    fn id(item: &Self::Item) -> &str;
}

/// Reads a list to its end.
///
/// Pages may be shorter than was asked for, and the number in all may not be told: then the end is a page with
/// nothing new on it.
pub(super) async fn all<P: Page>(client: &Client, path: &str, query: &Query<'_>) -> Result<Vec<P::Item>> {
    let (limit, mut all, mut known, mut seen) = (LIMIT.to_string(), Vec::new(), HashSet::new(), 0);
    loop {
        let offset = seen.to_string();
        let query = [query, &[("limit", limit.as_str()), ("offset", offset.as_str())]].concat();
        let (items, total) = client.get::<P>(path, &query).await?.open();
        seen += items.len();
        let before = all.len();
        all.extend(items.into_iter().filter(|item| known.insert(P::id(item).to_owned())));
        if all.len() == before || total.is_some_and(|total| seen >= total) {
            return Ok(all);
        }
    }
}
