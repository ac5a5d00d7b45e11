//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand};
use countersign_provisioning::Reason;

/// The provisioning authority.
#[derive(Debug, Parser)]
#[command(name = "countersign-authority", version, about)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Make a folder with a configuration, a registry, an audit log and the server's own certificate.
    Init(Init),
    /// Serve over HTTPS until told to stop.
    Serve {
        /// The configuration.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// For this start, believe the clock whatever was recorded before: you have looked, and it is right.
        #[arg(long)]
        clock_is_right: bool,
    },
    /// Make a token and print it; only its hash is kept.
    Token(Token),
    /// Take tokens back, by what the audit log calls them; at once, also while the authority runs.
    Untoken(Untoken),
    /// Add an order, and approve devices for it; while the authority does not run, or on PostgreSQL.
    Approve(Approve),
    /// Revoke the certificates of a list; while the authority does not run, or on PostgreSQL. The next list of revocations has
    /// them, which the authority signs as soon as it runs.
    ///
    /// Ends with 0 when all are revoked, and with 1 when some are not on record here, or were issued by another authority, whose list
    /// alone tells hosts: they are named.
    Revoke(Revoke),
    /// Verify the audit log, or let an old copy of the registry learn from it.
    Audit {
        #[command(subcommand)]
        verb: Audit,
    },
    /// Provision the device in the fixture: its key, the evidence for it, its certificate, its chain; while the authority
    /// does not run, or on PostgreSQL.
    Provision(countersign_authority::provision::One),
    /// Provision the devices of a list; run again, it goes on where it was stopped.
    ProvisionBatch(countersign_authority::provision::List),
    /// Print what a device makes privacy tokens with, though it was given it before; while the authority does not run, or
    /// on PostgreSQL.
    Tables {
        /// The configuration.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// The device's identity.
        device: String,
    },
    /// Write every record of the registry into a file, a line of JSON each: orders, devices, certificates; no key and no token. While
    /// the authority does not run, or on PostgreSQL.
    Export {
        /// The configuration.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// The file; it must not be there.
        #[arg(value_name = "RECORDS")]
        file: PathBuf,
    },
    /// Take over what another registry exported, all of it or nothing; while the authority does not run, or on PostgreSQL.
    Import {
        /// The configuration.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// The file that `export` wrote.
        #[arg(value_name = "RECORDS")]
        file: PathBuf,
    },
    /// Read a password from standard input and print its hash, for `[page]`.
    Password,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Init {
    /// The folder; it is made.
    pub(crate) dir: PathBuf,
    /// The folder of a `countersign-ca`.
    #[arg(
        long,
        value_name = "DIR",
        requires = "issuer",
        conflicts_with = "chain",
        required_unless_present = "chain"
    )]
    pub(crate) ca: Option<PathBuf>,
    /// Which of its authorities issues.
    #[arg(long, value_name = "NAME")]
    pub(crate) issuer: Option<String>,
    /// The certificates of the authority that issues and of those above it to the root, PEM.
    #[arg(long, value_name = "FILE", requires = "key")]
    pub(crate) chain: Option<PathBuf>,
    /// Its key, as a key URI.
    #[arg(long, value_name = "URI")]
    pub(crate) key: Option<String>,
    /// The revocation list of an authority above it; may be repeated.
    #[arg(long = "crl", value_name = "FILE")]
    pub(crate) crls: Vec<PathBuf>,
    /// The file whose first line is the key's passphrase, or the token's PIN.
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// The host name by which clients reach this server; may be repeated.
    #[arg(long = "host", value_name = "NAME", required = true)]
    pub(crate) hosts: Vec<String>,
    /// The address to listen on.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8443")]
    pub(crate) listen: SocketAddr,
    /// The registry: sqlite:PATH, or the address of an empty PostgreSQL database.
    #[arg(long, value_name = "ADDRESS", default_value = "sqlite:registry.db")]
    pub(crate) database: String,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Token {
    /// The configuration.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// Which devices: an identity, or the beginning of one and `*`; may be repeated.
    #[arg(long = "device", value_name = "PATTERN", required = true)]
    pub(crate) devices: Vec<String>,
    /// What it is for: enrol (once), read, approve or revoke; may be repeated.
    #[arg(long = "may", value_name = "ACTION", default_value = "enrol")]
    pub(crate) actions: Vec<String>,
    /// Which kinds of certificate; may be repeated.
    #[arg(long = "profile", value_name = "NAME", default_value = "tls")]
    pub(crate) profiles: Vec<String>,
    /// The order that the devices belong to.
    #[arg(long, value_name = "NAME")]
    pub(crate) order: Option<String>,
    /// How long it is accepted, such as 1h or 7d.
    #[arg(long, value_name = "TIME", default_value = "1h")]
    pub(crate) expires: humantime::Duration,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Revoke {
    /// The configuration.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// Why, where the list does not say: unspecified, key-compromise, superseded, cessation-of-operation and others.
    #[arg(long, value_name = "REASON", default_value = "unspecified")]
    pub(crate) reason: Reason,
    /// Revoke what is not on record here, too: this authority issued it, and its registry was put back from an old copy.
    #[arg(long)]
    pub(crate) unrecorded: bool,
    /// A serial number on each line, in hexadecimal digits, and behind it perhaps a reason.
    pub(crate) file: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Untoken {
    /// The configuration.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// Remove all, too, whose time is over.
    #[arg(long, required_unless_present = "tokens")]
    pub(crate) expired: bool,
    /// Tokens: the 16 digits that stand after `token` in the audit log, or the token itself.
    #[arg(value_name = "TOKEN")]
    pub(crate) tokens: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// After the registry was put back from an old copy: take up what the log has more, certificates and revocations, and
    /// issue again; while the authority does not run.
    CatchUp {
        /// The configuration.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// The log is lost: begin a new one. What was issued since the copy stays unknown, and what was revoked since must
        /// be revoked again.
        #[arg(long)]
        log_is_lost: bool,
    },
    /// Prove that every entry is the one that was logged, and name the first that is not; needs no authority.
    ///
    /// Ends with 0 when the log is sound, 111 when it was altered, 115 when it is older than the checkpoint or the
    /// registry that it is held against, and 119 when it could not be read.
    Verify {
        /// The log's folder, or a copy of it.
        folder: PathBuf,
        /// The log's public key, NAME+ID+KEY, or the file that holds it; `init` writes audit.vkey.
        #[arg(long, value_name = "PUBLIC")]
        key: String,
        /// The registry whose leaves must be the log's entries: sqlite:PATH while the authority does not run, or a
        /// PostgreSQL database.
        #[arg(long, value_name = "ADDRESS")]
        registry: Option<String>,
        /// A checkpoint that was kept elsewhere; the log must continue it.
        #[arg(long, value_name = "FILE")]
        since: Option<PathBuf>,
        /// Say it for programs.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct Approve {
    /// The configuration.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// The order; it is made if it is not there.
    #[arg(long, value_name = "NAME")]
    pub(crate) order: String,
    /// For how many devices the order is.
    #[arg(long, value_name = "COUNT")]
    pub(crate) quota: u64,
    /// Who makes the devices, where it is another company.
    #[arg(long, value_name = "NAME")]
    pub(crate) manufacturer: Option<String>,
    /// Their family.
    #[arg(long, value_name = "NAME", default_value = "")]
    pub(crate) family: String,
    /// Their type.
    #[arg(long, value_name = "NAME", default_value = "")]
    pub(crate) device_type: String,
    /// The devices' identities.
    #[arg(value_name = "DEVICE")]
    pub(crate) devices: Vec<String>,
}
