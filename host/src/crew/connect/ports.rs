//! Where the ports of members go on this machine.

use std::net::{Ipv4Addr, TcpListener};

use sha2::{Digest as _, Sha256};

/// The ports that are used, as by openclaw/crabbox. Linux hands them out for connections, too, so that one may be taken
/// for a while by nobody who listens.
const FIRST: u16 = 51_820;
const LAST: u16 = 52_819;

/// Where they can go, for people.
pub(super) fn range() -> String {
    format!("{FIRST} to {LAST}")
}

/// Where a member's port can go, in the order in which it is tried: the same at every time.
pub(super) fn candidates(crew: &str, member: &str, port: u16) -> impl Iterator<Item = u16> {
    let hash = Sha256::digest(format!("{crew}\0{member}\0{port}").as_bytes());
    let count = LAST - FIRST + 1;
    let first = u16::from_be_bytes([hash[0], hash[1]]) % count;
    (0..count).map(move |n| FIRST + (first + n) % count)
}

/// Whether nobody listens there.
pub(super) fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_port_goes_where_it_went_before_and_else_anywhere() {
        let all = |member: &str, port| candidates("shop", member, port).collect::<Vec<_>>();
        assert_eq!(all("db", 5432), all("db", 5432));
        assert_eq!(all("db", 5432).iter().collect::<BTreeSet<_>>().len(), 1000);
        assert_eq!(all("db", 5432).iter().min(), Some(&51_820));
        assert_eq!(all("db", 5432).iter().max(), Some(&52_819));
        let first: BTreeSet<_> = (1..100).map(|port| all("db", port)[0]).collect();
        assert!(first.len() > 80, "different ports begin elsewhere: {first:?}");
    }

    #[test]
    fn where_somebody_listens_is_not_free() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(!is_free(port));
        drop(listener);
        // A process that another test starts at this moment has it, too, until it is another program.
        while !is_free(port) {
            std::thread::yield_now();
        }
    }
}
