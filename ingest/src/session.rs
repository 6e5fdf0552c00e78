//! One unbroken stretch of a feed: a socket, its replacement without a gap, and what is fetched meanwhile.

use std::time::Duration;

use schemas::{market::FeedState, time::ReceivedAt};
use tokio::time::{Instant, sleep_until};
use tokio_tungstenite::tungstenite::Bytes;

use crate::{
    backfill::{self, Backfilled, Gap},
    channel::Channel,
    exchange::Exchange,
    feed::{Feed, Stop},
    follow::Link,
    instruments::Instruments,
    normalize::{Kind, Reason, Refusal},
    rest::RestError,
    socket::{ConnectError, Socket, SocketEnd},
    task::{Task, finish},
};

/// Why a session ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// For good.
    Stop(Stop),
    /// The socket is gone; the feed is told.
    Lost,
}

impl From<Stop> for Ended {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

/// A stretch of a feed.
pub(crate) struct Session<'a> {
    feed: &'a mut Feed,
    link: &'a mut Link,
    current: Socket,
    /// The replacement, heard beside the current socket.
    successor: Option<Socket>,
    connecting: Task<Result<Socket, ConnectError>>,
    refresh: Task<Result<Instruments, RestError>>,
    backfill: Task<Result<Backfilled, RestError>>,
    /// Since when a proven socket is open, on our clock.
    live_since: Option<Instant>,
    /// When the current socket is to be replaced.
    renew_at: Option<Instant>,
    /// When the current socket may go: the successor is proven and both were heard for a while.
    switch_at: Option<Instant>,
    check_at: Instant,
}

enum Wake {
    Shutdown,
    Current(Result<(Bytes, ReceivedAt), SocketEnd>),
    Successor(Result<(Bytes, ReceivedAt), SocketEnd>),
    Connected(Result<Socket, ConnectError>),
    Refreshed(Result<Instruments, RestError>),
    Backfilled(Result<Backfilled, RestError>),
    Timer,
}

impl<'a> Session<'a> {
    /// Begins with a socket that was just opened.
    pub(crate) fn new(feed: &'a mut Feed, link: &'a mut Link, current: Socket) -> Self {
        let renew_at = renewal(&current, link);
        let check_at = Instant::now() + link.timings.check_every;
        Self {
            feed,
            link,
            current,
            successor: None,
            connecting: None,
            refresh: None,
            backfill: None,
            live_since: None,
            renew_at,
            switch_at: None,
            check_at,
        }
    }

    /// Runs until the feed is lost or stopped, and returns why and how long it was live.
    pub(crate) async fn run(mut self) -> (Ended, Duration) {
        loop {
            if let Err(ended) = self.step().await {
                return (ended, self.live_since.map_or(Duration::ZERO, |since| since.elapsed()));
            }
        }
    }

    async fn step(&mut self) -> Result<(), Ended> {
        let wake = self.wait().await;
        self.handle(wake).await?;
        // Under a flood of frames the timer's arm is never reached.
        let now = Instant::now();
        if now >= self.check_at {
            self.check_at = now + self.link.timings.check_every;
            self.check(now).await?;
        }
        if self.switch_at.is_some_and(|at| now >= at) {
            self.switch().await;
        }
        Ok(())
    }

    /// Waits for the next thing to do. The order is the priority: what the current socket holds is older than what its
    /// successor holds, and must go out first.
    async fn wait(&mut self) -> Wake {
        let timer = self.switch_at.map_or(self.check_at, |switch_at| switch_at.min(self.check_at));
        tokio::select! {
            biased;
            () = self.feed.shutdown.cancelled() => Wake::Shutdown,
            frame = self.current.receive() => Wake::Current(frame),
            frame = receive(&mut self.successor) => Wake::Successor(frame),
            socket = finish(&mut self.connecting) => Wake::Connected(socket),
            found = finish(&mut self.backfill) => Wake::Backfilled(found),
            listed = finish(&mut self.refresh) => Wake::Refreshed(listed),
            () = sleep_until(timer) => Wake::Timer,
        }
    }

