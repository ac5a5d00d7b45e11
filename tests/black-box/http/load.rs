//! Requests at a rate, over connections that stay open, until it is told to stop.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::client::read;

/// What is said of a connection that ended before anything of an answer came.
pub(super) const ENDED: &str = "the connection ended";

/// A load that goes on.
pub(super) struct Load {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<(u64, Vec<String>)>>,
    started: Instant,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) answered: u64,
    /// What was no answer of the component's, in words.
    pub(super) failed: Vec<String>,
    seconds: f64,
}

impl Done {
    pub(super) fn a_second(&self) -> f64 {
        f64::from(u32::try_from(self.answered).expect("not so many")) / self.seconds
    }
}

impl Load {
    /// Sends `rate` requests a second over `connections`.
    pub(super) fn start(address: SocketAddr, connections: u32, rate: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let every = Duration::from_secs(1) * connections / rate;
        let threads = (0..connections)
            .map(|_| {
                let stop = Arc::clone(&stop);
                std::thread::spawn(move || ask(address, every, &stop))
            })
            .collect();
        Self {
            stop,
            threads,
            started: Instant::now(),
        }
    }

    pub(super) fn stop(self) -> Done {
        self.stop.store(true, Ordering::Relaxed);
        let mut done = Done {
            answered: 0,
            failed: Vec::new(),
            seconds: 0.0,
        };
        for thread in self.threads {
            let (answered, failed) = thread.join().expect("it ends");
            done.answered += answered;
            done.failed.extend(failed);
        }
        done.seconds = self.started.elapsed().as_secs_f64();
        done
    }
}

fn ask(address: SocketAddr, every: Duration, stop: &AtomicBool) -> (u64, Vec<String>) {
    let (mut answered, mut failed) = (0, Vec::new());
    let stream = TcpStream::connect(address).expect("it listens");
    stream.set_nodelay(true).expect("a socket");
    let mut writer = stream.try_clone().expect("a descriptor");
    let mut reader = BufReader::new(stream);
    let mut due = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        due += every;
        let sent = writer.write_all(b"GET /now HTTP/1.1\r\nHost: x\r\n\r\n");
        // Nothing of an answer is one thing, a part of one another.
        let begun = sent.and_then(|()| reader.fill_buf().map(|bytes| !bytes.is_empty()));
        if !begun.unwrap_or(false) {
            failed.push(format!("after {answered}: {ENDED}"));
            break;
        }
        match read(&mut reader) {
            Some(answer) if answer.status == 200 && answer.whole => answered += 1,
            Some(answer) => failed.push(format!("after {answered}: {answer:?}")),
            None => {
                failed.push(format!(
                    "after {answered}: an answer was cut off in its head"
                ));
                break;
            }
        }
    }
    (answered, failed)
}
