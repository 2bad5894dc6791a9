//! v1.

use super::answer::{Answer, Answered};
use super::server::Call;

pub(super) async fn route(call: &Call, _path: &[&str]) -> Answered {
    Err(Answer::no_route(&call.request.method, &call.request.path))
}
