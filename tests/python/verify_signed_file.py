#!/usr/bin/env python3
"""Verify a signed component with other people's code: cbor2 and cryptography.

    python3 verify_signed_file.py --root root.pem [--root other.pem] [--at 2026-11-22T12:00:00Z] app.signed.wasm

Written from the description of the format alone (envelope.cddl, statement.cddl and RFC 9052, 9360 and 5280), so
that a mistake in the Rust crates does not verify its own output. It checks the layout of the file, the canonical
form of the envelope and the statement, digest and size, every signature, the list of signers, each certificate
chain to a given root at the given time, code signing, and scopes.

It does not check revocation, the audience of this machine, whether a newer version was seen before, or a scope
that stands beside a root in a configuration file: those are known to a host alone. So "verified" here means "well
signed", not "may run".

Prints one JSON object. Exit status: 0 verified, 1 refused, 2 usage or a file that cannot be read.
"""

import argparse
import hashlib
import json
import re
import sys
from collections.abc import Mapping
from datetime import datetime, timezone

import cbor2
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

PREAMBLE = b"\0asm\x0d\x00\x01\x00"
SECTION_NAME = b"component-signature"
CONTENT_TYPE = "application/vnd.countersign.statement+cbor"
SHA_256 = -16
ED25519, ESP256 = -19, -9
ALGORITHM_NAMES = {ED25519: "Ed25519", ESP256: "ESP256"}
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551

CODE_SIGNING = x509.ObjectIdentifier("1.3.6.1.5.5.7.3.3")
DOCUMENT_SIGNING = x509.ObjectIdentifier("1.3.6.1.5.5.7.3.36")
PURPOSES = {CODE_SIGNING: "code signing", DOCUMENT_SIGNING: "document signing"}
COMPONENT_SCOPE = x509.ObjectIdentifier("1.3.6.1.4.1.32473.1.1")
HARDWARE_MODULE_NAME = x509.ObjectIdentifier("1.3.6.1.5.5.7.8.4")

NAME_PART = r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*"
COMPONENT_NAME = re.compile(rf"{NAME_PART}:{NAME_PART}")
NAME_PATTERN = re.compile(rf"{NAME_PART}:(?:{NAME_PART}|\*)")
SEMANTIC_VERSION = re.compile(
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)"
    r"(-(0|[1-9]\d*|\d*[A-Za-z-][0-9A-Za-z-]*)(\.(0|[1-9]\d*|\d*[A-Za-z-][0-9A-Za-z-]*))*)?"
    r"(\+[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?",
    re.ASCII,
)


class Refused(Exception):
    """The file is not well signed; the text says why."""


def require(condition, why):
    if not condition:
        raise Refused(why)


def main():
    return run(command_line(__doc__, "the signed component").parse_args(), verify)


def run(arguments, verify):
    """Reads what the arguments name, prints the verdict of `verify`, and returns the exit status."""
    try:
        roots = [root for path in arguments.root for root in read_roots(path)]
        with open(arguments.file, "rb") as file:
            content = file.read()
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    result = judge(verify, content, roots, arguments.at)
    print(json.dumps(result, indent=2))
    return 0 if result["verified"] else 1


def command_line(description, file):
    parser = argparse.ArgumentParser(description=description.partition("\n")[0])
    parser.add_argument("--root", required=True, action="append", metavar="PEM", help="trusted roots; repeatable")
    parser.add_argument("--at", type=moment, default=datetime.now(timezone.utc), metavar="TIME",
                        help="judge at this time, RFC 3339 or seconds since 1970 (default: now)")
    parser.add_argument("file", metavar="FILE", help=file)
    return parser


def moment(text):
    if text.isdecimal():
        return datetime.fromtimestamp(int(text), timezone.utc)
    time = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return time if time.tzinfo else time.replace(tzinfo=timezone.utc)


def read_roots(path):
    with open(path, "rb") as file:
        roots = x509.load_pem_x509_certificates(file.read())
    for root in roots:
        try:
            root.verify_directly_issued_by(root)
        except (InvalidSignature, TypeError, ValueError) as error:
            raise ValueError(f"{path}: {root.subject.rfc4514_string()} is not signed by itself") from error
    return roots


