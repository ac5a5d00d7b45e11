//! The command line of `countersign-run`: what the operator allows, in the operator's words.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use countersign_hosting::quantity;
use countersign_keys::KeyUri;

const LONG_ABOUT: &str = "\
Runs one signed component if its signature leads to a root that is compiled into this program, and refuses it \
otherwise. There is no option to run it anyway.

It keeps no state: every run admits the component anew, at the time of the system's clock (never before the time \
this program was built). It therefore cannot notice that an older version is started after a newer one; \
countersign-gateway can.

What the component gets is what its signed statement asks for AND the options below allow.";

const AFTER_HELP: &str = "\
Examples:
  countersign-run hello.signed.wasm --crl acme.crl
  countersign-run draw.signed.wasm --dir ./pictures::/work:rw --timeout 10s -- in.svg out.png
  countersign-run app.signed.wasm --env LANG=C --memory 64MiB --audit /var/log/runs.jsonl
  countersign-run app.signed.wasm --json --audit -
  countersign-run telemetry.signed.wasm --device-key telemetry=tpm:telemetry \
      --device-chain telemetry=telemetry.chain.pem --device-rate telemetry=600 --audit /var/log/runs.jsonl

Exit status: the guest's own, or
    2  usage or configuration                 115  revoked, revocation unknown or stale, rollback
  110  unsigned                               116  an import or a grant was denied
  111  malformed or tampered                  117  a run-time limit was hit
  112  untrusted chain, or no root            118  the guest trapped
  113  signer not authorised, audience        119  key hardware, or the host itself, failed
  114  not valid now                          130, 143  ended by Ctrl-C, by SIGTERM
If a guest ends with one of 110 to 119 itself, its status is passed on, and a line on stderr says that it is the \
guest's; the audit record tells them apart.";

/// Runs one verified component.
#[derive(Debug, Parser)]
#[command(
    name = "countersign-run",
    version,
    about = "Runs one signed component, and only if it verifies against a compiled-in root",
    long_about = LONG_ABOUT,
    after_long_help = AFTER_HELP,
    after_help = "--help shows examples and the exit statuses.",
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true,
    subcommand_negates_reqs = true
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) run: Option<Run>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Prints shell completions to stdout
    Completions {
        /// The shell to complete for
        shell: Shell,
    },
}

