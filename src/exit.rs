//! How a command ends.

/// Exit codes of every command (design 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitCode {
    /// Done.
    Done,
    /// Failed: what was being done is on stderr.
    Failed,
    /// Wrong usage or configuration.
    Usage,
    /// Ended at once by a second signal: 128 and the number of SIGINT, as shells have it.
    Interrupted,
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(match code {
            ExitCode::Done => 0,
            ExitCode::Failed => 1,
            ExitCode::Usage => 2,
            ExitCode::Interrupted => 130,
        })
    }
}

/// An error that means wrong usage or configuration: the process exits with 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct UsageError(pub(crate) String);
