//! One WebSocket of one venue: connect, subscribe, read, keep alive. The same for all venues.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::{SinkExt, StreamExt};
use schemas::{name::Instrument, time::ReceivedAt};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout},
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async_with_config,
    tungstenite::{self, Bytes, Message, protocol::WebSocketConfig},
};
use url::Url;

use crate::{
    binance, bybit,
    channel::Channel,
    config::Timings,
    exchange::Exchange,
    normalize::{Kind, escape},
    okx,
    rest::{chain, is_region_refusal, join},
    subscription::Subscriptions,
};

/// Largest message that is read at all, in bytes. Above [`crate::normalize::FRAME_BYTES_MAX`] it is refused and the socket
/// stays; above this the socket ends and is opened anew.
const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Read buffer of a socket, in bytes: frames are small, and the default of 128 KB would be a tenth of the memory budget.
const READ_BUFFER_BYTES: usize = 16 * 1024;

/// Longest time to hand a short message to the network; a peer that takes longer is gone.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);

/// Returns this host's time.
pub(crate) fn now() -> ReceivedAt {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    ReceivedAt::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// A socket could not be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// The venue refuses this region.
    #[error("refuses this region ({status})")]
    Refused { status: u16 },
    /// No handshake within the time given.
    #[error("does not answer within {0:?}")]
    Timeout(Duration),
    /// Anything else on the way.
    #[error("cannot be reached: {}", chain(.0))]
    Failed(tungstenite::Error),
}

/// A socket ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SocketEnd {
    /// The venue closed it.
    #[error("the venue closed the connection{0}")]
    Closed(String),
    /// A message above what is read at all.
    #[error("a message of more than {MESSAGE_BYTES_MAX} bytes")]
    Oversized,
    /// The connection broke.
    #[error("the connection broke: {}", chain(.0))]
    Failed(tungstenite::Error),
    /// The peer takes nothing.
    #[error("the connection takes nothing")]
    Stuck,
}

/// An open socket and what is known of it.
pub(crate) struct Socket {
    exchange: Exchange,
    /// Boxed, for a TLS stream is over a kilobyte and sockets move.
    stream: Box<WebSocketStream<MaybeTlsStream<TcpStream>>>,
    subscriptions: Subscriptions,
    /// When the attempt to connect began.
    pub(crate) started_at: Instant,
    /// When data last came: liquidations or the companion. Answers and pings prove nothing (exchanges.md B, liveness).
    data_at: Option<Instant>,
    /// Whether the companion was heard: a first frame of liquidations may be a replay of old ones (exchanges.md A.3).
    has_companion: bool,
    /// Whether everything asked for was confirmed while the companion was heard, once.
    is_proven: bool,
    heard_at: Instant,
    pinged_at: Instant,
}

impl Socket {
    /// Connects and subscribes.
    pub(crate) async fn connect(
        exchange: Exchange,
        channel: Channel,
        base: Url,
        instruments: Vec<Instrument>,
        within: Duration,
    ) -> Result<Self, ConnectError> {
        let opening = Self::open(exchange, channel, base, instruments);
        timeout(within, opening).await.map_err(|_| ConnectError::Timeout(within))?
    }

    async fn open(
        exchange: Exchange,
        channel: Channel,
        base: Url,
        instruments: Vec<Instrument>,
    ) -> Result<Self, ConnectError> {
        let path = match exchange {
            Exchange::Binance => binance::ws_path(channel, &instruments),
            Exchange::Bybit => bybit::WS_PATH.to_owned(),
            Exchange::Okx => okx::WS_PATH.to_owned(),
        };
        let started_at = Instant::now();
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .max_message_size(Some(MESSAGE_BYTES_MAX))
            .max_frame_size(Some(MESSAGE_BYTES_MAX));
        let (mut stream, _) =
            connect_async_with_config(join(&base, &path), Some(config), true).await.map_err(connect_error)?;
        let mut subscriptions = Subscriptions::new(exchange, channel);
        for frame in subscriptions.start(&instruments) {
            stream.send(Message::text(frame)).await.map_err(ConnectError::Failed)?;
        }
        let opened_at = Instant::now();
        Ok(Self {
            exchange,
            stream: Box::new(stream),
            subscriptions,
            started_at,
            data_at: None,
            has_companion: false,
            is_proven: false,
            heard_at: opened_at,
            pinged_at: opened_at,
        })
    }

