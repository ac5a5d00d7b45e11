//! The shape of the configuration's file. What its values mean is decided above.

use std::collections::BTreeMap;
use std::path::PathBuf;

use countersign_hosting::quantity;
use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use toml::Spanned;

use super::http::{HttpPart, ServerPart};
use super::messages::{BrokerPart, OnMessagePart};
use super::schedule::SchedulePart;
use super::signers::SignerPart;

/// The configuration of `countersign-gateway`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct ConfigFile {
    /// What concerns the gateway as a whole.
    #[serde(default)]
    pub(super) gateway: GatewayPart,
    /// What the process takes from itself when it starts.
    #[serde(default)]
    pub(super) confine: ConfinePart,
    /// The status page, metrics and answers to whoever watches over the machine; none if not given.
    #[serde(default)]
    pub(super) status: Option<StatusPart>,
    /// Where traces are sent; nowhere if not given.
    #[serde(default)]
    pub(super) traces: Option<TracesPart>,
    /// Which bundles are taken; none if this is not there.
    pub(super) bundles: Option<BundlesPart>,
    /// Components that run for as long as the gateway does.
    #[serde(default)]
    pub(super) service: Vec<ServicePart>,
    /// Components that answer HTTP requests.
    #[serde(default)]
    pub(super) http: Vec<HttpPart>,
    /// Components that run when they are due.
    #[serde(default)]
    pub(super) schedule: Vec<SchedulePart>,
    /// Components that are handed messages.
    #[serde(default)]
    pub(super) on_message: Vec<OnMessagePart>,
    /// Brokers of messages.
    #[serde(default)]
    pub(super) broker: Vec<BrokerPart>,
    /// Keys of this device.
    #[serde(default)]
    pub(super) key: Vec<KeyPart>,
    /// Who must sign what.
    #[serde(default)]
    pub(super) signer: Vec<SignerPart>,
}

/// What concerns the gateway as a whole.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct GatewayPart {
    /// The folder of what the gateway remembers, made by `countersign-gateway init`.
    #[schemars(with = "String")]
    pub(super) state: PathBuf,
    /// The socket over which `status` and `reload` reach a running gateway; in the state's folder if not given.
    #[schemars(with = "Option<String>")]
    pub(super) control: Option<PathBuf>,
    /// The folder of the records of every acceptance, refusal, signature and end; in the state's folder if not given.
    #[schemars(with = "Option<String>")]
    pub(super) audit: Option<PathBuf>,
    /// A counter in hardware, by which a memory that was put back from a copy is noticed: "tpm:0x01800100", or
    /// "atecc608:/dev/i2c-1?address=0x60&counter=0". `init --counter` makes it and binds the memory to it.
    #[schemars(with = "Option<String>")]
    pub(super) counter: Option<Spanned<String>>,
    /// Files with revocation lists, PEM or DER.
    #[schemars(with = "Vec<String>")]
    pub(super) lists: Vec<PathBuf>,
    /// How many different devices must have signed each component.
    #[schemars(with = "u8", range(min = 1, max = 4))]
    pub(super) signers: Spanned<u8>,
    /// What concerns all requests over HTTP.
    pub(super) http: ServerPart,
    /// What compiling may take, and keeping what was compiled.
    pub(super) compile: CompilePart,
}

/// What compiling a component may take, and keeping what was compiled.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct CompilePart {
    /// Address space of the process that compiles.
    pub(super) memory: Size,
    /// Its processor time; whole seconds.
    pub(super) cpu: Time,
    /// How long it may take.
    pub(super) time: Time,
    /// The most compiled code that is kept.
    pub(super) cache: Size,
    /// Whether components are interpreted, several times as slowly: for systems that let no memory be executed that was
    /// written (systemd's MemoryDenyWriteExecute).
    pub(super) interpreted: bool,
}

impl Default for CompilePart {
    fn default() -> Self {
        Self {
            memory: Size(1 << 30),
            cpu: Time(std::time::Duration::from_secs(120)),
            time: Time(std::time::Duration::from_secs(240)),
            cache: Size(1 << 30),
            interpreted: false,
        }
    }
}

