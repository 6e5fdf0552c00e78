//! Questions of other programs: an endpoint that `nats micro ls` shows, and that one process of all answers.

use async_nats::{
    HeaderMap,
    service::{NATS_SERVICE_ERROR, NATS_SERVICE_ERROR_CODE, Request as ServiceRequest, ServiceExt, endpoint::Endpoint},
};
use bytes::Bytes;
use futures_util::StreamExt;
use tracing::{debug, warn};

use crate::{bus::Bus, service::ServiceError};

/// Code of an answer to a question that cannot be carried out, as for HTTP.
const BAD_REQUEST: &str = "400";

/// The endpoint on which subscriptions are changed over NATS. It answers while it is held.
pub struct Requests {
    service: async_nats::service::Service,
    endpoint: Endpoint,
}

impl std::fmt::Debug for Requests {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Requests").finish_non_exhaustive()
    }
}

/// One question.
#[derive(Debug)]
pub struct Request(ServiceRequest);

impl Requests {
    /// Registers the service.
    ///
    /// # Errors
    /// [`ServiceError`] when NATS does not take it.
    pub async fn register(bus: &Bus) -> Result<Self, ServiceError> {
        const ROLE: &str = "subscriptions";
        let name = bus.names().service(ROLE);
        let failed = |source| ServiceError { name: name.clone(), source };
        let builder = bus.client().service_builder().description("changes what a chat is told, as its commands do");
        let service = builder.start(&name, env!("CARGO_PKG_VERSION")).await.map_err(failed)?;
        let endpoint = service.endpoint_builder().name("change").add(bus.names().service_subscriptions()).await;
        Ok(Self { endpoint: endpoint.map_err(failed)?, service })
    }

    /// Waits for the next question; nothing at the end of the connection.
    pub async fn next(&mut self) -> Option<Request> {
        self.endpoint.next().await.map(Request)
    }

    /// Signs the service off, so that `nats micro ls` shows it no more.
    pub async fn end(self) {
        if let Err(error) = self.service.stop().await {
            debug!(%error, "the service was not signed off");
        }
    }
}

impl Request {
    /// Returns what is asked.
    pub fn payload(&self) -> &Bytes {
        &self.0.message.payload
    }

    /// Answers. `is_refused` says in the headers of a service that nothing was done; why is the answer's business.
    pub async fn respond(self, answer: String, is_refused: bool) {
        let mut headers = HeaderMap::new();
        if is_refused {
            headers.insert(NATS_SERVICE_ERROR, "refused");
            headers.insert(NATS_SERVICE_ERROR_CODE, BAD_REQUEST);
        }
        if let Err(error) = self.0.respond_with_headers(Ok(answer.into()), headers).await {
            warn!(%error, "a question was not answered");
        }
    }
}
