//! How a request that has to end is ended, step by step.

use std::time::Duration;

use crabbox_protocol::CancelReason;
use tokio::time::Instant;

use super::process::STEP;

/// How long a plugin that obeys `cancel` may take to answer it.
pub(super) const GRACE: Duration = Duration::from_secs(10);

/// What the session has to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rung {
    /// Send the notification.
    Cancel,
    /// Close the plugin's input.
    CloseStdin,
    /// SIGTERM to the group.
    Terminate,
    /// SIGKILL to the group.
    Kill,
}

/// A request on its way out: cancel → 10 s → end of input → 2 s → SIGTERM → 2 s → SIGKILL.
///
/// A further interrupt of the user skips ahead: SIGTERM, then SIGKILL.
#[derive(Debug)]
pub(crate) struct Ladder {
    pub(crate) reason: CancelReason,
    rung: Rung,
    until: Instant,
}

impl Ladder {
    /// Begins on a rung. A plugin that does not know `cancel` gets no grace.
    pub(crate) fn begin(reason: CancelReason, rung: Rung) -> Self {
        let mut ladder = Self { reason, rung, until: Instant::now() };
        ladder.stand_on(rung);
        ladder
    }

    /// Where it stands: what was just to be done.
    pub(crate) fn rung(&self) -> Rung {
        self.rung
    }

    /// When the next step is due; never, after the last.
    pub(crate) fn due(&self) -> Option<Instant> {
        (self.rung != Rung::Kill).then_some(self.until)
    }

    /// The time on this step is over.
    pub(crate) fn step(&mut self) -> Rung {
        self.stand_on(match self.rung {
            Rung::Cancel => Rung::CloseStdin,
            Rung::CloseStdin => Rung::Terminate,
            Rung::Terminate | Rung::Kill => Rung::Kill,
        })
    }

    /// The user does not want to wait.
    pub(crate) fn hurry(&mut self) -> Rung {
        self.stand_on(match self.rung {
            Rung::Cancel | Rung::CloseStdin => Rung::Terminate,
            Rung::Terminate | Rung::Kill => Rung::Kill,
        })
    }

    fn stand_on(&mut self, rung: Rung) -> Rung {
        self.rung = rung;
        self.until = Instant::now() + if rung == Rung::Cancel { GRACE } else { STEP };
        rung
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_comes_in_turn_and_an_interrupt_skips() {
        let mut ladder = Ladder::begin(CancelReason::User, Rung::Cancel);
        assert_eq!(ladder.rung(), Rung::Cancel);
        assert_eq!(
            [ladder.step(), ladder.step(), ladder.step()],
            [Rung::CloseStdin, Rung::Terminate, Rung::Kill]
        );
        assert_eq!(ladder.due(), None);
        let mut ladder = Ladder::begin(CancelReason::Deadline, Rung::CloseStdin);
        assert_eq!(ladder.rung(), Rung::CloseStdin);
        assert_eq!([ladder.hurry(), ladder.hurry()], [Rung::Terminate, Rung::Kill]);
    }
}
