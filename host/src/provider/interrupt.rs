//! Ctrl-C and its relatives.

use std::future::poll_fn;
use std::task::{Context, Poll, Waker};

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::{Error, Result};
use crate::exit::Exit;

/// The signals by which a user ends crabbox: SIGINT, SIGTERM, SIGHUP.
///
/// While this exists they do not end the process by themselves. Each phase of a run counts them anew.
#[derive(Debug)]
pub(crate) struct Interrupts {
    signals: [(u8, Signal); 3],
    first: Option<u8>,
}

impl Interrupts {
    /// Starts to listen. Needs a runtime.
    pub(crate) fn listen() -> Result<Self> {
        let open = |kind: SignalKind| {
            signal(kind).map_err(|error| Error::failure("cannot listen for signals").cause(error))
        };
        let signals = [
            (2, open(SignalKind::interrupt())?),
            (15, open(SignalKind::terminate())?),
            (1, open(SignalKind::hangup())?),
        ];
        Ok(Self { signals, first: None })
    }

    /// Waits for the next one and returns its number. Cancel-safe.
    pub(crate) async fn next(&mut self) -> u8 {
        let number = poll_fn(|context| {
            for (number, signal) in &mut self.signals {
                if signal.poll_recv(context).is_ready() {
                    return Poll::Ready(*number);
                }
            }
            Poll::Pending
        })
        .await;
        self.first.get_or_insert(number);
        number
    }

    /// Waits for the next one, or for ever where there is nobody to listen.
    pub(crate) async fn next_of(interrupts: &mut Option<&mut Self>) -> u8 {
        match interrupts {
            Some(interrupts) => interrupts.next().await,
            None => std::future::pending().await,
        }
    }

    /// The same as [`Self::exit`], with a signal in it that came this moment.
    pub(crate) fn exit_now(&mut self) -> Option<Exit> {
        let mut context = Context::from_waker(Waker::noop());
        for (number, signal) in &mut self.signals {
            if signal.poll_recv(&mut context).is_ready() {
                self.first.get_or_insert(*number);
            }
        }
        self.exit()
    }

    /// An error that the user brought about exits as the user's signal says.
    pub(crate) fn blame(&self, error: Error) -> Error {
        Error { exit: self.exit().unwrap_or(error.exit), ..error }
    }

    /// What crabbox exits with because of the first signal, if there was one.
    pub(crate) fn exit(&self) -> Option<Exit> {
        self.first.map(Exit::Signal)
    }
}
