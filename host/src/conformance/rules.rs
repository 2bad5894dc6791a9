//! The rules: what is checked, in the order of docs/protocol.md's table of them.
//!
//! A rule is data: its name, a sentence that is true where the rule is kept, and the section that lays it
//! down. How it is tried is in the module of its group.

use crabbox_protocol::records::RuleLevel;
use crabbox_protocol::{Method, feature};

/// A rule of the protocol.
#[derive(Debug)]
pub(super) struct Rule {
    /// Its name, which does not change.
    pub(super) id: &'static str,
    /// What it is about.
    pub(super) group: &'static str,
    /// Whether it has to be kept.
    pub(super) level: RuleLevel,
    /// The heading of docs/protocol.md that lays it down.
    pub(super) section: &'static str,
    /// What has to be there for it to be tried.
    pub(super) needs: &'static [Need],
    /// What holds where it is kept.
    pub(super) says: &'static str,
}

/// What a rule needs, besides a plugin that introduces itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// The plugin answers a method.
    Has(Method),
    /// It declares a feature, and does not withdraw it.
    Feature(&'static str),
    /// It hands over a place to run: a lease, or for a one-shot provider a run.
    Place,
    /// It has leases, and one was made.
    Lease,
    /// It has no `run`: its leases are reached by SSH.
    Ssh,
    /// It is a one-shot provider, and can be tried.
    OneShot,
    /// `--live` was given.
    Live,
}

impl Rule {
    /// Whether it is looked at all the time, rather than tried once.
    pub(super) fn is_watched(&self) -> bool {
        self.group == "every line" || [ENDS.id, NO_PROCESS_LEFT.id].contains(&self.id)
    }
}

impl Need {
    /// The need in words, for the table.
    #[cfg(test)]
    pub(super) fn describe(self) -> String {
        match self {
            Self::Has(method) => format!("`{method}`"),
            Self::Feature(name) => format!("feature `{name}`"),
            Self::Place => "a run".to_owned(),
            Self::Lease => "a lease".to_owned(),
            Self::Ssh => "no `run`".to_owned(),
            Self::OneShot => "a one-shot run".to_owned(),
            Self::Live => "`--live`".to_owned(),
        }
    }
}

macro_rules! rules {
    ($($group:literal { $($name:ident = $id:literal, $level:ident, $section:literal, [$($need:expr),*], $says:literal;)* })*) => {
        /// Every rule.
        pub(super) const ALL: &[&Rule] = &[$($($name,)*)*];
        $($(pub(super) const $name: &Rule = &Rule {
            id: $id, group: $group, level: RuleLevel::$level, section: $section, needs: &[$($need),*], says: $says,
        };)*)*
    };
}

use Need::{Feature, Has, Lease, Live, OneShot, Place, Ssh};

