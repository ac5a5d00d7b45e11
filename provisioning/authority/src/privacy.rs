//! Privacy tokens, where the configuration has them: the key-encryption key, the tables, and what is done with them.
//!
//! Decided here: which file is that key, that a key that does not open every table refuses the start, when tables are made,
//! when a device is given its own, and when counts go to the registry. What a token is and when it passes is decided by
//! `countersign-privacy-tokens`. Nothing here logs a token, a hash, an answer or who asked.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use base64ct::{Base64, Encoding as _};
use countersign_durable::{Access, Existing, Unfinished};
use countersign_format::DeviceIdentity;
use countersign_privacy_tokens::{
    Assignment, HardwareHash, KeyEncryptionKey, KeyRing, TableId, TableStore as _, Token, Verdict,
    WrappedTable,
};
use countersign_registry::{Registry, TokenStoreError};
use getrandom::SysRng;
use zeroize::Zeroizing;

use crate::config::{Config, PrivacyTokens as Section};
use crate::problem::{Code, Problem};
use crate::{keys, serve};

/// The longest key file: 64 hexadecimal digits and the end of their line.
const MAX_KEY_FILE: u64 = 66;

/// The file beside a device's certificate.
pub const TABLES: &str = "tables.json";

/// Seconds between two times at which counts are written: the full hours of the clock.
const HOUR: u64 = 3600;

/// The tables, opened.
#[derive(Debug)]
pub struct PrivacyTokens {
    ring: KeyRing,
    registry: Registry,
}

/// A table, for the one device that is given it: its number, and its master key in base64.
pub type GivenTable = (u16, Zeroizing<String>);

impl PrivacyTokens {
    /// Opens the tables, and makes those that are missing; `None` where the configuration has no privacy tokens.
    ///
    /// # Errors
    /// For a key file that is none, that others may read or that is another key's, for a key that does not open every
    /// table, and when the registry does not answer.
    pub async fn open(config: &Config, registry: &Registry) -> anyhow::Result<Option<Self>> {
        let Some(section) = &config.privacy_tokens else {
            return Ok(None);
        };
        let key = key(config, section).context("the key in [privacy_tokens]")?;
        let ring = tables(&key, section.tables, registry)
            .await
            .context("[privacy_tokens]")?;
        let registry = registry.clone();
        Ok(Some(Self { ring, registry }))
    }

    /// The answer to a token.
    ///
    /// # Errors
    /// [`Code::Unavailable`] when the registry does not answer, which is no verdict.
    pub async fn validate(&self, token: &Token) -> Result<Verdict, Problem> {
        self.ring
            .validate(token, &self.registry)
            .await
            .map_err(|error| failed(&error))
    }

    /// The tables of a device that has none yet; `None` for one that has, to which they are not given a second time.
    ///
    /// # Errors
    /// [`Code::Unavailable`] when the registry or the random source does not answer.
    pub async fn give(&self, hash: [u8; 32]) -> Result<Option<Vec<GivenTable>>, Problem> {
        let drawn = self
            .ring
            .assign(&mut SysRng)
            .map_err(|error| failed(&error))?;
        match self.registry.assign(&HardwareHash::new(hash), &drawn).await {
            Ok(()) => self.exposed(&drawn).map(Some),
            Err(TokenStoreError::Device) => Ok(None),
            Err(error) => Err(failed(&error)),
        }
    }

    fn exposed(&self, assignment: &Assignment) -> Result<Vec<GivenTable>, Problem> {
        let tables = self
            .ring
            .device_tables(assignment)
            .map_err(|error| failed(&error))?;
        let text = |master: &[u8; 32]| Zeroizing::new(Base64::encode_string(master));
        Ok(tables
            .expose()
            .iter()
            .map(|(table, master)| (table.get(), text(master.expose())))
            .collect())
    }

