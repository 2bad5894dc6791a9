//! Copies to and from a node, over its exec endpoint.

use super::Site;
use crate::cp::both_ways;

#[test]
fn files_go_to_the_node_and_come_back() {
    let site = Site::new();
    site.warm();
    both_ways(&site.world, "demo");
    let (code, _, stderr) = site.run(&["stop", "demo"]);
    assert_eq!(code, 0, "{stderr}");
    site.nothing_is_left();
}
