//! The one table of refusal codes: word, exit status, meaning and next step.
//!
//! Everything that prints, logs or documents a refusal reads it from here. A code is a promise: it is never reused
//! for another question, so that scripts and alarms may depend on it.

use std::fmt;

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident, $word:literal, $exit:literal, $meaning:literal, $next:literal;)*) => {
        /// The stable code of a refusal: one for each question that a person would ask.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $(#[doc = $meaning] $variant,)*
        }

        impl Code {
            /// Every code, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The code as it stands in logs, JSON and documents: lower-case words joined by hyphens.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            /// What the code says, in one sentence.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)* }
            }

            /// What to do about it, in one sentence.
            #[must_use]
            pub const fn next_step(self) -> &'static str {
                match self { $(Self::$variant => $next,)* }
            }

            /// The exit status of a program that stops for this reason (2, or 110 to 119).
            #[must_use]
            pub const fn exit_status(self) -> u8 {
                match self { $(Self::$variant => $exit,)* }
            }
        }
    };
}

codes! {
    // 110: unsigned.
    SignatureMissing, "signature-missing", 110,
        "The component carries no signature.",
        "Sign it with `countersign sign`, or ask whoever built it for the signed file.";

    // 111: malformed or tampered.
    ComponentInvalid, "component-invalid", 111,
        "The component is correctly signed, but it is not a component that this runtime can compile.",
        "Rebuild it with a current toolchain and without WebAssembly proposals that the message names.";
    DigestMismatch, "digest-mismatch", 111,
        "The component's bytes are not the ones that were signed.",
        "Copy the file again from its source; if that does not help, treat it as tampered with.";
    EvidenceInvalid, "evidence-invalid", 111,
        "What hardware says in an attestation does not hold, or does not go with what the device says.",
        "Treat it as tampered with, and ask the device again with a fresh nonce.";
    FormatVersion, "format-version", 111,
        "The signature is in a version of the format that this program does not know.",
        "Update the host, or have the component signed in a version that it knows.";
    LimitExceeded, "limit-exceeded", 111,
        "A size or a count in the file is larger than any honest file needs.",
        "Check where the file comes from; a real component of that size cannot be used here.";
    Malformed, "malformed", 111,
        "The file breaks off, or a part of it cannot be read.",
        "Copy the file again from its source; if that does not help, sign it again.";
    Noncanonical, "noncanonical", 111,
        "Some bytes are written in another form than the only permitted one.",
        "Sign the component again with a current `countersign sign`.";
    NotABundle, "not-a-bundle", 111,
        "The file is not a bundle.",
        "Give the file that `countersign bundle create` wrote.";
    NotAComponent, "not-a-component", 111,
        "The file is not a WebAssembly component.",
        "Give the component that the compiler wrote: no core module, no text, no precompiled code.";
    PartMismatch, "part-mismatch", 111,
        "A part of a bundle is not the one that its index names, or the bundle breaks off in it.",
        "Copy the bundle again from its source; if that does not help, treat it as tampered with.";
    Purpose, "purpose", 111,
        "The signed statement is of another kind; it is not a component's.",
        "Sign the component itself; statements made for other purposes are never accepted for it.";
    SignatureDuplicate, "signature-duplicate", 111,
        "The file has more than one signature section.",
        "Take the original component and sign it once; several signers share one section.";
    SignatureInvalid, "signature-invalid", 111,
        "A signature does not match what it signs.",
        "Treat the file as tampered with, and get it again from its source.";
    SignaturePosition, "signature-position", 111,
        "Something follows the signature section, which must be the last.",
        "Do not change a component after signing: change it first, then sign.";
    SignersMismatch, "signers-mismatch", 111,
        "The signers in the file are not the ones that the statement lists.",
        "A signature was removed, added or exchanged: get the file again, or have all signers sign again.";
    TrailingBytes, "trailing-bytes", 111,
        "There are bytes after the end of the component.",
        "Copy the file again from its source, without anything appended.";

    // 112: untrusted chain or profile.
    AlgorithmForbidden, "algorithm-forbidden", 112,
        "A key or signature uses an algorithm that is not permitted.",
        "Use P-256 with SHA-256 or Ed25519 for signers; CAs may also use P-384 with SHA-384.";
    CertificateExtension, "certificate-extension", 112,
        "A certificate lacks an extension that its kind needs, or has one that it must not have.",
        "Have the certificate issued again with the extensions that the message names.";
    CertificateMalformed, "certificate-malformed", 112,
        "A certificate is not strict DER of an X.509 version 3 certificate.",
        "Have the certificate issued again; `openssl asn1parse` shows what it contains.";
    CertificateSerial, "certificate-serial", 112,
        "A certificate's serial number is zero, negative or longer than 20 octets.",
        "Have the certificate issued again with a random positive serial number.";
    ChainLength, "chain-length", 112,
        "The certificate chain is longer than allowed.",
        "Use at most three certificates below the root, and no deeper than each CA's path length allows.";
    ChainOrder, "chain-order", 112,
        "The certificates are not an unbroken chain from the signer's certificate to the root.",
        "Sign again with the signer's certificate first, each followed by its issuer, without the root.";
    DeviceIdentity, "device-identity", 112,
        "A certificate names its device badly, doubly or not at all where it must.",
        "Have the certificate issued again with one hardwareModuleName and, if any, the same serialNumber.";
    EnrolmentMismatch, "enrolment-mismatch", 112,
        "What the authority sent is not a certificate for this key, this device and the roots given.",
        "Ask the authority's operator what was issued, and to whom; what was there before is there still.";
    EvidencePolicy, "evidence-policy", 112,
        "The attestation holds, and does not show the state that is expected.",
        "Find out what the device started or how its key is kept, as the message says, before you trust it.";
    ExtendedKeyUsage, "extended-key-usage", 112,
        "A certificate was issued for another purpose.",
        "Use a certificate that was issued for signing components.";
    KeyIdentifier, "key-identifier", 112,
        "A certificate's key identifiers do not fit its issuer's.",
        "Send the issuer's certificate that really signed it, or have it issued again.";
    KeyInvalid, "key-invalid", 112,
        "A public key is not a sound key of its kind.",
        "Make a new key and have a new certificate issued for it.";
    KeyUsage, "key-usage", 112,
        "A certificate's key must not be used for this.",
        "Have the certificate issued again with the key usage that the message names.";
    NoRoot, "no-root", 112,
        "This host has no root compiled in, so it trusts nothing.",
        "Build one with `COUNTERSIGN_ROOTS=\"$PWD/roots.pem\" cargo build -p countersign-run`, or fill this one with `cargo xtask roots countersign-run roots.pem`.";
    NotACa, "not-a-ca", 112,
        "A certificate that issued another one is not a CA's.",
        "Have the chain issued again by a CA; a device's certificate cannot issue others.";
    RootUnusable, "root-unusable", 112,
        "The compiled-in roots are damaged or break a rule for roots.",
        "Rebuild the host with a sound root file, or fill it again with `cargo xtask roots`.";
    UntrustedRoot, "untrusted-root", 112,
        "The signature leads to no root that this host trusts.",
        "Have the component signed under this host's root, or use the host that was built for that root.";
    ValidityPeriod, "validity-period", 112,
        "A certificate's validity period is one that its kind must not have.",
        "Have the certificate issued again with an ordinary period; development roots live at most 31 days.";

    // 113: signer not authorised, audience.
    Audience, "audience", 113,
        "The component is meant for other devices than this one.",
        "Use the file that was signed for this device, or one that names no device.";
    BundleLine, "bundle-line", 113,
        "The bundle belongs to another line than the one that this gateway takes.",
        "Use the bundle that was made for this line, or correct the line in the gateway's configuration.";
    BundleSigner, "bundle-signer", 113,
        "Too few of a bundle's signers may sign what it holds.",
        "Have it signed by who may sign configurations, update packages, or both, as the message says.";
    OtherComponent, "other-component", 113,
        "The file is properly signed, but it is another component than the one that is expected in its place.",
        "Put the right file in its place, or correct the name that is expected there.";
    SignerNotAuthorised, "signer-not-authorised", 113,
        "The signer is known, but may not sign a component of this name.",
        "Have it signed by a device whose scope covers the name, or have a certificate with that scope issued.";
    SignerNotNamed, "signer-not-named", 113,
        "The signer may sign a component of this name, but the operator of this machine names others for it.",
        "Have it signed by the devices that this machine's configuration names, or have its operator name the signer.";
    SignersTooFew, "signers-too-few", 113,
        "Fewer trusted devices signed than are required here.",
        "Have the component signed by more devices under this host's root, or lower the required number.";

    // 114: not valid now.
    BundleEnded, "bundle-ended", 114,
        "The time up to which a bundle may be applied has passed.",
        "Check this machine's clock; if it is right, get the newest bundle.";
    EvidenceNonce, "evidence-nonce", 114,
        "The attestation answers another nonce than the one that was asked with.",
        "Ask the device again with a fresh nonce; an old answer proves nothing.";
    Expired, "expired", 114,
        "A certificate has expired.",
        "Check this machine's clock; if it is right, have the component signed again with a current certificate.";
    NotYetValid, "not-yet-valid", 114,
        "A certificate is not valid yet.",
        "Check this machine's clock; if it is right, wait or use another certificate.";

    // 115: revocation and rollback.
    BundleRollback, "bundle-rollback", 115,
        "The bundle is not newer than the one that was applied here last, or its number leaps too far.",
        "Use the newest bundle, and raise the number by small steps.";
    CrlInvalid, "crl-invalid", 115,
        "A revocation list cannot be used.",
        "Get a full, current revocation list from the CA that the message names.";
    CrlRollback, "crl-rollback", 115,
        "A revocation list is older than one that was already seen.",
        "Get the newest revocation list from the CA.";
    CrlStale, "crl-stale", 115,
        "A revocation list is out of date.",
        "Get a newer revocation list from the CA and give it with --crl.";
    RevocationUnknown, "revocation-unknown", 115,
        "Nothing says whether a certificate was revoked.",
        "Give the revocation list of the CA that the message names with --crl.";
    Revoked, "revoked", 115,
        "A certificate was revoked by its CA.",
        "Do not use this component; have it signed by a device that was not revoked.";
    Rollback, "rollback", 115,
        "The component is older than one that already ran here, or its number leaps too far.",
        "Use the newest version, and raise security-version by small steps.";
    StateRollback, "state-rollback", 115,
        "What this machine remembers is not the newest of it: it was put back from a copy, or the counter in hardware is another.",
        "Put back the newest folder of this machine, or, if it is lost, make a new one with `countersign-gateway init` and bring the newest lists and components.";

    Withdrawn, "withdrawn", 115,
        "The component's version was withdrawn: a bundle said that nothing older than another may run.",
        "Use a version that was not withdrawn.";

    // 116: imports and grants.
    GrantInvalid, "grant-invalid", 116,
        "Something that was granted does not exist or cannot be opened.",
        "Correct the grant that the message names.";
    ImportDenied, "import-denied", 116,
        "The component needs an import that it did not ask for, that was not granted, or that this host lacks.",
        "Ask for it in component.toml and grant it here, or use a host that offers it.";

    // 117: run-time limits.
    LimitHandles, "limit-handles", 117,
        "The guest held more handles or instances than it may.",
        "Correct the guest, or allow it more.";
    LimitMemory, "limit-memory", 117,
        "The guest asked for more memory than it may have.",
        "Correct the guest, or allow more with --memory and in component.toml.";
    LimitOutput, "limit-output", 117,
        "The guest wrote or copied more than it may.",
        "Correct the guest, or allow it more.";
    LimitStack, "limit-stack", 117,
        "The guest's recursion went deeper than its stack.",
        "Correct the guest.";
    LimitTable, "limit-table", 117,
        "The guest asked for larger tables than it may have.",
        "Correct the guest, or allow it more.";
    LimitTime, "limit-time", 117,
        "The guest did not end in time.",
        "Correct the guest, or allow more with --timeout and in component.toml.";

    // 118: traps.
    BundleUnhealthy, "bundle-unhealthy", 118,
        "What a bundle brought did not prove healthy, and what ran before runs again.",
        "Read the message and the log of the service that it names, and make a new bundle; its number may be used again.";
    Trapped, "trapped", 118,
        "The guest stopped by an error of its own.",
        "Correct the guest; the message says where it stopped.";

    // 119: the host.
    CodeForAnother, "code-for-another", 119,
        "The code that came with a component was compiled for another host.",
        "Compile it with `countersign-gateway precompile` on a gateway of this very build, for this target and processor, and have it signed.";
    Download, "download", 119,
        "A download did not come whole, in time and within its size.",
        "Check the address and the network, and try again: what had come is kept and taken up.";
    HostFailure, "host-failure", 119,
        "The host itself failed.",
        "Read the message; if it does not help, report it with the audit record.";
    KeyHardware, "key-hardware", 119,
        "The key hardware failed or is missing.",
        "Check that the device is there, may be opened, and is not locked.";
    NoCompiler, "no-compiler", 119,
        "This host has no compiler, and no code that it may run came with the component.",
        "Put code beside it that was compiled for this host and is signed, or run it on a host with a compiler.";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::Code;
    use std::collections::BTreeSet;

    #[test]
    fn words_are_unique_lower_case_and_end_with_known_statuses() {
        let words: BTreeSet<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(words.len(), Code::ALL.len());
        for code in Code::ALL {
            assert_eq!(code.to_string(), code.as_str());
            assert!(
                code.as_str()
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b == b'-'),
                "{code}"
            );
            assert!((110..=119).contains(&code.exit_status()), "{code}");
            assert!(
                code.meaning().ends_with('.') && code.next_step().ends_with('.'),
                "{code}"
            );
        }
    }
}