    /// Returns the next frame and its receipt. Cancelling loses nothing; protocol pings are answered on the way.
    pub(crate) async fn receive(&mut self) -> Result<(Bytes, ReceivedAt), SocketEnd> {
        loop {
            let message = self.stream.next().await.ok_or_else(|| SocketEnd::Closed(String::new()))?;
            self.heard_at = Instant::now();
            match message.map_err(socket_end)? {
                message @ (Message::Text(_) | Message::Binary(_)) => return Ok((message.into_data(), now())),
                Message::Close(frame) => {
                    let detail = frame.map(|frame| format!(" ({} {})", frame.code, escape(&frame.reason)));
                    return Err(SocketEnd::Closed(detail.unwrap_or_default()));
                }
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
        }
    }

    /// Takes note of a frame that was handled and answers what the venue wants to hear.
    pub(crate) async fn note(&mut self, kind: &Kind) -> Result<(), SocketEnd> {
        match kind {
            Kind::Liquidations => self.data_at = Some(Instant::now()),
            Kind::Companion => {
                self.data_at = Some(Instant::now());
                self.has_companion = true;
            }
            Kind::Subscribed { request } => self.subscriptions.confirmed(request),
            Kind::SubscriptionRefused { request, topic } => {
                let frames = self.subscriptions.refused(request, topic.as_deref());
                self.send_all(frames).await?;
            }
            Kind::Pong | Kind::UpgradeNotice | Kind::Ignored | Kind::Unreadable => {}
        }
        self.is_proven |= self.has_companion && self.subscriptions.is_confirmed();
        Ok(())
    }

    /// Subscribes to what the venue lists newly.
    pub(crate) async fn add(&mut self, instruments: &[Instrument]) -> Result<(), SocketEnd> {
        let frames = self.subscriptions.add(instruments);
        self.send_all(frames).await
    }

    /// Returns whether everything asked for was confirmed and the companion is heard.
    pub(crate) const fn is_proven(&self) -> bool {
        self.is_proven
    }

    /// Returns whether a proven socket has been silent for too long.
    pub(crate) fn is_stale(&self, now: Instant, timings: &Timings) -> bool {
        self.is_proven && self.data_at.is_some_and(|at| now.duration_since(at) >= timings.stale_after)
    }

    /// Returns whether a socket was not proven in time.
    pub(crate) fn is_overdue(&self, now: Instant, timings: &Timings) -> bool {
        !self.is_proven && now.duration_since(self.started_at) >= timings.connect_timeout
    }

    /// Sends the venue's application ping when it is time (exchanges.md B); Binance pings by itself.
    pub(crate) async fn keep_alive(&mut self, now: Instant, timings: &Timings) -> Result<(), SocketEnd> {
        let since_ping = now.duration_since(self.pinged_at);
        let ping = match self.exchange {
            Exchange::Binance => return Ok(()),
            Exchange::Bybit if since_ping >= timings.bybit_ping => bybit::PING,
            Exchange::Okx if since_ping.min(now.duration_since(self.heard_at)) >= timings.okx_ping => okx::PING,
            Exchange::Bybit | Exchange::Okx => return Ok(()),
        };
        self.pinged_at = now;
        self.send(ping.to_owned()).await
    }

    /// Says goodbye; the venue's answer is not waited for.
    pub(crate) async fn close(mut self) {
        // A peer that takes no goodbye loses nothing: the connection is dropped either way.
        let _ = timeout(SEND_TIMEOUT, self.stream.close()).await;
    }

    async fn send_all(&mut self, frames: Vec<String>) -> Result<(), SocketEnd> {
        for frame in frames {
            self.send(frame).await?;
        }
        Ok(())
    }

    async fn send(&mut self, text: String) -> Result<(), SocketEnd> {
        let sent = timeout(SEND_TIMEOUT, self.stream.send(Message::text(text))).await;
        sent.map_err(|_| SocketEnd::Stuck)?.map_err(socket_end)
    }
}

fn connect_error(error: tungstenite::Error) -> ConnectError {
    if let tungstenite::Error::Http(response) = &error {
        let content_type = response.headers().get("content-type").and_then(|value| value.to_str().ok());
        let body = response.body().as_deref().unwrap_or_default();
        let status = response.status().as_u16();
        if is_region_refusal(status, content_type.unwrap_or_default(), body) {
            return ConnectError::Refused { status };
        }
    }
    ConnectError::Failed(error)
}

fn socket_end(error: tungstenite::Error) -> SocketEnd {
    if matches!(error, tungstenite::Error::Capacity(_)) { SocketEnd::Oversized } else { SocketEnd::Failed(error) }
}
