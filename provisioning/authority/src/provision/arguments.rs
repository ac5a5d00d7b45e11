//! The command line of a station.

use std::path::PathBuf;

/// One device.
#[derive(Debug, clap::Args)]
pub struct One {
    /// Its identity.
    #[arg(long, value_name = "ID")]
    pub device: String,
    /// Its key: where it is, or is to be made.
    #[arg(long, value_name = "URI")]
    pub key: String,
    /// Its type.
    #[arg(long = "type", value_name = "TEXT", default_value = "")]
    pub device_type: String,
    /// The revision of its hardware.
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub revision: String,
    /// The version of its firmware.
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub firmware: String,
    /// SHA-256 of what its hardware must be, as an earlier device.json has it.
    #[arg(long, value_name = "HEX")]
    pub hardware: Option<String>,
    /// The station.
    #[command(flatten)]
    pub station: StationArguments,
}

/// The devices of a list.
#[derive(Debug, clap::Args)]
pub struct List {
    /// CSV with a line of column names: id (or serial), and any of type, revision, firmware, key, hardware. A key there names no
    /// program and no module: such a one is given with --key.
    ///
    /// Ends with 0 when every device of the list is done, with 1 when some are not: the report says which and why. Run the same
    /// command again, and it goes on with those.
    pub file: PathBuf,
    /// The key of each device that the list names none for; {id} is its identity, {row} the row's number.
    #[arg(long, value_name = "URI")]
    pub key: Option<String>,
    /// How many devices stand in fixtures at once.
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    pub at_once: usize,
    /// Where it is kept which devices are done; FILE.STATION.journal unless named.
    #[arg(long, value_name = "FILE")]
    pub journal: Option<PathBuf>,
    /// Where the report is written for programs, JSON.
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// The station.
    #[command(flatten)]
    pub station: StationArguments,
}

/// What is the same for every device.
#[derive(Debug, clap::Args)]
pub struct StationArguments {
    /// The authority's configuration.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// The station's name, for records.
    #[arg(long, value_name = "NAME", value_parser = station)]
    pub station: String,
    /// The kind of certificate.
    #[arg(long, value_name = "NAME", default_value = "idevid")]
    pub profile: String,
    /// For how many days; the configuration's unless given, and without effect on idevid, which does not end.
    #[arg(long, value_name = "DAYS")]
    pub days: Option<u64>,
    /// The folder in which each device gets one of its own: certificate, chain, public key, summary.
    #[arg(long, value_name = "DIR", default_value = "devices")]
    pub out: PathBuf,
    /// The order on which devices that are not approved yet are recorded; without it they are refused.
    #[arg(long, value_name = "NAME")]
    pub order: Option<String>,
    /// Take keys that no hardware vouches for, in files, tokens and simulated TPMs (every way to a TPM but device:/dev/tpm…):
    /// whoever copies such a key is the device.
    #[arg(long)]
    pub software: bool,
    /// The slots of an ATECC608 that the chain goes into, such as 8,9,10: what is in them is overwritten.
    #[arg(long, value_name = "SLOTS", value_delimiter = ',')]
    pub chip_slots: Vec<u8>,
    /// The folder of the certificates of chip makers, PEM: takes ATECC608s only that hold a chain to one of the roots among them,
    /// and the key that it is for. Beside the roots it has the certificates of any one chip of each kind, as an example.
    #[arg(long, value_name = "DIR")]
    pub chip_makers: Option<PathBuf>,
    /// The index of a TPM that the chain goes into, 0x01830000 to 0x0183ffff.
    #[arg(long, value_name = "INDEX", value_parser = index)]
    pub tpm_index: Option<u32>,
    /// A TPM of this station's own, such as device:/dev/tpmrm0: asks devices' TPMs whether their keys live beside their
    /// endorsement keys.
    #[arg(long, value_name = "TCTI")]
    pub station_tpm: Option<String>,
    /// The folder of the certificates of TPM makers, PEM: takes TPMs only whose endorsement key's certificate leads to one of the
    /// roots among them.
    #[arg(long, value_name = "DIR", requires = "station_tpm")]
    pub tpm_makers: Option<PathBuf>,
    /// Lock the slot of each key FOR EVER, once its chain was read back. COUNT is the number of devices, as a sign that this
    /// is meant for them all. Nothing undoes it.
    #[arg(long, value_name = "COUNT")]
    pub lock_for_ever: Option<usize>,
}

/// A station's name is part of a file's name.
fn station(text: &str) -> Result<String, String> {
    countersign_format::DeviceIdentity::parse(text)
        .map(|name| name.as_str().to_owned())
        .map_err(|error| error.to_string())
}

fn index(text: &str) -> Result<u32, String> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    u32::from_str_radix(digits, 16).map_err(|_| "an index is hexadecimal digits".to_owned())
}
