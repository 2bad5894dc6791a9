//! Names for the members on the machines of a tailnet: the script by itself, in every shell and awk that is here, against
//! a tailscale of the test's, and sent to a machine by SSH.

mod damage;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::Command;

use crabbox_tests::sshd::{Client, Identity, Options, Sshd};
use crabbox_tests::{World, binary, ended, tool};
use serde_json::{Value, json};

use crate::support::{assert_has, repository};

const TAG: &str = "tag:cbx-crew-ann-shop";

/// As `tailscale status --json` prints it, with two spaces and its map of nodes. The fields are those of
/// <https://pkg.go.dev/tailscale.com/ipn/ipnstate#Status>, as 1.102.5 had them at headscale 0.29.1.
fn status() -> Value {
    let node = |name: &str, addresses: &[&str], tags: &[&str]| {
        json!({
            "ID": "nXYZ11CNTRL", "NodeID": 7, "PublicKey": "nodekey:77", "HostName": name,
            "DNSName": format!("{name}.tail1234.ts.net."), "OS": "linux", "UserID": 4_711_000_000_u64,
            "TailscaleIPs": addresses, "AllowedIPs": ["100.64.0.0/32"], "Tags": tags, "Addrs": null, "CurAddr": "",
            "Relay": "fra", "PeerRelay": "", "RxBytes": 0, "TxBytes": -1.5e3, "Created": "2026-01-02T03:04:05.678Z",
            "LastWrite": "0001-01-01T00:00:00Z", "LastSeen": "0001-01-01T00:00:00Z",
            "LastHandshake": "0001-01-01T00:00:00Z", "Online": true, "ExitNode": false, "ExitNodeOption": false,
            "Active": false, "PeerAPIURL": ["http://100.64.0.1:41641"], "TaildropTarget": 0,
            "NoFileSharingReason": "", "InNetworkMap": true, "InMagicSock": true, "InEngine": false,
            // What is deeper is somebody else's.
            "CapMap": {"https": null, "other": [{"HostName": "evil", "TailscaleIPs": ["100.64.9.9"], "Tags": [TAG]}]},
        })
    };
    json!({
        "Version": "1.88.1-t0123456789-gabcdef", "TUN": true, "BackendState": "Running", "HaveNodeKey": true,
        "AuthURL": "", "TailscaleIPs": ["100.64.0.1", "fd7a:115c:a1e0::1"],
        "Self": node("crabbox-web", &["fd7a:115c:a1e0::1", "100.64.0.1"], &["tag:other", TAG]),
        "Health": ["odd: \"}],{[\\\", and a comma, too", "<é\u{2028}>"], "MagicDNSSuffix": "tail1234.ts.net",
        "CurrentTailnet": {"Name": "ann@example.com", "MagicDNSEnabled": true}, "CertDomains": null,
        "Peer": {
            "nodekey:01": node("db", &["100.64.0.20"], &[TAG]),
            "nodekey:02": node("crabbox-crabbox-7", &["100.64.0.3"], &[TAG]),
            "nodekey:03": node("Conal’s Mac mini", &["100.64.0.4"], &[TAG]),
            "nodekey:04": node("not-tagged", &["100.64.0.5"], &[]),
            "nodekey:05": node("another-crew", &["100.64.0.6"], &["tag:cbx-crew-ann-shop2", "tag:cbx-crew-ann-sho"]),
            "nodekey:06": node("twin", &["100.64.0.20"], &[TAG]),
            "nodekey:07": node("another-six", &["2001:db8::7", "fd7a:115c:a1e0::7 x", "fd7a:115c:a1e0:g"], &[TAG]),
            "nodekey:08": node("-dash", &["100.64.0.8"], &[TAG]),
            "nodekey:09": node("a b\n100.64.0.1 bank.example.com", &["100.64.0.9"], &[TAG]),
            "nodekey:10": node("crabbox-", &["100.64.0.10"], &[TAG]),
            "nodekey:11": node(&"x".repeat(64), &["100.64.0.11"], &[TAG]),
            // No control plane says this; whoever does is not believed.
            "nodekey:13": {"HostName": "deep-tag", "TailscaleIPs": ["100.64.0.13"], "Tags": [[TAG], {"Tags": TAG}]},
            "nodekey:14": {"HostName": ["deep-name"], "TailscaleIPs": ["100.64.0.14"], "Tags": [TAG]},
            "nodekey:12": node("odd-address", &["100.64.0.1234", "100.64.0.256", "x"], &[TAG]),
        },
        "User": {"4711000000": {"ID": 4_711_000_000_u64, "LoginName": "ann@example.com"}}, "ClientVersion": null,
    })
}

