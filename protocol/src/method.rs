//! The methods, and which parameters and result belong to each.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{Repair, decode_lenient};

macro_rules! methods {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $params:ident -> $result:ident;)*) => {
        /// A method that the host may call.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Method {
            $($(#[$doc])* $variant,)*
        }

        impl Method {
            /// Every method, in the order of a lease's life.
            pub const ALL: &'static [Method] = &[$(Method::$variant,)*];

            /// The method's name on the wire.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What has to be repaired in a result of this method before it can be read.
            ///
            /// # Errors
            ///
            /// Says why it cannot be read at all.
            pub fn repairs_of(self, result: Value) -> serde_json::Result<Vec<Repair>> {
                let mut repairs = Vec::new();
                match self {
                    $(Self::$variant => { decode_lenient::<crate::$result>(result, &mut repairs)?; })*
                }
                Ok(repairs)
            }
        }

        impl FromStr for Method {
            type Err = ();
            fn from_str(name: &str) -> Result<Self, ()> {
                match name { $($name => Ok(Self::$variant),)* _ => Err(()) }
            }
        }

        $(impl Call for crate::$params {
            const METHOD: Method = Method::$variant;
            type Result = crate::$result;
        })*
    };
}

/// The parameters of a request: they name their method and the type of its result.
pub trait Call: Serialize + DeserializeOwned + JsonSchema {
    /// The method that takes these parameters.
    const METHOD: Method;
    /// What a success carries.
    type Result: Serialize + DeserializeOwned + JsonSchema;
}

methods! {
    /// Says who the plugin is and what it can do.
    Initialize = "initialize", InitializeParams -> Manifest;
    /// Takes the resolved configuration and says what is wrong with it.
    Configure = "configure", ConfigureParams -> ConfigureResult;
    /// Checks everything that can be checked without changing anything.
    Doctor = "doctor", DoctorParams -> DoctorResult;
    /// Makes a lease.
    Acquire = "acquire", AcquireParams -> AcquireResult;
    /// Finds a lease again.
    Resolve = "resolve", ResolveParams -> ResolveResult;
    /// Executes a command on a lease.
    Run = "run", RunParams -> RunResult;
    /// Places a file on a lease.
    Put = "put", PutParams -> PutResult;
    /// Ends a run, all of it.
    Kill = "kill", KillParams -> KillResult;
    /// Stops or deletes a lease.
    Release = "release", ReleaseParams -> ReleaseResult;
    /// Keeps a lease alive.
    Touch = "touch", TouchParams -> TouchResult;
    /// Names all that the provider holds that is ours.
    List = "list", ListParams -> ListResult;
    /// Says how others reach a lease.
    Bridge = "bridge", BridgeParams -> BridgeResult;
    /// Takes back what `bridge` published.
    Unbridge = "unbridge", UnbridgeParams -> UnbridgeResult;
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
