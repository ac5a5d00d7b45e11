//! When a scheduled component runs: at the times of a cron expression, or at even intervals.
//!
//! Decides what becomes of due times that pass while the component runs, while the clock cannot be believed, or because it
//! was set. Intervals are measured by a clock that nobody sets; a cron expression needs to know the date, and waits where this
//! machine does not. What was due while the gateway was off is not made up for.

use std::time::Duration;

use chrono::{DateTime, FixedOffset, TimeZone as _};
use countersign_trust_store::UnixTime;
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};

/// The longest expression, in bytes.
const MAX_EXPRESSION: usize = 256;

/// The longest time without a look at the clock, which somebody may set meanwhile.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(30);

/// How late a due time is met: what load or a look may take.
const GRACE: Duration = Duration::from_secs(60);

/// How far a clock is put back at most without its schedule beginning anew: what was done up to then is not done again.
const SET_BACK: Duration = Duration::from_secs(3_600);

/// When a component is due.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Schedule {
    pub(crate) times: Times,
    /// A due time is met up to so much later, by chance: many machines do not ask one server at once.
    pub(crate) jitter: Duration,
    pub(crate) missed: Missed,
}

/// The due times.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Times {
    /// One after each so much.
    Every(Duration),
    /// Those of a cron expression.
    Cron(Box<CronTimes>),
}

/// What follows due times that passed without a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missed {
    /// Nothing.
    Skip,
    /// One run for all of them.
    Once,
}

/// The times of a cron expression.
#[derive(Clone, Debug)]
pub(crate) struct CronTimes {
    expression: String,
    cron: Cron,
    offset: FixedOffset,
}

impl PartialEq for CronTimes {
    fn eq(&self, other: &Self) -> bool {
        (&self.expression, self.offset) == (&other.expression, other.offset)
    }
}

impl CronTimes {
    /// Reads an expression of five fields, or six with seconds before them, and an offset from UTC such as `+01:00`; none is
    /// UTC.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(crate) fn parse(expression: &str, offset: Option<&str>) -> Result<Self, String> {
        if expression.len() > MAX_EXPRESSION {
            return Err(format!(
                "a cron expression has at most {MAX_EXPRESSION} bytes"
            ));
        }
        let parser = CronParser::builder()
            .seconds(Seconds::Optional)
            .year(Year::Disallowed)
            .build();
        let cron = parser.parse(expression).map_err(|error| {
            format!("{error}; write minute, hour, day, month and weekday, such as \"0 6 * * 1-5\"")
        })?;
        let offset = match offset {
            None | Some("UTC") => "+00:00",
            Some(offset) => offset,
        };
        let offset = offset.parse().map_err(|_| {
            format!("{offset:?} is no offset from UTC; write one such as \"+01:00\", or \"UTC\"")
        })?;
        let times = Self {
            expression: expression.to_owned(),
            cron,
            offset,
        };
        match times.after(UnixTime::from_secs(0)) {
            Some(_) => Ok(times),
            None => Err(format!("{expression:?} is never due")),
        }
    }

    /// The first due time after this one.
    fn after(&self, time: UnixTime) -> Option<UnixTime> {
        let next = self.cron.find_next_occurrence(&self.local(time)?, false);
        from_local(&next.ok()?)
    }

    /// The last due time up to this one.
    fn up_to(&self, time: UnixTime) -> Option<UnixTime> {
        let last = self.cron.find_previous_occurrence(&self.local(time)?, true);
        from_local(&last.ok()?)
    }

    fn local(&self, time: UnixTime) -> Option<DateTime<FixedOffset>> {
        let seconds = i64::try_from(time.as_secs()).ok()?;
        self.offset.timestamp_opt(seconds, 0).single()
    }
}

fn from_local(time: &DateTime<FixedOffset>) -> Option<UnixTime> {
    u64::try_from(time.timestamp())
        .ok()
        .map(UnixTime::from_secs)
}

/// What the clocks say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    /// How long this process has run, by a clock that nobody sets.
    pub(crate) steady: Duration,
    /// The date, if this machine knows it.
    pub(crate) date: Option<UnixTime>,
}

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// To run the component.
    Due,
    /// To wait so long, and look again in between. The next due time, where it has a date.
    Wait(Duration, Option<UnixTime>),
    /// To look again: nobody knows the date.
    NoDate,
}

/// The due times of a schedule, one after the other.
pub(crate) struct Due {
    schedule: Schedule,
    /// How long the process had run when the next interval ends.
    interval_ends: Duration,
    /// What the clocks said last, where the date was known.
    seen: Option<(Duration, UnixTime)>,
    /// Due times up to this one have been dealt with.
    done: Option<UnixTime>,
    /// Due times have passed that are made up for.
    owed: bool,
    /// How often due times passed without a run.
    missed: u64,
    /// How the last run ended.
    ended: Option<String>,
}

