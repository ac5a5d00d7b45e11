//! The rules for text in statements, scopes and identities.
//!
//! What is signed is shown to people, compared, and handed to the operating system. So each kind of text has a
//! small alphabet and one spelling: no control characters, no look-alikes, no second way to write the same path
//! or host. Errors name the field (`what`) and the rule.

use core::net::{Ipv4Addr, Ipv6Addr};

use crate::FormatError;
use crate::cbor::{length, within};
use crate::limits;

/// A name of something in a plant: a device type, a capability, a key, a context. 1 to 64 characters of
/// `A-Z a-z 0-9 . _ : + / -`, the first a letter or digit.
pub(crate) fn check_label(what: &'static str, text: &str) -> Result<(), FormatError> {
    check_safe(
        what,
        text,
        b"._:+/-",
        "use only letters, digits and . _ : + / -, and start with a letter or digit",
    )
}

/// 1 to 64 ASCII letters, digits and `marks`, the first a letter or digit.
pub(crate) fn check_safe(
    what: &'static str,
    text: &str,
    marks: &[u8],
    why: &'static str,
) -> Result<(), FormatError> {
    within(what, limits::MAX_DEVICE_ID, length(text.len()))?;
    let first = text
        .bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_alphanumeric());
    let rest = text
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || marks.contains(&byte));
    if first && rest {
        Ok(())
    } else {
        Err(FormatError::text(what, text, why))
    }
}

/// The name of an environment variable: `[A-Za-z_][A-Za-z0-9_]*`.
pub(crate) fn check_environment_name(what: &'static str, text: &str) -> Result<(), FormatError> {
    within(what, limits::MAX_TEXT_BYTES, length(text.len()))?;
    let first = text
        .bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    let rest = text
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if first && rest {
        Ok(())
    } else {
        Err(FormatError::text(
            what,
            text,
            "use letters, digits and _, and do not start with a digit (a name, without =)",
        ))
    }
}

/// The path of a directory as a guest sees it: absolute, normalised, no `\` (which one host takes for a separator
/// and another does not), no control characters.
pub(crate) fn check_guest_path(what: &'static str, text: &str) -> Result<(), FormatError> {
    within(what, limits::MAX_TEXT_BYTES, length(text.len()))?;
    let refuse = |why| Err(FormatError::text(what, text, why));
    let Some(path) = text.strip_prefix('/') else {
        return refuse("a guest path starts with /");
    };
    if text
        .chars()
        .any(|character| character.is_control() || character == '\\' || is_invisible(character))
    {
        return refuse("a guest path holds no control or invisible characters and no backslash");
    }
    if !path.is_empty() && path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return refuse(
            "a guest path is normalised: no empty, `.` or `..` part and no / at the end",
        );
    }
    Ok(())
}

/// Characters that print nothing or reorder what is printed beside them.
fn is_invisible(character: char) -> bool {
    matches!(character,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e0fff}')
}

/// A host with an optional port: a lower-case DNS name, an IPv4 address, or an IPv6 address in brackets, each in
/// its one canonical form.
pub(crate) fn check_host(what: &'static str, text: &str) -> Result<(), FormatError> {
    within(what, limits::MAX_TEXT_BYTES, length(text.len()))?;
    let (host, port) = split_port(text);
    if !port.is_none_or(is_port) {
        return Err(FormatError::text(
            what,
            text,
            "a port is a number from 1 to 65535 without leading zeros",
        ));
    }
    if is_host(host) {
        Ok(())
    } else {
        Err(FormatError::text(
            what,
            text,
            "name a host as a lower-case DNS name, an IPv4 address or a bracketed IPv6 address, \
             without scheme, path, user or wildcard",
        ))
    }
}

/// A socket: `tcp:HOST:PORT` or `udp:HOST:PORT` to reach one, `tcp-listen:ADDRESS:PORT` or `udp-listen:ADDRESS:PORT`
/// to be one.
pub(crate) fn check_socket(what: &'static str, text: &str) -> Result<(), FormatError> {
    within(what, limits::MAX_TEXT_BYTES, length(text.len()))?;
    let valid = text.split_once(':').is_some_and(|(protocol, address)| {
        let (host, port) = split_port(address);
        let listens = matches!(protocol, "tcp-listen" | "udp-listen");
        (listens || matches!(protocol, "tcp" | "udp"))
            && port.is_some_and(is_port)
            && (is_address(host) || (!listens && is_host(host)))
    });
    if valid {
        Ok(())
    } else {
        Err(FormatError::text(
            what,
            text,
            "write tcp:HOST:PORT or udp:HOST:PORT to connect, tcp-listen:ADDRESS:PORT or udp-listen:ADDRESS:PORT \
             to listen",
        ))
    }
}

/// RFC 6838 §4.2: `type/subtype` in lower case, without parameters.
pub(crate) fn check_media_type(what: &'static str, text: &str) -> Result<(), FormatError> {
    within(what, limits::MAX_TEXT_BYTES, length(text.len()))?;
    let part = |part: &str| {
        part.len() <= 127
            && part
                .bytes()
                .next()
                .is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
            && part.bytes().all(|byte| {
                byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"!#$&-^_.+".contains(&byte)
            })
    };
    if text
        .split_once('/')
        .is_some_and(|(kind, subtype)| part(kind) && part(subtype))
    {
        Ok(())
    } else {
        Err(FormatError::text(
            what,
            text,
            "write a media type as type/subtype, in lower case, without parameters",
        ))
    }
}

/// Splits `host:port`; the colons inside brackets belong to the host.
fn split_port(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    }
}

