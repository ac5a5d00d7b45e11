//! The three validators, each asked the same question: is this chain valid below this root, now, by these lists?

mod openssl;
mod ours;
mod webpki;

use std::collections::BTreeMap;
use std::fmt;

use countersign_testing::Sealed;
use countersign_trust_store::UnixTime;

pub use openssl::OpenSsl;
pub use ours::Ours;
pub use webpki::Webpki;

/// Why a chain was refused, in the validator's own words.
pub type Verdict = Result<(), String>;

/// What all three say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdicts {
    /// Our verifier.
    pub ours: Verdict,
    /// OpenSSL.
    pub openssl: Verdict,
    /// rustls-webpki by itself.
    pub webpki: Verdict,
}

/// The three of them, with what they keep from one chain to the next.
#[derive(Debug, Default)]
pub struct Bench {
    ours: Ours,
    openssl: OpenSsl,
}

impl Bench {
    /// Asks all three.
    pub fn judge(&mut self, sealed: &Sealed, now: UnixTime) -> Verdicts {
        Verdicts {
            ours: self.ours.judge(sealed, now),
            openssl: self.openssl.judge(sealed, now),
            webpki: Webpki.judge(sealed, now),
        }
    }
}

/// How often which combination of verdicts was seen: ours, OpenSSL's, webpki's; accepted or not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matrix(BTreeMap<(bool, bool, bool), u64>);

impl Matrix {
    /// Counts one more.
    pub fn count(&mut self, verdicts: &Verdicts) {
        let key = (
            verdicts.ours.is_ok(),
            verdicts.openssl.is_ok(),
            verdicts.webpki.is_ok(),
        );
        *self.0.entry(key).or_default() += 1;
    }

    /// How often we said this, whatever the others said.
    #[must_use]
    pub fn ours(&self, accepted: bool) -> u64 {
        let of = |((ours, ..), count): (&(bool, bool, bool), &u64)| {
            (*ours == accepted).then_some(*count)
        };
        self.0.iter().filter_map(of).sum()
    }

    /// Adds what another one counted.
    pub fn add(&mut self, other: &Self) {
        for (key, count) in &other.0 {
            *self.0.entry(*key).or_default() += count;
        }
    }
}

impl fmt::Display for Matrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| ours | OpenSSL | webpki alone | chains |")?;
        writeln!(f, "|---|---|---|---|")?;
        let word = |accepted| if accepted { "accepts" } else { "refuses" };
        for ours in [true, false] {
            for openssl in [true, false] {
                for webpki in [true, false] {
                    let count = self.0.get(&(ours, openssl, webpki)).unwrap_or(&0);
                    let (ours, openssl, webpki) = (word(ours), word(openssl), word(webpki));
                    writeln!(f, "| {ours} | {openssl} | {webpki} | {count} |")?;
                }
            }
        }
        Ok(())
    }
}
