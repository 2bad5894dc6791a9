//! What an emulator is like from its start.

/// The key that the emulator accepts if nothing else is said.
pub const KEY: &str = "fs-emulated-key-0f1e2d3c4b5a";

/// What the emulator is like.
#[derive(Clone, Debug)]
pub struct Options {
    /// The port, or 0 for any.
    pub port: u16,
    /// The keys that are accepted.
    pub keys: Vec<String>,
    /// The plan's longest `autoDeleteSeconds`, if it has one: longer ones are refused, and it is the default.
    pub auto_delete_cap: Option<u64>,
    /// How many VMs the account may have, if there is a limit.
    pub vm_limit: Option<usize>,
    /// The largest answer that a background request can store.
    pub stored_result_limit: usize,
    /// Whether a guest has the native agent, without which no command may run for more than 5 minutes.
    pub native_agent: bool,
    /// Whether guests are kept from each other and from the host, where the kernel allows it.
    pub isolate: bool,
    /// Whether a v1 plan allows VMs of other sizes than the default (`CUSTOM_SIZING_NOT_ALLOWED` when not).
    pub custom_sizing: bool,
    /// Whether v1 tells the names of VMs, as it does since the SDK's version 0.1.63.
    pub names: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            port: 0,
            keys: vec![KEY.to_owned()],
            auto_delete_cap: None,
            vm_limit: None,
            stored_result_limit: 8 << 20,
            native_agent: true,
            isolate: true,
            custom_sizing: true,
            names: true,
        }
    }
}
