//! The one reader of file and environment: defaults, then `foreshock.toml`, then variables, then flags (design 7).
//!
//! [`Settings`] is plain data that the root maps to the other crates' own configuration; only open interest is taken in
//! ingest's own form, because ingest knows what a venue's budget of requests carries.
//! Every mistake is reported at once, with what would be valid.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use detect::rules::Rules;
use ingest::{
    config::{OpenInterest, Source},
    exchange::Exchange,
};
use schemas::{name::Base, secret::Secret, subject::Names};
use toml::Table;
use url::Url;

pub use self::{
    describe::{Effective, Origin},
    environment::Environment,
};
use self::{keys::Key, reader::Reader};

mod describe;
mod environment;
pub(crate) mod keys;
mod reader;
mod rules;
pub(crate) mod values;

#[cfg(test)]
mod tests;

/// The file that is read when none is named and it exists in the working directory.
const DEFAULT_FILE: &str = "foreshock.toml";

/// Name of the process where neither configuration nor `HOSTNAME` gives one.
const DEFAULT_INSTANCE: &str = "local";

/// The whole configuration of a process.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Whether the market is heard live or was recorded; the same in every service of an installation.
    pub market: Market,
    /// What ingest takes in; detect handles every base with a section. Default: BTC, ETH, SOL, as the rules shipped.
    pub bases: Bases,
    /// Name of this process among several of a role, 1 to 64 of `[A-Za-z0-9._-]`. Default: `HOSTNAME`, else `local`.
    pub instance: String,
    /// Folder of the private `nats-server`'s store; workers keep nothing there.
    pub state_dir: PathBuf,
    /// How often ingest lets a canary go; nothing when it lets none. Default: every minute.
    pub canary: Option<Duration>,
    /// The broker.
    pub nats: Nats,
    /// The exchanges.
    pub venues: Venues,
    /// What is sampled of open interest and where the samples come from. Default: BTC, ETH, SOL, as the rules shipped, from
    /// the venues.
    pub open_interest: OpenInterest,
    /// The configured rules, complete: shipped, with the file's sections and the environment's thresholds over them.
    ///
    /// Nothing when neither names a rule. Such a worker publishes [`Rules::shipped`] only if no version exists yet, so
    /// that of several workers one can be configured with rules and the others follow it (design 4).
    pub rules: Option<Rules>,
    /// The Bot API.
    pub telegram: Telegram,
    /// What is sent.
    pub notify: Notify,
    /// Where this process answers HTTP.
    pub http: Http,
    /// Logs.
    pub log: Log,
    /// The file that was read, if any.
    pub file: Option<PathBuf>,
    /// Every key as it is in force, fit to be shown.
    pub effective: Vec<Effective>,
}

/// Where the market comes from (design 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Market {
    /// From the venues, as it happens.
    Live,
    /// From a recording: checks against our clock and time to live are off.
    Recorded,
}

/// Which base assets are taken in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bases {
    /// All.
    All,
    /// These, at least one.
    Only(BTreeSet<Base>),
}

/// How to reach the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nats {
    /// Addresses of one cluster, `nats://` or `tls://`, without user and password. Default: none, so that `up`
    /// starts a private server and every other command says what is missing.
    pub servers: Vec<String>,
    /// User and password, if the broker wants them.
    pub credentials: Option<Credentials>,
    /// PEM file of the authority that signed the broker's certificate. Default: the system's authorities.
    pub ca: Option<PathBuf>,
    /// Builder of every name on the broker, with this installation's prefix. Default: no prefix.
    pub names: Names,
    /// Copies of each stream, 1 or 3. Default: 1, for the default broker is one node.
    pub replicas: usize,
}

/// Who we are to the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// User name.
    pub user: String,
    /// Password.
    pub password: Secret,
}

/// The three exchanges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Venues {
    /// Binance USD-M.
    pub binance: Venue,
    /// Bybit linear.
    pub bybit: Venue,
    /// OKX swaps.
    pub okx: Venue,
}

