//! The answers as a chat shows them: goldens.

use super::*;

/// The answer to the last of these commands.
fn answer(mut desk: Desk, texts: &[&str]) -> String {
    texts.iter().map(|text| html(&desk.say(text))).last().unwrap()
}

fn golden(desk: Desk, texts: &[&str], expected: &[&str]) {
    assert_eq!(answer(desk, texts), expected.join("\n"), "{texts:?}");
}

#[test]
fn start_and_subscriptions() {
    golden(
        Desk::private(),
        &["/start"],
        &[
            "👋 <b>Alerts are on</b>",
            "You are told within seconds when liquidations cascade or open interest jumps.",
            "",
            "🪙 Symbols: all (BTC, ETH, SOL)",
            "📋 About: cascades, large liquidations, open interest",
        ],
    );
    golden(
        Desk::private(),
        &["/subscribe ETH cascades"],
        &["🔔 <b>You get</b>", "🪙 Symbols: ETH", "📋 About: cascades"],
    );
    golden(
        Desk::private(),
        &["/unsubscribe SOL"],
        &["🔔 <b>You still get</b>", "🪙 Symbols: BTC, ETH", "📋 About: cascades, large liquidations, open interest"],
    );
    golden(Desk::private(), &["/unsubscribe"], &["🔕 Alerts are off here. On again: <code>/start</code>"]);
}

#[test]
fn everything_in_force() {
    golden(
        Desk::private(),
        &["/settings"],
        &[
            "⚙️ <b>Settings of this chat</b>",
            "🔔 Alerts: on",
            "🪙 Symbols: all (BTC, ETH, SOL)",
            "📋 About: cascades, large liquidations, open interest",
            "🎚 Priority: all",
            "📏 Thresholds: those of the rules",
            "🌙 Quiet hours: none",
            "🔊 Muted: nothing",
            "✏️ A growing cascade: a reply when it gets worse",
            "🖼 Charts: on",
            "💬 Topic: the general one",
            "",
            "<i>Change: /subscribe /threshold /mute /quiet, or /settings pictures off</i>",
        ],
    );
    golden(
        Desk::private(),
        &[
            "/subscribe BTC",
            "/threshold BTC cascade 2m 10",
            "/quiet 23-7 Europe/Berlin",
            "/mute oi 8h",
            "/settings edits on",
            "/settings pictures off",
            "/settings priority medium",
            "/unsubscribe",
            "/settings",
        ],
        &[
            "⚙️ <b>Settings of this chat</b>",
            "🔕 Alerts are off here. On again: <code>/start</code>",
            "🪙 Symbols: BTC",
            "📋 About: cascades, large liquidations, open interest",
            "🎚 Priority: medium and high",
            "📏 Own thresholds:",
            "    <b>BTC</b> cascades from $2,000,000",
            "    <b>BTC</b> cascades from 10 liquidations",
            "🌙 Quiet hours: 23:00–07:00 Europe/Berlin",
            "🔕 Muted: open interest until 22 Sep 00:13 Europe/Berlin",
            "✏️ A growing cascade: only edits its message",
            "🖼 Charts: off",
            "💬 Topic: the general one",
            "",
            "<i>Change: /subscribe /threshold /mute /quiet, or /settings pictures off</i>",
        ],
    );
    let nobody = Desk { subscribers: Subscribers::default(), ..Desk::private() };
    golden(
        nobody,
        &["/settings"],
        &["⚙️ <b>Settings of this chat</b>", "🔕 Alerts are off here. On: <code>/start</code>"],
    );
}

#[test]
fn thresholds_beside_the_rules() {
    golden(
        Desk::private(),
        &["/threshold BTC 250k"],
        &[
            "📏 <b>BTC alerts</b>",
            "large liquidations from $250,000 (rule: $100,000)",
            "cascades from $500,000 (rule)",
            "    and 5 liquidations (rule)",
            "open interest from 15% (rule)",
        ],
    );
    golden(
        Desk {
            known: Known {
                floors: Some(Floors {
                    bases: BTreeMap::from([(base("SOL"), floors().bases[&base("SOL")].clone())]),
                    others: None,
                }),
                ..Known::default()
            },
            ..Desk::private()
        },
        &["/threshold"],
        &[
            "📏 <b>Thresholds of this chat</b>",
            "<b>SOL</b>",
            "large liquidations from $25,000 (rule)",
            "cascades from $100,000 (rule)",
            "    and 4 liquidations (rule)",
            "",
            "<i>Change: </i><code>/threshold BTC 250k</code><i> or </i><code>/threshold BTC off</code>",
        ],
    );
}

