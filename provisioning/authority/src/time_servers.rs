//! What time it is elsewhere: the clock of the registry's database, and time servers that the configuration names.
//!
//! Decided here: when another clock counts as having said something, and how old that may become. What comes of it, that nothing
//! is issued by a clock that another contradicts, is the issuing service's rule.
//!
//! Time servers are asked by NTP without authentication. Whoever answers in their place can keep this authority from issuing, and
//! can have nothing issued by it that its own clock would not allow: an answer never sets a clock.

use std::time::{Duration, Instant};

use countersign_issuing::{Beside, Clock};
use countersign_registry::Registry;
use tokio::net::UdpSocket;
use tokio::time::timeout;

/// How long one server has to answer.
const ANSWER: Duration = Duration::from_secs(2);

/// How long the last answer counts while the servers are silent.
const STALE: Duration = Duration::from_secs(3600);

/// A packet without extensions (RFC 5905 §7.3).
const PACKET: usize = 48;

/// From 1900 to 1970, in seconds (RFC 5905 §6).
const ERA: u32 = 2_208_988_800;

/// Compares this machine's clock with others, again and again.
#[derive(Default)]
pub(crate) struct Comparing {
    servers: Vec<String>,
    answered: Option<Instant>,
}

impl Comparing {
    pub(crate) const fn new(servers: Vec<String>) -> Self {
        Self {
            servers,
            answered: None,
        }
    }

    /// Asks the others once. A database that does not answer leaves it as it was: nothing is issued without it anyway.
    pub(crate) async fn compare(&mut self, clock: &Clock, registry: &Registry) {
        if let Ok(Some(theirs)) = registry.clock().await {
            clock.compare(Beside::Database, Some(theirs));
        }
        if self.servers.is_empty() {
            return;
        }
        let asked: Vec<_> = self
            .servers
            .iter()
            .cloned()
            .map(|server| tokio::spawn(async move { ask(&server).await }))
            .collect();
        let mut answers = Vec::new();
        for (server, asked) in self.servers.iter().zip(asked) {
            match asked.await {
                Ok(Ok(theirs)) => answers.push(theirs),
                Ok(Err(reason)) => {
                    tracing::warn!(server, reason, "a time server said nothing of use");
                }
                Err(_) => {}
            }
        }
        // One that contradicts is enough, whatever the others say.
        if let Some(theirs) = clock.furthest(&answers) {
            self.answered = Some(Instant::now());
            clock.compare(Beside::TimeServers, Some(theirs));
        } else if self.answered.is_none_or(|last| last.elapsed() > STALE) {
            clock.compare(Beside::TimeServers, None);
        }
    }
}

/// The time at a server, in seconds since 1970.
async fn ask(server: &str) -> Result<u64, &'static str> {
    let exchange = async {
        let mut nonce = [0; 8];
        getrandom::fill(&mut nonce).map_err(|_| "this system gives no random numbers")?;
        let address = tokio::net::lookup_host(server)
            .await
            .ok()
            .and_then(|mut found| found.next())
            .ok_or("its name leads nowhere: write HOST:PORT, port 123")?;
        let local = if address.is_ipv4() {
            "0.0.0.0:0"
        } else {
            "[::]:0"
        };
        let failed = |_| "it cannot be reached";
        let socket = UdpSocket::bind(local).await.map_err(failed)?;
        socket.connect(address).await.map_err(failed)?;
        socket.send(&question(nonce)).await.map_err(failed)?;
        let mut answer = [0; PACKET];
        loop {
            let length = socket.recv(&mut answer).await.map_err(failed)?;
            // What answers another question is nobody's answer; the next one may be.
            if length == PACKET && answer.get(24..32) == Some(&nonce) {
                return read(&answer);
            }
        }
    };
    timeout(ANSWER, exchange)
        .await
        .unwrap_or(Err("it does not answer"))
}

/// Version 4, mode 3 (client). What the server gives back as the time of asking is random, and tells it nothing.
fn question(nonce: [u8; 8]) -> [u8; PACKET] {
    let mut packet = [0; PACKET];
    packet[0] = 0x23;
    packet[40..].copy_from_slice(&nonce);
    packet
}

/// The time of sending in an answer.
fn read(answer: &[u8; PACKET]) -> Result<u64, &'static str> {
    let [first, stratum, ..] = *answer;
    // RFC 5905 §7.3: mode 4 is a server's; leap indicator 3 and stratum 0 or 16 are those of one that does not know the time.
    if first & 0x07 != 4 {
        return Err("it answers as no server does");
    }
    if first & 0xc0 == 0xc0 || !(1..=15).contains(&stratum) {
        return Err("it does not know the time itself");
    }
    let sent = answer
        .get(40..44)
        .and_then(|seconds| seconds.try_into().ok())
        .map_or(0, u32::from_be_bytes);
    // Modulo 2^32: right until 2106.
    Ok(u64::from(sent.wrapping_sub(ERA)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(head: [u8; 2], seconds: u32) -> [u8; PACKET] {
        let mut packet = [0; PACKET];
        packet[..2].copy_from_slice(&head);
        packet[40..44].copy_from_slice(&seconds.to_be_bytes());
        packet
    }

    #[test]
    fn tg21_only_a_server_that_knows_the_time_tells_it() {
        assert_eq!(read(&answer([0x24, 2], ERA)), Ok(0));
        // The era of 1900 ends in February 2036.
        assert_eq!(read(&answer([0x24, 15], 0)), Ok(2_085_978_496));
        for head in [[0xe4, 2], [0x24, 0], [0x24, 16], [0x23, 2], [0x25, 2]] {
            assert!(read(&answer(head, ERA)).is_err(), "{head:?}");
        }
    }

    #[tokio::test]
    async fn tg21_a_clock_that_a_time_server_contradicts_or_that_none_confirms_is_not_believed() {
        let server = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        let address = server.local_addr().expect("an address").to_string();
        // Says how far from this machine's clock it is, in the order of these.
        tokio::spawn(async move {
            for ahead in [0_u32, 400, 0] {
                let mut asked = [0; PACKET];
                let (_, client) = server.recv_from(&mut asked).await.expect("asked");
                assert_eq!(asked[0], 0x23);
                let now = u32::try_from(crate::serve::now().as_secs()).expect("before 2106");
                let mut told = answer([0x24, 2], now.wrapping_add(ERA).wrapping_add(ahead));
                // An answer to another question comes first.
                server.send_to(&told, client).await.expect("sent");
                told[24..32].copy_from_slice(&asked[40..]);
                server.send_to(&told, client).await.expect("sent");
            }
        });
        let folder = tempfile::tempdir().expect("a folder");
        let url = format!("sqlite:{}", folder.path().join("registry.db").display());
        let registry = Registry::open(&url).await.expect("opens");
        let clock = Clock::system(0);
        let mut comparing = Comparing::new(vec![address]);
        for is_right in [true, false, true] {
            comparing.compare(&clock, &registry).await;
            assert_eq!(clock.now().is_ok(), is_right);
        }
        // Nobody answers, and that is borne for a while by whoever had an answer.
        comparing.compare(&clock, &registry).await;
        assert!(clock.now().is_ok());
        let mut comparing = Comparing::new(vec!["127.0.0.1:9".to_owned()]);
        comparing.compare(&clock, &registry).await;
        let error = clock.now().expect_err("nobody confirms it");
        assert!(error.to_string().contains("time server"), "{error}");
        // Without servers nobody is asked, and the database of one process has no clock of its own.
        let clock = Clock::system(0);
        Comparing::new(Vec::new()).compare(&clock, &registry).await;
        assert!(clock.now().is_ok());
    }
}
