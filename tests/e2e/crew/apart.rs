//! A crew on several machines, each with a network of its own: who really reaches whom.

mod links;
mod site;

use crabbox_tests::wait_for;
use serde_json::json;

use self::site::{Site, tell};
use crate::crew::provider;

/// A pair of members: the word of the matrix for it, and whether the one gets through to the other.
type Pair = (&'static str, &'static str, &'static str, bool);

/// The members on this machine have URLs, those elsewhere are reached by SSH.
const PAIRS: [Pair; 12] = [
    ("here", "also", "OK", true),
    ("here", "one", "WARN", true),
    ("here", "two", "WARN", true),
    ("also", "here", "OK", true),
    ("also", "one", "WARN", true),
    ("also", "two", "WARN", true),
    ("one", "here", "WARN", false),
    ("one", "also", "WARN", false),
    ("one", "two", "WARN", true),
    ("two", "here", "WARN", false),
    ("two", "also", "WARN", false),
    ("two", "one", "WARN", true),
];

fn pairs(expected: &[Pair]) -> Vec<(String, String, String, bool)> {
    let pair = |&(from, to, word, reached): &Pair| (from.to_owned(), to.to_owned(), word.to_owned(), reached);
    expected.iter().map(pair).collect()
}

#[test]
fn each_word_of_the_matrix_is_what_a_member_finds_that_tries() {
    let Some(site) = Site::new() else { return };
    site.warm("here", 8001, &[]);
    site.warm("also", 8002, &[]);
    site.warm("one", 8003, &["--provider", "ssh", "--ssh-host", "one"]);
    site.warm("two", 8004, &["--provider", "ssh", "--ssh-host", "two"]);
    let _servers = [
        site.serve(0, "127.0.0.1:8001", "here"),
        site.serve(0, "127.0.0.1:8002", "also"),
        // Whoever follows the URL of `here` on another machine may find somebody, and that is somebody else.
        site.serve(1, "127.0.0.1:8001", "a stranger"),
        site.serve(1, "10.77.0.2:8005", "near"),
    ];
    assert_eq!(site.tried(&["here", "also", "one", "two"]), pairs(&PAIRS));

    // A URL of a network of the second machine's, which this one and the third are in, too.
    let lease = json!({"endpoints": [{"transport": "url", "endpoint": "http://10.77.0.2:8005"}]});
    let cases =
        format!("acquire) ok '{}' ;; release) ok '{{\"outcome\":\"released\"}}' ;;", json!({"lease": lease}));
    let manifest = json!({"transports": ["url"], "methods": ["acquire", "run", "release"]});
    site.world.provider("near", &manifest, &cases);
    let silent = r#"ok '{"state":"pending","transport":"url"}'"#;
    provider(&site.world, "later", &json!({"transports": ["url"]}), silent);
    provider(&site.world, "dark", &json!({"transports": ["none"]}), "no 'never' '{}'");
    for name in ["near", "later", "dark"] {
        site.warm(name, 8005, &["--provider", name]);
    }
    let nobody = |from| [(from, "later", "NO", false), (from, "dark", "NO", false)];
    let expected = |two_to_near: bool| {
        let from = |from: &'static str, word: &'static str, near: bool| {
            let before = PAIRS.iter().filter(move |pair| pair.0 == from).copied();
            let before = before.map(move |(from, to, _, reached)| {
                // One URL of several that does not lead there from everywhere is told of all.
                let is_url = ["here", "also"].contains(&to);
                let cut = !two_to_near && (from, to) == ("two", "one");
                (from, to, if is_url { word } else { "WARN" }, reached && !cut)
            });
            let before: Vec<Pair> = before.collect();
            [before, vec![(from, "near", "WARN", near)], nobody(from).to_vec()].concat()
        };
        let all = [from("here", "WARN", true), from("two", "WARN", two_to_near)].concat();
        pairs(&all)
    };
    let tried = |site: &Site| {
        let all = ["here", "also", "one", "two", "near", "later", "dark"];
        let mut tried = site.tried(&all);
        tried.retain(|(from, ..)| ["here", "two"].contains(&from.as_str()));
        tried
    };
    assert_eq!(tried(&site), expected(true));
    // What is not this machine's link is nothing that it could see: the word is the same.
    site.network.link(2, 1, false);
    assert_eq!(tried(&site), expected(false));
    site.network.link(2, 1, true);

    // A promised port listens where only its own machine reaches it. `crew connect` brings it to this one.
    let _server = site.serve(1, "127.0.0.1:8003", "one");
    let direct = |from: &str| site.get(from, "10.77.0.2:8003");
    assert_eq!((direct("here"), direct("two")), (None, None));
    let record = site.connected_aside();
    let mut forwards = record["forwards"].as_array().unwrap().iter();
    let forward = forwards.find(|forward| forward["slug"] == "one").unwrap();
    let at = format!("127.0.0.1:{}", forward["localPort"]);
    assert_eq!(site.get("here", &at).as_deref(), Some("one"));
    assert_eq!(site.get("two", &at), None, "it is on this machine only");
    tell(&site, &["crew", "disconnect", "shop"], 0);
    assert_eq!(site.get("here", &at), None);
    site.release();
    for sshd in &site.sshds {
        wait_for("the end of all connections", || sshd.open_connections() == 0);
    }
}
