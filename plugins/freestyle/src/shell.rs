//! Lines for a machine's shell.

/// A word for a shell.
pub(crate) fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// What the shell says when a command could not be started.
pub(crate) const NOT_STARTED: &str = "crabbox-not-started";

/// What a command reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Input<'a> {
    /// What the line itself is given.
    Given,
    /// Nothing.
    Nothing,
    /// A file, which is gone before the command begins: open, it can be read without a name.
    File(&'a str),
}

/// Runs an argv in a directory with its output in the files `out` and `err` of the directory `place`, which only the
/// user can look into.
pub(crate) fn running(directory: &str, place: &str, argv: &[String], input: Input<'_>) -> String {
    let words = argv.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ");
    let (directory, place) = (quoted(directory), quoted(place));
    let (is_there, open, drop) = match input {
        Input::Given => (":".to_owned(), ":".to_owned(), ":".to_owned()),
        Input::Nothing => (":".to_owned(), "exec </dev/null".to_owned(), ":".to_owned()),
        Input::File(path) => {
            let path = quoted(path);
            (format!("[ -r {path} ]"), format!("exec <{path}"), format!("rm -f {path}"))
        }
    };
    format!(
        "mkdir -p {directory} && cd {directory} && (umask 077 && mkdir -p {place} && : >{place}/out && : >{place}/err) \
         && {is_there} || {{ {drop}; echo {NOT_STARTED} >&2; exit 125; }}\n\
         {open}; {drop}\n\
         ({words}) >{place}/out 2>{place}/err"
    )
}

/// A file that arrived in pieces.
#[derive(Debug)]
pub(crate) struct Arrived<'a> {
    /// Where the pieces are.
    pub(crate) base: &'a str,
    /// How long all of it is, in bytes.
    pub(crate) size: u64,
    /// Its hash.
    pub(crate) sha256: &'a str,
    /// Where it is to be.
    pub(crate) to: &'a str,
    /// What may be done with it.
    pub(crate) mode: u32,
    /// Whose it is, and the directories that are made for it.
    pub(crate) owner: &'a str,
}

