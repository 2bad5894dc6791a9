//! A provider's process and the conversation with it.