impl Venues {
    /// Returns the exchanges that ingest listens to.
    pub fn enabled(&self) -> BTreeMap<Exchange, &Venue> {
        let Self { binance, bybit, okx } = self;
        let venues = [(Exchange::Binance, binance), (Exchange::Bybit, bybit), (Exchange::Okx, okx)];
        venues.into_iter().filter(|(_, venue)| venue.enabled).collect()
    }
}

/// One exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Venue {
    /// Whether ingest listens to it. Default: true, for an explosion is confirmed by two venues.
    pub enabled: bool,
    /// Start of its WebSocket URLs, `ws` or `wss`; the adapter appends the path.
    pub ws_url: Url,
    /// Start of its REST URLs, `http` or `https`; the adapter appends the path.
    pub rest_url: Url,
}

/// The Bot API and who is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Telegram {
    /// Token of the bot. Default: none, alerts go to the terminal.
    pub token: Option<BotToken>,
    /// Chats subscribed to everything: ids, or `@name`; not empty when there is a token and nobody is allowed.
    pub chats: Vec<String>,
    /// Numbers of further chats and people that may use commands. Default: none, only `chats` may.
    pub allowed: BTreeSet<i64>,
    /// Start of the Bot API's URLs; plain `http` only to loopback.
    pub api_url: Url,
}

/// A bot's token, and whether another program may be using it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BotToken {
    /// `FORESHOCK_BOT_TOKEN`: a bot of our own, which may be polled and given commands.
    Own(Secret),
    /// `TELEGRAM_BOT_TOKEN`: perhaps an existing bot's; only ever used to send (design 5).
    Shared(Secret),
}

/// What is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notify {
    /// Whether large liquidations and cascades are sent; otherwise they are held as disabled. Default: true.
    pub liquidation_alerts: bool,
    /// Whether open-interest explosions are sent; otherwise they are held as disabled. Default: true.
    pub oi_alerts: bool,
    /// Shortest time between two messages about one base to one chat, event time, at most an hour; zero is none.
    /// Default: 60 s, as existing environments have it.
    pub rate_limit: Duration,
    /// Chats that are told of feeds that are dead and back: ids, or `@name`. Default: none, it only goes to the log.
    pub operator_chats: Vec<String>,
    /// How long a feed is dead before operators are told, host clock, 20 s to an hour. Default: 60 s, which a usual
    /// reconnect stays below (design 9).
    pub feed_grace: Duration,
}

/// Where a process answers HTTP; it only ever answers reading requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Http {
    /// Nothing was said: `up` shows itself on loopback, a service alone does not.
    Unset,
    /// Nowhere.
    Off,
    /// There; port 0 takes a free one.
    At(SocketAddr),
}

/// Logs, which go to stderr.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// The least severe level written. Default: `INFO`.
    pub level: LogLevel,
    /// Form of a line. Default: unset, which is text on a terminal and JSON elsewhere.
    pub format: Option<LogFormat>,
    /// Folder that also gets the lines of a service, as files of JSON lines by day, the last seven.
    /// Default: none.
    pub dir: Option<PathBuf>,
}

/// Severity of a line of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// Per message.
    Trace,
    /// A branch worth knowing about.
    Debug,
    /// A change an operator cares about.
    Info,
    /// Unusual but working.
    Warn,
    /// Broken or data lost; `CRITICAL` of an existing environment too.
    Error,
}

/// Form of a line of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Values given as flags, by the flag's name with its dashes; they win over everything else.
pub type Flags = BTreeMap<&'static str, String>;

/// The configuration cannot be used: every mistake, each with its key, its value unless secret, and what is valid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigErrors {
    /// The mistakes, in the order of the keys. Texts, for nobody but a person acts on them.
    pub problems: Vec<String>,
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problems.join("\n"))
    }
}

