//! The protocol's two streams, moved away from descriptors 0 and 1.

use std::fs::File;
use std::io;
use std::sync::mpsc;
use std::time::Duration;

use rustix::fd::{AsFd as _, OwnedFd};
use tokio::net::unix::pipe::{Receiver, Sender};

/// What standard input and output were when the plugin started.
pub(crate) struct Stdio {
    input: OwnedFd,
    output: OwnedFd,
}

/// What still has to be finished when the session is over.
pub(crate) struct Streams {
    copied: Option<mpsc::Receiver<()>>,
}

impl Stdio {
    /// Takes the streams and leaves others in their place: nothing to read on descriptor 0, standard
    /// error on descriptor 1.
    pub(crate) fn take() -> io::Result<Self> {
        let input = io::stdin().as_fd().try_clone_to_owned()?;
        let output = io::stdout().as_fd().try_clone_to_owned()?;
        rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
        rustix::stdio::dup2_stdout(io::stderr())?;
        Ok(Self { input, output })
    }

    /// Opens the streams for reading and writing without blocking. A pipe, which is what the host gives,
    /// is used as it is; anything else (a socket, a file, a terminal) goes through a pipe and a thread,
    /// because its other holders do not expect it to change its mode.
    pub(crate) fn open(self) -> io::Result<(Receiver, Sender, Streams)> {
        let input = match Receiver::from_owned_fd(self.input.try_clone()?) {
            Ok(input) => input,
            Err(_) => {
                let (reader, mut writer) = io::pipe()?;
                let mut source = File::from(self.input);
                std::thread::spawn(move || io::copy(&mut source, &mut writer));
                Receiver::from_owned_fd(reader.into())?
            }
        };
        let (output, copied) = match Sender::from_owned_fd(self.output.try_clone()?) {
            Ok(output) => (output, None),
            Err(_) => {
                let (mut reader, writer) = io::pipe()?;
                let mut target = File::from(self.output);
                let (done, copied) = mpsc::channel();
                std::thread::spawn(move || {
                    let _ = io::copy(&mut reader, &mut target);
                    let _ = done.send(());
                });
                (Sender::from_owned_fd(writer.into())?, Some(copied))
            }
        };
        Ok((input, output, Streams { copied }))
    }
}

impl Streams {
    /// Waits until the last byte is where it belongs, or for a moment where nobody takes it. Call it
    /// when the sender is gone.
    pub(crate) fn finish(self) {
        if let Some(copied) = self.copied {
            let _ = copied.recv_timeout(Duration::from_millis(200));
        }
    }
}
