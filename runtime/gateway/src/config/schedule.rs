//! `[[schedule]]`: when a component is due.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

use super::Restart;
use super::file::{GrantsPart, LimitsPart, ServicePart, Time};
use super::text::Wrong;
use crate::config::When;
use crate::schedule::{CronTimes, Missed, Schedule, Times};

/// How long a run may take where the operator does not say: one that hangs does not keep all others from being made.
const RUN: Duration = Duration::from_secs(3_600);

/// The shortest interval.
const SHORTEST: Duration = Duration::from_secs(1);

/// A component that runs when it is due, and ends: a command of WASI 0.2.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(in crate::config) struct SchedulePart {
    /// What the operator calls it: letters, digits and hyphens.
    #[schemars(with = "String")]
    pub(in crate::config) name: Spanned<String>,
    /// The signed file.
    #[schemars(with = "String")]
    component: Spanned<PathBuf>,
    /// The component's name in its signed statement, `namespace:name`; a file that says another is refused.
    #[schemars(with = "String")]
    signed_as: Spanned<String>,
    /// When it is due: minute, hour, day, month and weekday, and seconds before them if there are six, such as "0 6 * * 1-5".
    #[schemars(with = "Option<String>")]
    cron: Option<Spanned<String>>,
    /// How much later than UTC it is where those hours count, such as "+01:00".
    #[schemars(with = "Option<String>")]
    utc_offset: Option<Spanned<String>>,
    /// Or it is due each time that so much has passed, such as "10m". That needs no clock.
    #[schemars(with = "Option<Time>")]
    every: Option<Spanned<Time>>,
    /// It runs up to so much later, by chance.
    jitter: Option<Time>,
    /// What follows due times that passed without a run.
    #[serde(default)]
    missed: MissedPart,
    /// What it may touch at most. It gets of this what its statement asks for.
    #[serde(default)]
    grants: GrantsPart,
    /// How much a run may use at most; an hour if `run` is not given.
    #[serde(default)]
    limits: LimitsPart,
}

/// What follows due times that passed without a run, because the one before still ran or the clock was set.
#[derive(Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum MissedPart {
    /// Nothing: the next due time is the next.
    #[default]
    Skip,
    /// One run, for all of them.
    Once,
}

impl SchedulePart {
    /// What it has in common with every service, and its own.
    pub(in crate::config) fn split(self) -> Result<(ServicePart, Schedule), Wrong> {
        let times = match (self.cron, self.every) {
            (Some(cron), None) => {
                let offset = self.utc_offset.as_ref().map(|offset| &**offset.get_ref());
                let times = CronTimes::parse(cron.get_ref(), offset);
                Times::Cron(Box::new(
                    times.map_err(|error| Wrong::at(cron.span(), error))?,
                ))
            }
            (None, Some(every)) if every.get_ref().0 < SHORTEST => {
                let message = "every: the shortest interval is 1s".to_owned();
                return Err(Wrong::at(every.span(), message));
            }
            (None, Some(every)) => Times::Every(every.get_ref().0),
            _ => {
                let message = "a schedule has either cron or every".to_owned();
                return Err(Wrong::at(self.name.span(), message));
            }
        };
        let schedule = Schedule {
            times,
            jitter: self.jitter.map_or(Duration::ZERO, |jitter| jitter.0),
            missed: match self.missed {
                MissedPart::Skip => Missed::Skip,
                MissedPart::Once => Missed::Once,
            },
        };
        let mut limits = self.limits;
        limits.run.get_or_insert(Time(RUN));
        let part = ServicePart::new(
            self.name,
            self.component,
            self.signed_as,
            self.grants,
            limits,
        );
        Ok((part, schedule))
    }
}

impl Restart {
    /// For what is started when it is due, and is healthy when it has ended well.
    pub(in crate::config) const fn when_due() -> Self {
        Self {
            when: When::Never,
            first: Duration::ZERO,
            most: Duration::ZERO,
            healthy_after: Duration::MAX,
        }
    }
}