impl Settings {
    /// Reads `file`, or `foreshock.toml` in the working directory if it exists, then environment, then flags.
    ///
    /// # Errors
    /// Every mistake at once: unknown keys, unknown `FORESHOCK_*` variables, values that are not valid, and what does
    /// not go together. A file that cannot be read is told alone, for what it holds decides about the rest.
    pub fn load(file: Option<&Path>, environment: &Environment, flags: &Flags) -> Result<Self, ConfigErrors> {
        let (file, mut table) =
            read_file(file, environment).map_err(|problem| ConfigErrors { problems: vec![problem] })?;
        let sections = rules::take_sections(&mut table);
        let mut reader = Reader { file: &table, environment, flags, problems: Vec::new(), effective: Vec::new() };
        let market = reader.value(&keys::MARKET, values::market);
        let bases = reader.value(&keys::BASES, values::bases);
        let instance = reader.value_or(&keys::INSTANCE, &default_instance(environment), values::instance);
        let state_dir = reader.value_or(&keys::STATE_DIR, &default_state_dir(environment), values::non_empty);
        let canary = reader.value(&keys::CANARY, values::canary);
        let nats = nats(&mut reader);
        let venues = venues(&mut reader);
        let open_interest = open_interest(&mut reader, &venues);
        let telegram = telegram(&mut reader);
        let notify = Notify {
            liquidation_alerts: reader.value(&keys::LIQUIDATION_ALERTS, values::boolean),
            oi_alerts: reader.value(&keys::OI_ALERTS, values::boolean),
            rate_limit: reader.value(&keys::RATE_LIMIT, values::rate_limit),
            operator_chats: reader.optional(&keys::OPERATOR_CHATS, values::chats).unwrap_or_default(),
            feed_grace: reader.value(&keys::FEED_GRACE, values::feed_grace),
        };
        let http = reader.optional(&keys::HTTP_LISTEN, values::http_listen).unwrap_or(Http::Unset);
        let log = Log {
            level: reader.value(&keys::LOG_LEVEL, values::log_level),
            format: reader.optional(&keys::LOG_FORMAT, values::log_format),
            dir: reader.optional(&keys::LOG_DIR, values::non_empty),
        };
        let rules = rules::configured(sections, environment, &mut reader.problems);
        reader.refuse_unknown();
        let Reader { problems, effective, .. } = reader;
        if !problems.is_empty() {
            return Err(ConfigErrors { problems });
        }
        Ok(Self {
            market,
            bases,
            instance,
            state_dir,
            canary,
            nats,
            venues,
            open_interest,
            rules,
            telegram,
            notify,
            http,
            log,
            file,
            effective,
        })
    }

    /// Returns the rules this process starts from: the configured ones, else the shipped ones.
    pub fn rules_in_force(&self) -> Rules {
        self.rules.clone().unwrap_or_else(Rules::shipped)
    }
}

fn read_file(named: Option<&Path>, environment: &Environment) -> Result<(Option<PathBuf>, Table), String> {
    let path = named.unwrap_or_else(|| Path::new(DEFAULT_FILE));
    let shown = path.display().to_string();
    let text = match environment.read(path) {
        Ok(text) => text,
        Err(error) if named.is_none() && error.kind() == io::ErrorKind::NotFound => return Ok((None, Table::new())),
        Err(error) => return Err(format!("the configuration file {} cannot be read: {error}", shown.escape_debug())),
    };
    // The parser's own text quotes the line, which may hold a secret that does not belong there.
    let table = text.parse().map_err(|error: toml::de::Error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        format!("{} line {line} is no TOML: {}", shown.escape_debug(), error.message())
    })?;
    Ok((Some(path.to_owned()), table))
}

/// A host name that cannot stand in an event is no reason to refuse to start.
fn default_instance(environment: &Environment) -> String {
    environment.get("HOSTNAME").and_then(values::instance).unwrap_or_else(|| DEFAULT_INSTANCE.to_owned())
}

/// The XDG base directory specification: `$XDG_STATE_HOME` if absolute, else `$HOME/.local/state`.
fn default_state_dir(environment: &Environment) -> String {
    let state_home = environment.get("XDG_STATE_HOME").filter(|path| Path::new(path).is_absolute());
    match (state_home, environment.get("HOME")) {
        (Some(state_home), _) => format!("{state_home}/foreshock"),
        (None, Some(home)) => format!("{home}/.local/state/foreshock"),
        (None, None) => ".foreshock".to_owned(),
    }
}

