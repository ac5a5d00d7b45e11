//! `provision` and `provision-batch`: a station at a line, with the authority's key and registry, and no network.
//!
//! Decided here: what the command line may ask for, and what is said while it goes on. What a device must show and in which
//! order things are done is decided by `countersign-sessions`.

mod arguments;
mod progress;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use countersign_issuing::{Authority, Issuing, Sequencer};
use countersign_provisioning::Profile;
use countersign_registry::Registry;
use countersign_sessions::{
    Batch, Devices as _, Job, Journal, Station, Steps, StoreDevices, read_list,
};
use countersign_stores::Stores;
use countersign_trust_store::Certificate;
use tokio::task::JoinHandle;

pub use arguments::{List, One, StationArguments};
use progress::Lines;

use crate::config::Config;
use crate::privacy::{PrivacyTokens, TABLES};
use crate::time_servers::Comparing;
use crate::{issuer, keys, serve};

/// The exit status when some device is not done.
const NOT_ALL: u8 = 1;

/// How often the issuer is judged while a batch goes on.
const JUDGE_EVERY: Duration = Duration::from_secs(120);

/// Provisions one device, and prints where its files are.
///
/// # Errors
/// Why it was not.
pub async fn one(arguments: One) -> anyhow::Result<ExitCode> {
    let job = Job {
        device: arguments.device.parse().context("--device")?,
        device_type: arguments.device_type,
        revision: arguments.revision,
        firmware: arguments.firmware,
        key: arguments.key.parse().context("--key")?,
        hardware: arguments.hardware.as_deref().map(hash).transpose()?,
    };
    let open = Open::new(&arguments.station, 1).await?;
    let (station, devices) = (Arc::clone(&open.station), Arc::clone(&open.devices));
    let runtime = tokio::runtime::Handle::current();
    let output = station.output.join(job.device.as_str());
    let outcome = tokio::task::spawn_blocking(move || {
        let device = devices.of_key(&job.key)?;
        let steps = Steps::default();
        countersign_sessions::provision(&station, &job, device.as_ref(), &runtime, &steps)
            .map_err(anyhow::Error::new)
    })
    .await
    .context("the session was interrupted")?;
    let handed = match &outcome {
        Ok(_) => open.hand_over(&arguments.device).await,
        Err(_) => Ok(()),
    };
    open.close().await;
    let done = outcome?;
    handed?;
    println!("{}", output.display());
    eprintln!(
        "{} has the certificate {}, its key is vouched for by {}{}",
        arguments.device,
        done.certificate.serial,
        done.attested.as_str(),
        if done.is_locked {
            ", and locked for ever"
        } else {
            ""
        }
    );
    Ok(ExitCode::SUCCESS)
}

/// Provisions the devices of a list, and prints how it went.
///
/// # Errors
/// What keeps it from beginning; a device that fails is told in the report.
pub async fn list(arguments: List) -> anyhow::Result<ExitCode> {
    let text = keys::read(&arguments.file)?;
    let rows = read_list(&text, arguments.key.as_deref())?;
    let path = arguments.journal.unwrap_or_else(|| {
        let mut name = arguments.file.clone().into_os_string();
        name.push(format!(".{}.journal", arguments.station.station));
        name.into()
    });
    let mut journal = Journal::open(&path)?;
    let mut open = Open::new(&arguments.station, rows.len()).await?;
    let stop = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&stop);
    let listener = tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            eprintln!("stopping when the devices in the fixtures are done");
            told.store(true, Ordering::SeqCst);
        }
    });
    let watch = open.watch(Arc::clone(&stop));
    let batch = Batch {
        station: Arc::clone(&open.station),
        devices: open.devices.clone(),
        rows: &rows,
        journal: &mut journal,
        at_once: arguments.at_once,
        steps: Steps::default(),
        stop: &|| stop.load(Ordering::SeqCst),
    };
    let report = batch.run(&mut Lines::new()).await;
    listener.abort();
    watch.abort();
    let mut handed = Ok(());
    for done in report.iter().flat_map(|report| &report.devices) {
        // What was handed over before is not written again, and what was taken away is not missed.
        let folder = open.station.output.join(&done.device);
        if handed.is_ok() && folder.is_dir() && !folder.join(TABLES).exists() {
            handed = open.hand_over(&done.device).await;
        }
    }
    open.close().await;
    let report = report?;
    if let Some(path) = &arguments.report {
        report.write(path)?;
    }
    print!("{report}");
    handed?;
    Ok(if report.is_complete() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(NOT_ALL)
    })
}

