"""Privacy tokens by another implementation than ours: pyca/cryptography, after docs/privacy-tokens.md.

  privacy_tokens.py vectors DOCUMENT            recomputes every test vector of the document
  privacy_tokens.py seal MASTER TABLE INDEX HASH   prints a token
  privacy_tokens.py open MASTER TOKEN...           prints the hash of each token
  privacy_tokens.py unwrap KEK TABLE WRAPPED       prints a master key

Bytes are in hexadecimal digits. The exit status is 0 if everything agreed.
"""

import os
import sys

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


def derive(master, index):
    info = index.to_bytes(4, "big") + b"Birthmark"
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(master)


def seal(master, table, index, plain, nonce):
    head = table.to_bytes(2, "big") + index.to_bytes(2, "big")
    associated = b"countersign/privacy-token/v1\0" + head
    return b"\1" + head + nonce + AESGCM(derive(master, index)).encrypt(nonce, plain, associated)


def unseal(master, token):
    assert len(token) == 65 and token[0] == 1, "no token"
    associated = b"countersign/privacy-token/v1\0" + token[1:5]
    index = int.from_bytes(token[3:5], "big")
    return AESGCM(derive(master, index)).decrypt(token[5:17], token[17:], associated)


def wrap(kek, table, master, nonce):
    associated = b"countersign/wrapped-table/v1\0" + table.to_bytes(2, "big")
    return b"\1" + nonce + AESGCM(kek).encrypt(nonce, master, associated)


def unwrap(kek, table, wrapped):
    assert len(wrapped) == 61 and wrapped[0] == 1, "no wrapped table"
    associated = b"countersign/wrapped-table/v1\0" + table.to_bytes(2, "big")
    return AESGCM(kek).decrypt(wrapped[1:13], wrapped[13:], associated)


def vectors(document):
    """Blocks of lines `name = value`, each of a kind that its first line names."""
    seen = {"key": 0, "token": 0, "wrapped table": 0}
    for block in document.split("\n\n"):
        lines = [line for line in block.splitlines() if not line.startswith("```")]
        fields = dict(line.split(" = ", 1) for line in lines if " = " in line)
        if "vector" not in fields:
            continue
        kind = fields["vector"]
        value = {name: bytes.fromhex(text) for name, text in fields.items() if name not in ("vector", "table", "index")}
        table, index = int(fields.get("table", 0)), int(fields.get("index", 0))
        if kind == "key":
            assert derive(value["master"], index) == value["key"], block
        elif kind == "token":
            made = seal(value["master"], table, index, value["hash"], value["nonce"])
            assert made == value["token"], block
            assert unseal(value["master"], value["token"]) == value["hash"], block
        else:
            made = wrap(value["kek"], table, value["master"], value["nonce"])
            assert made == value["wrapped"], block
        seen[kind] += 1
    assert all(seen.values()), f"vectors are missing: {seen}"
    print(f"{sum(seen.values())} vectors agree")


def main(verb, *rest):
    if verb == "vectors":
        with open(rest[0], encoding="utf-8") as file:
            vectors(file.read())
    elif verb == "seal":
        master, table, index, plain = rest
        token = seal(bytes.fromhex(master), int(table), int(index), bytes.fromhex(plain), os.urandom(12))
        print(token.hex())
    elif verb == "open":
        for token in rest[1:]:
            print(unseal(bytes.fromhex(rest[0]), bytes.fromhex(token)).hex())
    elif verb == "unwrap":
        kek, table, wrapped = rest
        print(unwrap(bytes.fromhex(kek), int(table), bytes.fromhex(wrapped)).hex())
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(*sys.argv[1:])
