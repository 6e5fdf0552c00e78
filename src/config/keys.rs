//! Every key of the configuration: its place in the file, its variable, its flag, its default and what is valid.
//!
//! `docs/configuration.md` and `docs/foreshock.example.toml` say the same to people; tests hold them to this table.

/// How a key's value is written in the file and shown to people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One text, number or boolean.
    Value,
    /// An array in the file, separated by commas elsewhere.
    List,
    /// One or several URLs separated by commas: not shown when they may hold a password.
    Url,
    /// Never shown and never in the file: there, `<path>_file` names a file that holds it, as `<ENV>_FILE` does.
    Secret,
}

/// One key.
#[derive(Debug)]
pub(crate) struct Key {
    /// Dotted path in the file.
    pub(crate) path: &'static str,
    /// Name of the environment variable.
    pub(crate) env: &'static str,
    /// Name of the flag with its dashes.
    pub(crate) flag: Option<&'static str>,
    /// Default, as text that is read like any other.
    pub(crate) default: Option<&'static str>,
    /// How it is written.
    pub(crate) kind: Kind,
    /// What is valid; completes "… is expected".
    pub(crate) valid: &'static str,
}

impl Key {
    const fn new(kind: Kind, path: &'static str, env: &'static str, valid: &'static str) -> Self {
        Self { path, env, flag: None, default: None, kind, valid }
    }

    const fn flag(self, flag: &'static str) -> Self {
        Self { flag: Some(flag), ..self }
    }

    const fn default(self, default: &'static str) -> Self {
        Self { default: Some(default), ..self }
    }

    /// Returns the path that stands for this key in the file.
    pub(crate) fn file_path(&self) -> String {
        match self.kind {
            Kind::Value | Kind::List | Kind::Url => self.path.to_owned(),
            Kind::Secret => format!("{}_file", self.path),
        }
    }

    /// Returns every variable that stands for this key.
    pub(crate) fn variables(&self) -> Vec<String> {
        match self.kind {
            Kind::Value | Kind::List | Kind::Url => vec![self.env.to_owned()],
            Kind::Secret => vec![self.env.to_owned(), self.file_variable()],
        }
    }

    /// Returns the variable that names a file with the value.
    pub(crate) fn file_variable(&self) -> String {
        format!("{}_FILE", self.env)
    }
}

const TOKEN: &str = "a bot's token, <number>:<secret>,";
const BOOL: &str = "true or false";
const CHATS_VALID: &str = "a list of chats, each a whole number such as -1001234567890 or a name such as @channel,";
const WS_BASE: &str = "a ws:// or wss:// URL without user, query or fragment";
const HTTP_BASE: &str = "an http:// or https:// URL without user, query or fragment";

// Where each venue's streams (exchanges.md A.1 to A.3) and REST replies are; the adapters append the paths.
const BINANCE: [&str; 2] = ["wss://fstream.binance.com", "https://fapi.binance.com"];
const BYBIT: [&str; 2] = ["wss://stream.bybit.com", "https://api.bybit.com"];
const OKX: [&str; 2] = ["wss://ws.okx.com:8443", "https://www.okx.com"];

pub(crate) const MARKET: Key = Key::new(Kind::Value, "market", "FORESHOCK_MARKET", "live or recorded").default("live");
pub(crate) const BASES: Key =
    Key::new(Kind::List, "bases", "FORESHOCK_BASES", "a list of base assets such as BTC,ETH, or * for all")
        .default("BTC,ETH,SOL");
pub(crate) const INSTANCE: Key =
    Key::new(Kind::Value, "instance", "FORESHOCK_INSTANCE", "1 to 64 characters of [A-Za-z0-9._-]");
pub(crate) const CANARY: Key =
    Key::new(Kind::Value, "canary", "FORESHOCK_CANARY", "a duration of 1s to 1h such as 60s, or off").default("60s");
pub(crate) const STATE_DIR: Key =
    Key::new(Kind::Value, "state_dir", "FORESHOCK_STATE_DIR", "a path").flag("--state-dir");