/// A station with everything that it needs.
struct Open {
    station: Arc<Station>,
    devices: Arc<StoreDevices>,
    sequencer: Sequencer,
    registry: Registry,
    privacy: Option<PrivacyTokens>,
    config: Config,
    /// The issuer's certificate and those above it.
    chain: Vec<Vec<u8>>,
    comparing: Comparing,
}

impl Open {
    /// Opens registry, log and key, for so many devices.
    async fn new(arguments: &StationArguments, devices: usize) -> anyhow::Result<Self> {
        serve::leave_no_memory()?;
        // What goes wrong behind a device's back is seen by whoever stands here.
        let errors = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::ERROR)
            .with_writer(std::io::stderr);
        errors.try_init().map_err(anyhow::Error::msg)?;
        let lock_for_ever = consented(arguments.lock_for_ever, devices)?;
        let config = Config::read(&arguments.config)?;
        let profile: Profile = arguments.profile.parse().map_err(anyhow::Error::msg)?;
        let chain = serve::chain(&config.issuer.chain)?;
        let certificate = chain
            .first()
            .context("[issuer] chain has no certificate")?
            .clone();
        let parsed = Certificate::parse(&certificate)
            .with_context(|| format!("{} is not accepted", config.issuer.chain.display()))?;
        let stores = reached(arguments)?;
        std::fs::create_dir_all(&arguments.out)
            .with_context(|| format!("{} could not be made", arguments.out.display()))?;
        let key = keys::open_issuer(
            &config.issuer.key,
            config.issuer.passphrase_file.as_deref(),
            parsed.spki(),
        )
        .context("the key in [issuer]")?;
        let audit_key = keys::open(&config.audit.key, None).context("the key in [audit]")?;
        let registry = Registry::open(&config.registry.database).await?;
        let privacy = PrivacyTokens::open(&config, &registry).await?;
        let order = match &arguments.order {
            None => None,
            Some(name) => {
                let orders = registry.orders().await?;
                let order = orders.into_iter().find(|order| order.id == *name);
                Some(order.with_context(|| {
                    format!("there is no order {name:?}: make it with `countersign-authority approve --order {name} --quota COUNT`")
                })?)
            }
        };
        let log = issuer::open_log(&config.audit, audit_key)?;
        let sequencer = Sequencer::start(registry.clone(), log).await?;
        let authority = Authority {
            key: Arc::new(key),
            certificate,
        };
        let issuing = Issuing::start(registry.clone(), authority, issuer::clock(false)).await?;
        let mut comparing = Comparing::new(config.clock.servers.clone());
        comparing.compare(issuing.clock(), &registry).await;
        issuing.clock().now()?;
        issuer::judged(&issuing, &config, &chain)?;
        let scope = issuer::component_scope(&config.issuing.component_scope)?;
        Ok(Self {
            station: Arc::new(Station {
                name: arguments.station.clone(),
                issuing,
                above: serve::intermediates(&chain),
                profile,
                days: arguments.days.unwrap_or(config.issuing.days),
                organization: config.issuing.organization.clone(),
                scope: scope.filter(|_| profile.is_scoped()),
                order,
                software: arguments.software,
                lock_for_ever,
                output: arguments.out.clone(),
            }),
            devices: Arc::new(stores),
            sequencer,
            registry,
            privacy,
            config,
            chain,
            comparing,
        })
    }

    /// Judges clock and issuer again and again, since clocks go wrong, the issuer may be revoked, and lists grow old; begins
    /// nothing more when that fails.
    fn watch(&mut self, stop: Arc<AtomicBool>) -> JoinHandle<()> {
        let (issuing, config) = (self.station.issuing.clone(), self.config.clone());
        let (chain, registry) = (self.chain.clone(), self.registry.clone());
        let mut comparing = std::mem::take(&mut self.comparing);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(JUDGE_EVERY).await;
                comparing.compare(issuing.clock(), &registry).await;
                let judged = issuing.clock().now().map(drop);
                if let Err(error) = judged.and_then(|()| issuer::judged(&issuing, &config, &chain))
                {
                    eprintln!("stopping when the devices in the fixtures are done: {error}");
                    stop.store(true, Ordering::SeqCst);
                    return;
                }
            }
        })
    }

    /// Where there are privacy tokens, a device that is done has its tables beside its certificate.
    async fn hand_over(&self, device: &str) -> anyhow::Result<()> {
        let Some(privacy) = &self.privacy else {
            return Ok(());
        };
        let folder = self.station.output.join(device);
        let id = device.parse().context("a device of the list")?;
        privacy.hand_over(&id, &folder).await.with_context(|| {
            format!("{device} has its certificate, and not its tables: run the same again")
        })
    }

    /// Brings what is on record into the log, and lets go of the registry.
    async fn close(self) {
        self.station.issuing.drain().await;
        self.sequencer.stop().await;
        drop(self.station);
        self.registry.close().await;
    }
}

