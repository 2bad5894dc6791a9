//! What the host writes for programs: claims, the timing record, and every `--json` output.
//!
//! None of it is on the wire; it is here so that its schemas are made and checked with the others.

mod check;
mod claim;
mod crew;
mod plugins;
mod reports;
mod sync_plan;
mod timing;

pub use check::*;
pub use claim::*;
pub use crew::*;
pub use plugins::*;
pub use reports::*;
pub use sync_plan::*;
pub use timing::*;