def judge(verify, content, roots, at):
    try:
        return {"version": 1, "verified": True, **verify(content, roots, at)}
    except Refused as refusal:
        return {"version": 1, "verified": False, "reason": str(refusal)}
    except Exception as error:  # cryptography raises many kinds for keys and certificates that it cannot read
        return {"version": 1, "verified": False, "reason": f"not readable: {type(error).__name__}: {error}"}


def verify(content, roots, at):
    component, payload = split(content)
    statement_bytes, signatures = decode_envelope(payload)
    statement = decode_statement(statement_bytes)

    require(statement["size"] == len(component), "the statement is about a component of another size")
    require(statement["digest"] == hashlib.sha256(component).digest(), "the statement is about another component")

    signers = [verify_signature(statement_bytes, *signature) for signature in signatures]
    require([(signer["cose"], signer["spki"], signer["chain"]) for signer in signers] == statement["signers"],
            "the signers are not those that the statement lists")

    # Every chain that reaches a root must be good; at least one must reach one.
    reports = [verify_chain(signer, roots, at, statement) for signer in signers]
    require(any(report["trusted"] for report in reports), "no signer's chain leads to a given root")
    return {
        "component": {
            "name": statement["name"],
            "version": statement["semantic-version"],
            "security-version": statement["security-version"],
            "size": len(component),
            "sha256": statement["digest"].hex(),
        },
        "audience": statement["audience"],
        "signers": reports,
    }


# The file: P, then one custom section at its very end.

def split(content):
    require(content.startswith(PREAMBLE), "the file is not a WebAssembly component")
    at = len(PREAMBLE)
    found = []
    while at < len(content):
        start, number = at, content[at]
        require(number <= 12, f"no section starts at byte {start}")
        size, at = leb128(content, at + 1)
        end = at + size
        require(end <= len(content), f"the section at byte {start} reaches past the end of the file")
        if number == 0:
            length, name_at = leb128(content, at)
            require(name_at + length <= end, f"the name of the section at byte {start} reaches past its end")
            if content[name_at:name_at + length] == SECTION_NAME:
                found.append((start, content[name_at + length:end], end))
        at = end
    require(found, "the component has no signature section")
    require(len(found) == 1, "the component has two signature sections")
    [(start, payload, end)] = found
    require(end == len(content), "a section follows the signature section")
    return content[:start], payload