#[test]
fn silence() {
    golden(Desk::private(), &["/mute BTC ETH cascades 1h"], &["🔕 Muted until 21 Sep 15:13 UTC: BTC, ETH (cascades)"]);
    golden(Desk::private(), &["/mute 2d"], &["🔕 Muted until 23 Sep 14:13 UTC: Everything"]);
    golden(
        Desk::private(),
        &["/mute BTC 1h", "/mute off"],
        &["🔊 Muted: nothing", "<i>Mute: </i><code>/mute BTC 1h</code><i> or </i><code>/mute off</code>"],
    );
    golden(
        Desk::private(),
        &["/mute BTC 1h", "/mute oi 8h", "/mute"],
        &[
            "🔕 Muted: BTC until 21 Sep 15:13 UTC",
            "🔕 Muted: open interest until 21 Sep 22:13 UTC",
            "<i>Mute: </i><code>/mute BTC 1h</code><i> or </i><code>/mute off</code>",
        ],
    );
    golden(
        Desk::private(),
        &["/quiet 23:00-07:00 europe/berlin"],
        &[
            "🌙 Quiet hours: 23:00–07:00 Europe/Berlin",
            "<i>What comes meanwhile is told afterwards in one silent message.</i>",
        ],
    );
    golden(Desk::private(), &["/quiet off"], &["🌙 Quiet hours: none"]);
}

#[test]
fn how_things_stand() {
    let ended = samples::with_phase(samples::alert(Kind::Cascade, "BTC", AT_MS - 60_000), schemas::alert::Phase::Ended);
    let recent = vec![
        ended,
        samples::alert(Kind::Cascade, "BTC", AT_MS - 120_000),
        samples::alert(Kind::OiExplosion, "ETH", AT_MS - 180_000),
        samples::alert(Kind::LargeLiquidation, "SOL", AT_MS - 24 * HOUR),
    ];
    let mut desk = Desk::private();
    desk.known.venues = Some(BTreeMap::from([(venue("binance"), true), (venue("bybit"), true), (venue("okx"), false)]));
    desk.known.recent = Some(recent);
    golden(
        desk.clone(),
        &["/mute BTC 1h", "/alerts"],
        &[
            "⚠️ <b>2 of 3 exchanges heard</b>",
            "No data: okx",
            "🔔 Alerts: on",
            "🔕 Muted: BTC until 21 Sep 15:13 UTC",
            "",
            "<b>Newest (UTC)</b>",
            "<code>21 Sep 14:12</code> 🚨 BTC cascade, ended $1.2M",
            "<code>21 Sep 14:10</code> 📈 ETH open interest +18%",
            "<code>20 Sep 14:13</code> 💥 SOL $145.7K liquidated",
        ],
    );
    desk.known.venues = Some(BTreeMap::from([(venue("okx"), true)]));
    desk.known.recent = Some(Vec::new());
    golden(desk, &["/alerts"], &["📡 <b>1 of 1 exchange heard</b>", "🔔 Alerts: on", "", "Nothing was found lately."]);
}

#[test]
fn what_was_liquidated() {
    let sides =
        |longs, long: &str, shorts, short: &str| Sides { longs, long_usd: usd(long), shorts, short_usd: usd(short) };
    let btc = [(venue("bybit"), sides(4, "200000", 0, "0")), (venue("okx"), sides(30, "1000000", 7, "230000"))];
    let eth = [(venue("okx"), sides(0, "0", 1, "50000"))];
    let mut desk = Desk::private();
    desk.known.liquidations = Some(BTreeMap::from([
        (base("BTC"), BTreeMap::from(btc)),
        (base("ETH"), BTreeMap::from(eth)),
        (base("SOL"), BTreeMap::new()),
    ]));
    golden(
        desk.clone(),
        &["/liquidations"],
        &[
            "💥 <b>Liquidations, last 15 minutes</b>",
            "<b>BTC</b> $1.4M",
            "📉 34 longs $1.2M\n📈 7 shorts $230K",
            "<i>okx $1.2M · bybit $200K</i>",
            "<b>ETH</b> $50K",
            "📉 0 longs $0\n📈 1 short $50K",
            "<i>okx $50K</i>",
        ],
    );
    desk.known.liquidations = Some(BTreeMap::new());
    golden(desk, &["/liquidations SOL"], &["💥 <b>SOL liquidations, last 15 minutes</b>", "None."]);
}

