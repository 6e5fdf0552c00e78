//! `foreshock health` inside a container: one question to the process beside it, without a runtime or a connection to NATS,
//! for it runs within that process's limit of memory.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::Context as _;

use crate::{exit::ExitCode, run::say};

/// How long connecting and answering may take each, together below the three seconds a container's check has (ops.md 13).
const ANSWER_TIME: Duration = Duration::from_millis(1200);

/// Bytes of an answer; further ones are not read.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// Asks the process that answers HTTP at `listen` whether it is ready.
pub(super) fn health(listen: SocketAddr) -> ExitCode {
    match ask(listen) {
        Ok(answer) if answer.is_ready => ExitCode::Done,
        Ok(answer) => {
            say(&format!("not ready: {}", answer.body.trim()));
            ExitCode::Failed
        }
        Err(error) => {
            say(&format!("{error:#}"));
            ExitCode::Failed
        }
    }
}

struct Answer {
    is_ready: bool,
    body: String,
}

fn ask(listen: SocketAddr) -> anyhow::Result<Answer> {
    let at = reachable(listen);
    let nothing = || format!("nothing answers at http://{at}/readyz");
    let mut stream = TcpStream::connect_timeout(&at, ANSWER_TIME).with_context(nothing)?;
    stream.set_read_timeout(Some(ANSWER_TIME)).and_then(|()| stream.set_write_timeout(Some(ANSWER_TIME)))?;
    let mut text = String::new();
    write!(stream, "GET /readyz HTTP/1.0\r\nHost: {at}\r\n\r\n").with_context(nothing)?;
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut text).with_context(nothing)?;
    let (head, body) = text.split_once("\r\n\r\n").with_context(|| format!("{at} answers, but not with HTTP"))?;
    let status = head.split_whitespace().nth(1);
    Ok(Answer { is_ready: status == Some("200"), body: body.to_owned() })
}

/// A process that listens everywhere is reached over loopback.
const fn reachable(listen: SocketAddr) -> SocketAddr {
    let address = match listen.ip() {
        IpAddr::V4(address) if address.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(address) if address.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        address @ (IpAddr::V4(_) | IpAddr::V6(_)) => address,
    };
    SocketAddr::new(address, listen.port())
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, thread};

    use super::*;

    fn answered(answer: &'static str) -> ExitCode {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 512];
            let length = stream.read(&mut request).unwrap();
            assert!(request[..length].starts_with(b"GET /readyz HTTP/1.0\r\n"));
            stream.write_all(answer.as_bytes()).unwrap();
        });
        let code = health(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), at.port()));
        server.join().unwrap();
        code
    }

    #[test]
    fn only_a_200_is_healthy() {
        assert_eq!(answered("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"), ExitCode::Done);
        assert_eq!(answered("HTTP/1.1 503 Service Unavailable\r\n\r\n{}"), ExitCode::Failed);
        assert_eq!(answered("nonsense"), ExitCode::Failed);
        assert_eq!(answered(""), ExitCode::Failed);
    }

    #[test]
    fn nobody_there_is_sick() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert_eq!(health(free), ExitCode::Failed);
    }
}