fn is_port(text: &str) -> bool {
    text.parse::<u16>()
        .is_ok_and(|port| port != 0 && port.to_string() == text)
}

/// An address in its one canonical form, as RFC 5952 writes it.
fn is_address(host: &str) -> bool {
    match host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
    {
        Some(v6) => v6
            .parse::<Ipv6Addr>()
            .is_ok_and(|address| address.to_string() == v6),
        None => host
            .parse::<Ipv4Addr>()
            .is_ok_and(|address| address.to_string() == host),
    }
}

fn is_host(host: &str) -> bool {
    let label = |label: &str| {
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(inner)
    };
    // A name whose last label is a number would be taken for an IPv4 address by some resolvers (0x7f.1, 127.1).
    let numeric = |label: &str| {
        label
            .bytes()
            .next()
            .is_some_and(|byte| byte.is_ascii_digit())
    };
    is_address(host)
        || (host.len() <= 253
            && host.split('.').all(label)
            && !host.rsplit('.').next().is_some_and(numeric))
}

/// Sorts a list of which the order says nothing, and refuses a repeated entry: one meaning, one encoding.
pub(crate) fn sort_unique<T: Ord>(what: &'static str, list: &mut [T]) -> Result<(), FormatError> {
    within(what, limits::MAX_LIST_ENTRIES, length(list.len()))?;
    list.sort_unstable();
    if list.iter().zip(list.iter().skip(1)).all(|(a, b)| a < b) {
        Ok(())
    } else {
        Err(FormatError::text(what, "", "an entry appears twice"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(
        check: impl Fn(&'static str, &str) -> Result<(), FormatError>,
        good: &[&str],
        bad: &[&str],
    ) {
        for text in good {
            assert_eq!(check("field", text), Ok(()), "{text:?}");
        }
        for text in bad {
            let error = check("field", text).expect_err(text);
            assert!(
                matches!(error, FormatError::Text { what: "field", .. }),
                "{text:?}: {error:?}"
            );
        }
    }

    #[test]
    fn tc19_labels() {
        all(
            check_label,
            &["a", "gateway-x2", "1.2.3+build", "telemetry/v1", "A:b_c"],
            &["", "-a", "a b", "a\0", "a\n", "ä", "a\u{202e}", "Α"],
        );
        assert!(matches!(
            check_label("field", &"a".repeat(65)),
            Err(FormatError::LimitExceeded { .. })
        ));
        assert_eq!(check_label("field", &"a".repeat(64)), Ok(()));
    }

    #[test]
    fn environment_names() {
        all(
            check_environment_name,
            &["A", "_", "LANG", "a_1"],
            &["", "1A", "A=B", "A B", "A\0", "Ä"],
        );
    }

    #[test]
    fn guest_paths_are_absolute_and_normalised() {
        all(
            check_guest_path,
            &["/", "/data", "/data/in box", "/données", "/...", "/.hidden"],
            &[
                "",
                "data",
                "./data",
                "//",
                "/data/",
                "/data//x",
                "/data/.",
                "/data/../etc",
                "/..",
                "/a\\b",
                "/a\0",
                "/a\n",
                "/a\u{202e}b",
                "/a\u{200b}",
            ],
        );
    }

    #[test]
    fn hosts_have_one_spelling() {
        all(
            check_host,
            &[
                "localhost",
                "example.com",
                "a-b.example:8080",
                "xn--bcher-kva.example",
                "127.0.0.1",
                "10.0.0.1:80",
                "[::1]",
                "[2001:db8::1]:443",
                "3com.example",
            ],
            &[
                "",
                "Example.com",
                "example.com.",
                ".example",
                "a..b",
                "-a.example",
                "a-.example",
                "*.example",
                "http://example.com",
                "example.com/",
                "user@example.com",
                "example.com:0",
                "example.com:08",
                "example.com:65536",
                "example.com:",
                "127.1",
                "0177.0.0.1",
                "0x7f.0.0.0x1",
                "1.2.3.4.5",
                "::1",
                "[::1",
                "[0:0:0:0:0:0:0:1]",
                "[::0001]",
                "[::1]:0",
                "bücher.example",
                "a b",
                "a\0",
            ],
        );
    }

    #[test]
    fn sockets_name_protocol_host_and_port() {
        all(
            check_socket,
            &[
                "tcp:example.com:443",
                "udp:[::1]:53",
                "tcp-listen:0.0.0.0:80",
                "udp-listen:[::]:5353",
            ],
            &[
                "",
                "tcp",
                "tcp:example.com",
                "example.com:443",
                "sctp:example.com:1",
                "tcp:example.com:0",
                "tcp-listen:example.com:80",
                "TCP:example.com:443",
                "tcp:*:1",
            ],
        );
    }

    #[test]
    fn media_types() {
        all(
            check_media_type,
            &[
                "application/vnd.cyclonedx+json",
                "application/spdx+json",
                "text/plain",
            ],
            &[
                "",
                "text",
                "text/",
                "/plain",
                "Text/plain",
                "text/plain; charset=utf-8",
                "a/b/c",
                "a/b\0",
            ],
        );
    }

    #[test]
    fn lists_are_sorted_and_unique() {
        let mut list = ["b", "a"];
        sort_unique("list", &mut list).unwrap();
        assert_eq!(list, ["a", "b"]);
        assert!(sort_unique("list", &mut ["a", "b", "a"]).is_err());
        assert!(matches!(
            sort_unique("list", &mut (0..65).collect::<Vec<_>>()),
            Err(FormatError::LimitExceeded {
                limit: 64,
                actual: 65,
                ..
            })
        ));
    }
}