def leb128(content, at):
    value = 0
    for index in range(5):
        require(at + index < len(content), "the file ends inside a length")
        byte = content[at + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            require(value < 1 << 32, "a length has more than 32 bits")
            require(index == 0 or byte != 0, f"the length at byte {at} is not in its shortest form")
            return value, at + index + 1
    raise Refused("a length has more than 32 bits")


# The envelope and the statement.

def decode_cbor(encoded, what):
    """Decode, and refuse every encoding but the deterministic one (RFC 8949 section 4.2.1)."""
    try:
        value = cbor2.loads(encoded)
        canonical = cbor2.dumps(value, canonical=True)
    except Exception as error:  # cbor2 raises many kinds, and each means the same here
        raise Refused(f"the {what} is not CBOR: {error}") from error
    require(canonical == encoded, f"the {what} is not in canonical form")
    return value


def exact_map(value, what, required, optional=()):
    # cbor2 returns frozen maps and tuples from inside a tag.
    require(isinstance(value, Mapping), f"the {what} is not a map")
    require(all(type(key) is int for key in value), f"a key of the {what} is not an integer")
    require(set(required) <= set(value), f"the {what} lacks a part")
    require(set(value) <= {*required, *optional}, f"the {what} has an unknown part")
    return value


def exact_list(value, what, least, most):
    require(isinstance(value, (list, tuple)), f"the {what} is not a list")
    require(least <= len(value) <= most, f"the {what} has {len(value)} entries")
    return list(value)


def typed(value, kind, what):
    require(type(value) is kind, f"the {what} is not of type {kind.__name__}")
    return value


def digest_of(value, what):
    require(len(typed(value, bytes, what)) == 32, f"the {what} is not 32 bytes long")
    return value


def decode_envelope(payload):
    require(len(payload) <= 128 * 1024, "the signature section is too large")
    envelope = decode_cbor(payload, "envelope")
    require(isinstance(envelope, cbor2.CBORTag) and envelope.tag == 98, "the envelope is not a COSE_Sign")
    protected, unprotected, statement, signatures = exact_list(envelope.value, "COSE_Sign", 4, 4)
    header = exact_map(decode_cbor(typed(protected, bytes, "header"), "header"), "header", [3])
    require(header[3] == CONTENT_TYPE, f"the signatures are for another purpose: {header[3]!r}")
    exact_map(unprotected, "unprotected header", [])
    signatures = exact_list(signatures, "list of signatures", 1, 4)
    return typed(statement, bytes, "statement"), [decode_signature(protected, *exact_list(one, "signature", 3, 3))
                                                  for one in signatures]


def decode_signature(body, protected, unprotected, signature):
    header = exact_map(decode_cbor(typed(protected, bytes, "header"), "header"), "signer's header", [1, 33])
    exact_map(unprotected, "unprotected header", [])
    require(header[1] in ALGORITHM_NAMES, f"signature algorithm {header[1]!r} is not allowed")
    chain, certificates = decode_chain(header[33])
    return body, protected, header[1], certificates, hashlib.sha256(b"".join(chain)).digest(), signature


def decode_chain(chain):
    """RFC 9360: one certificate alone, or more in an array; as they are encoded, and decoded."""
    chain = [chain] if isinstance(chain, bytes) else exact_list(chain, "certificate chain", 2, 3)
    try:
        return chain, [x509.load_der_x509_certificate(typed(one, bytes, "certificate")) for one in chain]
    except ValueError as error:
        raise Refused(f"a certificate cannot be read: {error}") from error


def decode_statement(encoded):
    require(len(encoded) <= 16 * 1024, "the statement is too large")
    fields = exact_map(decode_cbor(encoded, "statement"), "statement", range(1, 9), range(9, 14))
    require(fields[1] == 1, f"statement version {fields[1]!r} is unknown")
    require(fields[2] == SHA_256, f"digest algorithm {fields[2]!r} is not allowed")
    signers = [exact_list(signer, "signer", 3, 3) for signer in exact_list(fields[8], "list of signers", 1, 4)]
    signers = [(typed(cose, int, "algorithm"), digest_of(spki, "signer's key"), digest_of(chain, "signer's chain"))
               for cose, spki, chain in signers]
    require(signers == sorted(signers), "the list of signers is not sorted")
    require(len({spki for _, spki, _ in signers}) == len(signers), "the list of signers names a key twice")
    audience = exact_map(fields.get(9, {}), "audience", [], [1, 2])
    require(9 not in fields or audience, "the audience is there and empty")
    name = typed(fields[5], str, "component name")
    require(COMPONENT_NAME.fullmatch(name) and len(name) <= 128, f"component name {name!r} is not valid")
    version = typed(fields[6], str, "version")
    require(SEMANTIC_VERSION.fullmatch(version), f"version {version!r} is not valid")
    for key, kind in ((10, Mapping), (11, Mapping), (12, list), (13, int)):
        require(key not in fields or isinstance(fields[key], kind), f"part {key} of the statement is malformed")
    return {
        "digest": digest_of(fields[3], "digest"),
        "size": typed(fields[4], int, "size"),
        "name": name,
        "semantic-version": version,
        "security-version": typed(fields[7], int, "security version"),
        "signers": signers,
        "audience": {"devices": strings(audience, 1, "audience"), "types": strings(audience, 2, "audience")},
    }


def strings(fields, key, what):
    if key not in fields:
        return []
    texts = [typed(text, str, what) for text in exact_list(fields[key], what, 1, 64)]
    require(texts == sorted(set(texts)), f"the {what} is not sorted, or names something twice")
    return texts


# Signatures.

def verify_signature(statement, body, protected, cose, certificates, chain, signature):
    """RFC 9052 section 4.4: what is signed is the Sig_structure."""
    message = cbor2.dumps(["Signature", body, protected, b"", statement], canonical=True)
    key = certificates[0].public_key()
    verify_raw(cose, key, message, signature)
    spki = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return {"cose": cose, "spki": hashlib.sha256(spki).digest(), "chain": chain, "certificates": certificates}


def verify_raw(cose, key, message, signature):
    """A signature as COSE has it: 64 bytes, of ECDSA in its low-S form (RFC 9053 section 2)."""
    require(len(typed(signature, bytes, "signature")) == 64, "a signature is not 64 bytes long")
    try:
        if cose == ED25519:
            require(isinstance(key, ed25519.Ed25519PublicKey), "an Ed25519 signature by another kind of key")
            key.verify(signature, message)
        else:
            require(is_on(key, ec.SECP256R1), "an ESP256 signature by another kind of key")
            r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
            require(s <= P256_ORDER // 2, "a signature is not in its low-S form")
            key.verify(encode_dss_signature(r, s), message, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature as error:
        raise Refused("a signature does not verify") from error


def is_on(key, *curves):
    return isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, curves)


# Chains.

def verify_chain(signer, roots, at, statement):
    chain = signer["certificates"]
    leaf = chain[0]
    report = {
        "algorithm": ALGORITHM_NAMES[signer["cose"]],
        "subject": leaf.subject.rfc4514_string(),
        "spki-sha256": signer["spki"].hex(),
        "device": device_identity(leaf),
        "trusted": False,
    }
    root = root_of(chain, roots)
    if root is None:
        return report
    chain = [*chain, root]
    verify_path(chain, at, CODE_SIGNING)
    check_scope(chain, statement)
    return {**report, "trusted": True, "root": root.subject.rfc4514_string()}


def verify_path(chain, at, purpose):
    """Everything about the certificates, leaf first and root last, but their signatures."""
    for depth, certificate in enumerate(chain):
        name = certificate.subject.rfc4514_string()
        require(certificate.not_valid_before_utc <= at, f"{name} is not valid yet")
        require(at <= certificate.not_valid_after_utc, f"{name} has expired")
        if depth == 0:
            check_leaf(certificate, name, purpose)
        else:
            check_authority(certificate, name, depth - 1, purpose)
        check_extensions(certificate, name)


def root_of(chain, roots):
    """The root that the chain's signatures lead to, if they lead to any."""
    for certificate, issuer in zip(chain, chain[1:]):
        if not issued(certificate, issuer):
            return None
    return next((root for root in roots if issued(chain[-1], root)), None)


def issued(certificate, issuer):
    key = issuer.public_key()
    if not (isinstance(key, ed25519.Ed25519PublicKey) or is_on(key, ec.SECP256R1, ec.SECP384R1)):
        return False
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, TypeError, ValueError):
        return False
    return True


def extension(certificate, kind):
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
    except ValueError as error:
        raise Refused(f"an extension cannot be read: {error}") from error


def check_leaf(certificate, name, purpose):
    basic = extension(certificate, x509.BasicConstraints)
    require(basic is None or not basic.ca, f"{name} is a CA, which signs certificates only")
    usage = extension(certificate, x509.KeyUsage)
    require(usage is not None and usage.digital_signature, f"{name} may not sign: no digitalSignature")
    require(not usage.key_cert_sign, f"{name} signs certificates besides")
    purposes = extension(certificate, x509.ExtendedKeyUsage)
    require(purposes is not None and purpose in purposes, f"{name} is not for {PURPOSES[purpose]}")


def check_authority(certificate, name, below, purpose):
    """`below` counts the intermediates under this CA (RFC 5280 section 4.2.1.9)."""
    basic = extension(certificate, x509.BasicConstraints)
    require(basic is not None and basic.ca, f"{name} is not a CA")
    require(basic.path_length is None or below <= basic.path_length, f"there are too many CAs under {name}")
    usage = extension(certificate, x509.KeyUsage)
    require(usage is not None and usage.key_cert_sign, f"{name} may not issue: no keyCertSign")
    purposes = extension(certificate, x509.ExtendedKeyUsage)
    require(purposes is None or purpose in purposes, f"{name} may not issue for {PURPOSES[purpose]}")


def check_extensions(certificate, name):
    known = {x509.BasicConstraints, x509.KeyUsage, x509.ExtendedKeyUsage, x509.SubjectAlternativeName,
             x509.SubjectKeyIdentifier, x509.AuthorityKeyIdentifier}
    for one in certificate.extensions:
        require(not one.critical or type(one.value) in known, f"{name} has an unknown critical extension {one.oid}")


# Scopes: ComponentScope ::= SEQUENCE { components SEQUENCE OF UTF8String,
#   audience [0] IMPLICIT SEQUENCE { devices [0] IMPLICIT SEQUENCE OF UTF8String OPTIONAL,
#                                    types [1] IMPLICIT SEQUENCE OF UTF8String OPTIONAL } OPTIONAL }

def check_scope(chain, statement):
    scopes = [scope for scope in map(scope_of, reversed(chain)) if scope is not None]
    require(scopes, "no certificate of the chain says which components may be signed")
    for outer, inner in zip(scopes, scopes[1:]):
        require(all(any(covers(wide, narrow) for wide in outer["components"]) for narrow in inner["components"])
                and audience_within(inner, outer), "a scope is wider than the one above it")
    scope = scopes[-1]
    require(any(covers(pattern, statement["name"]) for pattern in scope["components"]),
            f"the signer may not sign {statement['name']}, only {', '.join(scope['components'])}")
    require(audience_within(statement["audience"], scope), "the signer may not sign for this audience")


def covers(wide, narrow):
    return wide == narrow or (wide.endswith(":*") and wide[:-1] == narrow.partition(":")[0] + ":")


def audience_within(inner, outer):
    return all(not outer[key] or (inner[key] and set(inner[key]) <= set(outer[key])) for key in ("devices", "types"))


def scope_of(certificate):
    try:
        value = certificate.extensions.get_extension_for_oid(COMPONENT_SCOPE).value.value
    except x509.ExtensionNotFound:
        return None
    [content] = der_sequence(value, "scope", 0x30, 1)
    parts = der_items(content)
    require(1 <= len(parts) <= 2 and parts[0][0] == 0x30, "a scope is malformed")
    scope = {"components": der_texts(parts[0][1]), "devices": [], "types": []}
    require(all(NAME_PATTERN.fullmatch(pattern) for pattern in scope["components"]), "a scope names no component")
    if len(parts) == 2:
        require(parts[1][0] == 0xA0, "a scope is malformed")
        lists = der_items(parts[1][1])
        tags = [tag for tag, _ in lists]
        require(tags in ([0xA0], [0xA1], [0xA0, 0xA1]), "a scope's audience is malformed")
        for tag, content in lists:
            scope["devices" if tag == 0xA0 else "types"] = der_texts(content)
    return scope


def der_sequence(encoded, what, tag, count):
    items = der_items(encoded)
    require(len(items) == count and all(found == tag for found, _ in items), f"a {what} is malformed")
    return [content for _, content in items]


def der_texts(content):
    texts = []
    for tag, text in der_items(content):
        require(tag == 0x0C, "a text in a certificate is not a UTF8String")
        require(text.isascii(), "a text in a certificate is not plain")
        texts.append(text.decode("ascii"))
    require(texts and texts == sorted(set(texts)), "a list in a certificate is empty or not sorted")
    return texts


def der_items(encoded):
    """The (tag, content) pairs of a DER encoding: single-byte tags, definite lengths in their shortest form."""
    items, at = [], 0
    while at < len(encoded):
        require(at + 2 <= len(encoded) and encoded[at] & 0x1F != 0x1F, "an extension is not DER")
        tag, length, at = encoded[at], encoded[at + 1], at + 2
        if length >= 0x80:
            width = length & 0x7F
            require(1 <= width <= 3 and at + width <= len(encoded), "an extension is not DER")
            length = int.from_bytes(encoded[at:at + width], "big")
            require(length >= 0x80 and length >> (8 * (width - 1)), "an extension is not DER")
            at += width
        require(at + length <= len(encoded), "an extension is not DER")
        items.append((tag, encoded[at:at + length]))
        at += length
    return items


def device_identity(certificate):
    """RFC 4108 section 5: the hwSerialNum of the hardwareModuleName, if there is one."""
    names = extension(certificate, x509.SubjectAlternativeName) or []
    for name in names:
        if isinstance(name, x509.OtherName) and name.type_id == HARDWARE_MODULE_NAME:
            [content] = der_sequence(name.value, "hardwareModuleName", 0x30, 1)
            parts = der_items(content)
            require([tag for tag, _ in parts] == [0x06, 0x04], "a hardwareModuleName is malformed")
            serial = parts[1][1]
            require(serial.isascii(), "a device identity is not plain text")
            return serial.decode("ascii")
    return None


if __name__ == "__main__":
    sys.exit(main())
