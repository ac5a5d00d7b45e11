//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use countersign_format::{AttestationHardware, DeviceIdentity, NamePattern};
use countersign_keys::KeyUri;
use countersign_provisioning::{Profile, Reason, Serial};

/// An offline certification authority in one directory: roots, intermediates, device certificates, revocation lists.
#[derive(Debug, Parser)]
#[command(
    name = "countersign-ca",
    version,
    after_help = "Examples:
  countersign-ca dev --dir devpki
        a root for 31 days, an intermediate, a device key with its chain, and roots.toml, in one step
  countersign-ca init --dir ca --org 'Acme' --name 'Acme Root 2026' --country DE
  countersign-ca init --dir ca --org 'Acme' --name 'Acme Root 2026' --key 'pkcs11:token=root;object=root-2026'
        the same with the root's key in a token, which it never leaves
  countersign-ca intermediate --dir ca --name 'Acme Devices 1'
  countersign-ca intermediate rotate acme-devices-1 --dir ca
  countersign-ca issue --dir ca --profile component-signer --csr press-4.csr.pem --scope 'acme:*' --out press-4.chain.pem
  countersign-ca issue --dir ca --profile attestation --hardware tpm --tpm-public-area ak.pub --device-id press-4 --out ak.chain.pem
  countersign-ca revoke --dir ca 5f0c... --reason key-compromise
  countersign-ca crl --dir ca --out acme.crl.pem

Exit status: 0 done; 2 usage, configuration or a request that is refused; 110 to 115 a chain that hosts would refuse so; 119 the machine or a key failed."
)]
pub(crate) struct Arguments {
    /// Directory of the authority
    #[arg(long, global = true, value_name = "DIR", default_value = "ca")]
    pub(crate) dir: PathBuf,
    /// Read the passphrase of the authority's keys, or the PIN of their token, from FILE, one line, instead of the terminal
    #[arg(long, visible_alias = "pin-file", global = true, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Make the directory and its root
    Init(Init),
    /// Make an authority below the root, rotate one, or have one issued by another PKI
    Intermediate(Box<Intermediate>),
    /// Issue a device's certificate and write its chain
    Issue(Box<Issue>),
    /// Mark a certificate as revoked; the next `crl` publishes it
    Revoke(Revoke),
    /// Make the revocation lists
    Crl(Crl),
    /// Show the authorities, what they issued, or one certificate
    Show(Show),
    /// Say which rules another PKI's chain breaks, and what to ask its owner for
    LintChain(LintChain),
    /// Carry out a script of commands, and write a transcript to be signed by hand
    Ceremony(Ceremony),
    /// Make a whole PKI for development: valid 31 days, marked as such, keys unencrypted
    Dev(Dev),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Which kind of key to make.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum KeyAlgorithm {
    /// ECDSA on P-256 with SHA-256
    P256,
    /// Ed25519
    Ed25519,
}

impl From<KeyAlgorithm> for countersign_keys::Algorithm {
    fn from(algorithm: KeyAlgorithm) -> Self {
        match algorithm {
            KeyAlgorithm::P256 => Self::Esp256,
            KeyAlgorithm::Ed25519 => Self::Ed25519,
        }
    }
}

/// Hardware that an attestation key lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Hardware {
    /// A TPM 2.0; needs --tpm-public-area
    Tpm,
    /// An ATECC608
    Atecc608,
}

impl From<Hardware> for AttestationHardware {
    fn from(hardware: Hardware) -> Self {
        match hardware {
            Hardware::Tpm => Self::Tpm,
            Hardware::Atecc608 => Self::Atecc608,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Init {
    /// Organisation (O)
    #[arg(long, value_name = "TEXT")]
    pub(crate) org: String,
    /// Common name (CN) of the root
    #[arg(long, value_name = "TEXT")]
    pub(crate) name: String,
    /// Country (C), two letters
    #[arg(long, value_name = "CC")]
    pub(crate) country: Option<String>,
    /// Years the root is valid
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=30))]
    pub(crate) years: u16,
    /// How many authorities may follow each other below the root; hosts read chains with at most two
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=2))]
    pub(crate) path_length: u8,
    #[command(flatten)]
    pub(crate) key: NewKeyArguments,
}