rules! {
    "handshake" {
        ANSWERS = "initialize-answers", Must, "initialize", [],
            "`initialize` is answered with a manifest within 5 s.";
        VERSION_UNKNOWN = "versions-of-the-future", Must, "3-versions-and-growth", [],
            "Offered only versions that do not exist yet, the plugin answers with the one that it would have liked.";
        VERSION_PICKED = "versions-picked", Must, "3-versions-and-growth", [],
            "Offered several versions, the plugin picks one that both sides speak.";
        FIELDS_IGNORED = "unknown-fields-ignored", Must, "2-framing", [],
            "Fields that nobody knows, in a message or in its parameters, change nothing.";
        NO_LAST_LF = "last-line-without-lf", Should, "2-framing", [],
            "A last line without LF is answered before the plugin ends.";
        HELP = "help-without-stdio", Should, "4-launch-and-life-of-a-process", [],
            "Started without `--stdio`, the plugin prints what it is, and ends.";
        ENDS = "ends-with-its-input", Must, "4-launch-and-life-of-a-process", [],
            "When standard input ends, the plugin ends within 2 s.";
        NO_PROCESS_LEFT = "leaves-no-process", Must, "4-launch-and-life-of-a-process", [],
            "When the plugin has ended, nothing that it started on this machine is alive.";
    }
    "manifest" {
        PURE = "initialize-is-pure", Must, "initialize", [],
            "The manifest is the same under any working directory and HOME.";
        PATH_ALONE = "initialize-with-path-alone", Must, "initialize", [],
            "The manifest is the same with PATH alone in the environment.";
        NO_FILES = "initialize-writes-nothing", Must, "initialize", [],
            "`initialize` writes no file in the working directory, HOME, TMPDIR or the XDG directories.";
        OFFLINE = "initialize-offline", Must, "initialize", [],
            "The manifest is the same without a network.";
        NAMED = "name-is-the-files", Must, "initialize", [],
            "The manifest's name is that of the executable, and a provider may have it.";
        REQUIRES = "requires-known", Must, "3-versions-and-growth", [],
            "The manifest requires only features that this host knows.";
        METHODS = "methods-complete", Must, "initialize", [],
            "A leased provider has `acquire` and `release`, a one-shot provider has `run`.";
        NAMES_KNOWN = "names-known", Should, "initialize", [],
            "The methods and features that the manifest names are ones of version 1.";
        SCHEMA = "schema-sound", Must, "initialize", [],
            "The configuration's schema is valid, and no flag or variable made from it is taken or made twice.";
    }
    "requests" {
        UNKNOWN_METHOD = "unknown-method-refused", Must, "7-methods", [],
            "A method that the plugin does not have is answered with the error -32601.";
        UNKNOWN_NOTE = "unknown-notification-ignored", Must, "2-framing", [],
            "A notification that the plugin does not know is not answered and changes nothing.";
        IDS = "ids-echoed", Must, "5-the-envelope", [],
            "A response carries the id of its request, also 0 and 2^53 - 1.";
        LONG_60K = "request-of-60-kib", Must, "2-framing", [],
            "A request of 60 KiB is answered.";
        LONG_1M = "request-of-1-mib", Must, "2-framing", [],
            "A request of 1 MiB, the longest there may be, is answered.";
    }
    "configuration" {
        CONFIGURED = "configure-answers", Must, "configure", [Has(Method::Configure)],
            "`configure` is answered with a scope, or with what is wrong.";
        CONFIGURE_STABLE = "configure-is-stable", Must, "configure", [Has(Method::Configure)],
            "The same configuration has the same scope in another process.";
        CONFIGURE_KEYS = "problems-name-keys", Must, "configure", [Has(Method::Configure)],
            "Each problem names a key of the schema, or is about the whole.";
        CONFIGURE_ALL = "problems-at-once", Must, "configure", [Has(Method::Configure)],
            "Where several values are wrong, every one is reported, each with its key.";
        CONFIGURE_OFFLINE = "configure-offline", Must, "configure", [Has(Method::Configure)],
            "`configure` answers the same without a network.";
        SECRETS = "secrets-not-echoed", Must, "10-errors", [],
            "No secret is in anything that the plugin writes, standard error included.";
        DOCTOR = "doctor-answers", Must, "doctor", [Has(Method::Doctor)],
            "`doctor` answers with checks, also where `configure` reported problems.";
    }
    "lease" {
        ACQUIRED = "acquire-answers", Must, "acquire", [Lease],
            "`acquire` makes the lease, and what it answers is about that lease.";
        ACQUIRED_TWICE = "acquire-is-idempotent", Must, "acquire", [Lease],
            "Asked again, in another process, `acquire` answers with the same lease.";
        WITHOUT_STATE = "works-without-state", Must, "6-limits-deadlines-state", [Lease],
            "The lease is found by its id, slug and name, without `ref`, `state` and `root`.";
        OBSERVE = "observe-changes-nothing", Must, "resolve", [Lease, Has(Method::Resolve)],
            "Observed twice, the lease stands as before.";
        NEVER_MADE = "never-made-is-not-there", Must, "resolve", [Lease, Has(Method::Resolve)],
            "A lease that was never made is `missing`, or cannot be told.";
        LISTED = "list-has-the-lease", Must, "list", [Lease, Has(Method::List)],
            "A complete list has the lease while it lives.";
        TOUCHED = "touch-changes-nothing-else", Must, "touch", [Lease, Has(Method::Touch)],
            "`touch` is answered, and the lease stands as before.";
        PUT = "put-places", Must, "put", [Lease, Place, Has(Method::Put)],
            "`put` places a file byte for byte, with its mode, and makes the directories on the way.";
        PUT_VERIFIES = "put-verifies", Must, "put", [Lease, Has(Method::Put)],
            "`put` refuses a file whose size or SHA-256 is not the announced one.";
        BRIDGE = "bridge-answers", Must, "bridge-unbridge", [Lease, Has(Method::Bridge)],
            "A way that is `ready` is one: it has a transport and leads somewhere, to the port that was asked about.";
        BRIDGE_LOOKS = "bridge-only-looks", Must, "bridge-unbridge", [Lease, Has(Method::Bridge)],
            "Without `publish`, `bridge` says the same in another process.";
        UNBRIDGE_NOTHING = "unbridge-of-nothing", Must, "bridge-unbridge", [Lease, Has(Method::Unbridge)],
            "Of a port that was never published, `unbridge` answers `absent`.";
        PUBLISHED = "published-and-taken-back", Must, "bridge-unbridge", [Lease, Has(Method::Bridge), Has(Method::Unbridge), Live],
            "Published twice, a port is in one place; it is taken back once.";
        SSH_SOUND = "ssh-is-a-way", Must, "leases-reached-by-ssh", [Lease, Ssh],
            "Without `run`, the lease has `ssh`: a user and a host that ssh takes for nothing else, and a directory.";
        SSH_REACHES = "ssh-reaches-the-lease", Must, "leases-reached-by-ssh", [Lease, Ssh, Live],
            "By that way OpenSSH reaches the lease, and its directory can be used.";
        SYNC = "sync-round-trip", Must, "run", [Lease, Place],
            "crabbox's own sync brings a tree over and changes it, by `run` alone.";
    }
    "run" {
        ARGV = "argv-is-exact", Must, "run", [Place],
            "The argv is executed word for word, without a shell around it.";
        STDIN = "stdin-is-exact", Must, "run", [Lease, Place],
            "Standard input is the file byte for byte, NUL and invalid UTF-8 included, and then ends.";
        NO_STDIN = "stdin-absent-is-empty", Must, "run", [Place],
            "Without `stdin` the command's standard input is at its end at once.";
        OUTPUT = "output-is-exact", Must, "8-output", [Place],
            "Both streams arrive byte for byte, apart from each other: U+2028, emoji, NUL, invalid UTF-8.";
        LIVE = "output-is-live", Must, "8-output", [Lease, Place],
            "Output arrives while the command still runs.";
        LARGE = "output-of-100-mb", Must, "8-output", [Place, Live],
            "100 MB of output arrive whole and in order.";
        CODES = "exit-codes-are-exact", Must, "run", [Place],
            "The exit codes 0, 7 and 255 are told as they are.";
        SIGNALS = "signals-are-told", Must, "run", [Place],
            "A command that a signal ended is told as that signal, or as the code 128 and its number.";
        DIRECTORY = "directory-is-the-leases", Must, "run", [Lease, Place],
            "Every run of the lease starts in the same directory, and finds there what an earlier one left.";
        WORKSPACE = "workspace-is-unpacked", Must, "run", [OneShot],
            "A one-shot run starts in the tree that it was given, with the environment that it was given.";
        INPUT_ENDS = "ends-in-mid-run", Must, "4-launch-and-life-of-a-process", [Place],
            "When standard input ends in the middle of a run, the plugin ends within 2 s, and nothing that it put outside of its group is left.";
    }
    "cancel" {
        CANCEL_DURING = "cancel-in-mid-run", Must, "9-cancellation", [Place, Feature(feature::CANCEL)],
            "A cancelled run is answered once within 10 s, and a result means that all of the command is dead.";
        CANCEL_BEFORE = "cancel-at-once", Must, "9-cancellation", [Place, Feature(feature::CANCEL)],
            "A run that is cancelled in the moment in which it is asked for is answered once.";
        CANCEL_AFTER = "cancel-too-late", Must, "9-cancellation", [Place, Feature(feature::CANCEL)],
            "A `cancel` for a request that was answered is ignored.";
        LIFELINE_BEATS = "lifeline-beats", Must, "signs-of-life", [Lease, Place, Feature(feature::LIFELINE)],
            "With `lifelineMs`, the file's bytes are followed by LF at that interval while the command runs, and by nothing else.";
        LIFELINE_CLOSES = "lifeline-closes", Must, "signs-of-life", [Lease, Place, Feature(feature::LIFELINE)],
            "When a run with `lifelineMs` is cancelled, or the plugin's own input ends, its standard input ends, or it is dead.";
        KILLED = "kill-ends-the-run", Must, "kill", [Lease, Place, Has(Method::Kill)],
            "`kill` from another process ends a run, all of it.";
        KILLED_TWICE = "kill-is-idempotent", Must, "kill", [Lease, Place, Has(Method::Kill)],
            "Asked again, `kill` answers `dead` or `absent`.";
    }
    "release" {
        RELEASE_NOTHING = "release-of-nothing", Must, "release", [Lease],
            "The release of a lease that was never made is answered with `absent`.";
        RELEASED = "release-confirms", Must, "release", [Lease],
            "`release` ends the lease, and says `released` in the end.";
        RELEASED_TWICE = "release-is-idempotent", Must, "release", [Lease],
            "Asked again, `release` answers `absent` or `released`.";
        MISSING = "released-is-missing", Must, "resolve", [Lease, Has(Method::Resolve)],
            "A lease that was deleted is `missing`.";
        UNLISTED = "list-forgets-the-released", Must, "list", [Lease, Has(Method::List)],
            "A complete list does not have a lease that was deleted.";
    }
    "every line" {
        STRAYS = "stdout-is-the-protocols", Must, "strays-and-broken-messages", [],
            "Every line on standard output is a message.";
        BROKEN = "messages-can-be-read", Must, "strays-and-broken-messages", [],
            "Every message can be read, is at most 1 MiB long, and belongs to a request.";
        ONCE = "answers-come-once", Must, "2-framing", [],
            "No request is answered twice.";
        IN_TIME = "notifications-come-before", Must, "2-framing", [],
            "Every notification comes before the response to its request.";
        FITS = "results-fit", Must, "7-methods", [],
            "Every result and every notification is as its schema says.";
        ERRORS = "errors-have-kinds", Should, "10-errors", [],
            "Every error has the code -32000 or -32601, and a kind that version 1 knows.";
        PIECES = "output-in-pieces", Must, "8-output", [],
            "A piece of output is at most 32 KiB.";
        ONE_WAY = "output-goes-one-way", Must, "8-output", [],
            "Where `run` has paths for its output, none comes by notification.";
        JSONRPC = "jsonrpc-is-said", Should, "leniency", [],
            "Every message says `\"jsonrpc\":\"2.0\"`.";
        ID_TYPES = "ids-are-integers", Should, "leniency", [],
            "Ids are integers, not texts or fractions.";
        NULLS = "absent-is-left-out", Should, "leniency", [],
            "What is absent is left out, and not `null`.";
        TYPES = "types-are-exact", Should, "leniency", [],
            "Numbers, texts, booleans and objects are what they are to be: not `\"7\"`, `7.0`, `1` or `[]` in their place.";
        WORDS = "words-are-known", Should, "leniency", [],
            "Words are those of version 1, where a schema lists them.";
        CR = "lines-end-in-lf", Should, "leniency", [],
            "Lines end in LF, without CR before it.";
        BOM = "no-byte-order-mark", Should, "leniency", [],
            "Lines begin without a byte order mark.";
    }
}

/// The table of all rules, for docs/protocol.md.
#[cfg(test)]
pub(super) fn table() -> String {
    let mut text = String::new();
    let mut group = "";
    for rule in ALL {
        if rule.group != group {
            group = rule.group;
            text += &format!("\n**{}{}**\n\n", group[..1].to_uppercase(), &group[1..]);
            text += "| rule | what holds | level | needs | section |\n|---|---|---|---|---|\n";
        }
        let needs: Vec<_> = rule.needs.iter().map(|need| need.describe()).collect();
        text += &format!(
            "| `{}` | {} | {} | {} | [{}](#{}) |\n",
            rule.id,
            rule.says,
            rule.level.name(),
            needs.join(", "),
            heading(rule.section),
            rule.section
        );
    }
    text
}

/// How the table names a section: by its number where it has one.
#[cfg(test)]
fn heading(section: &str) -> &str {
    match section.split_once('-') {
        Some((number, _)) if number.parse::<u8>().is_ok() => number,
        _ => section,
    }
}
