//! A client that says exactly what it is told, and sees whether an answer is whole.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long an answer may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
    /// Whether its end is the one that it announced.
    pub(super) whole: bool,
}

impl Answer {
    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("UTF-8")
    }
}

pub(super) fn get(address: SocketAddr, path: &str) -> Answer {
    send(
        address,
        format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n"),
    )
}

pub(super) fn post(address: SocketAddr, path: &str, body: &[u8]) -> Answer {
    let length = body.len();
    let mut request =
        format!("POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {length}\r\n\r\n")
            .into_bytes();
    request.extend_from_slice(body);
    send(address, request)
}

/// Sends these bytes on a connection of their own.
pub(super) fn send(address: SocketAddr, request: impl AsRef<[u8]>) -> Answer {
    try_send(address, request).expect("an answer")
}

/// The same, where there may be none.
pub(super) fn try_send(address: SocketAddr, request: impl AsRef<[u8]>) -> Option<Answer> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    // Who is refused may be so before everything is sent.
    let _ = stream.write_all(request.as_ref());
    read(&mut BufReader::new(stream))
}

/// Reads one answer.
pub(super) fn read(from: &mut BufReader<impl Read>) -> Option<Answer> {
    let mut line = String::new();
    from.read_line(&mut line).ok()?;
    let status = line.split(' ').nth(1)?.parse().ok()?;
    let (mut length, mut chunked) = (None, false);
    loop {
        line.clear();
        from.read_line(&mut line).ok()?;
        let lower = line.trim_end().to_ascii_lowercase();
        if lower.is_empty() {
            break;
        }
        if let Some(number) = lower.strip_prefix("content-length: ") {
            length = number.parse::<u64>().ok();
        }
        chunked |= lower == "transfer-encoding: chunked";
    }
    let mut body = Vec::new();
    let whole = if chunked {
        chunks(from, &mut body).is_some()
    } else {
        let length = length?;
        from.take(length).read_to_end(&mut body).is_ok() && u64::try_from(body.len()) == Ok(length)
    };
    Some(Answer {
        status,
        body,
        whole,
    })
}

fn chunks(from: &mut BufReader<impl Read>, body: &mut Vec<u8>) -> Option<()> {
    loop {
        let mut line = String::new();
        from.read_line(&mut line).ok()?;
        let length = u64::from_str_radix(line.trim_end(), 16).ok()?;
        let before = body.len();
        from.by_ref().take(length + 2).read_to_end(body).ok()?;
        let rest = body.len().checked_sub(before)?;
        if u64::try_from(rest) != Ok(length + 2) {
            return None;
        }
        body.truncate(body.len() - 2);
        if length == 0 {
            return Some(());
        }
    }
}