    /// What a device makes tokens with, as JSON, whether it was given it before or not; `None` where no hash of its
    /// hardware is recorded.
    async fn of(&self, id: &DeviceIdentity) -> anyhow::Result<Option<Zeroizing<String>>> {
        let known = self.registry.device(id).await?;
        let Some(hash) = known.and_then(|known| known.hardware_hash) else {
            return Ok(None);
        };
        let plain = |problem: Problem| anyhow::anyhow!("{problem}");
        let given = match self.give(hash).await.map_err(plain)? {
            Some(given) => given,
            None => {
                let kept = self.registry.assignment(&HardwareHash::new(hash)).await?;
                let kept =
                    kept.with_context(|| format!("{id} is not approved: approve it first"))?;
                self.exposed(&kept).map_err(plain)?
            }
        };
        Ok(Some(document(id, &hash, &given)))
    }

    /// Writes what a device makes tokens with beside its certificate at a station, into a file for its owner alone; nothing
    /// where no hash of its hardware is recorded.
    ///
    /// # Errors
    /// When the registry does not answer, or the file cannot be written.
    pub async fn hand_over(&self, id: &DeviceIdentity, folder: &Path) -> anyhow::Result<()> {
        let Some(given) = self.of(id).await? else {
            return Ok(());
        };
        let path = folder.join(TABLES);
        let failed = || format!("{} could not be written", path.display());
        let mut file = Unfinished::create(&path, Access::Owner, Existing::Replace)?;
        writeln!(file.file(), "{}", *given).with_context(failed)?;
        Ok(file.place()?)
    }

    /// Hands the counts to the registry; what it does not take is counted on.
    pub async fn record(&self) {
        if let Err(error) = self.ring.record_usage(&self.registry).await {
            tracing::error!(%error, "the counts of tables were not recorded, and are kept for the next time");
        }
    }

    /// Hands the counts to the registry at every full hour, so that the times at which they change tell of no request.
    pub async fn record_hourly(self: Arc<Self>) {
        loop {
            let past = serve::now().as_secs().checked_rem(HOUR).unwrap_or(0);
            tokio::time::sleep(Duration::from_secs(HOUR.saturating_sub(past))).await;
            self.record().await;
        }
    }
}

/// Prints the tables of a device, whether it was given them or not: for an operator whose device lost them.
///
/// # Errors
/// For a device that is not registered and approved with its hardware's hash; else as [`PrivacyTokens::open`].
pub async fn print_tables(path: &Path, device: &str) -> anyhow::Result<()> {
    serve::leave_no_memory()?;
    let config = Config::read(path)?;
    let id = DeviceIdentity::parse(device)
        .with_context(|| format!("{device:?} is not the identity of a device"))?;
    let registry = Registry::open(&config.registry.database).await?;
    let privacy = PrivacyTokens::open(&config, &registry)
        .await?
        .context("the configuration has no [privacy_tokens]")?;
    let given = privacy.of(&id).await?.with_context(|| {
        format!("no hash of the hardware of {id} is recorded: provision it at a station")
    })?;
    registry.close().await;
    println!("{}", *given);
    Ok(())
}

/// What a device makes tokens with, as JSON.
fn document(id: &DeviceIdentity, hash: &[u8; 32], given: &[GivenTable]) -> Zeroizing<String> {
    let tables: Vec<_> = given
        .iter()
        .map(|(table, key)| serde_json::json!({ "table": table, "master_key": key.as_str() }))
        .collect();
    let (device, hash) = (id.as_str(), hex::encode(hash));
    let document =
        serde_json::json!({ "device_id": device, "hardware_hash": hash, "tables": tables });
    Zeroizing::new(document.to_string())
}

/// A fault: its cause for the log, and none for who asks.
fn failed(error: &dyn std::error::Error) -> Problem {
    tracing::error!(%error, "privacy tokens failed");
    Problem::new(Code::Unavailable)
}

/// The key-encryption key.
fn key(config: &Config, section: &Section) -> anyhow::Result<KeyEncryptionKey> {
    let path = &section.key;
    keys::private_file(path)?;
    check_apart(config, path)?;
    let failed = || format!("{} could not be read", path.display());
    let mut file = fs::File::open(path)
        .with_context(failed)?
        .take(MAX_KEY_FILE.saturating_add(1));
    // All the room that it may need, so that growing leaves no copy behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(128));
    file.read_to_end(&mut bytes).with_context(failed)?;
    let decoded;
    let mut key: &[u8] = &bytes;
    if key.len() != 32 {
        decoded = Zeroizing::new(hex::decode(key.trim_ascii_end()).unwrap_or_default());
        key = &decoded;
    }
    KeyEncryptionKey::new(key).ok().with_context(|| {
        format!(
            "{} is no key: write 32 random bytes or 64 hexadecimal digits into it, by (umask 077; head -c 32 /dev/urandom > FILE)",
            path.display()
        )
    })
}