impl Default for GatewayPart {
    fn default() -> Self {
        Self {
            state: PathBuf::from("/var/lib/countersign"),
            control: None,
            audit: None,
            counter: None,
            lists: Vec::new(),
            signers: Spanned::new(0..0, 1),
            compile: CompilePart::default(),
            http: ServerPart::default(),
        }
    }
}

/// What the process takes from itself when it starts: the file system but for what this file names, and system calls that no
/// gateway needs.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct ConfinePart {
    /// Whether it starts where the kernel cannot do all of that.
    pub(super) mode: ConfineMode,
    /// Files and folders beside those that this file names that may be read, such as those of a PKCS#11 module.
    #[schemars(with = "Vec<String>")]
    pub(super) read: Vec<PathBuf>,
    /// Files and folders beside those that this file names that may be read and written.
    #[schemars(with = "Vec<String>")]
    pub(super) write: Vec<PathBuf>,
}

/// Whether a gateway starts where the kernel cannot confine it wholly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ConfineMode {
    /// As far as the kernel can; `status` and `doctor` say how far that is.
    #[default]
    Auto,
    /// Wholly, or it does not start.
    Require,
}

/// The status page, metrics and answers to whoever watches over the machine.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct StatusPart {
    /// Where they are served, such as "127.0.0.1:9464". Without TLS and without a password.
    #[schemars(with = "String")]
    pub(super) listen: Spanned<std::net::SocketAddr>,
    /// Whether others than this machine may look: without it, the address must be one of the loopback.
    #[serde(default)]
    pub(super) open_to_others: bool,
}

/// Where traces are sent.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct TracesPart {
    /// A collector of OpenTelemetry that takes OTLP as JSON over HTTP, such as "http://127.0.0.1:4318". A collector elsewhere is
    /// reached by one on this machine.
    #[schemars(with = "String")]
    pub(super) endpoint: Spanned<String>,
}

/// Which bundles are taken.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct BundlesPart {
    /// The line of bundles: of others none is taken.
    #[schemars(with = "String")]
    pub(super) line: Spanned<String>,
    /// The roots of those who sign bundles, in PEM. None of them may sign components for that.
    #[schemars(with = "String")]
    pub(super) anchors: PathBuf,
    /// How many different devices must have signed a bundle.
    #[serde(default = "one_signer")]
    #[schemars(with = "u8", range(min = 1, max = 4))]
    pub(super) signers: Spanned<u8>,
    /// The largest bundle, such as "512MiB".
    #[serde(default = "half_a_gibibyte")]
    pub(super) most: Size,
    /// How long what a bundle brings may take to prove healthy, at most "9m".
    #[serde(default = "five_minutes")]
    #[schemars(with = "Time")]
    pub(super) healthy_within: Spanned<Time>,
    /// How bundles are downloaded.
    #[serde(default)]
    pub(super) download: DownloadPart,
}

/// How bundles are downloaded.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct DownloadPart {
    /// The roots of the servers' certificates, in PEM; without them, none is asked over https.
    #[schemars(with = "Option<String>")]
    pub(super) roots: Option<PathBuf>,
    /// Names and passwords for registries: `[[registry]]` with `host`, `name` and `password`; its owner's alone (mode 0600).
    #[schemars(with = "Option<String>")]
    pub(super) registries: Option<PathBuf>,
    /// How much must come in a second, on average over `stalled-after`.
    pub(super) slowest: Size,
    /// For how long less may come before a try is given up.
    pub(super) stalled_after: Time,
    /// How long all tries together may take.
    pub(super) within: Time,
}

impl Default for DownloadPart {
    fn default() -> Self {
        let seconds = |seconds| Time(std::time::Duration::from_secs(seconds));
        Self {
            roots: None,
            registries: None,
            slowest: Size(1 << 10),
            stalled_after: seconds(30),
            within: seconds(3600),
        }
    }
}

fn one_signer() -> Spanned<u8> {
    Spanned::new(0..0, 1)
}

