//! From a request to a chain: asking, waiting, asking again, and judging what comes.

use std::time::Duration;

use crate::{Answer, Client, EnrolError, Expected, IssuedChain, Mismatch};

/// Whether the device has a certificate already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occasion {
    /// It has none that counts: simpleenroll.
    First,
    /// It has one, shows it, and asks for the next: simplereenroll.
    Renewal,
}

/// How to wait, and chance: what tells one device's pauses from another's, so that a thousand that were refused together do not come
/// back together.
pub trait Wait {
    /// Lets this much time pass.
    fn wait(&mut self, time: Duration);
    /// Any number, each with the same chance.
    fn chance(&mut self) -> u16;
}

/// How long to go on asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// How much waiting there may be in all.
    pub in_all: Duration,
    /// The first pause after a failure; each one after it is twice as long.
    pub first: Duration,
    /// No pause is longer, unless the server asks for it.
    pub longest: Duration,
}

impl Patience {
    /// Asks once.
    pub const NONE: Self = Self::of(Duration::ZERO);

    /// Waits this long in all, with pauses from a second to five minutes.
    #[must_use]
    pub const fn of(in_all: Duration) -> Self {
        Self {
            in_all,
            first: Duration::from_secs(1),
            longest: Duration::from_secs(300),
        }
    }

    /// The pause after so many failures: between half of it and the whole, as chance has it.
    fn pause(self, failures: u32, chance: u16) -> Duration {
        let whole = self
            .first
            .checked_mul(2_u32.saturating_pow(failures))
            .unwrap_or(self.longest)
            .min(self.longest);
        let half = whole.mul_f64(0.5);
        half.saturating_add(half.mul_f64(f64::from(chance) / f64::from(u16::MAX)))
    }
}

/// Asks the server for a certificate until there is one, and judges it. `request` is PKCS#10 in DER; the same one each time, as
/// RFC 7030 §4.2.3 wants it.
///
/// # Errors
/// [`EnrolError::Mismatch`] if what comes is not this device's; [`EnrolError::Later`] if the authority wants more time than there
/// is patience; else what the last attempt met.
pub fn obtain(
    client: &Client,
    occasion: Occasion,
    request: &[u8],
    expected: &Expected<'_>,
    patience: Patience,
    wait: &mut impl Wait,
) -> Result<IssuedChain, EnrolError> {
    let mut left = patience.in_all;
    let mut failures = 0;
    let sent = loop {
        let answer = match occasion {
            Occasion::First => client.enroll(request),
            Occasion::Renewal => client.reenroll(request),
        };
        let (asked, otherwise) = match answer {
            Ok(Answer::Issued(certificates)) => break certificates,
            Ok(Answer::Later { after }) => {
                let shown = after.unwrap_or(patience.longest);
                (after, EnrolError::Later { after: shown })
            }
            Err(error) => match error {
                EnrolError::Busy { after, .. } => (after, error),
                error if error.is_temporary() => (None, error),
                error => return Err(error),
            },
        };
        // What the server asks for is the least; zero would be a loop without a pause.
        let own = patience.pause(failures, wait.chance());
        let pause = asked.map_or(own, |asked| asked.max(patience.first));
        failures = failures.saturating_add(1);
        match left.checked_sub(pause) {
            Some(rest) => left = rest,
            None => return Err(otherwise),
        }
        wait.wait(pause);
    };
    // RFC 7030 §4.2.3: only the certificate itself has to be there; the authorities' may have to be fetched.
    match expected.judge(&sent, &[], client.now()) {
        Err(Mismatch::Root { .. }) => {
            let more = client.ca_certificates()?;
            Ok(expected.judge(&sent, &more, client.now())?)
        }
        judged => Ok(judged?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_chance_moves_them_by_half() {
        let patience = Patience::of(Duration::from_secs(3600));
        for (failures, whole) in [
            (0, 1),
            (1, 2),
            (2, 4),
            (8, 256),
            (9, 300),
            (31, 300),
            (4_000_000, 300),
        ] {
            let whole = Duration::from_secs(whole);
            assert_eq!(patience.pause(failures, u16::MAX), whole);
            assert_eq!(patience.pause(failures, 0), whole / 2);
        }
    }
}