/// One run.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// The signed component, as `countersign sign` wrote it
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Allow a folder: HOST::GUEST is read-only, HOST::GUEST:rw may be written, HOST::GUEST:rw=64MiB until it holds that much
    #[arg(long = "dir", value_name = "HOST::GUEST[:rw[=BYTES]]", value_parser = directory)]
    pub(crate) directories: Vec<Directory>,
    /// Allow an environment variable, with this value
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = variable)]
    pub(crate) variables: Vec<(String, String)>,
    /// Allow a socket, spelled as in component.toml: tcp:192.0.2.7:502, udp-listen:0.0.0.0:5353
    #[arg(long = "socket", value_name = "PEER")]
    pub(crate) sockets: Vec<String>,
    /// Let the guest know the date; without it, the date stands at 1970-01-01
    #[arg(long)]
    pub(crate) wall_clock: bool,
    /// Lend the component a key of this device under the name that its statement asks for. KEY-URI is file:PATH,
    /// tpm:NAME, atecc608:/dev/i2c-1?slot=0 or pkcs11:token=...;object=... Needs --device-chain and --audit
    #[arg(
        long = "device-key",
        value_name = "NAME=KEY-URI",
        requires = "audit",
        value_parser = named::<KeyUri>
    )]
    pub(crate) device_keys: Vec<Named<KeyUri>>,
    /// Give the component evidence of this device's state under the name that its statement asks for with the context
    /// evidence. KEY-URI is a TPM's attestation key (with --device-pcr), the key in an ATECC608 that the chip vouches for,
    /// or a key file, whose evidence says that no hardware vouches for it. Needs --device-chain and --audit
    #[arg(
        long = "device-attestation",
        value_name = "NAME=KEY-URI",
        requires = "audit",
        value_parser = named::<KeyUri>
    )]
    pub(crate) device_attestation: Option<Named<KeyUri>>,
    /// The TPM's registers (SHA-256 bank) that its evidence is of, such as 0,2,7
    #[arg(
        long = "device-pcr",
        value_name = "N,N",
        value_delimiter = ',',
        requires = "device_attestation",
        value_parser = clap::value_parser!(u8).range(0..=23)
    )]
    pub(crate) device_registers: Vec<u8>,
    /// The certificates of the key NAME (PEM): the device's own first, for guest data, without the root; of an
    /// attestation, those of the key that signs it
    #[arg(long = "device-chain", value_name = "NAME=FILE", value_parser = named::<PathBuf>)]
    pub(crate) device_chains: Vec<Named<PathBuf>>,
    /// Read the passphrase of the key NAME, or its token's PIN, from FILE: one line
    #[arg(long = "device-secret", value_name = "NAME=FILE", value_parser = named::<PathBuf>)]
    pub(crate) device_secrets: Vec<Named<PathBuf>>,
    /// Let the component sign at most so often a minute with the key NAME (default 60)
    #[arg(long = "device-rate", value_name = "NAME=NUMBER", value_parser = named::<u32>)]
    pub(crate) device_rates: Vec<Named<u32>>,
    /// Let the component sign with the key NAME as this context only, of those that its statement asks for; may be
    /// given several times (default: all of them)
    #[arg(long = "device-context", value_name = "NAME=CONTEXT", value_parser = named::<String>)]
    pub(crate) device_contexts: Vec<Named<String>>,
    /// Use the CRLs in this file (PEM or DER) beside the compiled-in ones
    #[arg(long = "crl", value_name = "FILE")]
    pub(crate) crls: Vec<PathBuf>,
    /// End the guest after this time: 500ms, 10s, 5m (default 60s)
    #[arg(long, value_name = "TIME", value_parser = quantity::time)]
    pub(crate) timeout: Option<Duration>,
    /// Give the guest at most this much memory: 65536, 512KiB, 64MiB, 1GiB (default 256MiB)
    #[arg(long, value_name = "BYTES", value_parser = quantity::size)]
    pub(crate) memory: Option<u64>,
    /// Append a record (one line of JSON) of every acceptance, refusal, signature and end to this file; - is stderr,
    /// which the guest then does not get
    #[arg(long, value_name = "FILE")]
    pub(crate) audit: Option<PathBuf>,
    /// Keep compiled code in this folder, sealed, and take it from there the next time. It is made if it is not there, and
    /// must be this user's alone
    #[arg(long, value_name = "DIR")]
    pub(crate) cache: Option<PathBuf>,
    /// Write the verdict to stderr as one line of JSON, in place of words; the guest then does not get stderr
    #[arg(long)]
    pub(crate) json: bool,
    /// What the guest gets as its arguments
    #[arg(last = true, value_name = "ARGS")]
    pub(crate) arguments: Vec<String>,
}

/// A folder that the operator allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Directory {
    pub(crate) host: PathBuf,
    pub(crate) guest: String,
    pub(crate) writable: bool,
    /// The most that it may hold, in bytes, if that is bounded.
    pub(crate) most: Option<u64>,
}

/// Something about one of the device's keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named<T> {
    pub(crate) name: String,
    pub(crate) value: T,
}

fn named<T>(text: &str) -> Result<Named<T>, String>
where
    T: FromStr<Err: fmt::Display>,
{
    let (name, value) = match text.split_once('=') {
        Some((name, value)) if !name.is_empty() && !value.is_empty() => (name, value),
        _ => {
            return Err(
                "write NAME=VALUE; NAME is what the component's statement calls the key".to_owned(),
            );
        }
    };
    let value = value.parse().map_err(|error: T::Err| error.to_string())?;
    let name = name.to_owned();
    Ok(Named { name, value })
}