/// What the station reaches, and where chains go.
fn reached(arguments: &StationArguments) -> anyhow::Result<StoreDevices> {
    let mut devices = StoreDevices::new(Stores::without_secrets());
    if arguments.software {
        devices = devices.with_software();
    }
    if !arguments.chip_slots.is_empty() {
        devices = devices.with_chip_slots(&arguments.chip_slots)?;
    }
    if let Some(index) = arguments.tpm_index {
        devices = devices.with_tpm_index(index)?;
    }
    if let Some(tcti) = &arguments.station_tpm {
        devices = devices.asked_by(&tcti.parse().context("--station-tpm")?)?;
    }
    if let Some(folder) = &arguments.chip_makers {
        devices = devices.of_chip_makers(folder)?;
    }
    if let Some(folder) = &arguments.tpm_makers {
        devices = devices.of_makers(folder, serve::now())?;
    }
    Ok(devices)
}

/// Whether slots are locked: only where the number of devices was given, so that nobody locks more than was meant.
fn consented(count: Option<usize>, devices: usize) -> anyhow::Result<bool> {
    let Some(count) = count else {
        return Ok(false);
    };
    anyhow::ensure!(
        count == devices,
        "--lock-for-ever {count} is for {count} devices, and there are {devices}: nothing was locked; give the number of devices \
         whose keys' slots shall be locked"
    );
    eprintln!(
        "the slots of the keys of {devices} devices will be locked, each after its chain was read back; nothing undoes that, and \
         no new key can be made there ever again"
    );
    Ok(true)
}

fn hash(digits: &str) -> anyhow::Result<[u8; 32]> {
    let mut hash = [0; 32];
    hex::decode_to_slice(digits, &mut hash)
        .context("--hardware is a SHA-256, 64 hexadecimal digits")?;
    Ok(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_locked_unless_the_number_of_devices_was_given() {
        assert!(!consented(None, 3).expect("not asked for"));
        assert!(consented(Some(3), 3).expect("consented"));
        for count in [0, 1, 2, 4] {
            let error = consented(Some(count), 3).expect_err("another number");
            assert!(error.to_string().contains("nothing was locked"), "{error}");
        }
    }
}