fn half_a_gibibyte() -> Size {
    Size(512 << 20)
}

fn five_minutes() -> Spanned<Time> {
    Spanned::new(0..0, Time(std::time::Duration::from_secs(300)))
}

/// A component that runs for as long as the gateway does: a command of WASI 0.2.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct ServicePart {
    /// What the operator calls it: letters, digits and hyphens.
    #[schemars(with = "String")]
    pub(super) name: Spanned<String>,
    /// The signed file.
    #[schemars(with = "String")]
    pub(super) component: Spanned<PathBuf>,
    /// The component's name in its signed statement, `namespace:name`; a file that says another is refused.
    #[schemars(with = "String")]
    pub(super) signed_as: Spanned<String>,
    /// When it is started again.
    #[serde(default)]
    pub(super) restart: RestartPart,
    /// Whether a new version starts beside the one that runs, which ends only when the new one has proved healthy: not for one
    /// that needs something alone, such as a port, a serial line or a file that it writes.
    #[serde(default)]
    pub(super) beside: bool,
    /// What it may touch at most. It gets of this what its statement asks for.
    #[serde(default)]
    pub(super) grants: GrantsPart,
    /// How much it may use at most.
    #[serde(default)]
    pub(super) limits: LimitsPart,
}

impl ServicePart {
    /// What every kind of service has.
    pub(super) fn new(
        name: Spanned<String>,
        component: Spanned<PathBuf>,
        signed_as: Spanned<String>,
        grants: GrantsPart,
        limits: LimitsPart,
    ) -> Self {
        Self {
            name,
            component,
            signed_as,
            restart: RestartPart::default(),
            beside: false,
            grants,
            limits,
        }
    }
}

/// When a service is started again.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct RestartPart {
    /// After which ends.
    pub(super) when: When,
    /// The wait before the first start after an end; each that follows is twice as long.
    pub(super) first: Time,
    /// The longest wait.
    pub(super) most: Time,
    /// After running so long it counts as healthy: the next wait is the first again, and its version may not fall any more.
    pub(super) healthy_after: Time,
}

impl Default for RestartPart {
    fn default() -> Self {
        let seconds = |seconds| Time(std::time::Duration::from_secs(seconds));
        Self {
            when: When::Always,
            first: seconds(1),
            most: seconds(300),
            healthy_after: seconds(30),
        }
    }
}

/// After which ends a service is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum When {
    /// After every end.
    Always,
    /// After a status other than 0, a trap or a limit.
    OnFailure,
    /// After none: it runs once for each start of the gateway.
    Never,
}

/// What a component may touch at most.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct GrantsPart {
    /// Its arguments, after its name.
    pub(super) args: Option<Vec<String>>,
    /// Its environment.
    #[serde(default)]
    pub(super) env: BTreeMap<String, String>,
    /// What becomes of its standard output and error.
    #[serde(default)]
    pub(super) output: OutputPart,
    /// Folders.
    #[serde(default)]
    #[schemars(with = "Vec<DirectoryPart>")]
    pub(super) directories: Vec<Spanned<DirectoryPart>>,
    /// Peers and addresses of sockets, spelled as in component.toml.
    pub(super) sockets: Option<Vec<String>>,
    /// Hosts to which it may send HTTP requests, spelled as in component.toml. A name that leads to a near address (loopback,
    /// link-local, private) leads nowhere, unless that address stands here too.
    #[schemars(with = "Option<Vec<String>>")]
    pub(super) http_outgoing: Option<Spanned<Vec<String>>>,
    /// The file with the authorities whose certificates servers must have, PEM. Without it there is no HTTPS.
    #[schemars(with = "Option<String>")]
    pub(super) http_authorities: Option<Spanned<PathBuf>>,
    /// Whether it may know the date.
    #[serde(default)]
    pub(super) wall_clock: bool,
    /// Keys of this device.
    #[serde(default)]
    #[schemars(with = "Vec<KeyGrantPart>")]
    pub(super) keys: Vec<Spanned<KeyGrantPart>>,
}