pub(crate) const NATS_URL: Key = Key::new(
    Kind::Url,
    "nats.url",
    "NATS_URL",
    "nats://HOST:PORT or tls://HOST:PORT (several separated by commas; a user only with a password, one pair for all; \
     special characters only in NATS_USER and NATS_PASSWORD)",
)
.flag("--nats-url");
pub(crate) const NATS_USER: Key = Key::new(Kind::Value, "nats.user", "NATS_USER", "a user name");
pub(crate) const NATS_PASSWORD: Key = Key::new(Kind::Secret, "nats.password", "NATS_PASSWORD", "a password");
pub(crate) const NATS_CA: Key = Key::new(Kind::Value, "nats.ca", "NATS_CA", "a path");
pub(crate) const PREFIX: Key =
    Key::new(Kind::Value, "nats.prefix", "FORESHOCK_PREFIX", "[a-z0-9-], at most 16 characters, or nothing,")
        .flag("--prefix")
        .default("");
pub(crate) const REPLICAS: Key = Key::new(Kind::Value, "nats.replicas", "FORESHOCK_REPLICAS", "1 or 3").default("1");

pub(crate) const VENUES: Key =
    Key::new(Kind::List, "venues.enabled", "FORESHOCK_VENUES", "a list of binance, bybit and okx")
        .default("binance,bybit,okx");
pub(crate) const BINANCE_WS: Key =
    Key::new(Kind::Url, "venues.binance.ws_url", "FORESHOCK_BINANCE_WS_URL", WS_BASE).default(BINANCE[0]);
pub(crate) const BINANCE_REST: Key =
    Key::new(Kind::Url, "venues.binance.rest_url", "FORESHOCK_BINANCE_REST_URL", HTTP_BASE).default(BINANCE[1]);
pub(crate) const BYBIT_WS: Key =
    Key::new(Kind::Url, "venues.bybit.ws_url", "FORESHOCK_BYBIT_WS_URL", WS_BASE).default(BYBIT[0]);
pub(crate) const BYBIT_REST: Key =
    Key::new(Kind::Url, "venues.bybit.rest_url", "FORESHOCK_BYBIT_REST_URL", HTTP_BASE).default(BYBIT[1]);
pub(crate) const OKX_WS: Key =
    Key::new(Kind::Url, "venues.okx.ws_url", "FORESHOCK_OKX_WS_URL", WS_BASE).default(OKX[0]);
pub(crate) const OKX_REST: Key =
    Key::new(Kind::Url, "venues.okx.rest_url", "FORESHOCK_OKX_REST_URL", HTTP_BASE).default(OKX[1]);

pub(crate) const OI_SOURCE: Key =
    Key::new(Kind::Value, "oi.source", "FORESHOCK_OI_SOURCE", "direct or market-data").default("direct");
pub(crate) const OI_BASES: Key =
    Key::new(Kind::List, "oi.bases", "FORESHOCK_OI_BASES", "a list of base assets such as BTC,ETH, or none")
        .default("BTC,ETH,SOL");
pub(crate) const MARKET_DATA_URL: Key = Key::new(Kind::Url, "oi.market_data_url", "MARKET_DATA_URL", HTTP_BASE);

pub(crate) const SHARED_TOKEN: Key = Key::new(Kind::Secret, "telegram.bot_token", "TELEGRAM_BOT_TOKEN", TOKEN);
pub(crate) const OWN_TOKEN: Key = Key::new(Kind::Secret, "telegram.own_bot_token", "FORESHOCK_BOT_TOKEN", TOKEN);
pub(crate) const CHATS: Key = Key::new(Kind::List, "telegram.chats", "TELEGRAM_CHAT_ID", CHATS_VALID);
pub(crate) const ALLOWED_CHATS: Key = Key::new(
    Kind::List,
    "telegram.allowed",
    "FORESHOCK_ALLOWED_CHATS",
    "a list of whole numbers, each a person's or a group's such as 123456789 or -1001234567890,",
);
pub(crate) const TELEGRAM_API: Key = Key::new(
    Kind::Url,
    "telegram.api_url",
    "FORESHOCK_TELEGRAM_API_URL",
    "an https:// URL without user, query or fragment (http:// only to loopback)",
)
.default("https://api.telegram.org");

pub(crate) const LIQUIDATION_ALERTS: Key =
    Key::new(Kind::Value, "notify.liquidation_alerts", "ENABLE_LIQUIDATION_ALERTS", BOOL).default("true");