/// The key of a new authority.
#[derive(Debug, Args)]
pub(crate) struct NewKeyArguments {
    /// Kind of key
    #[arg(long, value_enum, default_value = "p256")]
    pub(crate) algorithm: KeyAlgorithm,
    /// Keep the key in a store of its own instead of a file in the directory, such as pkcs11:token=…;object=… or tpm:NAME;
    /// a key of that name is used if it is there, and made if not
    #[arg(long, value_name = "KEY", conflicts_with = "unencrypted")]
    pub(crate) key: Option<KeyUri>,
    /// Keep the key unencrypted, protected by file permissions alone
    #[arg(long, conflicts_with = "passphrase_file")]
    pub(crate) unencrypted: bool,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Intermediate {
    #[command(subcommand)]
    pub(crate) verb: Option<IntermediateVerb>,
    #[command(flatten)]
    pub(crate) new: NewIntermediate,
}

#[derive(Debug, Subcommand)]
pub(crate) enum IntermediateVerb {
    /// Make a new authority in the place of another, which goes on for as long as what it issued
    Rotate(Rotate),
    /// Make a key and the request to send to another PKI, under which the authority is to stand
    Request(Box<Request>),
    /// Bring in the chain that the other PKI issued
    ImportChain(ImportChain),
}

#[derive(Debug, Args)]
pub(crate) struct Rotate {
    /// Authority to replace
    #[arg(value_name = "WORD")]
    pub(crate) old: String,
    /// Common name (CN) of the new one; the old one's with the next number if not given
    #[arg(long, value_name = "TEXT")]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) authority: NewAuthorityArguments,
}

/// What is said of every authority that is made here below another.
#[derive(Debug, Args)]
pub(crate) struct NewAuthorityArguments {
    /// Short name in the directory; made from the common name if not given
    #[arg(long, value_name = "WORD")]
    pub(crate) id: Option<String>,
    /// Years it is valid; if not given, 5, or as long as its issuer where that ends sooner
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=30))]
    pub(crate) years: Option<u16>,
    #[command(flatten)]
    pub(crate) key: NewKeyArguments,
}

#[derive(Debug, Args)]
pub(crate) struct Request {
    /// Organisation (O)
    #[arg(long, value_name = "TEXT")]
    pub(crate) org: String,
    /// Common name (CN)
    #[arg(long, value_name = "TEXT")]
    pub(crate) name: String,
    /// Country (C), two letters
    #[arg(long, value_name = "CC")]
    pub(crate) country: Option<String>,
    /// Short name in the directory; made from the common name if not given
    #[arg(long, value_name = "WORD")]
    pub(crate) id: Option<String>,
    /// How many authorities may follow each other below it
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=1))]
    pub(crate) path_length: u8,
    #[command(flatten)]
    pub(crate) scope: ScopeArguments,
    #[command(flatten)]
    pub(crate) key: NewKeyArguments,
    #[command(flatten)]
    pub(crate) output: OutputArguments,
}

