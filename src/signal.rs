//! The end, as asked for from outside.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::info;

/// Cancels `shutdown` at the first SIGINT or SIGTERM, and returns at the second.
pub(crate) async fn watch(shutdown: CancellationToken) -> std::io::Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    for _ in 0..2 {
        let name = tokio::select! {
            _ = interrupt.recv() => "SIGINT",
            _ = terminate.recv() => "SIGTERM",
        };
        if shutdown.is_cancelled() {
            info!(signal = name, "ended at once");
        } else {
            info!(signal = name, "shutting down");
            shutdown.cancel();
        }
    }
    Ok(())
}
