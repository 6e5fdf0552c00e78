//! Services as `nats micro ls` shows them, with one endpoint: their state as JSON.

use std::{collections::HashMap, sync::Arc, time::Duration};

use async_nats::service::ServiceExt;
use futures_util::StreamExt;
use serde_json::Value;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::bus::Bus;

/// Status of an answer when nobody listens on the subject.
const NO_RESPONDERS: u16 = 503;
/// Answers taken from all services at most; further ones are left out.
const ANSWERS_MAX: usize = 256;

/// A service cannot be registered or asked.
#[derive(Debug, thiserror::Error)]
#[error("the service {name:?} cannot be registered or asked")]
pub struct ServiceError {
    pub(crate) name: String,
    #[source]
    pub(crate) source: async_nats::Error,
}

/// The answer of one service.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct ServiceStatus {
    /// `ingest`, `detect` or `notify`.
    pub role: String,
    /// What it said.
    pub status: Value,
}

/// A registered service. It answers while [`Service::run`] runs.
pub struct Service {
    service: async_nats::service::Service,
    endpoint: async_nats::service::endpoint::Endpoint,
    status: Arc<dyn Fn() -> Value + Send + Sync>,
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").finish_non_exhaustive()
    }
}

impl Service {
    /// Registers this process under its role. `status` is called for every question and must not block.
    ///
    /// # Errors
    /// [`ServiceError`] when NATS does not take it.
    pub async fn register(
        bus: &Bus,
        role: &str,
        description: &str,
        instance: &str,
        status: Arc<dyn Fn() -> Value + Send + Sync>,
    ) -> Result<Self, ServiceError> {
        let name = bus.names().service(role);
        let failed = |source| ServiceError { name: name.clone(), source };
        let metadata = [("owner", "foreshock"), ("instance", instance)];
        let metadata: HashMap<String, String> =
            metadata.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let builder = bus.client().service_builder().description(description).metadata(metadata);
        let service = builder.start(&name, env!("CARGO_PKG_VERSION")).await.map_err(failed)?;
        let endpoint = service.endpoint_builder().name("status");
        // Every process is a queue group of its own, so that all of them answer and not one for all.
        let endpoint = endpoint.queue_group(bus.unique_token()).add(bus.names().service_status(role));
        let endpoint = endpoint.await.map_err(failed)?;
        Ok(Self { service, endpoint, status })
    }

    /// Answers until `shutdown`.
    pub async fn run(mut self, shutdown: CancellationToken) {
        loop {
            let request = tokio::select! {
                request = self.endpoint.next() => request,
                () = shutdown.cancelled() => None,
            };
            let Some(request) = request else { break };
            let answer = (self.status)().to_string();
            if let Err(error) = request.respond(Ok(answer.into())).await {
                warn!(%error, "a question about the state was not answered");
            }
        }
        if let Err(error) = self.service.stop().await {
            debug!(%error, "the service was not signed off");
        }
    }
}

impl Bus {
    /// Asks every service of these roles for its state, and takes what comes within `timeout`. Returns earlier when
    /// nobody listens.
    ///
    /// # Errors
    /// [`ServiceError`] when NATS does not take the questions.
    pub async fn collect_status(&self, roles: &[&str], timeout: Duration) -> Result<Vec<ServiceStatus>, ServiceError> {
        let deadline = Instant::now() + timeout;
        let failed = |role: &str, source| ServiceError { name: self.names().service(role), source };
        let mut asked = Vec::new();
        for role in roles {
            let inbox = self.client().new_inbox();
            let answers = self.client().subscribe(inbox.clone()).await.map_err(|e| failed(role, e.into()))?;
            let subject = self.names().service_status(role);
            let question = self.client().publish_with_reply(subject, inbox, Vec::new().into()).await;
            question.map_err(|e| failed(role, e.into()))?;
            asked.push(((*role).to_owned(), answers));
        }
        let mut collected = Vec::new();
        for (role, mut answers) in asked {
            while let Ok(Some(answer)) = tokio::time::timeout_at(deadline, answers.next()).await {
                if answer.status.is_some_and(|status| status.as_u16() == NO_RESPONDERS)
                    || collected.len() >= ANSWERS_MAX
                {
                    break;
                }
                match serde_json::from_slice(&answer.payload) {
                    Ok(status) => collected.push(ServiceStatus { role: role.clone(), status }),
                    Err(error) => debug!(%role, %error, "a service answered with something that is no JSON"),
                }
            }
        }
        Ok(collected)
    }
}
