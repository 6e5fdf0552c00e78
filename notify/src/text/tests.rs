use std::collections::BTreeMap;

use proptest::prelude::*;
use schemas::{
    alert::{Kind, VenueTotal},
    amount::Usd,
};

use super::*;
use crate::{
    caps::TEXT_UNITS_MAX,
    samples::{self, alert, usd as amount, venue, with_phase},
};

/// The lines of design 5, without the small line.
fn lines(alert: &Alert) -> String {
    Message::of(alert, None).lines.join("\n")
}

fn changed<T>(mut alert: Alert, change: impl FnOnce(&mut Alert) -> T) -> Alert {
    change(&mut alert);
    alert
}

fn cascade_with(change: impl FnOnce(&mut Cascade)) -> Alert {
    changed(alert(Kind::Cascade, "BTC", 0), |alert| match &mut alert.finding {
        Finding::Cascade(cascade) => change(cascade),
        Finding::LargeLiquidation(_) | Finding::OiExplosion(_) => panic!("a cascade was made"),
    })
}

fn explosion_with(change: impl FnOnce(&mut OiExplosion)) -> Alert {
    changed(alert(Kind::OiExplosion, "BTC", 0), |alert| match &mut alert.finding {
        Finding::OiExplosion(explosion) => change(explosion),
        Finding::LargeLiquidation(_) | Finding::Cascade(_) => panic!("an explosion was made"),
    })
}

#[test]
fn a_cascade_starts_with_the_lines_of_the_contract() {
    let expected = "\
🚨 BTC LIQUIDATION CASCADE
⚡ 7 liquidations in 30 seconds
💰 Total: $1.2M liquidated
📉 5 longs, 2 shorts
⚠️ Potential price impact expected";
    assert_eq!(lines(&alert(Kind::Cascade, "BTC", 0)), expected);
}

#[test]
fn shorts_come_first_where_they_are_the_heavier_side() {
    let alert = cascade_with(|cascade| {
        cascade.dominant.side = Side::Short;
        (cascade.longs, cascade.shorts) = (1, 6);
    });
    assert_eq!(lines(&alert).lines().nth(3), Some("📈 6 shorts, 1 long"));
}

#[test]
fn later_phases_of_a_cascade_are_in_the_same_hand() {
    let cascade = alert(Kind::Cascade, "BTC", 0);
    let expected = "\
🚨 BTC CASCADE GROWS
⚡ 7 liquidations in 2 min 5 s
💰 Total: $1.2M liquidated
📉 5 longs, 2 shorts
⚠️ 4× the alert threshold";
    assert_eq!(lines(&with_phase(cascade.clone(), Phase::Escalated)), expected);
    let expected = "\
🔄 BTC CASCADE GOES ON
⚡ 7 liquidations in 2 min 5 s
💰 Total: $1.2M liquidated
📉 5 longs, 2 shorts
📊 $97,123.4 → $95,200 (−2%) on okx";
    assert_eq!(lines(&with_phase(cascade.clone(), Phase::Updated)), expected);
    let expected = "\
✅ BTC CASCADE ENDED
⚡ 7 liquidations in 2 min 5 s
💰 Total: $1.2M liquidated
📉 5 longs, 2 shorts
📊 $97,123.4 → $95,200 (−2%) on okx";
    assert_eq!(lines(&with_phase(cascade, Phase::Ended)), expected);
}

#[test]
fn an_explosion_has_the_lines_of_the_contract() {
    let expected = "\
🚨 BTC OI EXPLOSION
📈 +18% increase in 15 minutes
💰 $2.1B → $2.5B (+$400M)
🏦 3/3 exchanges confirming
⚡ Institutional positioning detected";
    assert_eq!(lines(&alert(Kind::OiExplosion, "BTC", 0)), expected);
    let grows = lines(&with_phase(alert(Kind::OiExplosion, "BTC", 0), Phase::Escalated));
    assert_eq!(grows.lines().next(), Some("🚨 BTC OI EXPLOSION GROWS"));
}

#[test]
fn a_fall_has_the_lines_of_the_contract() {
    let fall = explosion_with(|explosion| {
        explosion.direction = Direction::Down;
        explosion.change_pct = samples::ratio("-18");
        (explosion.before_usd, explosion.after_usd) = (explosion.after_usd, explosion.before_usd);
        explosion.change_usd = amount("-400000000.00");
        (explosion.confirming, explosion.reporting) = (1, 1);
    });
    let expected = "\
🚨 BTC OI EXPLOSION
📉 −18% decrease in 15 minutes
💰 $2.5B → $2.1B (−$400M)
🏦 1/1 exchange confirming
⚡ Institutional positioning detected";
    assert_eq!(lines(&fall), expected);
}

#[test]
fn a_large_liquidation_says_side_size_price_and_place() {
    let expected = "\
🚨 BTC LARGE LIQUIDATION
📉 Long liquidated: $145.7K
💰 1.5 BTC at $97,123.4 (bankruptcy)
🏦 BTCUSDT on bybit";
    assert_eq!(lines(&alert(Kind::LargeLiquidation, "BTC", 0)), expected);
    let short = changed(alert(Kind::LargeLiquidation, "BTC", 0), |alert| {
        if let Finding::LargeLiquidation(large) = &mut alert.finding {
            (large.liquidated, large.price_kind) = (Side::Short, PriceKind::Average);
        }
    });
    assert_eq!(lines(&short).lines().nth(1), Some("📈 Short liquidated: $145.7K"));
    assert_eq!(lines(&short).lines().nth(2), Some("💰 1.5 BTC at $97,123.4 (average)"));
}

