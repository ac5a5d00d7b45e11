//! Where the authority is.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

/// RFC 7030 §3.2.2.
const WELL_KNOWN: &str = "/.well-known/est";

/// An EST server: `https://HOST[:PORT]`, or with a label where it serves several authorities,
/// `https://HOST[:PORT]/.well-known/est/LABEL` (RFC 7030 §3.2.2).
///
/// ```
/// use countersign_enrolment::Server;
///
/// let server: Server = "https://ca.example:8443/".parse()?;
/// assert_eq!(server.to_string(), "https://ca.example:8443/.well-known/est");
/// assert!("http://ca.example".parse::<Server>().is_err());
/// # Ok::<(), countersign_enrolment::ServerInvalid>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    authority: String,
    label: Option<String>,
}

/// Why a text names no server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ServerInvalid {
    /// The host or the port is none.
    #[error("{0:?} is no host and port; write https://HOST or https://HOST:PORT")]
    Host(String),
    /// A path that is none of EST's.
    #[error(
        "an EST server has no path but /.well-known/est/LABEL, and {0:?} is another; leave it out, or give the label"
    )]
    Path(String),
    /// No https.
    #[error("{0:?} does not begin with https://; certificates are asked for over TLS only")]
    Scheme(String),
}

impl Server {
    /// The address of one of EST's operations.
    pub(crate) fn operation(&self, name: &str) -> String {
        format!("{self}/{name}")
    }
}

impl FromStr for Server {
    type Err = ServerInvalid;

    fn from_str(text: &str) -> Result<Self, ServerInvalid> {
        let rest = text
            .strip_prefix("https://")
            .ok_or_else(|| ServerInvalid::Scheme(text.into()))?;
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        if !is_authority(authority) {
            return Err(ServerInvalid::Host(authority.into()));
        }
        let wrong = || ServerInvalid::Path(path.into());
        let label = match path.trim_end_matches('/') {
            "" => None,
            path => match path.strip_prefix(WELL_KNOWN).ok_or_else(wrong)? {
                "" => None,
                label => Some(label.strip_prefix('/').ok_or_else(wrong)?),
            },
        };
        // RFC 3986 §2.3, the characters that need no escape.
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        if label.is_some_and(|label| !label.bytes().all(plain) || label.starts_with('.')) {
            return Err(wrong());
        }
        Ok(Self {
            authority: authority.into(),
            label: label.map(Into::into),
        })
    }
}

/// With the path, without a slash at the end.
impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https://{}{WELL_KNOWN}", self.authority)?;
        match &self.label {
            Some(label) => write!(f, "/{label}"),
            None => Ok(()),
        }
    }
}

/// A host name, an IPv4 address or an IPv6 address in brackets, and perhaps a port; no user, no password.
fn is_authority(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) => {
            if address.parse::<Ipv6Addr>().is_err() {
                return false;
            }
            match (port, port.strip_prefix(':')) {
                ("", _) => return true,
                (_, Some(port)) => ("", Some(port)),
                _ => return false,
            }
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let is_host = text.starts_with('[')
        || ((1..=253).contains(&host.len())
            && host
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte))
            && !host.starts_with(['-', '.']));
    let is_port = port.is_none_or(|port| {
        port.bytes().all(|byte| byte.is_ascii_digit())
            && port.parse::<u16>().is_ok_and(|port| port != 0)
    });
    is_host && is_port
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_a_host_by_https_and_perhaps_a_label() {
        for (text, shown) in [
            ("https://a", "https://a/.well-known/est"),
            (
                "https://a.example:1/",
                "https://a.example:1/.well-known/est",
            ),
            ("https://[::1]:8443", "https://[::1]:8443/.well-known/est"),
            ("https://[::1]", "https://[::1]/.well-known/est"),
            (
                "https://1.2.3.4/.well-known/est",
                "https://1.2.3.4/.well-known/est",
            ),
            (
                "https://a/.well-known/est/tls",
                "https://a/.well-known/est/tls",
            ),
        ] {
            assert_eq!(
                text.parse::<Server>().map(|server| server.to_string()),
                Ok(shown.into())
            );
        }
        for bad in [
            "",
            "a",
            "http://a",
            "HTTPS://a",
            "https://",
            "https:///x",
            "https://user@a",
            "https://a b",
            "https://a:0",
            "https://a:99999",
            "https://a:+1",
            "https://a:",
            "https://[::1",
            "https://[x]",
            "https://[::1]x",
            "https://a/x",
            "https://a/.well-known/estx",
            "https://a/.well-known/est/..",
            "https://a/.well-known/est/a/b",
            "https://a/.well-known/est/a?b",
            "https://a\r\nb",
            "https://a#b",
        ] {
            assert!(bad.parse::<Server>().is_err(), "{bad:?}");
        }
    }
}