impl Due {
    /// A schedule that begins now: what was due before is not its affair.
    pub(crate) fn begin(schedule: &Schedule, now: Reading) -> Self {
        let interval = match &schedule.times {
            Times::Every(interval) => *interval,
            Times::Cron(_) => Duration::ZERO,
        };
        let mut due = Self {
            schedule: schedule.clone(),
            interval_ends: now.steady.saturating_add(interval),
            seen: None,
            done: None,
            owed: false,
            missed: 0,
            ended: None,
        };
        due.look(now);
        due
    }

    /// How often due times passed without a run.
    pub(crate) fn missed(&self) -> u64 {
        self.missed
    }

    /// What is to be done now.
    pub(crate) fn look(&mut self, now: Reading) -> Look {
        let (passed, next) = match self.schedule.times.clone() {
            Times::Every(interval) => self.intervals(interval, now.steady),
            Times::Cron(times) => match now.date {
                Some(date) => self.dates(&times, now.steady, date),
                None => return Look::NoDate,
            },
        };
        match passed {
            Some(late) if late <= GRACE => {
                self.owed = false;
                return Look::Due;
            }
            Some(_) => self.miss(),
            None => {}
        }
        if std::mem::take(&mut self.owed) {
            return Look::Due;
        }
        next
    }

    /// How the last run ended, and how long it took.
    pub(crate) fn ended(&self) -> Option<&str> {
        self.ended.as_deref()
    }

    /// How much later than due this run begins.
    pub(crate) fn jitter(&self) -> Duration {
        let most = u64::try_from(self.schedule.jitter.as_nanos()).unwrap_or(u64::MAX);
        let chance = getrandom::u64().unwrap_or(0);
        // The upper half of the product is evenly between nothing and the most.
        let part = (u128::from(chance) * u128::from(most)) >> 64;
        Duration::from_nanos(u64::try_from(part).unwrap_or(0))
    }

    /// A run has ended in this way: what was due meanwhile has passed.
    pub(crate) fn ran(&mut self, now: Reading, how: &str, took: Duration) {
        self.ended = Some(format!("{how}, after {:.1} s", took.as_secs_f64()));
        self.pass(now);
    }

    fn pass(&mut self, now: Reading) {
        let owed = std::mem::take(&mut self.owed);
        if self.look(now) == Look::Due {
            self.miss();
        }
        self.owed |= owed;
    }

    fn miss(&mut self) {
        self.missed = self.missed.saturating_add(1);
        self.owed |= self.schedule.missed == Missed::Once;
    }

    /// How late the last interval that has ended is noticed, and what comes next.
    fn intervals(&mut self, interval: Duration, steady: Duration) -> (Option<Duration>, Look) {
        let Some(late) = steady.checked_sub(self.interval_ends) else {
            let wait = self.interval_ends.saturating_sub(steady);
            return (None, Look::Wait(wait, None));
        };
        // The intervals keep their beat, whatever the load.
        let nanoseconds = interval.as_nanos().max(1);
        let rest = late.as_nanos() % nanoseconds;
        let rest = Duration::from_nanos(u64::try_from(rest).unwrap_or(0));
        self.interval_ends = steady.saturating_sub(rest).saturating_add(interval);
        let wait = self.interval_ends.saturating_sub(steady);
        (Some(rest), Look::Wait(wait, None))
    }

