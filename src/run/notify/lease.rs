//! Who sends: one notifier at a time.

use std::time::Duration;

use nats::{Bus, Lease, LeaseError};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::Status;
use crate::run::RETRY_PAUSE;

/// The lease of whoever sends.
const LEASE: &str = "notify";

/// How long a sender that vanished keeps its lease: a second one takes over after it. The fence against two senders is
/// the expected sequence of an attempt, not this.
const LEASE_TIME: Duration = Duration::from_secs(3);

/// Waits for the lease; returns nothing when `shutdown` comes first.
pub(super) async fn take(
    bus: &Bus,
    author: &str,
    status: &watch::Sender<Status>,
    shutdown: &CancellationToken,
) -> Option<Lease> {
    let mut waits = false;
    loop {
        match Lease::acquire(bus, LEASE, author, LEASE_TIME).await {
            Ok(Some(lease)) => return Some(lease),
            Ok(None) if !waits => {
                waits = true;
                info!("another notifier holds the lease; standing by");
            }
            Ok(None) => {}
            Err(error) => warn!(%error, "lease not taken; trying again"),
        }
        status.send_modify(|status| (status.ready, status.sender) = (true, false));
        tokio::select! {
            () = tokio::time::sleep(RETRY_PAUSE) => {}
            () = shutdown.cancelled() => return None,
        }
    }
}

/// Renews the lease until `ended`, which it cancels itself when the lease is lost.
pub(super) async fn keep(mut lease: Lease, ended: CancellationToken) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(LEASE_TIME / 3) => {}
            () = ended.cancelled() => {
                // A lease that cannot be given up ends by itself.
                let _ = lease.release().await;
                return;
            }
        }
        match lease.renew().await {
            Ok(()) => {}
            Err(error @ LeaseError::Lost { .. }) => {
                warn!(%error, "sending stops");
                return ended.cancel();
            }
            Err(error) => warn!(%error, "lease not renewed; trying again"),
        }
    }
}
