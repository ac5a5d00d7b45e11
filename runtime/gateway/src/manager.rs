//! What a service manager is told of the gateway (sd_notify(3)): that it is ready, reads its configuration again, stops, and
//! that it is not stuck. Without one, nobody is told anything.

use std::time::{Duration, Instant};

use sd_notify::NotifyState;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// How long work may take that is done between two looks at what is asked: a thousand components are compiled in less.
const BUSY: Duration = Duration::from_secs(1_800);

/// How often a start asks for more time, and for how much.
const MORE_EVERY: Duration = Duration::from_secs(10);
const MORE_MICROSECONDS: u32 = 60_000_000;

/// The service manager, if there is one.
pub(crate) struct Manager {
    watchdog: Option<Interval>,
    busy: Option<Busy>,
}

/// That it starts or reads its configuration again, and what compiles takes its time.
struct Busy {
    since: Instant,
    more: Interval,
}

impl Manager {
    /// The one that started this process, with the watchdog that it set.
    pub(crate) fn new() -> Self {
        let watchdog = sd_notify::watchdog_enabled().map(|time| {
            // Twice in the time, as sd_watchdog_enabled(3) has it.
            let mut beats = interval((time / 2).max(Duration::from_millis(1)));
            beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
            beats
        });
        Self {
            watchdog,
            busy: None,
        }
    }

    /// That it is busy from now on, until it is [`ready`](Self::ready).
    pub(crate) fn busy(&mut self) {
        self.busy = Some(Busy {
            since: Instant::now(),
            more: interval(MORE_EVERY),
        });
    }

    pub(crate) const fn is_busy(&self) -> bool {
        self.busy.is_some()
    }

    /// Says that all is begun, in words too.
    pub(crate) fn ready(&mut self, words: &str) {
        self.busy = None;
        tell(&[NotifyState::Ready, NotifyState::Status(words)]);
    }

    /// Says that the configuration is read again; [`Self::ready`] says that it was.
    pub(crate) fn reloading(&mut self) {
        self.busy();
        // The time tells the manager which of its orders this answers.
        if let Ok(now) = NotifyState::monotonic_usec_now() {
            tell(&[NotifyState::Reloading, now]);
        }
    }

    /// Says that it stops.
    pub(crate) fn stopping(&self) {
        tell(&[NotifyState::Stopping]);
    }

    /// Says, whenever it is time, that it is not stuck, and, while it is busy, for half an hour, that it needs more time. Never
    /// ends where there is nothing to say.
    pub(crate) async fn beat(&mut self) {
        let Self { watchdog, busy } = self;
        let more = async {
            match busy {
                Some(busy) if busy.since.elapsed() < BUSY => busy.more.tick().await,
                _ => std::future::pending().await,
            }
        };
        let beat = async {
            match watchdog {
                Some(beats) => beats.tick().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = more => tell(&[NotifyState::ExtendTimeoutUsec(MORE_MICROSECONDS)]),
            _ = beat => tell(&[NotifyState::Watchdog]),
        }
    }

    /// Does this, and says meanwhile that it is not stuck; for half an hour.
    pub(crate) async fn during<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        let began = Instant::now();
        loop {
            tokio::select! {
                done = &mut work => return done,
                () = self.beat(), if began.elapsed() < BUSY => {}
            }
        }
    }
}

fn tell(what: &[NotifyState<'_>]) {
    // Who does not listen cannot be told.
    let _ = sd_notify::notify(what);
}