fn nats(reader: &mut Reader<'_>) -> Nats {
    let (servers, in_url) = reader.optional(&keys::NATS_URL, values::nats_servers).unwrap_or_default();
    if !servers.is_empty() {
        reader.show(servers.join(","));
    }
    let user = reader.optional(&keys::NATS_USER, values::non_empty);
    let password = reader.secret(&keys::NATS_PASSWORD, |text| Some(Secret::new(text.to_owned())));
    match (reader.is_set(&keys::NATS_USER), reader.is_set(&keys::NATS_PASSWORD)) {
        (true, true) | (false, false) => {}
        (true, false) => reader.problem("NATS_PASSWORD or NATS_PASSWORD_FILE", None, "a password for NATS_USER"),
        (false, true) => reader.problem("NATS_USER", None, "a user for NATS_PASSWORD"),
    }
    let credentials = user.zip(password).map(|(user, password)| Credentials { user, password }).or(in_url);
    Nats {
        servers,
        credentials,
        ca: reader.optional(&keys::NATS_CA, values::non_empty),
        names: reader.value(&keys::PREFIX, |text| text.parse().ok()),
        replicas: reader.value(&keys::REPLICAS, values::replicas),
    }
}

fn venues(reader: &mut Reader<'_>) -> Venues {
    let [binance, bybit, okx] = reader.value(&keys::VENUES, values::venues);
    let mut venue = |enabled, ws: &Key, rest: &Key| Venue {
        enabled,
        ws_url: reader.value(ws, values::ws_base),
        rest_url: reader.value(rest, values::http_base),
    };
    Venues {
        binance: venue(binance, &keys::BINANCE_WS, &keys::BINANCE_REST),
        bybit: venue(bybit, &keys::BYBIT_WS, &keys::BYBIT_REST),
        okx: venue(okx, &keys::OKX_WS, &keys::OKX_REST),
    }
}

fn open_interest(reader: &mut Reader<'_>, venues: &Venues) -> OpenInterest {
    let direct = reader.value(&keys::OI_SOURCE, values::is_direct);
    let bases = reader.value(&keys::OI_BASES, values::oi_bases);
    // An existing environment always sets the service's URL, so the URL alone chooses nothing (design 7).
    let url = reader.optional(&keys::MARKET_DATA_URL, values::http_base);
    let source = match (direct, url) {
        (false, Some(url)) => Source::MarketData(url),
        (false, None) if !reader.is_set(&keys::MARKET_DATA_URL) => {
            reader.problem("MARKET_DATA_URL", None, "the service's URL for oi.source = \"market-data\"");
            Source::Direct
        }
        (true | false, _) => Source::Direct,
    };
    let open_interest = OpenInterest { source, bases };
    let asked = venues.enabled().into_keys();
    let problem = |error| format!("oi.bases: {error}");
    reader.problems.extend(ingest::open_interest::check(&open_interest, asked).err().map(problem));
    open_interest
}

fn telegram(reader: &mut Reader<'_>) -> Telegram {
    let shared = reader.secret(&keys::SHARED_TOKEN, values::token);
    let own = reader.secret(&keys::OWN_TOKEN, values::token);
    if own.is_some() && own == shared {
        reader.problems.push(
            "FORESHOCK_BOT_TOKEN equals TELEGRAM_BOT_TOKEN: give foreshock a bot of its own, or leave it out to share \
             the existing one"
                .to_owned(),
        );
    }
    let token = own.map(BotToken::Own).or_else(|| shared.map(BotToken::Shared));
    let chats = reader.optional(&keys::CHATS, values::chats).unwrap_or_default();
    let allowed = reader.optional(&keys::ALLOWED_CHATS, values::allowed).unwrap_or_default();
    // Only a bot of our own hears those who may subscribe themselves.
    let may_come = matches!(token, Some(BotToken::Own(_))) && reader.is_set(&keys::ALLOWED_CHATS);
    if token.is_some() && !reader.is_set(&keys::CHATS) && !may_come {
        reader.problem("TELEGRAM_CHAT_ID", None, "at least one chat for the bot's token");
    }
    Telegram { token, chats, allowed, api_url: reader.value(&keys::TELEGRAM_API, values::token_base) }
}
