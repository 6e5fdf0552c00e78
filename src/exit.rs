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
    /// Ended by the watchdog: the runtime did not move (EX_SOFTWARE of sysexits).
    Hung,
}

impl ExitCode {
    /// Returns the number the process ends with.
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Interrupted => 130,
            Self::Hung => 70,
        }
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code.code())
    }
}

/// An error that means wrong usage or configuration: the process exits with 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct UsageError(pub(crate) String);
