//! Many certificates revoked at once, from a list of serial numbers: a batch of devices that was stolen, a line whose keys leaked.
//!
//! Decided here: what such a list may look like, and that it is read wholly before anything is revoked. What one revocation does is
//! decided by the issuing service; each is on record, with its entry of the audit log, when the next begins, so that the same
//! command goes on after a stop.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use countersign_issuing::{revoke, revoke_unrecorded};
use countersign_provisioning::{Reason, Serial};
use countersign_registry::{Listed, Registry};
use countersign_trust_store::Certificate;

use crate::config::Config;
use crate::time_servers::Comparing;
use crate::{issuer, serve};

/// Who says so, in the log.
const BY: &str = "operator, by the program revoke";

/// The most certificates of one list, and the most bytes that are read of it, which is far more than these take.
const MOST: usize = 100_000;
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// What the operator says.
#[derive(Debug)]
pub struct Word {
    /// The configuration.
    pub config: PathBuf,
    /// The list.
    pub file: PathBuf,
    /// Why, where the list does not say.
    pub reason: Reason,
    /// Serial numbers that this registry does not know were issued, too.
    pub unrecorded: bool,
}

/// What came of a list.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Revoked now.
    pub revoked: usize,
    /// Revoked here, and issued by others: on no list of this authority.
    pub elsewhere: Vec<Serial>,
    /// Not on record; on the next list only where the operator said so.
    pub unrecorded: Vec<Serial>,
    /// What other clocks say against the time that is on record for it, if anything. What should be revoked does not wait for that.
    pub doubt: Option<String>,
}

/// Revokes everything on a list.
///
/// # Errors
/// A list that is not accepted, before anything is revoked; a registry that does not answer, in the middle.
pub async fn listed(word: &Word) -> anyhow::Result<Outcome> {
    let config = Config::read(&word.config)?;
    let mut text = String::new();
    let length = File::open(&word.file)
        .and_then(|file| {
            file.take(MAX_BYTES.saturating_add(1))
                .read_to_string(&mut text)
        })
        .with_context(|| format!("{} could not be read as text", word.file.display()))?;
    anyhow::ensure!(
        u64::try_from(length).is_ok_and(|length| length <= MAX_BYTES),
        "{} has more than {MAX_BYTES} bytes: cut the list in pieces",
        word.file.display()
    );
    let list = read(&text, word.reason)
        .with_context(|| format!("{}: nothing was revoked", word.file.display()))?;
    let chain = serve::chain(&config.issuer.chain)?;
    let certificate = chain.first().context("[issuer] chain has no certificate")?;
    let issuer = Certificate::parse(certificate)
        .context("the issuer's certificate")?
        .spki_sha256();
    let registry = Registry::open(&config.registry.database).await?;
    let clock = issuer::clock(false);
    let mut comparing = Comparing::new(config.clock.servers.clone());
    comparing.compare(&clock, &registry).await;
    let mut outcome = Outcome {
        doubt: clock.now().err().map(|doubt| doubt.to_string()),
        ..Outcome::default()
    };
    for (serial, reason) in list {
        if let Some(revoked) = revoke(&registry, &clock, &serial, reason, BY).await? {
            outcome.revoked = outcome.revoked.saturating_add(1);
            let others =
                registry.revoked_of_others(&revoked, issuer.as_bytes(), serve::now().as_secs());
            for other in others.await? {
                if !outcome.elsewhere.contains(&other.serial) {
                    outcome.elsewhere.push(other.serial);
                }
            }
            continue;
        }
        if word.unrecorded {
            let issuer = issuer.as_bytes();
            match revoke_unrecorded(&registry, &clock, issuer, &serial, reason, BY).await? {
                Listed::Already => {}
                _ => outcome.revoked = outcome.revoked.saturating_add(1),
            }
        }
        outcome.unrecorded.push(serial);
    }
    registry.close().await;
    Ok(outcome)
}

/// The serial numbers of a list, each once: one on a line, in hexadecimal digits, and behind it perhaps a reason. Empty lines and
/// those that begin with # count for nothing.
fn read(text: &str, reason: Reason) -> anyhow::Result<Vec<(Serial, Reason)>> {
    let mut seen = BTreeMap::new();
    let mut list = Vec::new();
    for (number, line) in (1_usize..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mut words = line.split([',', ' ', '\t']).filter(|word| !word.is_empty());
        let (Some(serial), why, None) = (words.next(), words.next(), words.next()) else {
            bail!("line {number} is not a serial number and perhaps a reason");
        };
        let serial: Serial = serial.parse().ok().with_context(|| {
            format!("line {number}: a serial number is written as hexadecimal digits")
        })?;
        let why = match why {
            None => reason,
            Some(why) => why
                .parse()
                .map_err(anyhow::Error::msg)
                .with_context(|| format!("line {number}"))?,
        };
        match seen.insert(serial.to_string(), why) {
            None => {}
            Some(before) if before == why => continue,
            Some(before) => {
                bail!("line {number}: {serial} is revoked for {before} above; say one reason")
            }
        }
        if list.len() >= MOST {
            bail!("more than {MOST} serial numbers: cut the list in pieces");
        }
        list.push((serial, why));
    }
    if list.is_empty() {
        bail!("there is no serial number in it");
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tg23_a_list_is_read_wholly_or_not_at_all() {
        let list = read(
            "# stolen\n\n01AB\n  02cd,key-compromise\n01ab\n03 \tkey-compromise\r\n",
            Reason::CessationOfOperation,
        )
        .expect("a list");
        let told: Vec<String> = list
            .iter()
            .map(|(serial, reason)| format!("{serial} {reason}"))
            .collect();
        assert_eq!(
            told,
            [
                "01ab cessation-of-operation",
                "02cd key-compromise",
                "03 key-compromise"
            ]
        );
        for bad in [
            "",
            "# nothing",
            "01\nxyz",
            "01 no-such-reason",
            "01 superseded more",
            "01 superseded\n01 key-compromise",
            "01\u{0660}",
            "'; DROP TABLE certificates",
        ] {
            read(bad, Reason::Superseded).expect_err(bad);
        }
        let long: String = (1..=MOST + 1)
            .map(|number| format!("{number:08x}\n"))
            .collect();
        read(&long, Reason::Superseded).expect_err("too many");
    }
}