pub(crate) const OI_ALERTS: Key = Key::new(Kind::Value, "notify.oi_alerts", "ENABLE_OI_ALERTS", BOOL).default("true");
pub(crate) const RATE_LIMIT: Key = Key::new(
    Kind::Value,
    "notify.rate_limit",
    "ALERT_RATE_LIMIT_SECONDS",
    "whole seconds or a duration such as 60s, at most 1h,",
)
.default("60s");
pub(crate) const OPERATOR_CHATS: Key =
    Key::new(Kind::List, "notify.operator_chats", "FORESHOCK_OPERATOR_CHATS", CHATS_VALID);
pub(crate) const FEED_GRACE: Key =
    Key::new(Kind::Value, "notify.feed_grace", "FORESHOCK_FEED_GRACE", "a duration of 20s to 1h such as 60s")
        .default("60s");

pub(crate) const HTTP_LISTEN: Key = Key::new(
    Kind::Value,
    "http.listen",
    "FORESHOCK_HTTP_LISTEN",
    "an address and port such as 127.0.0.1:9180, or off,",
)
.flag("--http-listen");

pub(crate) const LOG_LEVEL: Key =
    Key::new(Kind::Value, "log.level", "MONITORING_LOG_LEVEL", "TRACE, DEBUG, INFO, WARNING, ERROR or CRITICAL")
        .flag("--log-level")
        .default("INFO");
pub(crate) const LOG_FORMAT: Key =
    Key::new(Kind::Value, "log.format", "FORESHOCK_LOG_FORMAT", "text or json").flag("--log-format");

pub(crate) const LOG_DIR: Key = Key::new(Kind::Value, "log.dir", "FORESHOCK_LOG_DIR", "a path");

/// Every key, in the order they are shown.
pub(crate) const ALL: [&Key; 35] = [
    &MARKET,
    &BASES,
    &INSTANCE,
    &STATE_DIR,
    &CANARY,
    &NATS_URL,
    &NATS_USER,
    &NATS_PASSWORD,
    &NATS_CA,
    &PREFIX,
    &REPLICAS,
    &VENUES,
    &BINANCE_WS,
    &BINANCE_REST,
    &BYBIT_WS,
    &BYBIT_REST,
    &OKX_WS,
    &OKX_REST,
    &OI_SOURCE,
    &OI_BASES,
    &MARKET_DATA_URL,
    &SHARED_TOKEN,
    &OWN_TOKEN,
    &CHATS,
    &ALLOWED_CHATS,
    &TELEGRAM_API,
    &LIQUIDATION_ALERTS,
    &OI_ALERTS,
    &RATE_LIMIT,
    &OPERATOR_CHATS,
    &FEED_GRACE,
    &HTTP_LISTEN,
    &LOG_LEVEL,
    &LOG_FORMAT,
    &LOG_DIR,
];

/// Section of the file with rules for liquidations.
pub(crate) const LIQUIDATION: &str = "liquidation";

/// Section of the file with rules for open interest, beside our own keys `oi.*`.
pub(crate) const OI: &str = "oi";

/// Variables of an existing environment that set one threshold each: name, section, base, key.
pub(crate) const THRESHOLDS: [(&str, &str, &str, &str); 6] = [
    ("LIQUIDATION_THRESHOLD_BTC", LIQUIDATION, "BTC", "single_usd"),
    ("LIQUIDATION_THRESHOLD_ETH", LIQUIDATION, "ETH", "single_usd"),
    ("LIQUIDATION_THRESHOLD_SOL", LIQUIDATION, "SOL", "single_usd"),
    ("OI_THRESHOLD_BTC", OI, "BTC", "change_pct"),
    ("OI_THRESHOLD_ETH", OI, "ETH", "change_pct"),
    ("OI_THRESHOLD_SOL", OI, "SOL", "change_pct"),
];

/// Variables with this start that are no key are mistakes; all other unknown variables belong to somebody else.
pub(crate) const OWN_VARIABLES: &str = "FORESHOCK_";

/// Where tests find recorded market data; no setting of a running service.
pub(crate) const TEST_DATA: &str = "FORESHOCK_DATA";