#[derive(Debug, Args)]
pub(crate) struct ImportChain {
    /// The request that the chain is for
    #[arg(value_name = "WORD")]
    pub(crate) id: String,
    /// Certificates, PEM or DER: the authority's own first, each followed by its issuer's; a root at the end is only compared
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Root of the other PKI: PEM, or a roots.toml; needed if the chain does not end in it
    #[arg(long, value_name = "FILE")]
    pub(crate) roots: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct LintChain {
    /// Certificates, PEM or DER: the lowest first, each followed by its issuer's, a root last if there is one
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Root to judge under: PEM, or a roots.toml with a scope beside it
    #[arg(long, value_name = "FILE")]
    pub(crate) roots: Option<PathBuf>,
    /// Revocation list, PEM or DER; may be repeated
    #[arg(long = "crl", value_name = "FILE")]
    pub(crate) crls: Vec<PathBuf>,
    /// What the first certificate is for, if its extended key usage does not say: component-signer, tls, guest-data, attestation,
    /// bundle or idevid
    #[arg(long)]
    pub(crate) profile: Option<Profile>,
}

#[derive(Debug, Args)]
pub(crate) struct Ceremony {
    /// Commands, one on each line, without the program's name; they get this --dir
    #[arg(
        value_name = "SCRIPT",
        required_unless_present = "check",
        requires = "out"
    )]
    pub(crate) script: Option<PathBuf>,
    /// Write the transcript to FILE, which must not exist
    #[arg(long, value_name = "FILE", conflicts_with = "check")]
    pub(crate) out: Option<PathBuf>,
    /// Lines for names and signatures
    #[arg(long, value_name = "NUMBER", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=20))]
    pub(crate) participants: u8,
    /// See whether a transcript is as it was written
    #[arg(long, value_name = "FILE", conflicts_with = "script")]
    pub(crate) check: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct NewIntermediate {
    /// Common name (CN)
    // Optional for the parser alone, which does not ask for it beside `rotate` and the others.
    #[arg(long, value_name = "TEXT", required = true)]
    pub(crate) name: Option<String>,
    /// Authority to issue it
    #[arg(long, value_name = "WORD", default_value = "root")]
    pub(crate) issuer: String,
    /// How many authorities may follow each other below it
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=1))]
    pub(crate) path_length: u8,
    #[command(flatten)]
    pub(crate) scope: ScopeArguments,
    #[command(flatten)]
    pub(crate) authority: NewAuthorityArguments,
}

#[derive(Debug, Args)]
pub(crate) struct ScopeArguments {
    /// Component names that may be signed: NAMESPACE:NAME, or NAMESPACE:* for all of a namespace; may be repeated
    #[arg(long = "scope", value_name = "PATTERN")]
    pub(crate) components: Vec<NamePattern>,
    /// Narrow the scope to components for this device; may be repeated
    #[arg(long = "scope-device", value_name = "ID", requires = "components")]
    pub(crate) devices: Vec<String>,
    /// Narrow the scope to components for this type of device; may be repeated
    #[arg(long = "scope-type", value_name = "TYPE", requires = "components")]
    pub(crate) types: Vec<String>,
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("source").required(true).multiple(true))]
#[command(group = clap::ArgGroup::new("key"))]
#[command(group = clap::ArgGroup::new("device"))]
pub(crate) struct Issue {
    /// What the certificate is for: component-signer, tls, guest-data, attestation, bundle or idevid
    #[arg(long)]
    pub(crate) profile: Profile,
    /// PKCS#10 request, PEM or DER; its signature must prove possession of the key
    #[arg(long, value_name = "FILE", groups = ["key", "source"])]
    pub(crate) csr: Option<PathBuf>,
    /// Public key, SubjectPublicKeyInfo as PEM or DER, from a device whose possession of the key you have seen yourself
    #[arg(long, value_name = "FILE", groups = ["key", "source"])]
    pub(crate) public_key: Option<PathBuf>,
    /// The kind of hardware that an attestation key lies in, tpm or atecc608; without it, the key is one in software. You
    /// assert that you saw the key made in a genuine device of that kind, which never lets it out: verifiers believe it
    #[arg(long, value_name = "KIND")]
    pub(crate) hardware: Option<Hardware>,
    /// The key's public area as its TPM gives it (tpm2_readpublic -o FILE), for --hardware tpm: shows what kind of key it is;
    /// takes the place of --public-key
    #[arg(long, value_name = "FILE", requires = "hardware", group = "source")]
    pub(crate) tpm_public_area: Option<PathBuf>,
    /// Device id; taken from the request if that has one
    #[arg(long, value_name = "ID", group = "device")]
    pub(crate) device_id: Option<DeviceIdentity>,
    /// Device id made from a MAC address, such as 00:1b:21:3c:4d:5e
    #[arg(long, value_name = "MAC", group = "device")]
    pub(crate) device_mac: Option<String>,
    /// Device id made from a UUID
    #[arg(long, value_name = "UUID", group = "device")]
    pub(crate) device_uuid: Option<String>,
    /// Type of the device, such as gateway
    #[arg(long, value_name = "TEXT")]
    pub(crate) device_type: Option<String>,
    /// Hardware revision
    #[arg(long, value_name = "TEXT")]
    pub(crate) hardware_revision: Option<String>,
    /// Firmware version
    #[arg(long, value_name = "TEXT")]
    pub(crate) firmware_version: Option<String>,
    /// A capability of the device; may be repeated
    #[arg(long = "capability", value_name = "TEXT")]
    pub(crate) capabilities: Vec<String>,
    #[command(flatten)]
    pub(crate) scope: ScopeArguments,
    /// Host name for a tls certificate; may be repeated
    #[arg(long = "dns", value_name = "NAME")]
    pub(crate) dns_names: Vec<String>,
    /// Organisation (O); the authority's if not given
    #[arg(long, value_name = "TEXT")]
    pub(crate) org: Option<String>,
    /// Organisational unit (OU)
    #[arg(long, value_name = "TEXT")]
    pub(crate) unit: Option<String>,
    /// Common name (CN); the device id if not given
    #[arg(long, value_name = "TEXT")]
    pub(crate) common_name: Option<String>,
    /// Days it is valid, at most to its issuer's end; 365 if not given, or what the issuer has left if that is less; an idevid
    /// does not expire
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1098))]
    pub(crate) days: Option<u64>,
    /// Say in the certificate that its revocation will never be published (RFC 9608)
    #[arg(long)]
    pub(crate) no_rev_avail: bool,
    /// Authority to issue it; the newest intermediate if not given
    #[arg(long, value_name = "WORD")]
    pub(crate) issuer: Option<String>,
    #[command(flatten)]
    pub(crate) output: OutputArguments,
}

