use super::*;

mod documents;

const FILE: &str = "foreshock.toml";

#[test]
fn nothing_needs_to_be_configured() {
    let settings = load("", &[]).unwrap();
    assert_eq!((settings.market, settings.rules.clone(), settings.telegram.token), (Market::Live, None, None));
    assert_eq!(settings.nats.servers, Vec::<String>::new());
    assert_eq!(settings.instance, "local");
    assert_eq!(settings.state_dir, Path::new(".foreshock"));
    let enabled = [&settings.venues.binance, &settings.venues.bybit, &settings.venues.okx].map(|venue| venue.enabled);
    assert_eq!(enabled, [true; 3]);
    let bases = ["BTC", "ETH", "SOL"].map(|base| base.parse().unwrap());
    assert_eq!(settings.bases, Bases::Only(bases.into()));
}

#[test]
fn flags_win_over_environment_over_file_over_defaults() {
    let prefix = |file, variables: &[(&str, &str)], flags: &[(&'static str, &str)]| {
        let settings = load_with(file, variables, &[], flags).unwrap();
        let line = settings.effective.iter().find(|line| line.key == "nats.prefix").unwrap();
        (settings.nats.names.prefix().to_owned(), line.origin.to_string())
    };
    let file = "[nats]\nprefix = 'file'";
    let variables = [("FORESHOCK_PREFIX", "variable")];
    let expected = |prefix: &str, origin: &str| (prefix.to_owned(), origin.to_owned());
    assert_eq!(prefix("", &[], &[]), expected("", "default"));
    assert_eq!(prefix(file, &[], &[]), expected("file", "file"));
    assert_eq!(prefix(file, &variables, &[]), expected("variable", "FORESHOCK_PREFIX"));
    assert_eq!(prefix(file, &variables, &[("--prefix", "flag")]), expected("flag", "--prefix"));
    assert_eq!(prefix(file, &variables, &[("--prefix", "")]), expected("", "--prefix"));
    assert_eq!(prefix(file, &[("FORESHOCK_PREFIX", " ")], &[]), expected("file", "file"));
}

#[test]
fn every_mistake_is_told_at_once_with_its_name_its_value_and_what_is_valid() {
    let file = "
        market = 'dead'
        bases = []
        typo = 1
        nats = { replicas = 2, url = ['nats://a'] }
        venues = { okx = { ws_url = 'https://x' }, ftx = { ws_url = 'wss://x' } }
        oi = { source = 'rumours', bases = '*', BTC = { change_pct = 0 } }
        log = { format = true }";
    let variables = [
        ("ENABLE_OI_ALERTS", "perhaps"),
        ("ALERT_RATE_LIMIT_SECONDS", "25h"),
        ("FORESHOCK_TYPO", "1"),
        ("FORESHOCK_DATA", "../data"),
        ("SOMEBODY_ELSE", "1"),
        ("LIQUIDATION_THRESHOLD_BTC", "lots"),
        ("NATS_USER", "foreshock"),
    ];
    let flags = [("--log-level", "loud\n")];
    let problems = load_with(file, &variables, &[], &flags).unwrap_err().problems;
    let starts = [
        r#"market is "dead": live or recorded is expected"#,
        r#"bases is "": a list of base assets such as BTC,ETH, or * for all is expected"#,
        r#"nats.url is "[\"nats://a\"]": nats://HOST:PORT"#,
        "NATS_PASSWORD or NATS_PASSWORD_FILE: a password for NATS_USER is expected",
        r#"nats.replicas is "2": 1 or 3 is expected"#,
        r#"venues.okx.ws_url is "https://x": a ws:// or wss:// URL"#,
        r#"oi.source is "rumours": direct or market-data is expected"#,
        r#"oi.bases is "*": a list of base assets such as BTC,ETH, or none is expected"#,
        r#"ENABLE_OI_ALERTS is "perhaps": true or false is expected"#,
        r#"ALERT_RATE_LIMIT_SECONDS is "25h": whole seconds or a duration such as 60s, at most 1h, is expected"#,
        r#"--log-level is "loud": TRACE,"#,
        r#"log.format is "true": text or json is expected"#,
        r#"LIQUIDATION_THRESHOLD_BTC is "lots": a number above 0 is expected"#,
        "[oi.BTC] change_pct is 0: a number above 0 and up to 10000 is expected",
        "typo is unknown: valid are market, bases, instance, state_dir, canary, nats, venues, oi, telegram, notify, http, log, liq",
        "venues.ftx is unknown: valid are enabled, binance, bybit, okx",
        "FORESHOCK_TYPO is unknown: valid are FORESHOCK_MARKET, FORESHOCK_BASES,",
    ];
    assert_eq!(problems.len(), starts.len(), "{problems:#?}");
    for (problem, start) in problems.iter().zip(starts) {
        assert!(problem.starts_with(start), "{problem}\n{start}");
    }
    assert_eq!(ConfigErrors { problems: problems.clone() }.to_string().lines().count(), problems.len());
}

#[test]
fn a_named_file_must_exist_and_be_toml() {
    let environment = Environment::from_pairs(&[], &[("bad.toml", "market = 'live'\ntoken = 'sesame\n")]);
    let error = |path| Settings::load(Some(Path::new(path)), &environment, &Flags::new()).unwrap_err().to_string();
    assert_eq!(error("none.toml"), "the configuration file none.toml cannot be read: entity not found");
    assert!(error("bad.toml").starts_with("bad.toml line 2 is no TOML: "), "{}", error("bad.toml"));
    assert!(!error("bad.toml").contains("sesame"));
}

#[test]
fn no_secret_is_shown_however_it_is_given() {
    let hidden = "s3same";
    let files = [("/run/token", "1:s3same-own\n")];
    let variables = [
        ("NATS_URL", "nats://me:s3same@a:4222"),
        ("TELEGRAM_BOT_TOKEN", "1:s3same"),
        ("FORESHOCK_BOT_TOKEN_FILE", "/run/token"),
        ("TELEGRAM_CHAT_ID", "1"),
    ];
    let settings = load_with("", &variables, &files, &[]).unwrap();
    assert_eq!(settings.telegram.token, Some(BotToken::Own(Secret::new("1:s3same-own".to_owned()))));
    let shown = format!("{settings:?}{}{}", settings.describe(), settings.describe_text());
    assert!(!shown.contains(hidden), "{shown}");
    for (variable, value) in [
        ("NATS_URL", "amqp://me:s3same@a"),
        ("NATS_URL", "nats://s3same@a"),
        ("MARKET_DATA_URL", "http://a/?token=s3same"),
        ("FORESHOCK_OKX_WS_URL", "wss://me:s3same@a"),
        ("TELEGRAM_BOT_TOKEN", "s3same"),
        ("TELEGRAM_BOT_TOKEN", "1:s3same/../x"),
        ("NATS_PASSWORD", "s3same"),
    ] {
        let error = load("", &[(variable, value)]).unwrap_err();
        assert!(!error.to_string().contains(hidden), "{error}");
    }
    let error = load("[telegram]\nbot_token = 's3same'", &[]).unwrap_err().to_string();
    let expected = "telegram.bot_token is unknown: a secret stands in TELEGRAM_BOT_TOKEN or in a file that \
                    telegram.bot_token_file names";
    assert_eq!(error, expected);
}

#[test]
fn a_secret_is_read_from_its_variable_or_from_a_file() {
    let files = [("/run/pw", " sesame\n"), ("/run/empty", "\n")];
    let file = "[nats]\nuser = 'me'\npassword_file = '/run/pw'";
    let password = |file, variables: &[(&str, &str)]| {
        let settings = load_with(file, variables, &files, &[]);
        settings.map(|settings| settings.nats.credentials.unwrap().password.expose().to_owned())
    };
    assert_eq!(password(file, &[]), Ok("sesame".to_owned()));
    assert_eq!(password(file, &[("NATS_PASSWORD", "direct")]), Ok("direct".to_owned()));
    let user = ("NATS_USER", "me");
    assert_eq!(password("", &[user, ("NATS_PASSWORD_FILE", "/run/pw")]), Ok("sesame".to_owned()));
    for (variables, problem) in [
        (
            vec![user, ("NATS_PASSWORD", "x"), ("NATS_PASSWORD_FILE", "/run/pw")],
            "NATS_PASSWORD and NATS_PASSWORD_FILE are both set: set one of them",
        ),
        (vec![user, ("NATS_PASSWORD_FILE", "/run/empty")], "NATS_PASSWORD_FILE is \"/run/empty\": that file is empty"),
        (
            vec![user, ("NATS_PASSWORD_FILE", "/run/none")],
            "NATS_PASSWORD_FILE is \"/run/none\": that file cannot be read (entity not found)",
        ),
        (vec![("NATS_PASSWORD", "x")], "NATS_USER: a user for NATS_PASSWORD is expected"),
    ] {
        assert_eq!(password("", &variables).unwrap_err().problems, [problem]);
    }
}

#[test]
fn nats_servers_are_addresses_of_one_cluster() {
    let nats = |url: &str| load("", &[("NATS_URL", url)]).map(|settings| settings.nats);
    let servers = |url: &str| nats(url).map(|nats| nats.servers);
    assert_eq!(servers("localhost:4222"), Ok(vec!["nats://localhost:4222".to_owned()]));
    assert_eq!(servers("tls://a, tls://b:1/").unwrap(), ["tls://a", "tls://b:1"]);
    let with_user = nats("nats://me:pw@a:1,nats://me:pw@b:1").unwrap();
    assert_eq!(with_user.servers, ["nats://a:1", "nats://b:1"]);
    let credentials = |user: &str, password: &str| {
        Some(Credentials { user: user.to_owned(), password: Secret::new(password.to_owned()) })
    };
    assert_eq!(with_user.credentials, credentials("me", "pw"));
    let variables = [("NATS_URL", "nats://me:pw@a:1"), ("NATS_USER", "you"), ("NATS_PASSWORD", "p@ss")];
    assert_eq!(load("", &variables).unwrap().nats.credentials, credentials("you", "p@ss"));
    for url in
        ["http://a", "nats://", "nats://a/path", "nats://me@a", "nats://a:1,nats://me:pw@b:1", "nats://me:p%20@a", ","]
    {
        assert!(nats(url).is_err(), "{url}");
    }
}

#[test]
fn lists_are_arrays_in_the_file_and_separated_by_commas_elsewhere() {
    let file = "bases = ['btc', '1000PEPE']\n[venues]\nenabled = ['okx']\n[telegram]\nchats = [-100, '@news', -100]";
    let settings = load(file, &[]).unwrap();
    assert_eq!(settings.bases, Bases::Only(["BTC", "1000PEPE"].map(|base| base.parse().unwrap()).into()));
    assert_eq!(settings.telegram.chats, ["-100", "@news"]);
    assert_eq!([settings.venues.binance.enabled, settings.venues.okx.enabled], [false, true]);
    let variables = [("FORESHOCK_BASES", "*"), ("FORESHOCK_VENUES", "OKX, bybit,"), ("TELEGRAM_CHAT_ID", "5,@news")];
    let settings = load(file, &variables).unwrap();
    assert_eq!(settings.bases, Bases::All);
    assert_eq!([settings.venues.bybit.enabled, settings.venues.okx.enabled], [true; 2]);
    assert_eq!(settings.telegram.chats, ["5", "@news"]);
    for (name, value) in [
        ("FORESHOCK_BASES", "BTC,*"),
        ("FORESHOCK_BASES", "BTC ETH"),
        ("FORESHOCK_VENUES", "ftx"),
        ("TELEGRAM_CHAT_ID", "0"),
        ("TELEGRAM_CHAT_ID", "news"),
        ("TELEGRAM_CHAT_ID", "@1"),
    ] {
        assert_eq!(load("", &[(name, value)]).unwrap_err().problems.len(), 1, "{name}={value}");
    }
}

#[test]
fn open_interest_comes_from_the_venues_or_from_the_service() {
    let url = ("MARKET_DATA_URL", "http://market-data:8001");
    let source = |variables: &[(&str, &str)]| load("", variables).map(|settings| settings.open_interest.source);
    let service = Source::MarketData(url.1.parse().unwrap());
    assert_eq!(source(&[]), Ok(Source::Direct));
    assert_eq!(source(&[url]), Ok(Source::Direct), "an existing environment always sets it");
    assert_eq!(source(&[url, ("FORESHOCK_OI_SOURCE", "market-data")]), Ok(service));
    let problems = source(&[("FORESHOCK_OI_SOURCE", "market-data")]).unwrap_err().problems;
    assert_eq!(problems, [r#"MARKET_DATA_URL: the service's URL for oi.source = "market-data" is expected"#]);
    let problems = source(&[("FORESHOCK_OI_SOURCE", "market-data"), (url.0, "market-data")]).unwrap_err().problems;
    assert_eq!(problems.len(), 1, "{problems:?}");
}

#[test]
fn no_more_bases_are_sampled_than_the_requests_of_an_hour_carry() {
    let sampled = |file: &str, variables: &[(&str, &str)]| {
        load(file, variables).map(|settings| settings.open_interest.bases.len()).map_err(|error| error.problems)
    };
    let of = |count: usize| (0..count).map(|n| format!("A{n}")).collect::<Vec<_>>().join(",");
    let bases = |count: usize, more: &[(&str, &str)]| {
        let bases = of(count);
        sampled("", &[&[("FORESHOCK_OI_BASES", bases.as_str())], more].concat())
    };
    let service = [("FORESHOCK_OI_SOURCE", "market-data"), ("MARKET_DATA_URL", "http://market-data:8001")];
    assert_eq!((bases(7, &[]), bases(10, &service)), (Ok(7), Ok(10)));
    assert_eq!(bases(50, &[("FORESHOCK_VENUES", "bybit,okx")]), Ok(50), "one request for all symbols");
    assert_eq!(
        bases(8, &[]).unwrap_err(),
        [
            "oi.bases: 8 bases need 96 requests an hour of Binance at the longest interval of 5 min; 90 are allowed: at most 7 \
          bases"
        ]
    );
    assert_eq!(
        bases(11, &service).unwrap_err(),
        [
            "oi.bases: 11 bases need 99 requests an hour of Binance and OKX through the market-data service at the longest \
          interval of 60 min; 90 are allowed: at most 10 bases"
        ]
    );
    assert_eq!((sampled("oi.bases = []", &[]), sampled("", &[("FORESHOCK_OI_BASES", "none")])), (Ok(0), Ok(0)));
    assert_eq!(sampled("oi.bases = ['btc']", &[("FORESHOCK_OI_BASES", "")]), Ok(1));
}

#[test]
fn a_token_needs_a_chat_and_may_be_shared_or_our_own() {
    let telegram = |variables: &[(&str, &str)]| load("", variables).map(|settings| settings.telegram);
    let (shared, own, chat) =
        (("TELEGRAM_BOT_TOKEN", "1:a"), ("FORESHOCK_BOT_TOKEN", "2:b"), ("TELEGRAM_CHAT_ID", "5"));
    let secret = |text: &str| Secret::new(text.to_owned());
    assert_eq!(telegram(&[shared, chat]).unwrap().token, Some(BotToken::Shared(secret("1:a"))));
    assert_eq!(telegram(&[shared, own, chat]).unwrap().token, Some(BotToken::Own(secret("2:b"))));
    assert_eq!(telegram(&[chat]).unwrap().token, None);
    let problem = |variables: &[(&str, &str)]| telegram(variables).unwrap_err().problems.join("\n");
    assert_eq!(problem(&[shared]), "TELEGRAM_CHAT_ID: at least one chat for the bot's token is expected");
    let equal = problem(&[shared, ("FORESHOCK_BOT_TOKEN", "1:a"), chat]);
    assert!(equal.starts_with("FORESHOCK_BOT_TOKEN equals TELEGRAM_BOT_TOKEN: "), "{equal}");
}

#[test]
fn a_token_goes_over_plain_http_only_to_loopback() {
    let api = |url: &str| {
        load("", &[("FORESHOCK_TELEGRAM_API_URL", url)]).map(|settings| settings.telegram.api_url.to_string())
    };
    for (url, base) in [
        ("https://bots.example", "https://bots.example/"),
        ("http://127.0.0.1:8081", "http://127.0.0.1:8081/"),
        ("http://127.9.9.9/api", "http://127.9.9.9/api"),
        ("http://[::1]:8081", "http://[::1]:8081/"),
        ("http://LOCALHOST:8081", "http://localhost:8081/"),
    ] {
        assert_eq!(api(url), Ok(base.to_owned()));
    }
    for url in
        ["http://bots.example", "http://localhost.example", "http://10.0.0.1", "https://u@a", "https://a/?x", "ftp://a"]
    {
        assert!(api(url).is_err(), "{url}");
    }
}

#[test]
fn words_of_an_existing_environment_are_understood() {
    for (text, value) in [
        ("True", true),
        ("1", true),
        ("YES", true),
        ("on", true),
        ("FALSE", false),
        ("0", false),
        ("No", false),
        ("off", false),
    ] {
        assert_eq!(
            load("", &[("ENABLE_LIQUIDATION_ALERTS", text)]).unwrap().notify.liquidation_alerts,
            value,
            "{text}"
        );
    }
    for (text, level) in [
        ("debug", LogLevel::Debug),
        ("WARNING", LogLevel::Warn),
        ("warn", LogLevel::Warn),
        ("CRITICAL", LogLevel::Error),
    ] {
        assert_eq!(load("", &[("MONITORING_LOG_LEVEL", text)]).unwrap().log.level, level, "{text}");
    }
    for (text, seconds) in [("60", 60), ("0", 0), ("5m", 300), ("1h", 3_600), ("", 60)] {
        let limit = load("", &[("ALERT_RATE_LIMIT_SECONDS", text)]).unwrap().notify.rate_limit;
        assert_eq!(limit, Duration::from_secs(seconds), "{text}");
    }
    for (text, seconds) in [("20s", Some(20)), ("1h", Some(3_600)), ("19s", None), ("61m", None), ("60", None)] {
        let grace = load("", &[("FORESHOCK_FEED_GRACE", text)]).ok().map(|settings| settings.notify.feed_grace);
        assert_eq!(grace, seconds.map(Duration::from_secs), "{text}");
    }
}

#[test]
fn operators_are_a_list_that_may_be_left_out() {
    let none = load("", &[]).unwrap();
    assert_eq!(none.notify.operator_chats, Vec::<String>::new());
    let file = "notify.operator_chats = [-7, '@ops']\n";
    let some = load(file, &[]).unwrap();
    assert_eq!(some.notify.operator_chats, ["-7", "@ops"]);
    for (name, text) in [("FORESHOCK_OPERATOR_CHATS", "me"), ("FORESHOCK_OPERATOR_CHATS", "0")] {
        assert!(load("", &[(name, text)]).is_err(), "{name}={text}");
    }
}

#[test]
fn rules_are_the_shipped_ones_with_what_is_configured_over_them() {
    let file = "[oi]\nsource = 'direct'\n[oi.ETH]\nconfirm = 3\n[liquidation.BTC]\nsingle_usd = 7\nmin_bursts = 2\n";
    let variables = [("LIQUIDATION_THRESHOLD_BTC", "200000"), ("OI_THRESHOLD_SOL", "12.5"), ("OI_THRESHOLD_BTC", "")];
    let rules = load(file, &variables).unwrap().rules.unwrap();
    let mut expected = Rules::shipped();
    let base = |name: &str| name.parse().unwrap();
    expected.oi_mut(&base("ETH")).unwrap().confirm = 3;
    expected.oi_mut(&base("SOL")).unwrap().change_pct = "12.5".parse().unwrap();
    let btc = expected.liquidation_mut(&base("BTC")).unwrap();
    (btc.single_usd, btc.min_bursts) = ("200000".parse().unwrap(), Some(2));
    assert_eq!(rules, expected);
    assert_eq!(load("[oi]\nsource = 'direct'", &[]).unwrap().rules, None);
    assert_eq!(load("", &[]).unwrap().rules_in_force(), Rules::shipped());
}

#[test]
fn mistakes_in_rules_are_told_like_any_other() {
    let file = "liquidation = 5\n[oi]\nfoo = 1\n[oi.DOGE]\nchange_pct = 20\n";
    let problems = load(file, &[("OI_THRESHOLD_BTC", "-1")]).unwrap_err().problems;
    let expected = [
        r#"OI_THRESHOLD_BTC is "-1": a number above 0 is expected"#,
        "`liquidation` must hold sections such as [liquidation.BTC]",
        r#"[oi.DOGE] window missing: a duration such as "30s", at most "60m", is expected"#,
        "[oi.DOGE] min_usd missing: a number above 0 and up to 1000000000000 is expected",
        "[oi.DOGE] confirm missing: a whole number from 1 to 16 is expected",
        "[oi.foo] must be a section",
    ];
    assert_eq!(problems, expected);
}

#[test]
fn places_that_depend_on_the_host_have_fallbacks() {
    for (variables, instance, state_dir) in [
        (vec![("HOSTNAME", "a.b"), ("XDG_STATE_HOME", "/state"), ("HOME", "/me")], "a.b", "/state/foreshock"),
        (
            vec![("HOSTNAME", "a b"), ("XDG_STATE_HOME", "state"), ("HOME", "/me")],
            "local",
            "/me/.local/state/foreshock",
        ),
        (vec![("FORESHOCK_INSTANCE", "i1"), ("FORESHOCK_STATE_DIR", "/s"), ("HOME", "/me")], "i1", "/s"),
    ] {
        let settings = load("", &variables).unwrap();
        assert_eq!((settings.instance.as_str(), settings.state_dir.as_path()), (instance, Path::new(state_dir)));
    }
}

#[test]
fn what_is_in_force_is_shown_with_where_it_came_from() {
    let variables =
        [("NATS_USER", "me"), ("NATS_PASSWORD", "sesame"), ("NATS_URL", "me:x@a:1"), ("OI_THRESHOLD_BTC", "9")];
    let settings = load("market = 'recorded'", &variables).unwrap();
    let shown = settings.describe();
    let line = |key: &str| (shown["settings"][key]["value"].clone(), shown["settings"][key]["from"].clone());
    assert_eq!(line("market"), ("recorded".into(), "file".into()));
    assert_eq!(line("nats.url"), ("nats://a:1".into(), "NATS_URL".into()));
    assert_eq!(line("nats.password"), ("<secret>".into(), "NATS_PASSWORD".into()));
    assert_eq!(line("telegram.chats"), (serde_json::Value::Null, "default".into()));
    assert_eq!(shown["file"], FILE);
    assert_eq!(shown["rules"]["configured"], true);
    let keys: Vec<_> = settings.effective.iter().map(|line| line.key).collect();
    assert_eq!(keys, keys::ALL.map(|key| key.path));
    let text = settings.describe_text();
    assert!(
        text.lines().any(|line| line.split_whitespace().eq(["nats.password", "<secret>", "NATS_PASSWORD"])),
        "{text}"
    );
    assert!(text.contains("\n# rules, configured\n[liquidation.BTC]\n"), "{text}");
}

#[test]
fn the_file_system_is_read_up_to_a_bound() {
    let environment = Environment::from_process();
    let error = environment.read(Path::new("/dev/zero")).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
}

fn load(file: &str, variables: &[(&str, &str)]) -> Result<Settings, ConfigErrors> {
    load_with(file, variables, &[], &[])
}

fn load_with(
    file: &str,
    variables: &[(&str, &str)],
    files: &[(&str, &str)],
    flags: &[(&'static str, &str)],
) -> Result<Settings, ConfigErrors> {
    let files: Vec<_> = files.iter().copied().chain([(FILE, file)]).collect();
    let flags = flags.iter().map(|&(name, value)| (name, value.to_owned())).collect();
    Settings::load(None, &Environment::from_pairs(variables, &files), &flags)
}
