//! Members of different providers that talk, over the endpoints that `crew peers` gave.

use std::net::TcpStream;
use std::process::Child;

use crabbox_tests::wait_for;

use super::site::{Five, free_port};
use crate::support::{end, spawn};

const SERVE: &str = "import http.server, sys
http.server.HTTPServer(('127.0.0.1', int(sys.argv[1])), http.server.SimpleHTTPRequestHandler).serve_forever()
";

const FETCH: &str = "import sys, urllib.request
sys.stdout.write(urllib.request.urlopen(sys.argv[1]).read().decode())";

impl Five {
    /// Serves the working tree on a member, on a port of its.
    fn serve(&self, member: &str, port: u16) -> Child {
        let number = port.to_string();
        let words = ["run", "--id", member, "--", "python3", "serve.py", &number];
        let server = spawn(&mut self.crabbox(&words));
        wait_for("the server", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        server
    }

    /// What a member gets at a URL.
    fn fetch(&self, member: &str, url: &str) -> String {
        self.ok(&["run", "--id", member, "--no-sync", "--", "python3", "-c", FETCH, url])
    }

    /// The URL that leads to a port of a member, as `peers` says.
    fn url(&self, member: &str, more: &[&str]) -> String {
        let rows = self.peers(more);
        let row = rows.as_array().unwrap().iter().find(|row| row["slug"] == member).unwrap();
        row["targets"][0]["url"].as_str().unwrap_or_else(|| panic!("{row:#}")).to_owned()
    }

    fn end(&self, member: &str, server: Child) {
        assert_eq!(self.run(&["stop", member, "--force"]).0, 0);
        end(server);
    }
}

#[test]
fn members_of_different_providers_talk_by_the_url_that_peers_gave() {
    let Some(five) = Five::new() else { return };
    five.world.write("serve.py", SERVE);
    let there = |member: &str| five.world.write("greeting", format!("hello from {member}\n"));
    five.warm();
    let own = free_port().to_string();
    five.ok(&["warmup", "--slug", "here", "--crew", "team", "--expose", &own]);

    // A task of the cluster, by the port that it was given, from a directory here.
    there("nomad");
    let server = five.serve("nomad", five.port);
    let url = five.url("nomad", &[]);
    assert_eq!(url, format!("http://127.0.0.1:{}", five.port));
    assert_eq!(five.fetch("local", &format!("{url}/greeting")), "hello from nomad\n");
    five.end("nomad", server);

    // A directory here, by its port, from a machine that is reached by SSH.
    there("here");
    let server = five.serve("here", own.parse().unwrap());
    let url = five.url("here", &[]);
    assert_eq!(five.fetch("ssh", &format!("{url}/greeting")), "hello from here\n");
    five.end("here", server);

    // A machine of the cloud, by the name that was published, from a machine that is reached by SSH. The emulated edge
    // has that name, but neither its certificate nor its place in the DNS: the request goes to the edge by hand.
    there("freestyle");
    let port = free_port();
    let server = five.serve("freestyle", port);
    let url = five.url("freestyle", &["--share-port", &port.to_string()]);
    let name = url.strip_prefix("https://").unwrap();
    let by_hand = format!(
        "import sys, urllib.request\nrequest = urllib.request.Request('{}/greeting', headers={{'Host': '{name}'}})\n\
         sys.stdout.write(urllib.request.urlopen(request).read().decode())",
        five.cloud.url()
    );
    let got = five.ok(&["run", "--id", "ssh", "--no-sync", "--", "python3", "-c", &by_hand]);
    assert_eq!(got, "hello from freestyle\n");
    five.end("freestyle", server);
    five.ok(&["crew", "release", "team"]);
    five.nothing_is_left();
}