#[test]
fn what_was_found_and_told() {
    let mut desk = Desk::private();
    desk.known.history = Some(History {
        found: BTreeMap::from([
            ((base("BTC"), Kind::Cascade), 4),
            ((base("BTC"), Kind::LargeLiquidation), 1_200),
            ((base("ETH"), Kind::OiExplosion), 1),
        ]),
        due: 134,
        sent: 132,
        p50_ms: Some(870),
        p99_ms: Some(2_149),
        rated: 10,
        useful: 8,
    });
    golden(
        desk.clone(),
        &["/history"],
        &[
            "📊 <b>Last 24 hours</b>",
            "<b>BTC</b> cascades 4 · large liquidations 1,200",
            "<b>ETH</b> open interest 1",
            "",
            "✅ Delivered: 132 of 134",
            "⏱ Half within 0.9 s, 99% within 2.1 s",
            "👍 Useful: 8 of 10 rated",
        ],
    );
    desk.known.history = Some(History::default());
    golden(desk.clone(), &["/history BTC 7d"], &["📊 <b>BTC, last 7 days</b>", "Nothing was found."]);
    golden(desk, &["/history 30m"], &["📊 <b>Last 30 minutes</b>", "Nothing was found."]);
}

#[test]
fn explanations_are_escaped_and_bounded() {
    let mut desk = Desk::private();
    desk.known.explanation = Some(vec!["<7> liquidations & more".to_owned()]);
    golden(desk.clone(), &["/why"], &["🔎 <b>Why this alert</b>", "&lt;7&gt; liquidations &amp; more"]);
    desk.known.explanation = Some(vec!["&".repeat(10_000); 1_000]);
    let text = answer(desk.clone(), &["/why"]);
    assert!(text.encode_utf16().count() <= crate::caps::TEXT_UNITS_MAX);
    desk.known.explanation = None;
    golden(
        desk,
        &["/why"],
        &["🔎 <b>This alert is not known any more</b>", "Reply to an alert with <code>/why</code>."],
    );
}

#[test]
fn help_and_hints() {
    golden(
        Desk::private(),
        &["/help"],
        &[
            "📖 <b>Commands</b>",
            "<code>/start</code> switch alerts on",
            "<code>/subscribe</code> choose symbols and kinds: BTC cascades",
            "<code>/unsubscribe</code> stop alerts, or only some: BTC",
            "<code>/alerts</code> how things stand, and the newest alerts",
            "<code>/liquidations</code> what was liquidated in the last minutes",
            "<code>/threshold</code> only larger ones: BTC 250k",
            "<code>/mute</code> silence for a while: BTC 1h",
            "<code>/quiet</code> quiet hours: 23:00-07:00 Europe/Berlin",
            "<code>/settings</code> everything set for this chat",
            "<code>/history</code> what was found and told: 24h BTC",
            "<code>/why</code> why an alert fired (reply to it)",
            "<code>/test</code> send a test message",
            "<code>/help</code> all commands",
            "",
            "<i>Alerts have buttons too: mute, details, useful or not.</i>",
        ],
    );
    golden(
        Desk::private(),
        &["hello"],
        &[
            "👋 <b>I understand commands</b>",
            "<code>/alerts</code> how things stand",
            "<code>/settings</code> what you get",
            "<code>/help</code> everything else",
        ],
    );
    golden(
        Desk::private(),
        &["/mute <b>"],
        &["🤔 For how long? 30m, 1h, 8h, 2d or “until tomorrow”.", "For example: <code>/mute BTC 1h</code>"],
    );
    golden(
        Desk::private(),
        &["/subscribe <b>"],
        &["🤔 “&lt;b&gt;” is no symbol and no kind of alert.", "For example: <code>/subscribe BTC ETH cascades</code>"],
    );
    golden(
        Desk::private(),
        &["/test"],
        &["🧪 <b>A test message is on its way</b>", "It takes the way of every alert. If it arrives, so will they."],
    );
    golden(
        Desk { config: Config::default(), ..Desk::private() },
        &["/start"],
        &["🔒 <b>This bot serves invited chats</b>", "Ask whoever runs it to allow this chat:", "<code>42</code>"],
    );
    golden(
        Desk { known: Known { is_admin: Some(false), ..Known::default() }, ..Desk::group() },
        &["/mute 1h"],
        &[
            "🔒 <b>Only admins of this group can do this</b>",
            "Everybody can look: <code>/settings</code> <code>/alerts</code>",
        ],
    );
}
