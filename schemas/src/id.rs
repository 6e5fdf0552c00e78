//! Ids: functions of the fact, never of when or by whom it was heard.

use std::{fmt, str::FromStr, sync::LazyLock};

use data_encoding::{Encoding, Specification};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

/// The first 128 bits of SHA-256 over `type|field|…`, shown as 26 characters of lower-case base32 without padding.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id([u8; 16]);

/// A text is not an id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an id: 26 characters of a-z and 2-7 are expected")]
pub struct InvalidId(String);

impl Id {
    /// Returns the id of the fact of type `kind` with these fields, in this order. Decimals must be normalised before.
    pub fn of(kind: &str, fields: &[&str]) -> Self {
        let mut hash = Sha256::new();
        hash.update(kind.as_bytes());
        for field in fields {
            hash.update(b"|");
            hash.update(field.as_bytes());
        }
        let digest = hash.finalize();
        let mut first = [0; 16];
        first.copy_from_slice(&digest[..16]);
        Self(first)
    }

    /// Returns the 128 bits.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// RFC 4648 base32 in lower case without padding.
static BASE32: LazyLock<Encoding> = LazyLock::new(|| {
    let mut specification = Specification::new();
    specification.symbols.push_str("abcdefghijklmnopqrstuvwxyz234567");
    specification.encoding().expect("the RFC 4648 alphabet is a valid specification")
});

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE32.encode(&self.0))
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Id({self})")
    }
}

impl FromStr for Id {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = BASE32.decode(text.as_bytes()).map_err(|_| InvalidId(text.to_owned()))?;
        Ok(Self(<[u8; 16]>::try_from(bytes.as_slice()).map_err(|_| InvalidId(text.to_owned()))?))
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_the_first_half_of_sha256_in_base32() {
        // echo -n 'liquidation|okx|BTC-USDT-SWAP' | sha256sum, first 16 bytes, base32.
        let id = Id::of("liquidation", &["okx", "BTC-USDT-SWAP"]);
        assert_eq!(id.to_string().len(), 26);
        assert_eq!(id.to_string().parse::<Id>(), Ok(id));
    }

    #[test]
    fn the_fields_are_separated() {
        assert_ne!(Id::of("a", &["b", "c"]), Id::of("a", &["bc"]));
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "abc", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "aaaaaaaaaaaaaaaaaaaaaaaaa1"] {
            assert!(text.parse::<Id>().is_err(), "{text}");
        }
    }
}
