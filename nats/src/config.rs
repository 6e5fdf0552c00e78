//! What the connection and the topology need to know; built by the root package, which alone reads the environment.

use std::{fmt, path::PathBuf, str::FromStr, time::Duration};

use async_nats::ServerAddr;
use data_encoding::HEXUPPER_PERMISSIVE;
use schemas::{secret::Secret, subject::Names};

/// A user and its password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The user.
    pub user: String,
    /// Its password.
    pub password: Secret,
}

/// A text that configures this crate is not usable. It may hold a password, so it is not repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidConfig {
    /// Not a list of NATS URLs.
    #[error("not a NATS URL: nats://host:port is expected, or several separated by commas")]
    Servers,
    /// Not a market mode.
    #[error("not a market: `live` or `recorded` is expected")]
    Market,
    /// Not a number of replicas.
    #[error("not a number of replicas: 1 or 3 is expected")]
    Replicas,
}

/// One or more servers of one cluster. Credentials in a URL are used and never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Servers(Vec<ServerAddr>);

impl Servers {
    pub(crate) fn addresses(&self) -> Vec<ServerAddr> {
        self.0.clone()
    }

    /// Returns the credentials of the first URL that has some. async-nats 0.51 parses and then ignores them.
    pub(crate) fn credentials(&self) -> Option<Credentials> {
        self.0.iter().find_map(|server| {
            let user = percent_decoded(server.username()?);
            let password = Secret::new(percent_decoded(server.password()?));
            Some(Credentials { user, password })
        })
    }
}

/// Undoes the escapes of a URL; what is no escape stays as it is.
fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let digits = after.get(..2).filter(|_| first == b'%');
        match digits.and_then(|digits| HEXUPPER_PERMISSIVE.decode(digits).ok()) {
            Some(byte) => {
                bytes.extend(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

impl FromStr for Servers {
    type Err = InvalidConfig;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let servers: Result<Vec<ServerAddr>, _> = text.split(',').map(|url| url.trim().parse()).collect();
        servers.map(Self).map_err(|_| InvalidConfig::Servers)
    }
}

impl fmt::Display for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, server) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{}:{}", server.host(), server.port())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Servers({self})")
    }
}

/// What kind of market the whole installation handles (design 3); stored in the metadata of MARKET.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Market {
    /// Venues, now.
    Live,
    /// A recording: no check against the wall clock applies.
    Recorded,
}

impl Market {
    /// Returns the name in configuration and metadata.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Recorded => "recorded",
        }
    }
}

impl fmt::Display for Market {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Market {
    type Err = InvalidConfig;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "live" => Ok(Self::Live),
            "recorded" => Ok(Self::Recorded),
            _ => Err(InvalidConfig::Market),
        }
    }
}

/// On how many nodes every stream is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replicas {
    /// One node.
    One,
    /// Three nodes; refused by a single server (nats.md 3.3).
    Three,
}

impl Replicas {
    pub(crate) const fn count(self) -> usize {
        match self {
            Self::One => 1,
            Self::Three => 3,
        }
    }
}

impl TryFrom<u8> for Replicas {
    type Error = InvalidConfig;

    fn try_from(count: u8) -> Result<Self, Self::Error> {
        match count {
            1 => Ok(Self::One),
            3 => Ok(Self::Three),
            _ => Err(InvalidConfig::Replicas),
        }
    }
}

/// The bounds of MARKET an operator may have to size. The other streams' are in `topology/assets.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long MARKET keeps an event. Default 7 days (design 3).
    pub market_age: Duration,
    /// How many bytes MARKET keeps; beyond it the oldest go. Default 256 MB: one message a second for 7 days. Size it as
    /// rate × 25 h at least, which is the longest look-back of detection.
    pub market_bytes: u64,
    /// How long the server remembers message ids. Default 2 minutes (design 3).
    pub duplicate_window: Duration,
}

impl Limits {
    /// The figures of the contract.
    pub const DEFAULT: Self = Self {
        market_age: Duration::from_secs(7 * 24 * 3600),
        market_bytes: 256 * 1024 * 1024,
        duplicate_window: Duration::from_secs(120),
    };
}

/// Everything this crate is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// The servers.
    pub servers: Servers,
    /// User and password; absent when they are in the URLs or not needed.
    pub credentials: Option<Credentials>,
    /// PEM file of the authority that signed the servers' certificate; absent: the system's authorities.
    pub ca: Option<PathBuf>,
    /// The prefix of all names.
    pub names: Names,
    /// Shown by `nats server report connections`: the service and its instance.
    pub client_name: String,
    /// On how many nodes streams are kept.
    pub replicas: Replicas,
    /// What MARKET must hold.
    pub market: Market,
    /// The bounds of MARKET.
    pub limits: Limits,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_in_a_url_are_never_shown() {
        let servers: Servers = "nats://me:hunter2@127.0.0.1:4222, nats://b".parse().unwrap();
        assert_eq!(servers.to_string(), "127.0.0.1:4222,b:4222");
        assert_eq!(format!("{servers:?}"), "Servers(127.0.0.1:4222,b:4222)");
        let error = "http://me:hunter2@x".parse::<Servers>().unwrap_err();
        assert!(!error.to_string().contains("hunter2"));
        assert_eq!(format!("{:?} {0}", Secret::new("hunter2".to_owned())), "<secret> <secret>");
    }

    #[test]
    fn credentials_in_a_url_are_read_with_their_escapes() {
        let servers: Servers = "nats://a,nats://m%40e:p%3A%40ss@b,nats://c:d@e".parse().unwrap();
        let password = Secret::new("p:@ss".to_owned());
        assert_eq!(servers.credentials(), Some(Credentials { user: "m@e".to_owned(), password }));
        assert_eq!("nats://a".parse::<Servers>().unwrap().credentials(), None);
        assert_eq!(percent_decoded("50%"), "50%");
    }

    #[test]
    fn only_known_modes_and_counts_are_accepted() {
        assert_eq!("recorded".parse(), Ok(Market::Recorded));
        assert_eq!("Live".parse::<Market>(), Err(InvalidConfig::Market));
        assert_eq!(Replicas::try_from(2), Err(InvalidConfig::Replicas));
    }
}
