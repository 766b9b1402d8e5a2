//! What to boot: texts from the network → [`BootPlan`]; pure.

#![forbid(unsafe_code)]

pub mod url;

/// What is to be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootPlan {
    /// Command line for the kernel.
    pub command_line: String,
}