impl Arrived<'_> {
    /// Puts the pieces together, verifies the file, and moves it to where it is to be. Whatever happens, the pieces
    /// are gone.
    pub(crate) fn settling(&self) -> String {
        let (base, to, owner) = (quoted(self.base), quoted(self.to), quoted(self.owner));
        let (size, sha256, mode) = (self.size, quoted(self.sha256), self.mode);
        let clear = self.clearing();
        format!(
            "umask 077; trap {} EXIT\n\
             no() {{ echo \"$1\" >&2; exit 1; }}\n\
             made() {{ [ -d \"$1\" ] || {{ made \"$(dirname \"$1\")\" && mkdir -m 755 \"$1\" && chown {owner} \"$1\"; }}; }}\n\
             cat {base}.[0-9]* >{base} || no 'a piece is missing'\n\
             s=$(wc -c <{base}) && [ $((s)) -eq {size} ] || no 'its size differs'\n\
             s=$(sha256sum <{base}) || no 'its sha256 cannot be told'\n\
             [ \"${{s%% *}}\" = {sha256} ] || no 'its sha256 differs'\n\
             [ ! -d {to} ] || no 'there is a directory'\n\
             chmod {mode:o} {base} && chown {owner} {base} && made \"$(dirname {to})\" && mv -f {base} {to}",
            quoted(&clear)
        )
    }

    /// Takes away what is left of the pieces.
    pub(crate) fn clearing(&self) -> String {
        let base = quoted(self.base);
        format!("rm -f {base} {base}.[0-9]*")
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::process::{Command, Output};

    use sha2::{Digest as _, Sha256};

    use super::*;
    use crate::source::{hex, piece_path};

    fn sh(line: &str) -> Output {
        Command::new("sh").args(["-c", line]).output().unwrap()
    }

    #[test]
    fn the_line_runs_the_argv_and_keeps_its_streams_apart() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
        let argv = ["sh", "-c", "cat; printf '[%s]' \"$@\" >&2; pwd; exit 7", "x", "it's", "", "a b\n"];
        let argv = argv.map(str::to_owned);
        std::fs::write(at("p.in"), "input").unwrap();
        let output = sh(&running(&at("a b"), &at("p"), &argv, Input::File(&at("p.in"))));
        assert_eq!((output.status.code(), output.stdout, output.stderr), (Some(7), vec![], vec![]));
        assert_eq!(std::fs::read_to_string(at("p/out")).unwrap(), format!("input{}\n", at("a b")));
        assert_eq!(std::fs::read_to_string(at("p/err")).unwrap(), "[it's][][a b\n]");
        assert!(!directory.path().join("p.in").exists());
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_no_end_of_the_command() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
        std::fs::write(at("file"), "").unwrap();
        std::fs::write(at("p.in"), "input").unwrap();
        let argv = ["cat".to_owned()];
        for (below, input) in [("file/below", "p.in"), ("fine", "not there")] {
            let output = sh(&running(&at(below), &at("p"), &argv, Input::File(&at(input))));
            assert_eq!(output.status.code(), Some(125));
            assert!(String::from_utf8_lossy(&output.stderr).contains(NOT_STARTED));
        }
        assert!(!directory.path().join("p.in").exists(), "nothing is left of what it was to read");
        let output = sh(&running(&at("fine"), &at("p"), &argv, Input::Nothing));
        assert_eq!(output.status.code(), Some(0));
    }

    #[test]
    fn what_a_command_reads_has_no_name_any_more() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
        std::fs::write(at("p.in"), "input").unwrap();
        let argv = ["sh", "-c", "ls ..; cat"].map(str::to_owned);
        assert!(sh(&running(&at("here"), &at("p"), &argv, Input::File(&at("p.in")))).status.success());
        assert_eq!(std::fs::read_to_string(at("p/out")).unwrap(), "here\np\ninput");
    }

    #[test]
    fn pieces_become_a_file_or_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
        let me = String::from_utf8(sh("id -un").stdout).unwrap();
        let (base, to, sha256) = (at("b'ase"), at("new dir/it's/file"), hex(&Sha256::digest("one two")));
        let arrived =
            Arrived { base: &base, size: 7, sha256: &sha256, to: &to, mode: 0o640, owner: me.trim() };
        let left = || std::fs::read_dir(directory.path()).unwrap().count();
        let arrive = |pieces: &[&str]| {
            for (piece, number) in pieces.iter().zip(0..) {
                std::fs::write(piece_path(&base, number), piece).unwrap();
            }
        };
        for (pieces, why) in [
            (&["one ", "twO"][..], "sha256"),
            (&["one "], "size"),
            (&["one ", "two", "!"], "size"),
            (&[], "missing"),
        ] {
            arrive(pieces);
            let output = sh(&arrived.settling());
            assert_eq!(output.status.code(), Some(1), "{pieces:?}");
            assert!(String::from_utf8_lossy(&output.stderr).contains(why), "{pieces:?}");
            assert_eq!(left(), 0, "{pieces:?}");
        }
        arrive(&["one ", "two"]);
        assert!(sh(&arrived.settling()).status.success());
        assert_eq!((std::fs::read_to_string(&to).unwrap().as_str(), left()), ("one two", 1));
        assert_eq!(std::fs::metadata(&to).unwrap().permissions().mode() & 0o7777, 0o640);
        arrive(&["one "]);
        assert!(sh(&arrived.clearing()).status.success());
        assert_eq!(left(), 1);

        std::fs::remove_file(&to).unwrap();
        std::fs::create_dir(&to).unwrap();
        arrive(&["one ", "two"]);
        assert!(!sh(&arrived.settling()).status.success(), "it is not put into a directory");
        assert_eq!(std::fs::read_dir(&to).unwrap().count(), 0);
    }
}
