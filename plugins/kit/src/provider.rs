//! The trait that a provider implements: the protocol's verbs, in the order of a lease's life.

use std::future::Future;

use crabbox_protocol::{
    AcquireParams, AcquireResult, BridgeParams, BridgeResult, Check, CheckStatus, DoctorParams, DoctorResult,
    KillParams, KillResult, ListParams, ListResult, Method, PutParams, PutResult, ReleaseParams,
    ReleaseResult, ResolveParams, ResolveResult, RunParams, RunResult, TouchParams, TouchResult,
    UnbridgeParams, UnbridgeResult,
};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::{About, Configured, Context, Error, Result, Secrets};

macro_rules! verb {
    ($(#[$doc:meta])* $name:ident, $method:ident, $params:ident -> $result:ident) => {
        $(#[$doc])*
        fn $name(
            &self,
            params: $params,
            context: &Context,
        ) -> impl Future<Output = Result<$result>> + Send {
            let _ = (params, context);
            async { Err(Error::not_there(Method::$method)) }
        }
    };
}

/// A provider: the value that serves one session, made from the configuration.
///
/// Write the verbs as `async fn`. Those that [`about`](Self::about) does not name are never called and
/// need not be there. Every verb may be asked again for the same lease and has to give the same answer;
/// each of them must work without the `state` that an earlier answer carried.
///
/// # Errors
///
/// A verb fails with an [`Error`] of the kind that fits. The default of each is `unsupported`.
pub trait Provider: Sized + Send + Sync + 'static {
    /// The configuration: the host makes flags, variables and the YAML block from its schema.
    ///
    /// Say more with `#[schemars(extend("x-crabbox" = {...}))]` on a field: `env` (other variables),
    /// `secret`, `userOnly`, `envName`, `release`, `path`, `duration`. `()` for none.
    type Config: DeserializeOwned + JsonSchema;

    /// Who this is and what it can do. Pure: the host caches it.
    fn about() -> About;

    /// Makes the provider from its configuration, or names every problem. No network.
    fn configure(config: Self::Config, secrets: &Secrets) -> Configured<Self>;

    /// Checks all that can be checked without changing anything. Problems with the configuration are
    /// rows already. By default: the plugin answers.
    fn doctor(
        &self,
        params: DoctorParams,
        context: &Context,
    ) -> impl Future<Output = Result<DoctorResult>> + Send {
        let _ = (params, context);
        async { Ok(DoctorResult { checks: vec![check("handshake", CheckStatus::Ok, "the plugin answers")] }) }
    }

    verb! {
        /// Makes the lease. The remote name or tag is a pure function of lease id, slug and
        /// configuration and is set by the call that creates, so that asking twice makes one.
        ///
        /// Add [`Error::created(false)`](Error::created) where certainly nothing was created.
        acquire, Acquire, AcquireParams -> AcquireResult
    }

    verb! {
        /// Finds the lease again, under this scope. `missing` needs proof: a refusal, a timeout or an
        /// unclear answer is `unknown` or an error. With intent `observe` nothing may change.
        resolve, Resolve, ResolveParams -> ResolveResult
    }

    verb! {
        /// Executes `argv` on the lease with the file on standard input. [`Process`](crate::Process)
        /// does all of it where a local program is the run or leads to it.
        ///
        /// A failure on the way is never an exit code. The answer to a cancelled run says that nothing
        /// of it is alive; where that is not known, answer [`Error::cancelled`].
        run, Run, RunParams -> RunResult
    }

    verb! {
        /// Places a file on the lease, size and hash verified there. Without it the host uses `run`.
        put, Put, PutParams -> PutResult
    }

    verb! {
        /// Ends a run, all of it. Comes from a fresh process. Without it the host uses `run`.
        kill, Kill, KillParams -> KillResult
    }

    verb! {
        /// Stops or deletes the lease. Looks before it acts, verifies that the lease is ours, and
        /// answers `released` only when that is confirmed.
        release, Release, ReleaseParams -> ReleaseResult
    }

    verb! {
        /// Keeps the lease alive.
        touch, Touch, TouchParams -> TouchResult
    }

    verb! {
        /// Names all that the provider holds that crabbox made, and nothing else.
        list, List, ListParams -> ListResult
    }

    verb! {
        /// Says how others reach a port of the lease, and with `publish` makes it so.
        bridge, Bridge, BridgeParams -> BridgeResult
    }

    verb! {
        /// Takes back what `bridge` published.
        unbridge, Unbridge, UnbridgeParams -> UnbridgeResult
    }
}

/// Makes a row of `doctor`. Set `hint` and `details` where they help.
pub fn check(name: impl Into<String>, status: CheckStatus, message: impl Into<String>) -> Check {
    Check { name: name.into(), status, message: message.into(), hint: None, details: Default::default() }
}

/// Makes the row of `doctor` for what could not be asked: with the error's causes and its hint.
pub fn failed(name: impl Into<String>, error: &Error) -> Check {
    let data = error.as_object().data.as_ref();
    let causes = data.into_iter().flat_map(|data| &data.causes);
    let message = causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"));
    Check { hint: data.and_then(|data| data.hint.clone()), ..check(name, CheckStatus::Fail, message) }
}