/// Demands that the file is no other key of this configuration, by whatever name.
fn check_apart(config: &Config, path: &Path) -> anyhow::Result<()> {
    let place = |path: &Path| fs::metadata(path).ok().map(|file| (file.dev(), file.ino()));
    let own = place(path);
    let named = [
        ("[issuer]", &config.issuer.key),
        ("[tls]", &config.tls.key),
        ("[audit]", &config.audit.key),
    ];
    let mut others: Vec<(&str, &Path)> = named
        .into_iter()
        .filter_map(|(name, uri)| Some((name, Path::new(uri.strip_prefix("file:")?))))
        .collect();
    if let Some(passphrase) = &config.issuer.passphrase_file {
        others.push(("[issuer] passphrase_file", passphrase));
    }
    for (name, other) in others {
        anyhow::ensure!(
            own != place(other),
            "{} is the file of {name} too, and a key has one purpose: make another",
            path.display()
        );
    }
    Ok(())
}

/// All tables, and new ones where there are fewer than `count`. Another replica may make them at the same time: whoever is
/// second takes those of the first.
async fn tables(
    key: &KeyEncryptionKey,
    count: u16,
    registry: &Registry,
) -> anyhow::Result<KeyRing> {
    loop {
        let kept = registry.tables().await?;
        // Before anything is added: tables under two keys would open under neither.
        let ring = KeyRing::open(key, &kept, &mut SysRng)?;
        let taken: BTreeSet<u16> = kept.iter().map(|table| table.id().get()).collect();
        let missing = usize::from(count).saturating_sub(taken.len());
        if missing == 0 {
            return Ok(ring);
        }
        let new = (0..=u16::MAX)
            .filter(|number| !taken.contains(number))
            .take(missing)
            .map(|number| WrappedTable::generate(TableId::new(number), key, &mut SysRng))
            .collect::<Result<Vec<_>, _>>()?;
        match registry.add_tables(&new).await {
            Ok(()) | Err(TokenStoreError::TableTaken { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_is_second_takes_the_tables_of_the_first_and_a_registry_that_is_gone_gives_no_verdict()
     {
        let folder = tempfile::tempdir().expect("a folder");
        let address = format!("sqlite:{}", folder.path().join("registry.db").display());
        let registry = Registry::open(&address).await.expect("a registry");
        let key = KeyEncryptionKey::new(&[7; 32]).expect("a key");
        let (one, two) = tokio::join!(tables(&key, 10, &registry), tables(&key, 10, &registry));
        let (one, _) = (one.expect("opened"), two.expect("opened"));
        assert_eq!(registry.tables().await.expect("tables").len(), 10);
        let other = KeyEncryptionKey::new(&[8; 32]).expect("a key");
        let error = tables(&other, 20, &registry).await.expect_err("wrong key");
        assert!(error.to_string().contains("does not open"), "{error}");
        assert_eq!(registry.tables().await.expect("tables").len(), 10);
        tables(&key, 12, &registry).await.expect("two more");
        assert_eq!(registry.tables().await.expect("tables").len(), 12);

        let drawn = one.assign(&mut SysRng).expect("three");
        let device = one.device_tables(&drawn).expect("opened");
        let token = device
            .seal(&HardwareHash::new([1; 32]), &mut SysRng)
            .expect("a token");
        let privacy = PrivacyTokens {
            ring: one,
            registry: registry.clone(),
        };
        assert_eq!(
            privacy.validate(&token).await.expect("a verdict"),
            Verdict::Fail
        );
        registry.close().await;
        let problem = privacy.validate(&token).await.expect_err("no verdict");
        assert_eq!(problem.code(), Code::Unavailable);
    }
}
