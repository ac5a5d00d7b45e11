"""Signs readings with the device's key and prints each COSE_Sign1 as a line of hexadecimal.

Every argument is a reading; without one there is a reading of its own. Who checks a signature learns from its claims
which device and which component said so, and as what: the context `reading/v1`. After the argument `--log` the last
line is a log of all the readings, signed by its digest as `log/v1`.
"""

import re
import sys

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports import environment, signing

# The names by which component.toml asks for the key and its contexts.
KEY = "telemetry"
READING = "reading/v1"
LOG = "log/v1"

DEFAULT_READING = "temperature=21.5"


class Run(exports.Run):
    def run(self) -> None:
        # The first argument is the program's own name.
        arguments = environment.get_arguments()[1:]
        try:
            sign_all(arguments)
        except Err as error:
            print(variant(error.value), file=sys.stderr)
            raise Err(None) from None


def sign_all(arguments: list[str]) -> None:
    log = arguments[:1] == ["--log"]
    readings = [reading.encode() for reading in arguments[1 if log else 0:] or [DEFAULT_READING]]
    with signing.open(KEY) as key:
        for reading in readings:
            print(key.sign(READING, reading).hex())
        if log:
            print(sign_log(key, readings).hex())


def sign_log(key: signing.Key, readings: list[bytes]) -> bytes:
    """Signs all readings, a line for each, by their digest."""
    message = key.begin(LOG)
    for reading in readings:
        message.write(reading)
        message.write(b"\n")
    return signing.Message.finish(message)


def variant(error: signing.Error) -> str:
    """The error's name as the interface spells it: Error_UnknownKey is unknown-key."""
    name = re.sub(r"(?<!^)(?=[A-Z])", "-", type(error).__name__.removeprefix("Error_")).lower()
    if isinstance(error, signing.Error_QuotaExceeded):
        return f"{name}: try again in {error.value} ms"
    return name
