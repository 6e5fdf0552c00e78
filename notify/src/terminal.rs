//! The sink without a token: texts on the terminal.

use tokio::io::{AsyncWrite, AsyncWriteExt};

use crate::failure::{Failure, Refusal};

/// Writes one message and an empty line, and flushes. Cancelling it may leave half a message.
///
/// # Errors
/// [`Refusal::Closed`] when nobody reads any more.
pub async fn print<W: AsyncWrite + Unpin>(out: &mut W, text: &str) -> Result<(), Failure> {
    let write = async {
        out.write_all(text.as_bytes()).await?;
        out.write_all(b"\n\n").await?;
        out.flush().await
    };
    write.await.map_err(|_: std::io::Error| Failure::Refused(Refusal::Closed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn messages_are_separated_by_an_empty_line() {
        let mut out = Vec::new();
        print(&mut out, "one\nmessage").await.unwrap();
        print(&mut out, "another").await.unwrap();
        assert_eq!(out, b"one\nmessage\n\nanother\n\n");
    }

    #[tokio::test]
    async fn a_closed_terminal_is_a_refusal() {
        let (mut out, reader) = tokio::io::duplex(8);
        drop(reader);
        assert_eq!(print(&mut out, "text").await, Err(Failure::Refused(Refusal::Closed)));
    }
}
