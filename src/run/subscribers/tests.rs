use schemas::{
    name::Base,
    subscriber::{Mute, Preferences, QuietHours},
};

use super::*;

fn subscriber(recipient: &str) -> Subscriber {
    Subscriber {
        v: schemas::subscriber::VERSION,
        channel: "telegram".to_owned(),
        recipient: recipient.to_owned(),
        at: 1_790_000_000_000,
        cause: Cause::Cli,
        update: None,
        standing: Standing::Active,
        preferences: Preferences::default(),
    }
}

#[test]
fn floors_are_the_thresholds_of_the_rules() {
    let base: Base = "SOL".parse().unwrap();
    let shipped = floors(&Rules::shipped());
    assert_eq!((shipped.bases.len(), shipped.others.as_ref()), (3, None));
    let sol = shipped.get(&base).unwrap();
    assert_eq!(sol.single_usd.map(|usd| usd.to_string()).as_deref(), Some("25000.00"));
    assert_eq!((sol.cascade_count, sol.change_pct), (Some(4), Some(Ratio::new(25.into()))));
    let others = "[oi.default]\nchange_pct = 5\nwindow = \"15m\"\nmin_usd = 1\nconfirm = 1\n";
    let others = floors(&Rules::parse(others).unwrap());
    assert_eq!((others.bases.len(), others.get(&base).unwrap().single_usd), (0, None));
}

#[test]
fn the_table_lines_up_and_hides_nothing_in_control_characters() {
    let odd = Subscriber {
        recipient: "a\u{202e}\nb".to_owned(),
        standing: Standing::Off { reason: "chat_not_found".to_owned() },
        preferences: Preferences {
            quiet: Some(QuietHours { from: 1380, to: 425, zone: "America/Argentina/Buenos_Aires".to_owned() }),
            mutes: vec![Mute { base: None, kind: None, until: 5 }, Mute { base: None, kind: None, until: 4 }],
            bases: Some(["BTC", "ETH"].map(|name| name.parse().unwrap()).into()),
            ..Preferences::default()
        },
        ..subscriber("")
    };
    let rows = [row(&subscriber("-100123"), 4), row(&odd, 4)];
    let expected = [
        "-100123          active               all      all  low  -                                           0  2026-09-21 14:13",
        "a\\u{202e}\\nb    off: chat_not_found  BTC,ETH  all  low  23:00-07:05 America/Argentina/Buenos_Aires  1  2026-09-21 14:13",
    ];
    let table = table(&rows);
    let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(table.lines().map(squeezed).collect::<Vec<_>>(), expected.map(squeezed));
    let columns: Vec<_> = table.lines().map(|line| line.chars().count()).collect();
    assert_eq!(columns[0], columns[1], "{table}");
}

#[test]
fn every_line_that_cannot_be_taken_is_told() {
    let good = serde_json::to_string(&subscriber("42")).unwrap();
    let parsed = parse(format!("{good}\n\n{good}\n").as_bytes()).unwrap();
    assert_eq!(parsed, [(1, subscriber("42")), (3, subscriber("42"))]);
    let pigeon = good.replace("telegram", "pigeon");
    let problems = parse(format!("{{}}\n{good}\n{pigeon}\nx\n").as_bytes()).unwrap_err();
    let numbers: Vec<_> = problems.iter().map(|problem| problem.split(':').next().unwrap()).collect();
    assert_eq!(numbers, ["line 1", "line 3", "line 4"], "{problems:?}");
}
