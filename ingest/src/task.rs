//! Work that goes on beside a loop.

use std::{future::Future, pin::Pin};

/// At most one piece of work of a kind.
pub(crate) type Task<T> = Option<Pin<Box<dyn Future<Output = T> + Send>>>;

/// Waits for a task, if there is one, and clears it. Cancelling keeps the task.
pub(crate) async fn finish<T>(task: &mut Task<T>) -> T {
    let output = match task {
        Some(running) => running.as_mut().await,
        None => std::future::pending().await,
    };
    *task = None;
    output
}
