//! The status page: one self-contained file, live by server-sent events.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Sse, sse::Event},
};
use futures_util::stream;

use super::Shown;

const PAGE: &str = include_str!("page.html");

/// Nothing is loaded and nothing leaves: the page holds its style and script, and asks only this process.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'self'";

/// Pages that are shown at once; the next one is told to come later.
pub(super) const LISTENERS_MAX: usize = 32;

/// How often the state is looked at for a page.
const LOOK: Duration = Duration::from_secs(1);

pub(super) async fn page() -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, PAGE)
}

/// The state, at once and every second: it holds the time, so it is never the same.
pub(super) async fn events(State(shown): State<Arc<Shown>>) -> Result<impl IntoResponse, StatusCode> {
    let place = Arc::clone(&shown.listeners).try_acquire_owned().map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    let states = stream::unfold((shown, place, true), |(shown, place, is_first)| async move {
        if !is_first {
            tokio::time::sleep(LOOK).await;
        }
        let event = Event::default().data(shown.picture());
        Some((Ok::<_, Infallible>(event), (shown, place, false)))
    });
    Ok(Sse::new(states))
}