/// What has to come of it.
const NAMES: &str = "100.64.0.1 web.cbx\n100.64.0.20 db.cbx\n100.64.0.3 crabbox-7.cbx\n";

const HOSTS: &str = "127.0.0.1\tlocalhost\n\n::1 ip6-localhost # mine\n";

fn block(lines: &str) -> String {
    format!("# BEGIN crabbox crew\n{lines}# END crabbox crew\n")
}

/// A machine: the two files, and a tailscale that prints a file.
struct Guest {
    world: World,
    shell: Vec<PathBuf>,
}

impl Guest {
    fn new(shell: &[PathBuf]) -> Self {
        let guest = Self { world: World::new(), shell: shell.to_vec() };
        fs::create_dir(guest.etc()).unwrap();
        fs::write(guest.etc().join("hosts"), HOSTS).unwrap();
        let status = guest.world.root().join("status.json");
        let says = format!("#!/bin/sh\n[ \"$*\" = 'status --json' ] && exec cat {}\n", status.display());
        guest.world.script("tailscale", &says);
        guest
    }

    fn etc(&self) -> PathBuf {
        self.world.root().join("etc")
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.etc().join(name)).unwrap_or_else(|_| "none".to_owned())
    }

    fn command(&self) -> Command {
        let mut command = self.world.command(&self.shell[0]);
        command.args(&self.shell[1..]).env("CBX_HOSTS", self.etc().join("hosts"));
        command.env("CBX_NAMES", self.etc().join("hosts.cbx"));
        command
    }

    /// Runs the script while tailscale says this.
    fn run(&self, status: &str) -> (i32, String, String) {
        fs::write(self.world.root().join("status.json"), status).unwrap();
        ended(self.command().arg(repository().join("host/src/crew/guest.sh")).arg(TAG))
    }

    /// The same, where nothing may come of it.
    fn refuses(&self, status: &str) -> String {
        let before = (self.read("hosts"), self.read("hosts.cbx"));
        let (code, stdout, stderr) = self.run(status);
        assert_eq!((code, stdout.as_str()), (1, ""), "{:?}: {status}: {stderr}", self.shell);
        assert_eq!((self.read("hosts"), self.read("hosts.cbx")), before, "{status}");
        stderr
    }
}

/// Every shell that is here, each with every awk that is.
fn guests() -> Vec<Guest> {
    let mut guests = Vec::new();
    for shell in ["dash", "bash", "busybox"] {
        for awk in ["mawk", "gawk", "busybox"] {
            let (Some(shell), Some(awk)) = (tool(shell), tool(awk)) else { continue };
            let applet = shell.ends_with("busybox").then(|| PathBuf::from("sh"));
            let guest = Guest::new(&[shell].into_iter().chain(applet).collect::<Vec<_>>());
            symlink(awk, guest.world.bin().join("awk")).unwrap();
            guests.push(guest);
        }
    }
    guests
}

fn plain() -> Guest {
    Guest::new(&["/bin/sh".into()])
}

