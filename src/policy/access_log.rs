//! Where the access log goes.

use std::path::PathBuf;

/// Where to, and how many lines may wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLogSpec {
    /// Where to.
    pub target: AccessLogTarget,
    /// Lines that may wait to be written.
    pub queue: usize,
}

/// Where the access log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessLogTarget {
    /// To standard output.
    Stdout,
    /// To a file; relative to the config file's directory.
    File(PathBuf),
}
