//! The only crate that speaks to NATS: topology, log, snapshots, private server.
//!
//! [`Bus`] is the connection everything else hangs on. What is stored is stored idempotently, so whatever timed out may
//! be repeated; what is read is read from the reader's own cursor, so no restart of anything can make it go back.

mod bus;
mod config;
mod cursor;
mod durable;
mod entry;
mod leases;
mod log;
mod publisher;
mod read;
mod register;
mod requests;
mod rules;
mod server;
mod service;
mod snapshots;
mod subscribers;
mod topology;

pub use bus::{Bus, ConnectError, Connection};
pub use config::{Config, Credentials, InvalidConfig, Limits, Market, Replicas, Servers};
pub use cursor::{Cursor, CursorError};
pub use durable::{AckError, Delivered, Durable, DurableError};
pub use leases::{Lease, LeaseError};
pub use log::{AlertStored, Expect, PublishError, Stored};
pub use publisher::{
    BacklogLimits, Observed, PublisherConfig, PublisherMonitor, PublisherReport, PublisherStats, VenuePublisher,
};
pub use read::{Headers, ReadError, Record, StreamState};
pub use register::{Loaded, Register, RegisterError};
pub use requests::{Request, Requests};
pub use rules::{RulesError, RulesVersion};
pub use server::{PrivateServer, SearchPath, ServerConfig, ServerError, Store};
pub use service::{Service, ServiceError, ServiceStatus};
pub use snapshots::{SaveOutcome, SnapshotError, SnapshotHead};
pub use subscribers::{StoredSubscriber, SubscribersError};
pub use topology::{Action, Change, FieldChange, TopologyError};
