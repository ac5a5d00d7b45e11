//! Which interfaces of WASI 0.2 there are, and which grant each of them needs.

/// What an import's name means for grants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wasi {
    /// Always there: it does nothing outside the guest until something is granted.
    Inert,
    Sockets,
    HttpOutgoing,
    /// Shared by incoming and outgoing HTTP.
    HttpTypes,
    /// One of the above in a version that is not 0.2.
    OtherVersion,
    /// Not defined by this library.
    Not,
}

/// Every interface that this library or a grant of it covers.
const INTERFACES: &[(&str, Wasi)] = &[
    ("wasi:cli/environment", Wasi::Inert),
    ("wasi:cli/exit", Wasi::Inert),
    ("wasi:cli/stderr", Wasi::Inert),
    ("wasi:cli/stdin", Wasi::Inert),
    ("wasi:cli/stdout", Wasi::Inert),
    ("wasi:cli/terminal-input", Wasi::Inert),
    ("wasi:cli/terminal-output", Wasi::Inert),
    ("wasi:cli/terminal-stderr", Wasi::Inert),
    ("wasi:cli/terminal-stdin", Wasi::Inert),
    ("wasi:cli/terminal-stdout", Wasi::Inert),
    ("wasi:clocks/monotonic-clock", Wasi::Inert),
    ("wasi:clocks/wall-clock", Wasi::Inert),
    ("wasi:filesystem/preopens", Wasi::Inert),
    ("wasi:filesystem/types", Wasi::Inert),
    ("wasi:http/outgoing-handler", Wasi::HttpOutgoing),
    ("wasi:http/types", Wasi::HttpTypes),
    ("wasi:io/error", Wasi::Inert),
    ("wasi:io/poll", Wasi::Inert),
    ("wasi:io/streams", Wasi::Inert),
    ("wasi:random/insecure", Wasi::Inert),
    ("wasi:random/insecure-seed", Wasi::Inert),
    ("wasi:random/random", Wasi::Inert),
    ("wasi:sockets/instance-network", Wasi::Sockets),
    ("wasi:sockets/ip-name-lookup", Wasi::Sockets),
    ("wasi:sockets/network", Wasi::Sockets),
    ("wasi:sockets/tcp", Wasi::Sockets),
    ("wasi:sockets/tcp-create-socket", Wasi::Sockets),
    ("wasi:sockets/udp", Wasi::Sockets),
    ("wasi:sockets/udp-create-socket", Wasi::Sockets),
];

/// Classifies `name` as a component spells it: `namespace:package/interface@version`.
pub(crate) fn classify(name: &str) -> Wasi {
    let (bare, version) = name.split_once('@').unwrap_or((name, ""));
    let Some((_, class)) = INTERFACES.iter().find(|(interface, _)| *interface == bare) else {
        return Wasi::Not;
    };
    // Every interface has been there since 0.2.0; a pre-release of 0.2 had other functions.
    let patch = version.strip_prefix("0.2.").unwrap_or_default();
    if !patch.is_empty() && patch.bytes().all(|byte| byte.is_ascii_digit()) {
        *class
    } else {
        Wasi::OtherVersion
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn te17_names_and_versions_are_taken_literally() {
        assert_eq!(classify("wasi:cli/exit@0.2.0"), Wasi::Inert);
        assert_eq!(classify("wasi:cli/exit@0.2.12"), Wasi::Inert);
        assert_eq!(classify("wasi:sockets/tcp@0.2.6"), Wasi::Sockets);
        assert_eq!(classify("wasi:http/types@0.2.6"), Wasi::HttpTypes);
        for version in [
            "0.3.0",
            "0.2",
            "0.2.",
            "0.2.0-rc-2023-11-10",
            "1.0.0",
            "0.20.0",
            "",
        ] {
            assert_eq!(
                classify(&format!("wasi:cli/exit@{version}")),
                Wasi::OtherVersion,
                "{version}"
            );
        }
        for name in [
            "wasi:cli/exit2@0.2.0",
            "wasi:cli",
            "exit",
            "",
            "WASI:cli/exit@0.2.0",
            "wasi:keyvalue/store@0.2.0",
        ] {
            assert_eq!(classify(name), Wasi::Not, "{name}");
        }
        assert_eq!(classify("wasi:cli/exit"), Wasi::OtherVersion);
    }
}