fn directory(text: &str) -> Result<Directory, String> {
    let example = "write HOST::GUEST or HOST::GUEST:rw, as in ./pictures::/work:rw";
    let (host, rest) = text.split_once("::").ok_or(example)?;
    let (rest, most) = match rest.split_once(":rw=") {
        Some((guest, most)) => (format!("{guest}:rw"), Some(quantity::size(most)?)),
        None => (rest.to_owned(), None),
    };
    let (guest, writable) = match rest.strip_suffix(":rw") {
        Some(guest) => (guest, true),
        None => (rest.strip_suffix(":ro").unwrap_or(&rest), false),
    };
    if host.is_empty() || guest.is_empty() {
        return Err(example.to_owned());
    }
    if !guest.starts_with('/') {
        return Err(format!(
            "the guest's path `{guest}` must start with /; {example}"
        ));
    }
    if guest.contains(':') {
        return Err(format!(
            "the guest's path `{guest}` holds a colon; {example}"
        ));
    }
    Ok(Directory {
        host: PathBuf::from(host),
        guest: guest.to_owned(),
        writable,
        most,
    })
}

fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_directory_is_read_only_unless_it_says_rw() {
        let parsed =
            |text| directory(text).map(|d| (d.host.display().to_string(), d.guest, d.writable));
        assert_eq!(parsed("a::/b"), Ok(("a".into(), "/b".into(), false)));
        assert_eq!(parsed("a::/b:ro"), Ok(("a".into(), "/b".into(), false)));
        assert_eq!(
            parsed("/x:y::/b:rw"),
            Ok(("/x:y".into(), "/b".into(), true))
        );
        let most = |text| directory(text).map(|d| (d.guest, d.writable, d.most));
        assert_eq!(most("a::/b:rw"), Ok(("/b".into(), true, None)));
        assert_eq!(
            most("a::/b:rw=1KiB"),
            Ok(("/b".into(), true, Some(1 << 10)))
        );
        for bad in [
            "a::/b:rw=",
            "a::/b:rw=much",
            "a::/b:ro=1KiB",
            "a::/b:rw=1KiB:rw=1KiB",
            "",
            "a",
            "a:/b",
            "::/b",
            "a::",
            "a:::rw",
            "a::b",
            "a::/b:rx",
            "a::/b:rw:rw",
        ] {
            assert!(directory(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_said_of_a_key_begins_with_its_name() {
        let key =
            named::<KeyUri>("telemetry=pkcs11:token=gateway;object=telemetry").expect("parses");
        assert_eq!(key.name, "telemetry");
        assert_eq!(key.value.scheme(), "pkcs11");
        assert_eq!(
            named::<u32>("telemetry=600").map(|rate| rate.value),
            Ok(600)
        );
        for bad in [
            "",
            "telemetry",
            "=tpm:telemetry",
            "telemetry=",
            "telemetry=usb:1",
        ] {
            assert!(named::<KeyUri>(bad).is_err(), "{bad}");
        }
        assert!(named::<u32>("telemetry=-1").is_err());
    }

    #[test]
    fn everything_after_two_dashes_is_the_guests() {
        let cli = Cli::try_parse_from([
            "countersign-run",
            "a.wasm",
            "--env",
            "A=b=c",
            "--",
            "--dir",
            "-x",
        ])
        .expect("parses");
        let run = cli.run.expect("a run");
        assert_eq!(run.arguments, ["--dir", "-x"]);
        assert_eq!(run.variables, [("A".to_owned(), "b=c".to_owned())]);
        assert!(Cli::try_parse_from(["countersign-run", "a.wasm", "stray"]).is_err());
        assert!(Cli::try_parse_from(["countersign-run"]).is_err());
        assert!(
            Cli::try_parse_from(["countersign-run", "completions", "bash"])
                .expect("parses")
                .command
                .is_some()
        );
    }
}
