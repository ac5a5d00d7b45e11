"""An EST server (RFC 7030) of a few lines, by another implementation than ours: pyca/cryptography and Python's TLS.

    est_server.py FOLDER

Makes a root and an intermediate, writes `root.pem` into the folder, listens on a free port of the loopback, prints the port, and
answers until its standard input ends. What it does is told by the file `mode` in the folder, read at each request:

    good            issues to who shows a certificate of its own, or the token `once` (Bearer, or Basic with any name)
    pending         answers 202 with Retry-After: 1 the first time, and is good then
    other-key, other-device, other-root
                    issues what a device must refuse
    down            answers 503
"""

import base64
import datetime
import http.server
import ipaddress
import os
import ssl
import sys
import threading

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

HARDWARE_MODULE_NAME = x509.ObjectIdentifier("1.3.6.1.5.5.7.8.4")


def name(common, serial=None):
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Acme")]
    if common:
        parts.append(x509.NameAttribute(NameOID.COMMON_NAME, common))
    if serial:
        parts.append(x509.NameAttribute(NameOID.SERIAL_NUMBER, serial))
    return x509.Name(parts)


def build(subject, public, issuer, issuer_key, days, extensions):
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=1))
        .not_valid_after(now + datetime.timedelta(days=days))
    )
    identifiers = [
        (x509.SubjectKeyIdentifier.from_public_key(public), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), False),
    ]
    for extension, critical in [*extensions, *identifiers]:
        builder = builder.add_extension(extension, critical)
    return builder.sign(issuer_key, hashes.SHA256())


def usage(**on):
    bits = dict.fromkeys(
        ["digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
         "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"], False)
    return x509.KeyUsage(**{**bits, **on})


CA = [(x509.BasicConstraints(ca=True, path_length=None), True), (usage(key_cert_sign=True, crl_sign=True), True)]


class Authority:
    def __init__(self):
        self.root_key = ec.generate_private_key(ec.SECP256R1())
        root = name("Root")
        self.root = build(root, self.root_key.public_key(), root, self.root_key, 3650, CA)
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = build(name("Devices"), self.key.public_key(), root, self.root_key, 1825, CA)
        self.days = 300

    def issue(self, request, mode):
        assert request.is_signature_valid, "no proof of possession"
        serial = request.subject.get_attributes_for_oid(NameOID.SERIAL_NUMBER)[0].value
        common = request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        device = "someone-else" if mode == "other-device" else serial
        public = request.public_key()
        if mode == "other-key":
            public = ec.generate_private_key(ec.SECP256R1()).public_key()
        # SEQUENCE { OID 1.3.6.1.4.1.32473, OCTET STRING }, by hand.
        oid, octets = bytes.fromhex("06072b0601040181fd59"), device.encode()
        oid = bytes([6, len(oid) - 2]) + oid[2:]
        body = oid + bytes([4, len(octets)]) + octets
        module = x509.OtherName(HARDWARE_MODULE_NAME, bytes([0x30, len(body)]) + body)
        self.days += 1
        return build(
            name(common[0].value if common else None, device), public, self.certificate.subject, self.key, self.days,
            [
                (x509.BasicConstraints(ca=False, path_length=None), True),
                (usage(digital_signature=True), True),
                (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False),
                (x509.SubjectAlternativeName([module]), False),
            ],
        )

    def server(self):
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        extensions = [(names, False), (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)]
        return key, build(name("server"), key.public_key(), self.root.subject, self.root_key, 30, extensions)


def pem(certificate):
    return certificate.public_bytes(serialization.Encoding.PEM)


def main(folder):
    authority, stranger = Authority(), Authority()
    key, certificate = authority.server()
    path = lambda file: os.path.join(folder, file)
    with open(path("root.pem"), "wb") as file:
        file.write(pem(authority.root))
    with open(path("server.pem"), "wb") as file:
        file.write(key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        file.write(pem(certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(path("server.pem"))
    context.load_verify_locations(path("root.pem"))
    context.verify_mode = ssl.CERT_OPTIONAL
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def answer(self, status, body=b"", **headers):
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Connection", "close")
            for key, value in headers.items():
                self.send_header(key.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(body)

        def certificates(self, *certificates):
            message = pkcs7.serialize_certificates(list(certificates), serialization.Encoding.DER)
            body = base64.encodebytes(message)
            self.answer(200, body, Content_Type="application/pkcs7-mime; smime-type=certs-only",
                        Content_Transfer_Encoding="base64")

        def is_known(self):
            kind, _, value = (self.headers.get("Authorization") or "").partition(" ")
            if kind == "Bearer":
                return value == "once"
            if kind == "Basic":
                return base64.b64decode(value).partition(b":")[2] == b"once"
            return bool(self.connection.getpeercert())

        def do_GET(self):
            if self.path == "/.well-known/est/cacerts":
                self.certificates(authority.certificate, authority.root, stranger.certificate, stranger.root)
            else:
                self.answer(404)

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            with open(path("mode"), encoding="utf-8") as file:
                mode = file.read().strip()
            if self.path not in ("/.well-known/est/simpleenroll", "/.well-known/est/simplereenroll"):
                return self.answer(404)
            if mode == "down":
                return self.answer(503, b"closed for repairs")
            if not self.is_known() or (self.path.endswith("simplereenroll") and not self.connection.getpeercert()):
                return self.answer(401, b"who are you?", WWW_Authenticate='Basic realm="est"')
            asked.append(mode)
            if mode == "pending" and asked.count(mode) == 1:
                return self.answer(202, Retry_After="1")
            request = x509.load_der_x509_csr(base64.b64decode(body))
            self.certificates((stranger if mode == "other-root" else authority).issue(request, mode))

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_address[1], flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1])
