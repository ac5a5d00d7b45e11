"""The chip maker's own library, asked from outside: calls as a JSON list on stdin, answers as a JSON list on stdout.

Run with the bus shim in LD_PRELOAD, so that /dev/i2c-1 is the emulated chip:

    python3 atecc608_vendor.py ADDRESS < calls.json

A call is a list: a name of CALLS below, then its arguments; bytes are hexadecimal. An answer is {"status": NUMBER} with
"value" beside it where the call has one. Status 0 is success; the other numbers are the library's.
"""

import json
import sys

import cryptoauthlib as cal


def of(size, function, *arguments):
    """A call that fills a buffer of so many bytes, which it takes as its last argument."""
    buffer = bytearray(size)
    status = function(*arguments, buffer)
    return status, bytes(buffer).hex()


def flag(function, *arguments):
    """A call that answers by a number."""
    reference = cal.AtcaReference(0)
    status = function(*arguments, reference)
    return status, int(reference.value)


def done(function, *arguments):
    return function(*arguments), None


def read_slot(slot, offset, length):
    buffer = bytearray(length)
    status = cal.atcab_read_bytes_zone(2, slot, offset, buffer, length)
    return status, bytes(buffer).hex()


def certificate(read, most):
    size = cal.AtcaReference(0)
    status = most(size)
    if status != 0:
        return status, None
    buffer = bytearray(size.value)
    status = read(buffer, size)
    return status, bytes(buffer).hex()


def date(year, month, day, hour, years):
    buffer = bytearray(3)
    moment = cal.atcacert_tm_utc_t(0, 0, hour, day, month - 1, year)
    status = cal.atcacert_date_enc_compcert(moment, years, buffer)
    return status, bytes(buffer).hex()


def attested(slot, number):
    """Nonce, digest of the slot's public key, internal signature by slot 1, with the whole serial number."""
    status, random = of(32, cal.atcab_nonce_rand, number)
    if status == 0:
        public = bytearray(64)
        status = cal.atcab_genkey_base(0x08, slot, bytes(3), public)
    if status != 0:
        return status, None
    status, signature = of(64, cal.atcab_sign_internal, 1, False, True)
    return status, {"random": random, "public": bytes(public).hex(), "signature": signature}


CALLS = {
    "info": lambda: of(4, cal.atcab_info),
    "serial": lambda: of(9, cal.atcab_read_serial_number),
    "random": lambda: of(32, cal.atcab_random),
    "read-config": lambda: of(128, cal.atcab_read_config_zone),
    "write-config": lambda zone: done(cal.atcab_write_config_zone, zone),
    "same-config": lambda zone: flag(cal.atcab_cmp_config_zone, zone),
    "lock-config": lambda: done(cal.atcab_lock_config_zone),
    "lock-config-sum": lambda total: done(cal.atcab_lock_config_zone_crc, total),
    "lock-data": lambda: done(cal.atcab_lock_data_zone),
    "lock-slot": lambda slot: done(cal.atcab_lock_data_slot, slot),
    "config-locked": lambda: flag(cal.atcab_is_locked, 0),
    "data-locked": lambda: flag(cal.atcab_is_locked, 1),
    "slot-locked": lambda slot: flag(cal.atcab_is_slot_locked, slot),
    "genkey": lambda slot: of(64, cal.atcab_genkey, slot),
    "public-key": lambda slot: of(64, cal.atcab_get_pubkey, slot),
    "sign": lambda slot, digest: of(64, cal.atcab_sign, slot, digest),
    "verify": lambda digest, signature, public: flag(
        cal.atcab_verify_extern, digest, signature, public
    ),
    "attested": attested,
    "sha": lambda message: of(32, cal.atcab_sha, len(message), message),
    "counter": lambda number: flag(cal.atcab_counter_read, number),
    "count-up": lambda number: flag(cal.atcab_counter_increment, number),
    "read-slot": read_slot,
    "write-slot": lambda slot, offset, content: done(
        cal.atcab_write_bytes_zone, 2, slot, offset, content, len(content)
    ),
    "write-one-time": lambda block: done(
        cal.atcab_write_zone, 1, 0, 0, 0, block, len(block)
    ),
    "write-public-key": lambda slot, public: done(cal.atcab_write_pubkey, slot, public),
    "read-public-key": lambda slot: of(64, cal.atcab_read_pubkey, slot),
    "signer-certificate": lambda: certificate(
        cal.tng_atcacert_read_signer_cert, cal.tng_atcacert_max_signer_cert_size
    ),
    "device-certificate": lambda: certificate(
        cal.tng_atcacert_read_device_cert, cal.tng_atcacert_max_device_cert_size
    ),
    "compressed-date": date,
}


def main():
    cal.load_cryptoauthlib()
    configuration = cal.cfg_ateccx08a_i2c_default()
    configuration.devtype = cal.get_device_type_id("ATECC608")
    configuration.cfg.atcai2c.bus = 1
    configuration.cfg.atcai2c.address = int(sys.argv[1], 0) << 1
    status = cal.atcab_init(configuration)
    if status != 0:
        sys.exit(f"atcab_init: {status}")
    answers = []
    for name, *arguments in json.load(sys.stdin):
        arguments = [bytes.fromhex(a) if isinstance(a, str) else a for a in arguments]
        status, value = CALLS[name](*arguments)
        answers.append({"status": int(status), "value": value})
    cal.atcab_release()
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
