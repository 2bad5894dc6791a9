//! Copies over the connection that commands take.

use super::site::Site;
use crate::cp::both_ways;

#[test]
fn files_go_there_and_come_back_over_the_one_connection() {
    let Some(site) = Site::new() else { return };
    assert_eq!(site.run(&["warmup", "--slug", "demo"]).0, 0);
    both_ways(&site.world, "demo");
    assert_eq!(site.sshd.connections(), 1);
    assert_eq!(site.world.run(&["stop", "demo"]).0, 0);
    site.nothing_is_left();
}
