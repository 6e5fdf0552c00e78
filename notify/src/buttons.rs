//! The buttons under an alert: what they say and what Telegram hands back when one is pressed.

use schemas::{id::Id, name::Base};

/// A button.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Button {
    /// Nothing about this base for an hour.
    Mute1h,
    /// Nothing about this base for eight hours.
    Mute8h,
    /// Why it fired.
    Details,
    /// It was of use.
    Useful,
    /// It was not.
    NotUseful,
}

/// The buttons of one alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buttons {
    /// The alert.
    pub alert: Id,
    /// Its base asset.
    pub base: Base,
}

impl Button {
    /// Every button.
    pub const ALL: [Self; 5] = [Self::Mute1h, Self::Mute8h, Self::Details, Self::Useful, Self::NotUseful];

    const fn code(self) -> &'static str {
        match self {
            Self::Mute1h => "m1",
            Self::Mute8h => "m8",
            Self::Details => "d",
            Self::Useful => "u",
            Self::NotUseful => "n",
        }
    }

    /// Returns the stable name used in the ledger.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mute1h => "mute_1h",
            Self::Mute8h => "mute_8h",
            Self::Details => "details",
            Self::Useful => "useful",
            Self::NotUseful => "not_useful",
        }
    }

    /// Returns what Telegram hands back: at most 64 bytes (telegram.md 9).
    pub fn encode(self, alert: Id) -> String {
        format!("{}:{alert}", self.code())
    }

    /// Reads what was handed back; nothing when it is none of ours.
    pub fn decode(data: &str) -> Option<(Self, Id)> {
        let (code, alert) = data.split_once(':')?;
        let button = Self::ALL.into_iter().find(|button| button.code() == code)?;
        Some((button, alert.parse().ok()?))
    }
}

impl Buttons {
    /// Returns the rows: what is written on each button, and which it is.
    pub fn rows(&self) -> [Vec<(String, Button)>; 2] {
        let base = self.base.as_str();
        [
            vec![(format!("🔕 {base} 1 h"), Button::Mute1h), (format!("🔕 {base} 8 h"), Button::Mute8h)],
            vec![
                ("Details".to_owned(), Button::Details),
                ("👍 Useful".to_owned(), Button::Useful),
                ("👎 Not useful".to_owned(), Button::NotUseful),
            ],
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_handed_back_is_read_back_and_fits() {
        let alert = Id::of("test", &[]);
        for button in Button::ALL {
            let data = button.encode(alert);
            assert!(data.len() <= 64);
            assert_eq!(Button::decode(&data), Some((button, alert)));
        }
        for data in ["", "m1", "x:aaaaaaaaaaaaaaaaaaaaaaaaaa", "m1:short", ":"] {
            assert_eq!(Button::decode(data), None, "{data}");
        }
    }
}
