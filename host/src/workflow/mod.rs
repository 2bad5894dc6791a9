//! What commands do with leases. Every workflow is the host's: providers only provide.
//!
//! `run` is the story; the other modules are its chapters, and the same chapters serve `warmup`, `stop`,
//! `status` and `cleanup`.

mod acquire;
mod aside;
mod cleanup;
mod compare;
mod connect;
mod copy;
mod execute;
mod heartbeat;
mod held;
mod kill;
mod make;
mod on_lease;
mod one_shot;
mod release;
mod reuse;
mod run;
mod script;
mod stop;
mod sync;
mod tell;
mod timing;

pub(crate) use acquire::Wish;
pub(crate) use cleanup::{Cleanup, cleanup};
pub(crate) use compare::compare;
pub(crate) use connect::connect;
pub(crate) use copy::copy;
pub(crate) use execute::Job;
pub(crate) use held::{believed, same_scope, stop_command};
pub(crate) use make::warm_up;
pub(crate) use release::Released;
pub(crate) use reuse::usable;
pub(crate) use run::{LeasePlan, RunPlan, check_manifest, run};
pub(crate) use stop::{Ending, stop};
pub(crate) use tell::tell;

use std::time::Duration;

use jiff::Timestamp;

use crate::progress::{Progress, shown_while};

/// Waits for something of which nothing can be counted, and shows that it does.
pub(crate) async fn patiently<T>(what: &str, work: impl Future<Output = T>) -> T {
    shown_while(&Progress::of(what), work).await
}

/// A span in milliseconds as a number that the wire takes.
pub(crate) fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A moment `ms` milliseconds after another; for ever is the end of time.
pub(crate) fn after(moment: Timestamp, ms: u64) -> Timestamp {
    let span = jiff::SignedDuration::from_millis(i64::try_from(ms).unwrap_or(i64::MAX));
    moment.checked_add(span).unwrap_or(Timestamp::MAX)
}

/// A duration for people: rounded to milliseconds, or to seconds over a minute.
pub(crate) fn shown(duration: Duration) -> String {
    let rounded = if duration >= Duration::from_secs(60) {
        Duration::from_secs(duration.as_secs())
    } else {
        Duration::from_millis(ms(duration))
    };
    humantime::format_duration(rounded).to_string().replace(' ', "")
}