#[test]
fn the_nodes_of_a_crew_get_their_names_in_every_shell() {
    for guest in guests() {
        let pretty = serde_json::to_string_pretty(&status()).unwrap();
        let (code, stdout, stderr) = guest.run(&pretty);
        assert_eq!(
            (code, stdout.as_str(), stderr.as_str()),
            (0, "written: 3 names\n", ""),
            "{:?}",
            guest.shell
        );
        assert_eq!(guest.read("hosts.cbx"), NAMES);
        assert_eq!(guest.read("hosts"), format!("{HOSTS}{}", block(NAMES)));
        // How it is laid out means nothing, nor how its characters are written.
        let other = [
            status().to_string(),
            pretty.replace('\n', "\r\n\t"),
            status()
                .to_string()
                .replace("crabbox-web", r"\u0063rabbox\u002Dweb")
                .replace("\"db\"", r#""\u0064b""#),
        ];
        for text in other {
            assert_eq!(guest.run(&text).1, "unchanged: 3 names\n", "{text}");
        }
        // Somebody left, somebody came.
        let mut later = status();
        later["Peer"].as_object_mut().unwrap().remove("nodekey:01");
        later["Peer"]["nodekey:04"]["Tags"] = json!([TAG]);
        assert_eq!(guest.run(&later.to_string()).1, "written: 4 names\n");
        assert_has(&guest.read("hosts.cbx"), &["100.64.0.5 not-tagged.cbx\n", "100.64.0.20 twin.cbx\n"]);
        assert!(!guest.read("hosts").contains(" db.cbx"));
    }
}

#[test]
fn where_the_tailnet_says_nothing_that_can_be_read_nothing_is_touched_in_every_shell() {
    let whole = status().to_string();
    let mut stopped = status();
    stopped["BackendState"] = json!("Stopped");
    for guest in guests() {
        guest.refuses("");
        assert_has(&guest.refuses(&stopped.to_string()), &["not up, or says what cannot be read"]);
        guest.run(&whole);
        for text in [
            "nonsense",
            "[]",
            "null",
            "{}",
            r#"{"BackendState":"Running""#,
            r#"{"BackendState":"Running",}"#,
            r#"{"BackendState":"Running"}}"#,
            r#"{"BackendState":"Running"} x"#,
            r#"{"BackendState" "Running"}"#,
            r#"{"BackendState":"Running","a":[1,]}"#,
            r#"{"BackendState":"Running","a":[1}"#,
            r#"{"BackendState":"Running","a":01x}"#,
            r#"{"BackendState":"Running","a":tru}"#,
            r#"{"BackendState":"Running","a":"\x"}"#,
            r#"{"BackendState":"Running","a":"\u12g4"}"#,
            "{\"BackendState\":\"Running\",\"a\":\"b\nc\"}",
            r#"{"BackendState":"Running",7:1}"#,
            r#"{"A":{"BackendState":"Running"}}"#,
        ] {
            guest.refuses(text);
        }
    }
    let guest = plain();
    for at in (1..whole.len()).filter(|at| at % 97 == 0 && whole.is_char_boundary(*at)) {
        guest.refuses(&whole[..at]);
    }
    guest.world.script("tailscale", "#!/bin/sh\necho 'failed to connect to local tailscaled' >&2\nexit 1\n");
    assert_has(&guest.refuses(""), &["failed to connect", "tailscale does not say how it stands"]);
}

#[test]
fn what_is_right_already_is_not_touched_and_the_rest_of_the_file_stays() {
    let guest = plain();
    let (hosts, names) = (guest.etc().join("hosts"), guest.etc().join("hosts.cbx"));
    // Its block has a place, and stays there.
    let around = |lines: &str| format!("127.0.0.1 localhost\n{}10.0.0.1 after\n", block(lines));
    fs::write(&hosts, around("100.64.7.7 old.cbx\n")).unwrap();
    fs::set_permissions(&hosts, fs::Permissions::from_mode(0o604)).unwrap();
    guest.run(&status().to_string());
    assert_eq!(guest.read("hosts"), around(NAMES));
    let stand = || {
        [&hosts, &names].map(|path| {
            let is = fs::metadata(path).unwrap();
            (is.mode() & 0o777, is.ino(), is.mtime(), is.mtime_nsec())
        })
    };
    let before = stand();
    assert_eq!((before[0].0, before[1].0), (0o604, 0o644));
    assert_eq!(guest.run(&status().to_string()).1, "unchanged: 3 names\n");
    assert_eq!(stand(), before);
    assert_eq!(fs::read_dir(guest.etc()).unwrap().count(), 2, "nothing else is left");

    // With nobody there is no block.
    let mut nobody = status();
    (nobody["Self"]["Tags"], nobody["Peer"]) = (Value::Null, Value::Null);
    guest.run(&nobody.to_string());
    assert_eq!(
        (guest.read("hosts"), guest.read("hosts.cbx")),
        (around("").replace(&block(""), ""), String::new())
    );
    // One that ends without LF and that nothing is to be done to is not touched.
    fs::write(&hosts, "127.0.0.1 localhost").unwrap();
    assert_eq!(guest.run(&nobody.to_string()).1, "unchanged: 0 names\n");
    assert_eq!(guest.read("hosts"), "127.0.0.1 localhost");
    guest.run(&status().to_string());
    assert_eq!(guest.read("hosts"), format!("127.0.0.1 localhost\n{}", block(NAMES)));

    // What comes after a begin without its end may be somebody's.
    let damaged = "# BEGIN crabbox crew\n10.0.0.1 mine\n";
    fs::write(&hosts, damaged).unwrap();
    assert_has(&guest.refuses(&nobody.to_string()), &["has no end"]);

    // A link stays one.
    let real = guest.world.root().join("real");
    fs::rename(&hosts, &real).unwrap();
    fs::write(&real, HOSTS).unwrap();
    symlink(&real, &hosts).unwrap();
    guest.run(&status().to_string());
    assert!(fs::symlink_metadata(&hosts).unwrap().is_symlink());
    assert_eq!(fs::read_to_string(&real).unwrap(), format!("{HOSTS}{}", block(NAMES)));
}

#[test]
fn the_script_that_is_printed_does_it_by_itself() {
    let guest = plain();
    let script =
        guest.world.crabbox(&["crew", "hosts", "Shop", "--print"]).env("CRABBOX_OWNER", "ann@b").output();
    let script = String::from_utf8(script.unwrap().stdout).unwrap();
    let path = guest.world.script("refresh", &script);
    fs::write(guest.world.root().join("status.json"), status().to_string()).unwrap();
    let (code, stdout, stderr) = ended(guest.command().arg(path));
    assert_eq!((code, stdout.as_str()), (0, "written: 3 names\n"), "{stderr}");
    assert_eq!(guest.read("hosts.cbx"), NAMES);
}

/// A crew of a machine that is reached by SSH and a directory here, and where the machine's files are.
struct Site {
    guest: Guest,
    _sshd: Sshd,
}

impl Site {
    /// A machine whose sessions have these variables besides.
    fn new(more: &[(&str, String)]) -> Option<Self> {
        let guest = plain();
        let text = |path: PathBuf| path.to_str().unwrap().to_owned();
        let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", text(guest.world.bin()));
        let mut environment: Vec<(String, String)> = vec![
            ("CBX_HOSTS".to_owned(), text(guest.etc().join("hosts"))),
            ("CBX_NAMES".to_owned(), text(guest.etc().join("hosts.cbx"))),
            ("PATH".to_owned(), path),
        ];
        environment.extend(more.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        let world = &guest.world;
        let key = Identity::new(&world.home().join(".ssh/id_box"));
        let environment = environment.into_iter().collect();
        let sshd = Sshd::with(Options { authorized: vec![key.public()], environment, ..Options::default() })?;
        world.install(&binary("crabbox-provider-ssh"));
        Client::install(world).host("box", &sshd, &key).knows("box", &sshd);
        world.write_config(&json!({"ssh": {"host": "box"}}).to_string());
        world.ok(&["warmup", "--provider", "ssh", "--slug", "there", "--crew", "shop"]);
        world.ok(&["warmup", "--slug", "here", "--crew", "shop"]);
        fs::write(world.root().join("status.json"), status().to_string()).unwrap();
        Some(Self { guest, _sshd: sshd })
    }

    /// What became of each member.
    fn hosts(&self) -> (i32, Vec<String>, String) {
        let mut command = self.guest.world.crabbox(&["crew", "hosts", "shop"]);
        let (code, stdout, stderr) = ended(command.env("CRABBOX_OWNER", "ann@b"));
        let row = |line: &str| {
            let cells: Vec<_> = line.split('\t').collect();
            [cells[0], cells[2], cells[3], cells[4]].join(" ")
        };
        (code, stdout.lines().map(row).collect(), stderr)
    }
}

#[test]
fn the_members_that_are_reached_by_ssh_are_given_the_names() {
    let Some(site) = Site::new(&[]) else { return };
    let here = "here provider=local skip it is not reached by SSH";
    let (code, rows, stderr) = site.hosts();
    assert_eq!(rows, [here, "there provider=ssh ok written: 3 names"], "{stderr}");
    assert_eq!(code, 0);
    assert_eq!(site.guest.read("hosts.cbx"), NAMES);
    assert_eq!(site.guest.read("hosts"), format!("{HOSTS}{}", block(NAMES)));
    assert_eq!(site.hosts().1[1], "there provider=ssh ok unchanged: 3 names");
    site.guest.world.script("tailscale", "#!/bin/sh\nexit 1\n");
    let (code, rows, stderr) = site.hosts();
    assert_eq!(code, 1, "{stderr}");
    assert_eq!(rows[1], "there provider=ssh FAIL tailscale does not say how it stands; nothing was changed");
    assert_has(&stderr, &["not every member of crew shop has the names"]);
    site.guest.world.ok(&["crew", "release", "shop"]);
}

#[test]
fn somebody_who_is_not_root_there_asks_sudo_which_may_ask_nobody() {
    let Some(site) = Site::new(&[("CBX_NAMES", "/nonexistent/hosts.cbx".to_owned())]) else { return };
    let world = &site.guest.world;
    world.script("id", "#!/bin/sh\necho 1000\n");
    let refuses = "#!/bin/sh\necho 'sudo: a password is required' >&2\nexit 1\n";
    world.script("sudo", refuses);
    let (code, rows, stderr) = site.hosts();
    assert_eq!(
        (code, rows[1].as_str()),
        (1, "there provider=ssh FAIL sudo: a password is required"),
        "{stderr}"
    );
    // It starts what it is told to, with root's variables.
    let names = site.guest.etc().join("hosts.cbx");
    let allows =
        format!("#!/bin/sh\n[ \"$1\" = -n ] || exit 1\nshift\nCBX_NAMES={} exec \"$@\"\n", names.display());
    world.script("sudo", &allows);
    assert_eq!(site.hosts().1[1], "there provider=ssh ok written: 3 names");
    assert_eq!(site.guest.read("hosts.cbx"), NAMES);
    world.ok(&["crew", "release", "shop"]);
}
