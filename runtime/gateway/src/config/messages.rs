//! `[[broker]]` and `[[on-message]]`: which messages a component is handed, by whom, and which it may publish.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use countersign_runtime::Limits;
use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

use super::Key;
use super::file::{GrantsPart, LimitsPart, Purpose, ServicePart, Size, Time};
use super::text::Wrong;
use crate::messages::{Bounds, Broker, BrokerTls, Filter, Messages};

/// How long handling a message may take where the operator does not say.
const RUN: Duration = Duration::from_secs(30);

/// The largest message where the operator does not say, and at most, in bytes.
const MESSAGE: u64 = 64 << 10;
const LARGEST_MESSAGE: u64 = 16 << 20;

/// Room for a message's topic and what else is handed over with it, in bytes (128 KiB).
const BESIDE: u64 = 128 << 10;

/// Messages a minute that a component may publish where the operator does not say.
const PER_MINUTE: u32 = 60;

/// How often a message is handed over where the operator does not say, and at most.
const TRIES: u32 = 3;
const MOST_TRIES: u32 = 100;

/// Most topics that one component is handed, or may publish to.
const MAX_TOPICS: usize = 64;

/// A broker that speaks MQTT 5.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(in crate::config) struct BrokerPart {
    /// What `[[on-message]]` calls it.
    #[schemars(with = "String")]
    name: Spanned<String>,
    /// Where it is: "mqtts://HOST:PORT", or "mqtt://127.0.0.1:PORT" on this machine.
    #[schemars(with = "String")]
    address: Spanned<String>,
    /// What it knows this gateway by, which no other may use: each connection adds its service's name.
    #[schemars(with = "String")]
    client: Spanned<String>,
    /// The `[[key]]` of purpose "tls" with which the gateway shows who it is.
    #[schemars(with = "Option<String>")]
    key: Option<Spanned<String>>,
    /// The file with the roots that its certificate leads to, PEM.
    #[schemars(with = "Option<String>")]
    roots: Option<PathBuf>,
    /// Files with revocation lists for those.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    lists: Vec<PathBuf>,
}

/// A component that is handed messages: it exports `countersign:messaging/handler`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(in crate::config) struct OnMessagePart {
    /// What the operator calls it: letters, digits and hyphens.
    #[schemars(with = "String")]
    pub(in crate::config) name: Spanned<String>,
    /// The signed file.
    #[schemars(with = "String")]
    component: Spanned<PathBuf>,
    /// The component's name in its signed statement, `namespace:name`; a file that says another is refused.
    #[schemars(with = "String")]
    signed_as: Spanned<String>,
    /// The broker.
    #[schemars(with = "String")]
    broker: Spanned<String>,
    /// What it is handed: topics, `+` for any one level and `#` for all that follow.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    topics: Vec<Spanned<String>>,
    /// Where it may publish, in the same form.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    publish: Vec<Spanned<String>>,
    /// Messages a minute that it may publish; 60 if not given.
    publish_per_minute: Option<u32>,
    /// The largest message in either direction; "64KiB" if not given.
    #[schemars(with = "Option<Size>")]
    max_message: Option<Spanned<Size>>,
    /// How often a message is handed over that is not handled, before it is dropped; 3 if not given.
    #[schemars(with = "Option<u32>")]
    tries: Option<Spanned<u32>>,
    /// What it may touch at most. It gets of this what its statement asks for.
    #[serde(default)]
    grants: GrantsPart,
    /// How much handling a message may use at most; 30 seconds if `run` is not given.
    #[serde(default)]
    limits: LimitsPart,
}

/// The brokers, by their names.
pub(in crate::config) fn brokers(
    parts: Vec<BrokerPart>,
    folder: &Path,
    keys: &BTreeMap<String, Key>,
) -> Result<BTreeMap<String, Broker>, Wrong> {
    let mut brokers = BTreeMap::new();
    for part in parts {
        let (span, name) = (part.name.span(), part.name.get_ref().clone());
        let broker = broker(part, folder, keys)?;
        if brokers.insert(name.clone(), broker).is_some() {
            return Err(Wrong::at(span, format!("two brokers are called {name:?}")));
        }
    }
    Ok(brokers)
}

