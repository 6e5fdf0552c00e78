//! A venue of the tests: one WebSocket and one REST listener on loopback, driven by the test step by step.

use std::{net::SocketAddr, time::Duration};

use futures_util::{SinkExt, StreamExt};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream, accept_hdr_async,
    tungstenite::{
        Message,
        handshake::server::{Request, Response},
    },
};
use url::Url;

/// Longest time a step of a test waits before it fails; nothing waits this long when all is well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for something that must happen.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what} did not happen"))
}

/// The WebSocket side.
pub(crate) struct Venue {
    listener: TcpListener,
}

impl Venue {
    pub(crate) async fn start() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.unwrap() }
    }

    pub(crate) fn url(&self) -> Url {
        url("ws", self.listener.local_addr().unwrap())
    }

    /// Waits for a client.
    pub(crate) async fn accept(&self) -> Client {
        let (stream, _) = soon("a connection", self.listener.accept()).await.unwrap();
        let mut path = String::new();
        #[expect(clippy::result_large_err, reason = "the handshake's own type of a refusal")]
        let note = |request: &Request, response: Response| {
            path = request.uri().to_string();
            Ok(response)
        };
        let socket = soon("a handshake", accept_hdr_async(stream, note)).await.unwrap();
        Client { socket, path }
    }

    /// Answers one client's upgrade with a plain HTTP response.
    pub(crate) async fn refuse(&self, response: &str) {
        let (mut stream, _) = soon("a connection", self.listener.accept()).await.unwrap();
        request_line(&mut stream).await;
        stream.write_all(response.as_bytes()).await.unwrap();
    }
}

/// A connected client, seen from the venue.
pub(crate) struct Client {
    socket: WebSocketStream<TcpStream>,
    /// What it asked for in the URL.
    pub(crate) path: String,
}

impl Client {
    pub(crate) async fn send(&mut self, text: &str) {
        self.socket.send(Message::text(text)).await.unwrap();
    }

    /// Sends what the client may not take.
    pub(crate) async fn send_raw(&mut self, message: Message) -> Result<(), tokio_tungstenite::tungstenite::Error> {
        self.socket.send(message).await
    }

    /// Waits for the client's next text.
    pub(crate) async fn text(&mut self) -> String {
        loop {
            let message = soon("a text", self.socket.next()).await.expect("the client is there").expect("it speaks");
            if let Message::Text(text) = message {
                return text.as_str().to_owned();
            }
        }
    }

    /// Waits until the client has gone.
    pub(crate) async fn gone(&mut self) {
        soon("the end of the connection", async { while let Some(Ok(_)) = self.socket.next().await {} }).await;
    }
}

/// The REST side: answers every request by a function of its path.
pub(crate) struct Rest {
    pub(crate) url: Url,
    task: JoinHandle<()>,
}

impl Rest {
    /// Answers with status 200 and a body, or with the status line given, which may go on with headers and, after an
    /// empty line, a body; without one it is a page.
    pub(crate) async fn start(answer: impl Fn(&str) -> Result<String, String> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = url("http", listener.local_addr().unwrap());
        let task = tokio::spawn(async move {
            loop {
                let Ok((mut stream, _)) = listener.accept().await else { return };
                let request = request_line(&mut stream).await;
                let path = request.split(' ').nth(1).unwrap_or_default();
                let (status, body) = match answer(path) {
                    Ok(body) => ("200 OK".to_owned(), body),
                    Err(failure) => match failure.split_once("\r\n\r\n") {
                        Some((status, body)) => (status.to_owned(), body.to_owned()),
                        None => (failure, "<html>".to_owned()),
                    },
                };
                let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
                // A client that went away needs no answer.
                let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
            }
        });
        Self { url, task }
    }
}

impl Drop for Rest {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn url(scheme: &str, address: SocketAddr) -> Url {
    Url::parse(&format!("{scheme}://{address}")).unwrap()
}

/// Reads a request and returns its first line.
async fn request_line(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    let first = String::from_utf8_lossy(&head).lines().next().unwrap_or_default().to_owned();
    let head = String::from_utf8_lossy(&head).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or_default()];
    // A client that goes away in its body is answered in vain.
    let _ = stream.read_exact(&mut body).await;
    first
}