/// A key of this device.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct KeyPart {
    /// What components call it.
    #[schemars(with = "String")]
    pub(super) name: Spanned<String>,
    /// Where it is: file:PATH, tpm:NAME, atecc608:/dev/i2c-1?slot=0, pkcs11:token=...;object=...
    #[schemars(with = "String")]
    pub(super) uri: Spanned<String>,
    /// The file with its certificates, PEM: its own first, without the root.
    #[schemars(with = "String")]
    pub(super) chain: PathBuf,
    /// The file with its passphrase or its token's PIN, alone, in one line.
    #[schemars(with = "Option<String>")]
    pub(super) secret: Option<PathBuf>,
    /// What it is for; its certificate must say the same.
    #[serde(default)]
    pub(super) purpose: Purpose,
    /// The registers that a TPM's attestation key quotes, such as [0, 2, 7].
    #[serde(default = "no_registers")]
    #[schemars(with = "Vec<u8>")]
    pub(super) registers: Spanned<Vec<u8>>,
}

fn no_registers() -> Spanned<Vec<u8>> {
    Spanned::new(0..0, Vec::new())
}

/// What a key is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Purpose {
    /// Components sign their data with it.
    #[default]
    GuestData,
    /// It answers components that were asked for evidence of the device's state.
    Attestation,
    /// The gateway shows with it who it is; no component has it.
    Tls,
}

/// What a component may do with a key.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct KeyGrantPart {
    /// The key's name.
    pub(super) name: String,
    /// The contexts in which it may sign; all that its statement asks for if not given.
    pub(super) contexts: Option<Vec<String>>,
    /// Signatures a minute; 60 if not given.
    pub(super) per_minute: Option<u32>,
}

/// What becomes of a component's standard output and error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum OutputPart {
    /// Each line goes to the gateway's own standard error, with the service's name.
    #[default]
    Log,
    /// It is thrown away.
    Discard,
}

/// A folder that a component may use.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct DirectoryPart {
    /// The folder on this machine.
    #[schemars(with = "String")]
    pub(crate) host: PathBuf,
    /// Where the component sees it.
    pub(crate) guest: String,
    /// Whether it may write there.
    #[serde(default)]
    pub(crate) writable: bool,
    /// The most that a folder which may be written holds, such as "64MiB"; as much as its file system has room for if not given.
    pub(crate) most: Option<Size>,
}

/// How much a component may use at most.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct LimitsPart {
    /// All its memories together, such as "64MiB".
    pub(super) memory: Option<Size>,
    /// Elements of all its tables together.
    pub(super) table_elements: Option<u64>,
    /// How long it may run from a start on; a service without end if not given.
    pub(super) run: Option<Time>,
    /// How long it may occupy a processor from a start on; a service without end if not given.
    pub(super) cpu: Option<Time>,
    /// Resource handles that live at the same time.
    pub(super) handles: Option<u64>,
    /// What one call may carry from it to the host, such as "16MiB"; "1088KiB", or what a message may have, if not given. A deadline waits
    /// while strings are read.
    pub(super) hostcall: Option<Size>,
}

/// A size in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) u64);

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a size such as \"64MiB\", or a number of bytes")]
        enum Form {
            Number(u64),
            Text(String),
        }
        let text = match Form::deserialize(from)? {
            Form::Number(number) => number.to_string(),
            Form::Text(text) => text,
        };
        quantity::size(&text).map(Self).map_err(D::Error::custom)
    }
}

impl JsonSchema for Size {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "A size in bytes: a number, or a text such as \"64MiB\" (KiB, MiB, GiB).",
            "type": ["integer", "string"],
        })
    }
}

/// A time such as "10s".
#[derive(Clone, Copy)]
pub(super) struct Time(pub(super) std::time::Duration);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        quantity::time(&text).map(Self).map_err(D::Error::custom)
    }
}

impl JsonSchema for Time {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "A time with its unit, such as \"500ms\", \"10s\" or \"5m\".",
            "type": "string",
        })
    }
}
