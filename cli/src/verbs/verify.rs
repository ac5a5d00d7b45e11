//! `verify`: would a host with these roots admit this file? The same code as in the hosts answers; nothing is run.

pub(super) mod explain;
pub(super) mod report;

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use countersign_format::DeviceIdentity;
use countersign_trust_store::{
    Anchors, Check, Now, Policy, Rejection, Step, TrustState, UnixTime, UnverifiedComponent,
    VerifiedComponent,
};

use self::report::Report;
use crate::shared::certificates::read_crls;
use crate::shared::failure::Failure;
use crate::shared::files;
use crate::shared::output::{Output, say};

/// Verify a signed component against roots that you name, offline
///
/// Answers the question whether a host with these roots would admit the file, by the code that the hosts use. It runs
/// nothing and remembers nothing: whether a host has seen a newer version of the component, only that host knows.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  countersign verify app.signed.wasm --roots roots.pem --crl root.crl --crl issuing.crl
  countersign verify app.signed.wasm --roots roots.toml --at 2027-01-01T00:00:00Z --explain
  countersign verify app.signed.wasm --roots roots.toml --signers 2 --device-id pump-07 --json

Exit status: 0 accepted; 2 usage or configuration; else that of the refusal (see `countersign codes`).")]
pub(crate) struct Arguments {
    /// The signed component
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The roots to trust: certificates in PEM, or a roots.toml with purpose, scope and revocation lists
    #[arg(long, value_name = "FILE", required = true)]
    roots: Vec<PathBuf>,
    /// A certificate revocation list, PEM or DER; once for each
    #[arg(long, value_name = "FILE")]
    crl: Vec<PathBuf>,
    /// Judge as of this time, such as 2027-01-01T00:00:00Z, instead of now
    #[arg(long, value_name = "TIME")]
    at: Option<UnixTime>,
    /// How many different devices must have signed, 1 to 4
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=4))]
    signers: u8,
    /// Answer for the device of this identity, where the component names its audience
    #[arg(long, value_name = "ID")]
    device_id: Option<String>,
    /// The type of that device
    #[arg(long, value_name = "TYPE", requires = "device_id")]
    device_type: Option<String>,
    /// Tell every check in its order, and how it went
    #[arg(long)]
    explain: bool,
    /// Print as versioned JSON; with --explain, the checks too
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> Result<(), Failure> {
    let anchors = anchors(&arguments.roots)?;
    let policy = policy(arguments)?;
    let state = state(&arguments.crl)?;
    let time = arguments.at.unwrap_or_else(wall_clock);
    let now = match arguments.at {
        Some(at) => Now::at(at),
        // A desk has no floor: its clock is believed.
        None => Now::new(UnixTime::from_secs(0), Some(time)),
    };

    let mut steps = Vec::new();
    let verdict = match files::read_component(&arguments.file) {
        Ok(bytes) => judge(bytes, &anchors, &policy, &now, &state, &mut |step| {
            steps.push(step)
        }),
        // Too large to be read: a verdict like any other.
        Err(Failure::Refused(rejection)) => Err(*rejection),
        Err(failure) => return Err(failure),
    };
    for anchor in anchors.iter().filter(|anchor| anchor.is_development()) {
        say(&format!(
            "warning: {} is a development root; devices in the field refuse it",
            anchor.subject()
        ));
    }
    let report = Report {
        file: &arguments.file,
        time,
        steps: &steps,
        verdict: verdict.as_ref(),
    };
    if arguments.json {
        output.json(&report.to_json(arguments.explain));
    } else {
        if arguments.explain {
            explain::print(Check::ALL, &steps, &anchors, time, output);
        }
        report.print(output);
    }
    verdict.map(|_| ()).map_err(Failure::refused)
}

fn judge(
    bytes: Vec<u8>,
    anchors: &Anchors,
    policy: &Policy,
    now: &Now,
    state: &TrustState,
    report: &mut dyn FnMut(Step),
) -> Result<VerifiedComponent, Rejection> {
    let unverified = UnverifiedComponent::parse_explained(bytes, report)?;
    anchors.verify_explained(unverified, policy, now, state, report)
}

pub(super) fn anchors(paths: &[PathBuf]) -> Result<Anchors, Failure> {
    let mut sources = Vec::new();
    for path in paths {
        // The parser's message names the file, and the line where there is one.
        let parsed = countersign_roots_file::parse(path)
            .context("cannot use the roots")
            .map_err(Failure::usage)?;
        sources.extend(parsed);
    }
    Anchors::new(sources)
        .with_context(|| format!("cannot use the roots of {}", names(paths)))
        .map_err(Failure::usage)
}

fn policy(arguments: &Arguments) -> Result<Policy, Failure> {
    let policy = Policy::default()
        .with_min_signers(arguments.signers)
        .context("--signers")
        .map_err(Failure::usage)?;
    let Some(id) = &arguments.device_id else {
        return Ok(policy);
    };
    let identity = DeviceIdentity::parse(id)
        .context("--device-id")
        .map_err(Failure::usage)?;
    Ok(policy.with_device(identity, arguments.device_type.clone()))
}

pub(super) fn state(crls: &[PathBuf]) -> Result<TrustState, Failure> {
    let mut state = TrustState::default();
    for path in crls {
        for der in read_crls(path)? {
            // Configuration of this run, not a property of the component: status 2, like a bad root file.
            state
                .add_crl(&der)
                .with_context(|| format!("cannot use the revocation list {}", path.display()))
                .map_err(Failure::usage)?;
        }
    }
    Ok(state)
}

/// What this machine's clock says. A clock before 1970 is taken as 1970: nothing is valid there.
pub(super) fn wall_clock() -> UnixTime {
    UnixTime::from_secs(
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs()),
    )
}

fn names(paths: &[PathBuf]) -> String {
    paths
        .iter()
        .map(|path| Path::display(path).to_string())
        .collect::<Vec<_>>()
        .join(", ")
}
