//! A thousand chats that want different things, and change their minds.

use std::collections::BTreeSet;

use notify::recipient::{ChatId, Recipient};
use rand::{Rng, rngs::SmallRng, seq::IndexedRandom as _};
use schemas::{
    alert::{Kind, Priority},
    amount::Usd,
    name::Base,
    subscriber::{Cause, Mute, Preferences, QuietHours, Standing, Subscriber, Thresholds},
};

use super::{DAY_MS, DAYS, FROM_MS, HOUR_MS, storm::BASES};
use crate::notifier::subscribed;

/// Chats; every seventh is a group.
pub(super) const PEOPLE: i64 = 1_000;

/// Changes of mind in the week.
const CHANGES: usize = 600;

const ZONES: [&str; 6] = ["Europe/Berlin", "America/New_York", "Asia/Tokyo", "Asia/Kolkata", "Australia/Sydney", "UTC"];

/// Returns the chat with this number, counted from 1.
pub(super) fn chat(number: i64) -> Recipient {
    let id = if number % 7 == 0 { -number } else { number };
    Recipient::Telegram(ChatId::from_number(id))
}

/// Returns everybody at the beginning of the week.
pub(super) fn everybody(rng: &mut SmallRng) -> Vec<Subscriber> {
    let one = |number| Subscriber { preferences: preferences(rng), at: FROM_MS - 1, ..subscribed(&chat(number)) };
    (1..=PEOPLE).map(one).collect()
}

/// Returns who changes to what, and when: mutes, other hours, leaving for a while.
pub(super) fn changes(rng: &mut SmallRng, everybody: &[Subscriber]) -> Vec<(i64, Subscriber)> {
    let mut changes: Vec<_> = (0..CHANGES)
        .flat_map(|_| {
            let before = everybody.choose(rng).unwrap().clone();
            let at = FROM_MS + rng.random_range(0..DAYS * DAY_MS);
            let until = at + rng.random_range(HOUR_MS..DAY_MS);
            let changed = |at, standing, preferences| {
                (at, Subscriber { at, cause: Cause::Chat, standing, preferences, ..before.clone() })
            };
            match rng.random_range(0..3) {
                0 => {
                    let base = rng.random_bool(0.7).then(|| base(rng));
                    let mutes = vec![Mute { base, kind: None, until }];
                    vec![changed(at, Standing::Active, Preferences { mutes, ..before.preferences.clone() })]
                }
                1 => {
                    let quiet = Some(quiet(rng));
                    vec![changed(at, Standing::Active, Preferences { quiet, ..before.preferences.clone() })]
                }
                _ => vec![
                    changed(at, Standing::Unsubscribed, before.preferences.clone()),
                    changed(until, Standing::Active, before.preferences.clone()),
                ],
            }
        })
        .collect();
    changes.sort_by(|(left, one), (right, other)| (left, &one.recipient).cmp(&(right, &other.recipient)));
    changes
}

fn preferences(rng: &mut SmallRng) -> Preferences {
    let kinds = [Kind::LargeLiquidation, Kind::Cascade, Kind::OiExplosion];
    let thresholds = rng.random_bool(0.2).then(|| {
        let (name, single, cascade) = BASES[rng.random_range(0..BASES.len())];
        let times = rng.random_range(2..6);
        let of = |usd: i64| Some(Usd::from_cents(usd * times * 100));
        let own = Thresholds { single_usd: of(single), cascade_usd: of(cascade), ..Thresholds::default() };
        (name.parse().unwrap(), own)
    });
    let mute = rng.random_bool(0.1).then(|| Mute {
        base: Some(base(rng)),
        kind: rng.random_bool(0.3).then_some(Kind::LargeLiquidation),
        until: FROM_MS + rng.random_range(0..DAYS * DAY_MS),
    });
    Preferences {
        bases: rng.random_bool(0.5).then(|| (0..rng.random_range(1..4)).map(|_| base(rng)).collect()),
        kinds: rng.random_bool(0.3).then(|| BTreeSet::from([kinds[rng.random_range(0..3)], Kind::Cascade])),
        min_priority: [Priority::Low, Priority::Low, Priority::Medium, Priority::High][rng.random_range(0..4)],
        thresholds: thresholds.into_iter().collect(),
        quiet: rng.random_bool(0.3).then(|| quiet(rng)),
        mutes: mute.into_iter().collect(),
        edits_only: rng.random_bool(0.1),
        pictures: rng.random_bool(0.7),
        topic: None,
    }
}

fn base(rng: &mut SmallRng) -> Base {
    BASES[rng.random_range(0..BASES.len())].0.parse().unwrap()
}

fn quiet(rng: &mut SmallRng) -> QuietHours {
    let from = rng.random_range(20 * 60..24 * 60);
    let zone = ZONES[rng.random_range(0..ZONES.len())].to_owned();
    QuietHours { from, to: rng.random_range(5 * 60..9 * 60), zone }
}
