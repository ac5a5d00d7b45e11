#!/usr/bin/env python3
"""Verify what a device signed for one of its guests, with other people's code: cbor2 and cryptography.

    python3 verify_guest_data.py --root root.pem [--context reading/v1] [--device gateway-1]
                                 [--component app.signed.wasm] [--message FILE] signed-reading

Written from the description of the format alone (guest-data.cddl and RFC 9052, 9053, 9360, 9597 and 5280), so that a
mistake in the Rust crates does not verify its own output. It checks the canonical form, that there is no unsigned
header, the content type, the claims, the signature, the certificate chain to a given root at the given time, document
signing, and that the device which the claims name is the one that the certificate names. What is given besides must be
what the claims say: context, device, and a component (signed or not) whose digest and signers they name.

The signed message is read as bytes, or as the hexadecimal text that the guests of guest-examples/ print. A message that
was signed by its digest is checked against --message.

It does not check revocation, or whether a message with this sequence number was seen before: whoever collects them
knows. Prints one JSON object. Exit status: 0 verified, 1 refused, 2 usage or a file that cannot be read.
"""

import hashlib
import re
import sys
from functools import partial

import cbor2
from cryptography import x509

from verify_signed_file import (
    ALGORITHM_NAMES, COMPONENT_NAME, DOCUMENT_SIGNING, SHA_256, command_line, decode_cbor, decode_chain, decode_envelope,
    decode_statement, device_identity, digest_of, exact_list, exact_map, extension, require, root_of, run, split, typed,
    verify_path, verify_raw,
)

CONTENT_TYPE = "application/vnd.countersign.guest-data"
MOST_BYTES = 96 * 1024
MOST_MESSAGE_BYTES = 64 * 1024
COMPONENT_DIGEST, SIGNERS, CONTEXT, BOOT, SEQUENCE = range(-65537, -65542, -1)
CONTEXT_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+/-]{0,63}")
DEVICE_PATTERN = re.compile(r"[A-Za-z0-9._:-]{1,64}")


def main():
    parser = command_line(__doc__, "what the device signed: bytes, or hexadecimal text")
    parser.add_argument("--context", help="the context under which it must be signed")
    parser.add_argument("--device", help="the device that must have signed it")
    parser.add_argument("--component", metavar="WASM", type=read, help="the component that must have said it")
    parser.add_argument("--message", metavar="FILE", type=read, help="the message, where only its digest is signed")
    arguments = parser.parse_args()
    return run(arguments, partial(verify, arguments))


def read(path):
    with open(path, "rb") as file:
        return file.read()


def verify(wanted, content, roots, at):
    protected, header, payload, signature = decode_message(content)
    claims = decode_claims(header[15])
    by_digest = 258 in header

    _, chain = decode_chain(header[33])
    # RFC 9052 section 4.4.
    signed = cbor2.dumps(["Signature1", protected, b"", payload], canonical=True)
    verify_raw(header[1], chain[0].public_key(), signed, signature)
    root = root_of(chain, roots)
    require(root is not None, "the device's chain does not lead to a given root")
    verify_path([*chain, root], at, DOCUMENT_SIGNING)
    purposes = list(extension(chain[0], x509.ExtendedKeyUsage))
    require(purposes == [DOCUMENT_SIGNING], "the device's key has other purposes besides")
    require(device_identity(chain[0]) == claims["device"], "the claims name another device than the certificate")

    if by_digest:
        digest_of(payload, "digest of the message")
        require(wanted.message is None or hashlib.sha256(wanted.message).digest() == payload, "another message is signed")
    else:
        require(wanted.message in (None, payload), "another message is signed")
    require(wanted.context in (None, claims["context"]), f"it is signed as {claims['context']}")
    require(wanted.device in (None, claims["device"]), f"the device {claims['device']} signed it")
    if wanted.component is not None:
        check_component(wanted.component, claims)
    return {
        "algorithm": ALGORITHM_NAMES[header[1]],
        "claims": {**claims, "component-sha256": claims["component-sha256"].hex(), "boot": claims["boot"].hex(),
                   "signers": [signer.hex() for signer in claims["signers"]]},
        "message-sha256" if by_digest else "message": payload.hex(),
        "root": root.subject.rfc4514_string(),
    }


def decode_message(content):
    """COSE_Sign1 (RFC 9052 section 4.2) with its tag, whose first byte is no text."""
    if content[:1] == b"d":
        try:
            content = bytes.fromhex(content.decode("ascii"))
        except ValueError as error:
            require(False, f"the text is not hexadecimal: {error}")
    require(len(content) <= MOST_BYTES, "the message is too large")
    message = decode_cbor(content, "message")
    require(isinstance(message, cbor2.CBORTag) and message.tag == 18, "it is not a COSE_Sign1")
    protected, unprotected, payload, signature = exact_list(message.value, "COSE_Sign1", 4, 4)
    exact_map(unprotected, "unprotected header", [])
    header = exact_map(decode_cbor(typed(protected, bytes, "header"), "header"), "header", [1, 15, 33], [3, 258, 259])
    require(header[1] in ALGORITHM_NAMES, f"signature algorithm {header[1]!r} is not allowed")
    if 3 in header:
        purpose = header[3]
        require(len(header) == 4, "the header has both forms")
    else:
        # COSE Hash Envelope.
        exact_map(header, "header", [1, 15, 33, 258, 259])
        purpose = header[259]
        require(header[258] == SHA_256, f"digest algorithm {header[258]!r} is not allowed")
    require(purpose == CONTENT_TYPE, f"the signature is for another purpose: {purpose!r}")
    require(len(typed(payload, bytes, "payload")) <= MOST_MESSAGE_BYTES, "the payload is too large")
    return protected, header, payload, signature


def decode_claims(value):
    claims = exact_map(value, "set of claims", [1, 2, COMPONENT_DIGEST, SIGNERS, CONTEXT, BOOT, SEQUENCE])
    device, component, context = (typed(claims[key], str, "claim") for key in (1, 2, CONTEXT))
    require(DEVICE_PATTERN.fullmatch(device), f"device {device!r} is not valid")
    require(COMPONENT_NAME.fullmatch(component) and len(component) <= 128, f"component name {component!r} is not valid")
    require(CONTEXT_PATTERN.fullmatch(context), f"context {context!r} is not valid")
    require(len(typed(claims[BOOT], bytes, "boot")) == 16, "the boot is not 16 bytes long")
    require(typed(claims[SEQUENCE], int, "sequence number") >= 1, "the sequence number is not positive")
    return {
        "device": device,
        "component": component,
        "component-sha256": digest_of(claims[COMPONENT_DIGEST], "component's digest"),
        "signers": [digest_of(one, "signer") for one in exact_list(claims[SIGNERS], "list of signers", 1, 4)],
        "context": context,
        "boot": claims[BOOT],
        "sequence": claims[SEQUENCE],
    }


def check_component(component, claims):
    """As it is, or signed: then its name and its signers must be those of the claims, too."""
    if hashlib.sha256(component).digest() != claims["component-sha256"]:
        component, payload = split(component)
        require(hashlib.sha256(component).digest() == claims["component-sha256"], "another component said it")
        statement = decode_statement(decode_envelope(payload)[0])
        require(statement["name"] == claims["component"], f"the component {claims['component']} said it")
        require([spki for _, spki, _ in statement["signers"]] == claims["signers"], "others signed the component")


if __name__ == "__main__":
    sys.exit(main())