#[test]
fn one_small_line_holds_the_rest() {
    let latency = Some(Latency { seen_ms: 400, sent_ms: 870 });
    let small = |alert: &Alert, latency| Message::of(alert, latency).plain().lines().nth(5).map(str::to_owned);
    let cascade = cascade_with(|cascade| cascade.largest_usd = amount("1172839.50"));
    let blind = changed(cascade.clone(), |alert| {
        alert.coverage.insert(venue("okx"), false);
        alert.saturated = true;
    });
    let half = cascade_with(|cascade| cascade.largest_usd = amount("617283.94"));
    for (alert, latency, expected) in [
        (&cascade, latency, "okx 5, binance 2 · one order: 95 % · seen +0.4 s, sent +0.9 s"),
        (&blind, None, "okx 5, binance 2 · no data: okx · window full, figures are minimums · one order: 95 %"),
        (&half, None, "okx 5, binance 2 · one order: 50 %"),
        (&cascade_with(|cascade| cascade.largest_usd = amount("617159.48")), None, "okx 5, binance 2"),
        (
            &alert(Kind::OiExplosion, "BTC", 0),
            None,
            "binance +19%, bybit +17%, okx +18% · z-score 4.2 · 1 h +20% · 24 h −3.1%",
        ),
    ] {
        assert_eq!(small(alert, latency).as_deref(), Some(expected));
    }
    let young = explosion_with(|explosion| {
        explosion.baseline = None;
        (explosion.trend_1h_pct, explosion.trend_24h_pct) = (None, None);
        explosion.venues = BTreeMap::new();
    });
    assert_eq!(small(&young, None), None);
}

#[test]
fn a_long_list_is_cut_and_counted() {
    let venues =
        (0..12).map(|n| (venue(&format!("v{n:02}")), VenueTotal { count: 1, notional_usd: Usd::from_cents(n) }));
    let alert = cascade_with(|cascade| {
        cascade.venues = venues.collect();
        cascade.largest_usd = Usd::default();
    });
    let text = Message::of(&alert, None).plain();
    assert_eq!(text.lines().nth(5), Some("v11 1, v10 1, v09 1, v08 1, v07 1, v06 1, v05 1, v04 1 +4 more"));
}

#[test]
fn html_escapes_what_venues_say_and_sets_the_small_line_in_italics() {
    let strange = alert(Kind::Cascade, "<b>&\u{202e}", 0);
    let html = Message::of(&strange, Some(Latency { seen_ms: -100, sent_ms: 50 })).html();
    assert_eq!(html.lines().next(), Some("🚨 &lt;b&gt;&amp;\\u{202e} LIQUIDATION CASCADE"));
    assert_eq!(html.lines().nth(5), Some("<i>okx 5, binance 2 · seen −0.1 s, sent +0.0 s</i>"));
}

#[test]
fn a_text_can_be_marked_and_can_fall_back_to_short_plain_text() {
    let html = Text::Html("a &amp; b\n<i>small &lt;</i>".to_owned());
    assert_eq!(html.clone().marked().as_str(), "a &amp; b\n<i>small &lt;</i>\n<i>(may repeat)</i>");
    assert_eq!(html.fallback(), Text::Plain("a & b\nsmall <".to_owned()));
    let long = Text::Plain(format!("{}\n{}", "🚨".repeat(500), "x".repeat(100)));
    assert_eq!(long.fallback(), Text::Plain("🚨".repeat(500)));
}

proptest! {
    #[test]
    fn every_message_fits(
        name in "\\PC{1,64}", kind in prop::sample::select(vec![Kind::LargeLiquidation, Kind::Cascade, Kind::OiExplosion]),
        amount in any::<i64>(), count in any::<u64>(), venues in prop::collection::btree_set("[a-z0-9-]{32}", 0..40),
    ) {
        let base: String = name.chars().filter(|c| !c.is_whitespace() && !c.is_control()).take(16).collect();
        prop_assume!(!base.is_empty());
        let found = changed(alert(kind, &base, amount), |alert| {
            alert.window_ms = count;
            alert.coverage = venues.iter().map(|name| (venue(name), false)).collect();
            match &mut alert.finding {
                Finding::LargeLiquidation(large) => {
                    large.instrument = base.parse().unwrap();
                    large.notional_usd = Usd::from_cents(amount);
                }
                Finding::Cascade(cascade) => {
                    let total = VenueTotal { count, notional_usd: Usd::from_cents(amount) };
                    cascade.venues = venues.iter().map(|name| (venue(name), total)).collect();
                    (cascade.count, cascade.longs, cascade.shorts, cascade.tier) = (count, count, count, count);
                    cascade.notional_usd = Usd::from_cents(amount);
                }
                Finding::OiExplosion(explosion) => {
                    let part = explosion.venues.first_key_value().unwrap().1.clone();
                    explosion.venues = venues.iter().map(|name| (venue(name), part.clone())).collect();
                    explosion.change_usd = Usd::from_cents(amount);
                }
            }
        });
        let html = Text::Html(Message::of(&found, Some(Latency { seen_ms: amount, sent_ms: i64::MIN })).html());
        prop_assert!(html.marked().as_str().encode_utf16().count() <= TEXT_UNITS_MAX);
    }
}
