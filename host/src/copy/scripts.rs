//! What is executed on the lease for a copy.

use std::ffi::{OsStr, OsString};

use crabbox_protocol::RunId;

use super::pack::Late;
use super::words::Remote;
use crate::remote::{LOOK, Script};

const RECEIVE: &str = include_str!("receive.sh");
const SWEEP: &str = include_str!("sweep.sh");
const SEND: &str = include_str!("send.sh");

/// How a path of the lease goes to standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sending {
    /// As an archive, each member by the name of what is copied.
    Whole,
    /// What is in a directory, as an archive.
    Inside,
    /// The bytes of a file.
    Bytes,
}

impl Sending {
    /// How a path is sent whose copy becomes a file or a directory here.
    pub(crate) fn of(from: &Remote) -> Self {
        if from.spot().directory { Self::Inside } else { Self::Whole }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Inside => "inside",
            Self::Bytes => "bytes",
        }
    }
}

/// The script that sends what is at a path of the lease.
pub(crate) fn send_script(root: Option<&str>, run: &RunId, from: &Remote, how: Sending) -> Vec<u8> {
    let spot = from.spot();
    let mut script = Script::new(root);
    script.assign("cbx_how", how.word().as_ref());
    script.assign("cbx_path", &from.word());
    script.assign("cbx_parent", &spot.parent);
    script.assign("cbx_name", spot.name.as_deref().unwrap_or_default());
    script.record(run);
    script.source(SEND);
    script.finish()
}

/// The script that removes what killed copies have staged.
pub(crate) fn sweep_script(root: Option<&str>) -> Vec<u8> {
    let mut script = Script::new(root);
    script.source(LOOK);
    script.source(SWEEP);
    script.finish()
}

/// The script that places what follows on its standard input, or what was put into `file`, at a path of the lease.
/// `names` are what the copies are called if that is a directory; `late` are directories below them that nobody may
/// write to, with their modes.
pub(crate) fn receive_script(
    root: Option<&str>,
    run: &RunId,
    to: &Remote,
    names: &[Option<OsString>],
    late: &[Late],
    file: Option<&str>,
) -> Vec<u8> {
    let spot = to.spot();
    let flag = |flag: bool| OsStr::new(if flag { "1" } else { "" });
    let mut script = Script::new(root);
    script.assign("cbx_to", &to.word());
    script.assign("cbx_parent", &spot.parent);
    script.assign("cbx_name", spot.name.as_deref().unwrap_or_default());
    script.assign("cbx_must", flag(spot.directory || names.len() > 1));
    script.assign("cbx_file", file.unwrap_or_default().as_ref());
    script.record(run);
    script.source(LOOK);
    script.source(SWEEP);
    script.source(RECEIVE);
    let each = |script: &mut Script, command: &str| {
        for (n, name) in names.iter().enumerate() {
            let number = n.to_string();
            script.words(command, [number.as_ref(), name.as_deref().unwrap_or_default()]);
        }
    };
    each(&mut script, "cbx_check");
    each(&mut script, "cbx_place");
    for Late { source, path, mode } in late {
        let (number, mode) = (source.to_string(), format!("{mode:o}"));
        let name = names.get(*source).and_then(Option::as_deref).unwrap_or_default();
        script.words("cbx_mode", [number.as_ref(), name, mode.as_ref(), path.as_os_str()]);
    }
    script.line("echo placed");
    script.finish()
}