fn broker(part: BrokerPart, folder: &Path, keys: &BTreeMap<String, Key>) -> Result<Broker, Wrong> {
    let (span, address) = (part.address.span(), part.address.get_ref());
    let wrong = |why: &str| Err(Wrong::at(span.clone(), format!("{address:?}: {why}")));
    let (rest, over_tls) = match address.split_once("://") {
        Some(("mqtts", rest)) => (rest, true),
        Some(("mqtt", rest)) => (rest, false),
        _ => return wrong("write mqtts://HOST:PORT"),
    };
    let (host, port) = match rest.rsplit_once(':') {
        None => (rest, Ok(if over_tls { 8_883 } else { 1_883 })),
        Some((host, port)) => (host, port.parse()),
    };
    let Ok(port) = port else {
        return wrong("its port is a number up to 65535");
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || ".-".contains(c);
    if host.is_empty() || host.len() > 253 || !host.chars().all(plain) {
        return wrong("its host is a name or an address of IPv4");
    }
    let client = part.client.get_ref();
    // A name of 23 of these is one that every broker takes (MQTT 5.0 §3.1.3.1); a service adds its own.
    if client.is_empty() || client.len() > 64 || !client.chars().all(|c| plain(c) || c == '_') {
        let message = "client: use 1 to 64 letters, digits, hyphens and dots".to_owned();
        return Err(Wrong::at(part.client.span(), message));
    }
    let tls = if over_tls {
        let (Some(key), Some(roots)) = (&part.key, &part.roots) else {
            return wrong("a broker over TLS needs key and roots");
        };
        let found = keys.get(key.get_ref());
        let Some(key) = found.filter(|key| key.purpose == Purpose::Tls) else {
            let message = format!(
                "there is no [[key]] called {:?} of the purpose tls",
                key.get_ref()
            );
            return Err(Wrong::at(key.span(), message));
        };
        Some(BrokerTls {
            key: key.clone(),
            roots: folder.join(roots),
            lists: part.lists.iter().map(|path| folder.join(path)).collect(),
        })
    } else {
        let is_here = host
            .parse()
            .is_ok_and(|address: IpAddr| address.is_loopback());
        if !is_here {
            return wrong(
                "without TLS a broker is on this machine, by its address 127.0.0.1; write mqtts://",
            );
        }
        if part.key.is_some() || part.roots.is_some() || !part.lists.is_empty() {
            return wrong("key, roots and lists are for mqtts://");
        }
        None
    };
    Ok(Broker {
        host: host.to_owned(),
        port,
        client: client.clone(),
        tls,
    })
}

impl OnMessagePart {
    /// What it has in common with every service, and its own.
    pub(in crate::config) fn split(
        self,
        brokers: &BTreeMap<String, Broker>,
    ) -> Result<(ServicePart, Messages), Wrong> {
        let Some(broker) = brokers.get(self.broker.get_ref()) else {
            let message = format!("there is no [[broker]] called {:?}", self.broker.get_ref());
            return Err(Wrong::at(self.broker.span(), message));
        };
        let topics = filters(&self.topics)?;
        let publish = filters(&self.publish)?;
        if topics.is_empty() {
            let message = "it names no topics, so it would be handed nothing".to_owned();
            return Err(Wrong::at(self.name.span(), message));
        }
        let bytes = match self.max_message {
            None => MESSAGE,
            Some(size) if size.get_ref().0 > LARGEST_MESSAGE => {
                let message = "max-message: the largest is 16MiB".to_owned();
                return Err(Wrong::at(size.span(), message));
            }
            Some(size) => size.get_ref().0,
        };
        let tries = match self.tries {
            None => TRIES,
            Some(tries) if !(1..=MOST_TRIES).contains(tries.get_ref()) => {
                let message = format!("tries: a number from 1 to {MOST_TRIES}");
                return Err(Wrong::at(tries.span(), message));
            }
            Some(tries) => tries.into_inner(),
        };
        let messages = Messages {
            broker: broker.clone(),
            topics,
            publish: Bounds {
                topics: publish,
                bytes,
                per_minute: self.publish_per_minute.unwrap_or(PER_MINUTE),
            },
            max_bytes: bytes,
            tries,
        };
        let mut limits = self.limits;
        limits.run.get_or_insert(Time(RUN));
        // It publishes a message in one call.
        let carried = bytes.saturating_add(BESIDE);
        if carried > Limits::default().hostcall_bytes {
            limits.hostcall.get_or_insert(Size(carried));
        }
        let part = ServicePart::new(
            self.name,
            self.component,
            self.signed_as,
            self.grants,
            limits,
        );
        Ok((part, messages))
    }
}

fn filters(texts: &[Spanned<String>]) -> Result<Vec<Filter>, Wrong> {
    if let Some(text) = texts.get(MAX_TOPICS) {
        let message = format!("at most {MAX_TOPICS} topics");
        return Err(Wrong::at(text.span(), message));
    }
    texts
        .iter()
        .map(|text| Filter::parse(text.get_ref()).map_err(|why| Wrong::at(text.span(), why)))
        .collect()
}
