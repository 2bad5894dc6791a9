//! Cancellation as a token that a method can look at or wait for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crabbox_protocol::{CancelReason, RequestId};
use tokio::sync::watch;

/// How far a request is on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Going,
    Cancelled(CancelReason),
    Closing,
}

/// Says whether the host still wants a request to go on.
///
/// A cancelled request still has to answer: with what became of it, or with
/// [`Error::cancelled`](crate::Error::cancelled).
#[derive(Debug, Clone)]
pub struct CancelToken {
    stage: watch::Receiver<Stage>,
}

impl CancelToken {
    /// Whether the request was cancelled.
    pub fn is_cancelled(&self) -> bool {
        *self.stage.borrow() != Stage::Going
    }

    /// Waits until the request is cancelled, for as long as it takes, and returns why.
    ///
    /// The end of the session is a `hangup`.
    pub async fn cancelled(&self) -> CancelReason {
        match self.wait(|stage| stage != Stage::Going).await {
            Stage::Cancelled(reason) => reason,
            Stage::Going | Stage::Closing => CancelReason::Hangup,
        }
    }

    /// Waits until the session ends: about a second is left to clean up, and nobody reads the answer.
    pub async fn closing(&self) {
        self.wait(|stage| stage == Stage::Closing).await;
    }

    async fn wait(&self, wanted: impl Fn(Stage) -> bool) -> Stage {
        let mut stage = self.stage.clone();
        let seen = stage.wait_for(|stage| wanted(*stage)).await.map(|stage| *stage);
        // Without a sender nobody can cancel any more: the request's response is on its way.
        seen.unwrap_or(Stage::Closing)
    }
}

/// The requests that have no response yet.
#[derive(Debug, Clone, Default)]
pub(crate) struct Requests {
    open: Arc<Mutex<HashMap<RequestId, watch::Sender<Stage>>>>,
}

impl Requests {
    /// Notes a request that has arrived.
    pub(crate) fn open(&self, id: RequestId) -> CancelToken {
        let (sender, stage) = watch::channel(Stage::Going);
        self.lock().insert(id, sender);
        CancelToken { stage }
    }

    /// Forgets a request whose response is about to be sent.
    pub(crate) fn forget(&self, id: RequestId) {
        self.lock().remove(&id);
    }

    /// Cancels a request; one that is unknown or answered is no error, because the two cross.
    pub(crate) fn cancel(&self, id: RequestId, reason: CancelReason) {
        if let Some(sender) = self.lock().get(&id) {
            sender.send_if_modified(|stage| {
                let first = *stage == Stage::Going;
                if first {
                    *stage = Stage::Cancelled(reason);
                }
                first
            });
        }
    }

    /// Tells every request that the session ends.
    pub(crate) fn close(&self) {
        for sender in self.lock().values() {
            sender.send_replace(Stage::Closing);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<RequestId, watch::Sender<Stage>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_token_tells_why_and_the_first_reason_stays() {
        let requests = Requests::default();
        let token = requests.open(3);
        assert!(!token.is_cancelled());
        requests.cancel(4, CancelReason::User);
        assert!(!token.is_cancelled());
        requests.cancel(3, CancelReason::Deadline);
        requests.cancel(3, CancelReason::User);
        assert!(token.is_cancelled());
        assert_eq!(token.cancelled().await, CancelReason::Deadline);
        requests.close();
        token.closing().await;
    }
}
