"""Hooks of Schemathesis: some of the bodies that it makes up are real certificate requests.

What is made up at random is never a signature, and would be refused before most of the authority's code runs. Loaded by
way of SCHEMATHESIS_HOOKS.
"""

import base64

import schemathesis
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding


def request():
    """A request for the device press-1, DER."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.SERIAL_NUMBER, "press-1")])
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    key = ec.generate_private_key(ec.SECP256R1())
    return builder.sign(key, SHA256()).public_bytes(Encoding.DER)


def is_left(text):
    """Every other text stays as it was made up, so that what is not a request is sent too."""
    return len(text) % 2 == 1


@schemathesis.serializer("application/pkcs10")
def pkcs10(ctx, value):
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str) or is_left(value):
        return str(value).encode(errors="replace")
    return base64.b64encode(request())


@schemathesis.hook
def map_body(ctx, body):
    if isinstance(body, dict) and isinstance(body.get("csr"), str) and not is_left(body["csr"]):
        body = body | {"csr": base64.b64encode(request()).decode()}
    return body