#[derive(Debug, Args)]
pub(crate) struct OutputArguments {
    /// Write to FILE instead of standard output
    #[arg(long, visible_alias = "output", value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// DER instead of PEM; of a chain, the first certificate only
    #[arg(long)]
    pub(crate) der: bool,
    /// Replace FILE if it exists
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Revoke {
    /// Serial number, hexadecimal
    pub(crate) serial: Serial,
    /// Why: unspecified, key-compromise, ca-compromise, affiliation-changed, superseded, cessation-of-operation or
    /// privilege-withdrawn
    #[arg(long)]
    pub(crate) reason: Reason,
    /// Authority that issued it; found by itself for certificates that this directory recorded
    #[arg(long, value_name = "WORD")]
    pub(crate) issuer: Option<String>,
    /// Revoke a serial that this directory has no record of, for example after it was restored from a copy
    #[arg(long, requires = "issuer")]
    pub(crate) unrecorded: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Crl {
    /// Authority to make the list of; all if not given
    #[arg(long, value_name = "WORD")]
    pub(crate) issuer: Option<String>,
    /// Days until the next list is due; hosts admit nothing by a list that is older
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3660))]
    pub(crate) days: u64,
    #[command(flatten)]
    pub(crate) output: OutputArguments,
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// A certificate's serial, to see that certificate
    pub(crate) serial: Option<Serial>,
    /// List every certificate that was issued
    #[arg(long, conflicts_with = "serial")]
    pub(crate) issued: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Dev {
    /// Component names that the device may sign: NAMESPACE:NAME or NAMESPACE:*; may be repeated
    #[arg(long, value_name = "PATTERN", default_value = "dev:*")]
    pub(crate) scope: Vec<NamePattern>,
    /// Device id
    #[arg(long, value_name = "ID", default_value = "dev-device")]
    pub(crate) device_id: DeviceIdentity,
    /// Type of the device
    #[arg(long, value_name = "TEXT", default_value = "development")]
    pub(crate) device_type: String,
    /// Kind of keys
    #[arg(long, value_enum, default_value = "p256")]
    pub(crate) algorithm: KeyAlgorithm,
}