    /// How late the last due time that has passed is noticed, and what comes next.
    fn dates(
        &mut self,
        times: &CronTimes,
        steady: Duration,
        date: UnixTime,
    ) -> (Option<Duration>, Look) {
        // By the clock that nobody sets, it is this late.
        let expected = self
            .seen
            .map(|(at, date)| date.saturating_add(steady.saturating_sub(at)));
        self.seen = Some((steady, date));
        let set_back = expected.map(|expected| expected.saturating_since(date));
        let done = match self.done {
            // A clock that was far ahead would keep the component from running until then.
            Some(done) if set_back.is_none_or(|by| by <= SET_BACK) => done,
            _ => date,
        };
        let last = times.up_to(date).filter(|last| *last > done);
        self.done = Some(done.max(date));
        let next = times.after(done.max(date));
        let wait = next.map_or(LOOK_EVERY, |next| next.saturating_since(date));
        (
            last.map(|last| date.saturating_since(last)),
            Look::Wait(wait, next),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-27 12:00:00 UTC, a Friday.
    const NOON: u64 = 1_795_780_800;

    fn cron(expression: &str) -> Schedule {
        Schedule {
            times: Times::Cron(Box::new(CronTimes::parse(expression, None).expect("good"))),
            jitter: Duration::ZERO,
            missed: Missed::Skip,
        }
    }

    fn at(steady: u64, date: u64) -> Reading {
        Reading {
            steady: Duration::from_secs(steady),
            date: Some(UnixTime::from_secs(date)),
        }
    }

    fn wait(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn intervals_need_no_date_and_keep_their_beat() {
        let schedule = Schedule {
            times: Times::Every(wait(10)),
            jitter: Duration::ZERO,
            missed: Missed::Skip,
        };
        let steady = |seconds| Reading {
            steady: Duration::from_secs(seconds),
            date: None,
        };
        let mut due = Due::begin(&schedule, steady(100));
        assert_eq!(due.look(steady(104)), Look::Wait(wait(6), None));
        assert_eq!(due.look(steady(111)), Look::Due);
        due.pass(steady(112));
        assert_eq!(due.look(steady(112)), Look::Wait(wait(8), None));
        // A run over two due times: they are skipped, and the next is where it would have been.
        assert_eq!(due.look(steady(120)), Look::Due);
        due.pass(steady(145));
        assert_eq!(due.look(steady(145)), Look::Wait(wait(5), None));
        assert_eq!(due.missed(), 1);
        let once = Schedule {
            missed: Missed::Once,
            ..schedule
        };
        let mut due = Due::begin(&once, steady(100));
        assert_eq!(due.look(steady(110)), Look::Due);
        due.pass(steady(145));
        assert_eq!(due.look(steady(145)), Look::Due);
        due.pass(steady(146));
        assert_eq!(due.look(steady(146)), Look::Wait(wait(4), None));
    }

    #[test]
    fn a_cron_expression_is_met_once_for_each_due_time() {
        let mut due = Due::begin(&cron("*/5 * * * *"), at(0, NOON));
        // What is due in the moment of the start was due before it.
        let next = Some(UnixTime::from_secs(NOON + 300));
        assert_eq!(due.look(at(1, NOON + 1)), Look::Wait(wait(299), next));
        assert_eq!(due.look(at(290, NOON + 290)), Look::Wait(wait(10), next));
        assert_eq!(due.look(at(300, NOON + 300)), Look::Due);
        due.pass(at(302, NOON + 302));
        let next = Some(UnixTime::from_secs(NOON + 600));
        assert_eq!(due.look(at(302, NOON + 302)), Look::Wait(wait(298), next));
        let seconds = CronTimes::parse("15 0 6 * * MON-FRI", Some("+01:00")).expect("good");
        let monday = NOON + 3 * 86_400 - 7 * 3_600 + 15;
        assert_eq!(
            seconds.after(UnixTime::from_secs(NOON)),
            Some(UnixTime::from_secs(monday))
        );
    }

    #[test]
    fn th22_a_clock_that_leaps_brings_neither_a_burst_nor_a_repetition_nor_an_end() {
        // Ahead by a week: what was due in it is not run, or once.
        let week = 7 * 86_400;
        let mut due = Due::begin(&cron("0 * * * *"), at(0, NOON));
        let Look::Wait(..) = due.look(at(10, NOON + week + 600)) else {
            panic!("it is ten past")
        };
        assert_eq!(due.missed(), 1);
        let once = Schedule {
            missed: Missed::Once,
            ..cron("0 * * * *")
        };
        let mut due = Due::begin(&once, at(0, NOON));
        assert_eq!(due.look(at(10, NOON + week + 600)), Look::Due);
        due.pass(at(11, NOON + week + 601));
        assert!(matches!(
            due.look(at(12, NOON + week + 602)),
            Look::Wait(..)
        ));
        // Back by some minutes: what was run is not run again.
        let mut due = Due::begin(&cron("0 * * * *"), at(0, NOON - 10));
        assert_eq!(due.look(at(10, NOON)), Look::Due);
        due.pass(at(11, NOON + 1));
        assert!(matches!(due.look(at(12, NOON - 300)), Look::Wait(..)));
        assert!(matches!(due.look(at(312, NOON)), Look::Wait(..)));
        assert!(matches!(due.look(at(313, NOON + 1)), Look::Wait(..)));
        assert_eq!(due.look(at(3_912, NOON + 3_600)), Look::Due);
        // To 2100 and back: it goes on at the next due time of the present.
        let mut due = Due::begin(&cron("0 * * * *"), at(0, NOON + 60));
        assert!(matches!(due.look(at(10, 4_102_445_000)), Look::Wait(..)));
        assert!(matches!(due.look(at(70, NOON + 130)), Look::Wait(..)));
        assert_eq!(due.look(at(3_540, NOON + 3_600)), Look::Due);
    }

    #[test]
    fn th22_without_a_date_a_cron_expression_waits() {
        let unknown = |steady| Reading {
            steady: Duration::from_secs(steady),
            date: None,
        };
        let mut due = Due::begin(&cron("* * * * *"), unknown(0));
        assert_eq!(due.look(unknown(500)), Look::NoDate);
        // Once it is known, the schedule begins.
        let next = Some(UnixTime::from_secs(NOON + 60));
        assert_eq!(due.look(at(530, NOON + 50)), Look::Wait(wait(10), next));
        assert_eq!(due.look(at(540, NOON + 60)), Look::Due);
    }

    #[test]
    fn th06_what_is_no_schedule_is_said() {
        let long = "*".repeat(300);
        for (expression, offset, words) in [
            ("", None, "such as"),
            ("soon", None, "such as"),
            ("* * * *", None, "such as"),
            ("61 * * * *", None, "such as"),
            ("0 0 30 2 *", None, "never due"),
            (&*long, None, "at most 256"),
            ("* * * * *", Some("Europe/Paris"), "no offset"),
            ("* * * * *", Some("+25:00"), "no offset"),
        ] {
            let error = CronTimes::parse(expression, offset).expect_err(expression);
            assert!(error.contains(words), "{expression}: {error}");
        }
    }
}