    async fn handle(&mut self, wake: Wake) -> Result<(), Ended> {
        match wake {
            Wake::Shutdown => Err(Ended::Stop(Stop::Shutdown)),
            Wake::Current(Ok((bytes, received_at))) => self.current_frame(&bytes, received_at).await,
            Wake::Current(Err(end)) => self.current_ended(end).await,
            Wake::Successor(Ok((bytes, received_at))) => self.successor_frame(&bytes, received_at).await,
            Wake::Successor(Err(end)) => {
                self.successor_failed(&end.to_string());
                Ok(())
            }
            Wake::Connected(Ok(socket)) => {
                self.successor = Some(socket);
                Ok(())
            }
            Wake::Connected(Err(error)) => {
                self.successor_failed(&error.to_string());
                Ok(())
            }
            Wake::Refreshed(listed) => self.refreshed(listed).await,
            Wake::Backfilled(found) => self.backfilled(found).await,
            Wake::Timer => Ok(()),
        }
    }

    async fn current_frame(&mut self, bytes: &[u8], received_at: ReceivedAt) -> Result<(), Ended> {
        let kind = self.feed.take(bytes, received_at).await?;
        if let Err(end) = self.current.note(&kind).await {
            return self.current_ended(end).await;
        }
        if kind == Kind::UpgradeNotice {
            // exchanges.md B: the connection ends within 60 s.
            self.renew_at = Some(Instant::now());
            self.check_at = Instant::now();
        }
        if self.current.is_proven() && self.live_since.is_none() {
            self.live_since = Some(Instant::now());
            self.live().await?;
        }
        self.tick().await
    }

    async fn successor_frame(&mut self, bytes: &[u8], received_at: ReceivedAt) -> Result<(), Ended> {
        let kind = self.feed.take(bytes, received_at).await?;
        let Some(successor) = &mut self.successor else {
            return Ok(());
        };
        if let Err(end) = successor.note(&kind).await {
            self.successor_failed(&end.to_string());
        } else if successor.is_proven() && self.switch_at.is_none() {
            self.switch_at = Some(Instant::now() + self.link.timings.overlap);
        }
        self.tick().await
    }

    async fn live(&mut self) -> Result<(), Ended> {
        let heard = self.feed.live().await?;
        // A venue that publishes nothing over REST has no backfill (exchanges.md A.1, A.2).
        if self.feed.exchange != Exchange::Okx || self.feed.channel != Channel::Liquidations {
            return Ok(());
        }
        if let Some(gap) = Gap::new(heard, self.feed.venue_now(), self.feed.market) {
            let (rest, base) = (self.link.rest.clone(), self.link.endpoints.rest.clone());
            let fetch = backfill::fetch(rest, base, self.feed.normalizer.clone(), gap, self.feed.market);
            let timeout = self.link.timings.backfill_timeout;
            self.backfill =
                Some(Box::pin(
                    async move { tokio::time::timeout(timeout, fetch).await.unwrap_or(Err(RestError::TooSlow)) },
                ));
        }
        Ok(())
    }

    /// `alive` says that everything up to it was handed on, so it waits for a backfill.
    async fn tick(&mut self) -> Result<(), Ended> {
        if self.live_since.is_some() && self.backfill.is_none() {
            self.feed.tick().await?;
        }
        Ok(())
    }

    async fn backfilled(&mut self, found: Result<Backfilled, RestError>) -> Result<(), Ended> {
        match found {
            Ok(found) => {
                tracing::info!(events = found.liquidations.len(), "fetched the gap");
                self.feed.take_backfill(found).await?;
            }
            // exchanges.md A.3: absent from the documentation, so a failure is no outage.
            Err(error) => self.feed.complain(&format!("{error}: no backfill of the gap")),
        }
        Ok(())
    }

