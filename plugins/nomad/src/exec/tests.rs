//! The script around a command, under every shell that this machine has.
