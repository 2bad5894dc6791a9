//! What ssh is told with every connection.

/// What no connection is given, whatever the user's own configuration says: nothing is asked of anybody, nothing of
/// this machine is lent to the other, nothing else is executed, and nothing stays behind.
pub(crate) const NEVER: [&str; 12] = [
    "BatchMode=yes",
    "ForwardAgent=no",
    "ForwardX11=no",
    "ClearAllForwardings=yes",
    "Tunnel=no",
    "PermitLocalCommand=no",
    "RemoteCommand=none",
    "RequestTTY=no",
    "ProxyUseFdpass=no",
    "ControlMaster=no",
    "ConnectionAttempts=1",
    "LogLevel=ERROR",
];

/// What leaves ssh its input and output, so that a script arrives and its answer comes back. OpenSSH has these options
/// since 8.7, and refuses them before. To have it ignore what it does not know is no way out: of several `IgnoreUnknown`
/// only the first counts, and the user's own would not.
pub(crate) const STREAMS: [&str; 2] = ["StdinNull=no", "ForkAfterAuthentication=no"];

/// What has a command executed, since 8.7 as well.
pub(crate) const SESSION: &str = "SessionType=default";

/// What makes ssh ask by a program, and that nobody. The ssh of a jump host does not know of `BatchMode`, and would ask
/// on the user's terminal. Since OpenSSH 8.4.
pub(crate) const NOBODY: [(&str, &str); 2] = [("SSH_ASKPASS", "false"), ("SSH_ASKPASS_REQUIRE", "force")];