    async fn refreshed(&mut self, listed: Result<Instruments, RestError>) -> Result<(), Ended> {
        self.link.refreshed(self.feed, listed);
        let instruments = self.link.subscribed(self.feed);
        if let Some(successor) = &mut self.successor
            && let Err(end) = successor.add(&instruments).await
        {
            self.successor_failed(&end.to_string());
        }
        match self.current.add(&instruments).await {
            Ok(()) => Ok(()),
            Err(end) => self.current_ended(end).await,
        }
    }

    async fn check(&mut self, now: Instant) -> Result<(), Ended> {
        let timings = self.link.timings;
        self.feed.log_refusals();
        if self.current.is_stale(now, &timings) {
            let why = format!("was silent for {:?}", timings.stale_after);
            return self.give_up(&why, FeedState::Stale).await;
        }
        if self.current.is_overdue(now, &timings) {
            let why = format!("confirmed no subscription within {:?}", timings.connect_timeout);
            return self.give_up(&why, FeedState::Disconnected).await;
        }
        if let Err(end) = self.current.keep_alive(now, &timings).await {
            return self.current_ended(end).await;
        }
        self.check_successor(now).await;
        if self.refresh.is_none() && self.link.is_refresh_due(now) {
            self.refresh = Some(Box::pin(self.link.fetch()));
        }
        if self.renew_at.is_some_and(|at| now >= at) && self.connecting.is_none() && self.successor.is_none() {
            tracing::info!("replacing the connection");
            self.renew_at = None;
            self.connecting = Some(Box::pin(self.link.connect(self.feed)));
        }
        Ok(())
    }

    async fn check_successor(&mut self, now: Instant) {
        let timings = self.link.timings;
        let Some(successor) = &mut self.successor else {
            return;
        };
        if successor.is_stale(now, &timings) || successor.is_overdue(now, &timings) {
            self.successor_failed("the new connection is silent");
        } else if let Err(end) = successor.keep_alive(now, &timings).await {
            self.successor_failed(&end.to_string());
        }
    }

    /// A replacement that failed is tried again while the current socket lasts.
    fn successor_failed(&mut self, why: &str) {
        self.successor = None;
        self.switch_at = None;
        self.renew_at = Some(Instant::now() + self.link.timings.backoff_max);
        self.feed.complain(&format!("could not replace the connection: {why}"));
    }

    /// Ends the current socket in favour of its successor, without a gap.
    async fn switch(&mut self) {
        self.switch_at = None;
        let Some(successor) = self.successor.take() else {
            return;
        };
        self.renew_at = renewal(&successor, self.link);
        let old = std::mem::replace(&mut self.current, successor);
        old.close().await;
        self.feed.monitor.status().renewals += 1;
        tracing::info!("replaced the connection without a gap");
    }

    async fn current_ended(&mut self, end: SocketEnd) -> Result<(), Ended> {
        if matches!(end, SocketEnd::Oversized) {
            self.feed.refuse(&Refusal { reason: Reason::Oversized, detail: end.to_string() });
        }
        if self.successor.as_ref().is_some_and(Socket::is_proven) {
            self.switch().await;
            return Ok(());
        }
        self.give_up(&end.to_string(), FeedState::Disconnected).await
    }

    async fn give_up(&mut self, why: &str, state: FeedState) -> Result<(), Ended> {
        self.feed.complain(why);
        self.feed.lost(state).await?;
        Err(Ended::Lost)
    }
}

/// Binance ends a connection after 24 h, so it is replaced before (exchanges.md B).
fn renewal(socket: &Socket, link: &Link) -> Option<Instant> {
    match link.exchange {
        Exchange::Binance => Some(socket.started_at + link.timings.renew_after),
        Exchange::Bybit | Exchange::Okx => None,
    }
}

async fn receive(socket: &mut Option<Socket>) -> Result<(Bytes, ReceivedAt), SocketEnd> {
    match socket {
        Some(socket) => socket.receive().await,
        None => std::future::pending().await,
    }
}
