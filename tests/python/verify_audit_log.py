"""Verifies an audit log, or a proof of one entry, with nothing but SHA-256 and a library for signatures.

    verify_audit_log.py VERIFIER-KEY FOLDER          the whole log against its file `checkpoint`
    verify_audit_log.py VERIFIER-KEY PROOF ENTRY     a file `.tlog-proof` against the bytes of the entry

Written from the specifications (RFC 9162, section 2.1; C2SP signed-note, tlog-checkpoint, tlog-tiles, tlog-proof) and
from no other code. Exit status: 0 verified, 1 refused.
"""

import base64
import hashlib
import sys
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key


class Refused(Exception):
    pass


def leaf(entry):
    return hashlib.sha256(b"\x00" + entry).digest()


def node(left, right):
    return hashlib.sha256(b"\x01" + left + right).digest()


def tree(hashes):
    """MTH over leaf hashes, exactly as RFC 9162 section 2.1.1 defines it, by recursion."""
    if not hashes:
        return hashlib.sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    k = 1
    while k * 2 < len(hashes):
        k *= 2
    return node(tree(hashes[:k]), tree(hashes[k:]))


def checkpoint(vkey, note):
    """Size, root and the first entry that is left, from a note that the key signed."""
    name, key_id, key = vkey.split("+", 2)
    key = base64.b64decode(key, validate=True)
    if key[0] == 1:
        expected_id = hashlib.sha256(name.encode() + b"\n" + key).digest()[:4]
        public = Ed25519PublicKey.from_public_bytes(key[1:])
        verify = public.verify
    elif key[0] == 2:
        expected_id = hashlib.sha256(key[1:]).digest()[:4]
        public = load_der_public_key(key[1:])
        verify = lambda signature, text: public.verify(signature, text, ECDSA(SHA256()))
    else:
        raise Refused("unknown type of key")
    if expected_id.hex() != key_id:
        raise Refused("the verifier key's id is wrong")

    text, _, signatures = note.decode().rpartition("\n\n")
    text += "\n"
    verified = False
    for line in signatures.splitlines():
        dash, signer, blob = line.split(" ")
        blob = base64.b64decode(blob, validate=True)
        if dash == "\u2014" and signer == name and blob[:4] == expected_id:
            try:
                verify(blob[4:], text.encode())
            except InvalidSignature:
                raise Refused("the signature is not of this key")
            verified = True
    if not verified:
        raise Refused("not signed by this key")
    origin, size, root, *more = text.splitlines()
    if origin != name:
        raise Refused(f"a checkpoint of {origin}")
    first = [int(line[6:]) for line in more if line.startswith("first ")]
    return int(size), base64.b64decode(root, validate=True), sum(first)


def read(folder, kind, index, width):
    number = f"{index % 1000:03}"
    while index := index // 1000:
        number = f"x{index % 1000:03}/{number}"
    full = folder / "tile" / kind / number
    partial = Path(f"{full}.p") / str(width)
    path = full if width == 256 or not partial.exists() else partial
    try:
        return path.read_bytes()
    except OSError:
        raise Refused(f"{path.relative_to(folder)} is missing")


def bundle(data):
    entries = []
    while data:
        length = int.from_bytes(data[:2], "big")
        if len(data) < 2 + length:
            raise Refused("a bundle is cut off")
        entries.append(data[2 : 2 + length])
        data = data[2 + length :]
    return entries


def root_with_dropped(folder, size, first, leaves):
    """The root, with the hashes over the entries before `first` taken from tiles."""

    def over(start, count):
        if start >= first:
            return tree(leaves[start - first : start - first + count])
        if start + count <= first and count & (count - 1) == 0:
            height = count.bit_length() - 1
            level = height // 8
            index, at = divmod(start >> (8 * level), 256)
            tile = read(folder, str(level), index, min(256, (size >> (8 * level)) - 256 * index))
            hashes = [tile[32 * (at + i) : 32 * (at + i) + 32] for i in range(1 << (height % 8))]
            return tree(hashes)
        k = 1
        while k * 2 < count:
            k *= 2
        return node(over(start, k), over(start + k, count - k))

    return over(0, size)


def verify_log(vkey, folder):
    size, root, first = checkpoint(vkey, (folder / "checkpoint").read_bytes())
    leaves = []
    for index in range(first // 256, (size + 255) // 256):
        width = min(256, size - 256 * index)
        tile = read(folder, "0", index, width)
        found = bundle(read(folder, "entries", index, width))[:width]
        for position in range(width):
            at = 256 * index + position
            if position >= len(found):
                raise Refused(f"entry {at} is missing")
            leaves.append(leaf(found[position]))
            if leaves[-1] != tile[32 * position : 32 * position + 32]:
                raise Refused(f"entry {at} does not have the hash in its tile")
    if root_with_dropped(folder, size, first, leaves) != root if first else tree(leaves) != root:
        raise Refused("the entries do not lead to the signed root")
    if first:
        return f"verified {size - first} entries, from {first} on"
    level, hashes = 1, leaves
    while len(hashes) >= 256:
        hashes = [tree(hashes[at : at + 256]) for at in range(0, len(hashes) - 255, 256)]
        for index in range((len(hashes) + 255) // 256):
            part = hashes[256 * index : 256 * index + 256]
            if read(folder, str(level), index, len(part))[: 32 * len(part)] != b"".join(part):
                raise Refused(f"tile {index} of level {level} is not what the entries make")
        level += 1
    return f"verified {size} entries"


def verify_proof(vkey, proof, entry):
    head, _, note = proof.partition(b"\n\n")
    size, root, _ = checkpoint(vkey, note)
    lines = head.decode().split("\n")
    if lines.pop(0) != "c2sp.org/tlog-proof@v1":
        raise Refused("not a proof")
    if lines[0].startswith("extra "):
        lines.pop(0)
    index = int(lines.pop(0).removeprefix("index "))
    path = [base64.b64decode(line, validate=True) for line in lines]

    def climb(at, count):
        """The root over `count` leaves with the entry at `at`, by the definition of PATH."""
        if count == 1:
            return leaf(entry)
        k = 1
        while k * 2 < count:
            k *= 2
        if at < k:
            left = climb(at, k)
            return node(left, path.pop(0))
        right = climb(at - k, count - k)
        return node(path.pop(0), right)

    if index >= size:
        raise Refused("outside of the log")
    try:
        led_to = climb(index, size)
    except IndexError:
        raise Refused("the proof is too short")
    if path or led_to != root:
        raise Refused("not this entry")
    return f"entry {index} of {size}"


def main():
    vkey, first, *rest = sys.argv[1:]
    try:
        if rest:
            print(verify_proof(vkey, Path(first).read_bytes(), Path(rest[0]).read_bytes()))
        else:
            print(verify_log(vkey, Path(first)))
    except (Refused, ValueError, OSError) as refusal:
        print(f"refused: {refusal}")
        sys.exit(1)


main()
