//! From a request to a chain: whom to ask, asking, waiting, asking again, and judging what comes.

use std::time::Duration;

use crate::{Answer, Client, EnrolError, Expected, IssuedChain, Mismatch, Received};

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

/// What is asked for, of which server, and where it is kept until it is a chain.
#[derive(Debug)]
pub struct Ask<'a> {
    /// Who asks.
    pub client: &'a Client,
    /// Whether it is the first certificate.
    pub occasion: Occasion,
    /// PKCS#10 in DER; the same each time, as RFC 7030 §4.2.3 wants it.
    pub request: &'a [u8],
    /// What the certificate must be.
    pub expected: &'a Expected<'a>,
    /// Where what came is kept until [`keep`](crate::keep()) has written the chain.
    pub received: &'a Received,
}

/// Gets a certificate: the one that an earlier attempt received and could not use, if it is good now; else the server is asked until
/// there is one. Before it is asked, which may spend a token, its authorities are judged and there is room for its answer; what it
/// sends is on the disk before anything else is done with it.
///
/// # Errors
/// [`EnrolError::Mismatch`] if the authority is none of the roots', or what comes is not this device's; [`EnrolError::Kept`] if it is,
/// and leads to none of the roots; [`EnrolError::Later`] if the authority wants more time than there is patience;
/// [`EnrolError::Write`] if there is no room; else what the last attempt met.
pub fn obtain(
    ask: &Ask<'_>,
    patience: Patience,
    wait: &mut impl Wait,
) -> Result<IssuedChain, EnrolError> {
    let Ask {
        client,
        occasion,
        request,
        expected,
        received,
    } = ask;
    if let Ok(chain) = expected.judge(&received.read(), &[], client.now()) {
        return Ok(chain);
    }
    let mut attempts = Attempts {
        patience,
        left: patience.in_all,
        failures: 0,
        wait,
    };
    let authorities = attempts.until(|| Ok(Answer::Issued(client.ca_certificates()?)))?;
    expected
        .roots
        .judge_authorities(&authorities, client.now())?;
    let sent = attempts.until(|| {
        let room = received.room()?;
        let answer = match occasion {
            Occasion::First => client.enroll(request),
            Occasion::Renewal => client.reenroll(request),
        }?;
        if let Answer::Issued(sent) = &answer {
            received.fill(room, &[sent, &authorities])?;
        }
        Ok(answer)
    })?;
    // RFC 7030 §4.2.3: only the certificate itself has to be in the answer.
    expected
        .judge(&sent, &authorities, client.now())
        .map_err(|why| match why {
            Mismatch::Root { .. } => EnrolError::Kept {
                why,
                path: received.path().display().to_string(),
            },
            // It is another's, or no better than what there is: nothing is lost.
            why => {
                received.clear();
                why.into()
            }
        })
}

/// Asking again, as long as there is patience.
struct Attempts<'a, W> {
    patience: Patience,
    left: Duration,
    failures: u32,
    wait: &'a mut W,
}

impl<W: Wait> Attempts<'_, W> {
    fn until(
        &mut self,
        mut ask: impl FnMut() -> Result<Answer, EnrolError>,
    ) -> Result<Vec<Vec<u8>>, EnrolError> {
        loop {
            let (asked, otherwise) = match ask() {
                Ok(Answer::Issued(certificates)) => return Ok(certificates),
                Ok(Answer::Later { after }) => {
                    let shown = after.unwrap_or(self.patience.longest);
                    (after, EnrolError::Later { after: shown })
                }
                Err(error) => match error {
                    EnrolError::Busy { after, .. } => (after, error),
                    error if error.is_temporary() => (None, error),
                    error => return Err(error),
                },
            };
            // What the server asks for is the least; zero would be a loop without a pause.
            let own = self.patience.pause(self.failures, self.wait.chance());
            let pause = asked.map_or(own, |asked| asked.max(self.patience.first));
            self.failures = self.failures.saturating_add(1);
            match self.left.checked_sub(pause) {
                Some(rest) => self.left = rest,
                None => return Err(otherwise),
            }
            self.wait.wait(pause);
        }
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
