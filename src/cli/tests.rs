use clap::{CommandFactory as _, error::ErrorKind};

use super::*;
use crate::config::keys;

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_of_this_version_is_taken() {
    for line in [
        "up",
        "up --demo",
        "up --demo --seed 7",
        "up --replay frames.jsonl.gz --venue okx --instruments okx.json --speed max",
        "up --replay frames.jsonl --venue okx",
        "ingest",
        "detect",
        "notify",
        "normalize --venue bybit",
        "normalize --venue okx --instruments okx.json -",
        "replay --file frames.jsonl --venue binance --rules rules.toml --speed 60x",
        "replay --stream",
        "replay --stream --since 2h --compare other.toml --json",
        "replay --file frames.jsonl --venue binance --rules rules.toml --compare other.toml",
        "replay --stream --since 2h --until 2026-03-04T14:31:15Z",
        "replay --stream --from-seq 1 --to-seq 9",
        "simulate --port 0 --seed 7 --wait-subscribers 2 --fault silent=okx --fault skew=bybit",
        "simulate --recording frames.jsonl --venue okx --instruments okx.json --speed max",
        "simulate --scenario two --speed 60x",
        "decode",
        "topology plan",
        "topology apply",
        "rules show",
        "rules check rules.toml",
        "rules set -",
        "rules history --json",
        "subscribers list",
        "subscribers add -100123 --bases BTC,ETH --edits-only",
        "subscribers add --from chats.jsonl",
        "subscribers set @alerts --kinds cascades --min-priority high --threshold BTC.oi=20% --threshold ETH=off",
        "subscribers set local --quiet off --pictures on --edits-only=off --topic 7",
        "subscribers mute -100123 BTC until tomorrow",
        "subscribers remove 42",
        "subscribers export",
        "status --json",
        "health",
        "health --service detect",
        "config check --config other.toml",
        "bench",
    ] {
        assert!(parse(line).is_ok(), "{line}: {}", parse(line).unwrap_err());
    }
}

#[test]
fn what_does_not_go_together_is_wrong_usage() {
    use ErrorKind::{ArgumentConflict, InvalidValue, MissingRequiredArgument, ValueValidation};
    for (line, kind) in [
        ("up --demo --replay f --venue okx", ArgumentConflict),
        ("up --replay f", MissingRequiredArgument),
        ("up --venue okx", MissingRequiredArgument),
        ("up --instruments f", MissingRequiredArgument),
        ("up --speed 60x", MissingRequiredArgument),
        ("up --seed 7", MissingRequiredArgument),
        ("up --seed 7 --replay f --venue okx", ArgumentConflict),
        ("up --demo --venue okx", ArgumentConflict),
        ("up --demo --instruments f", ArgumentConflict),
        ("simulate --scenario two --recording f --venue okx", ArgumentConflict),
        ("simulate --scenario four", InvalidValue),
        ("normalize", MissingRequiredArgument),
        ("normalize --venue ftx", ValueValidation),
        ("replay", MissingRequiredArgument),
        ("replay --file f", MissingRequiredArgument),
        ("replay --file f --venue okx --stream", ArgumentConflict),
        ("replay --file f --venue okx --since 2h", ArgumentConflict),
        ("replay --file f --venue okx --to-seq 9", ArgumentConflict),
        ("replay --since 2h", MissingRequiredArgument),
        ("replay --stream --venue okx", ArgumentConflict),
        ("replay --stream --instruments f", ArgumentConflict),
        ("replay --stream --since 2h --to-seq 9", ArgumentConflict),
        ("replay --stream --from-seq 0", ValueValidation),
        ("replay --stream --since yesterday", ValueValidation),
        ("replay --stream --speed 0", ValueValidation),
        ("replay --stream --compare f --speed 60x", ArgumentConflict),
        ("simulate --seed 7 --recording f --venue okx", ArgumentConflict),
        ("simulate --recording f", MissingRequiredArgument),
        ("simulate --fault silent", ValueValidation),
        ("health --service broker", InvalidValue),
        ("rules check", MissingRequiredArgument),
        ("subscribers add", MissingRequiredArgument),
        ("subscribers add 42 --from f", ArgumentConflict),
        ("subscribers add --from f --bases BTC", ArgumentConflict),
        ("subscribers set 42 --threshold BTC=250k", ValueValidation),
        ("subscribers set 42 --threshold BTC.weather=250k", ValueValidation),
        ("subscribers set 42 --topic 0", ValueValidation),
        ("subscribers set 0 --topic 1", ValueValidation),
        ("subscribers mute 42", MissingRequiredArgument),
    ] {
        let error = parse(line).expect_err(line);
        assert_eq!((error.kind(), error.exit_code()), (kind, 2), "{line}");
    }
}

#[test]
fn a_speed_is_a_factor_above_zero_or_max() {
    for (text, speed) in [
        ("60x", Ok(Speed::Times(60.0))),
        ("0.5", Ok(Speed::Times(0.5))),
        ("1000000x", Ok(Speed::Times(1_000_000.0))),
        ("max", Ok(Speed::Max)),
        ("0", Err(InvalidSpeed)),
        ("-1x", Err(InvalidSpeed)),
        ("x", Err(InvalidSpeed)),
        ("NaN", Err(InvalidSpeed)),
        ("inf", Err(InvalidSpeed)),
        ("1000001", Err(InvalidSpeed)),
    ] {
        assert_eq!(text.parse(), speed, "{text}");
    }
}

#[test]
fn a_moment_is_a_time_with_its_zone_or_an_age() {
    let now: Timestamp = "2026-03-04T14:00:00Z".parse().unwrap();
    for (text, moment) in [
        ("2h", Ok("2026-03-04T12:00:00Z")),
        ("90m", Ok("2026-03-04T12:30:00Z")),
        ("1d", Ok("2026-03-03T14:00:00Z")),
        ("2026-03-04T14:00:00+02:00", Ok("2026-03-04T12:00:00Z")),
        ("99999999999h", Ok("-009999-01-02T01:59:59Z")),
        ("2026-03-04", Err(InvalidWhen)),
        ("2h ago", Err(InvalidWhen)),
        ("2", Err(InvalidWhen)),
        ("", Err(InvalidWhen)),
    ] {
        let expected = moment.map(|moment| moment.parse::<Timestamp>().unwrap());
        assert_eq!(text.parse().map(|when: When| when.resolve(now)), expected, "{text}");
    }
}

#[test]
fn a_fault_names_its_venue() {
    let fault = Fault { name: "silent".to_owned(), venue: Exchange::Okx };
    assert_eq!("silent=okx".parse(), Ok(fault));
    for text in ["silent", "=okx", "silent=", "silent=ftx"] {
        assert_eq!(text.parse::<Fault>(), Err(InvalidFault), "{text}");
    }
}

#[test]
fn every_flag_of_the_configuration_reaches_it_before_and_after_the_command() {
    for flag in keys::ALL.iter().filter_map(|key| key.flag) {
        for line in [format!("{flag} x status"), format!("status {flag} x")] {
            assert_eq!(parse(&line).unwrap().global.flags(), Flags::from([(flag, "x".to_owned())]), "{line}");
        }
    }
}

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(["foreshock"].into_iter().chain(line.split(' ')))
}
