// Signs readings with the device's key and prints each COSE_Sign1 as a line of hexadecimal.
//
// Every argument is a reading; without one there is a reading of its own. Who checks a signature learns from its claims
// which device and which component said so, and as what: the context `reading/v1`. After the argument `--log` the last
// line is a log of all the readings, signed by its digest as `log/v1`.

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

// What `wit-bindgen c` writes for the world `telemetry` of guest-examples/wit.
#include "telemetry.h"

// The names by which component.toml asks for the key and its contexts.
static const char KEY[] = "telemetry";
static const char READING[] = "reading/v1";
static const char LOG[] = "log/v1";

static const char DEFAULT_READING[] = "temperature=21.5";

typedef countersign_device_signing_borrow_key_t key_ref;
typedef countersign_device_signing_error_t error_t;

static bool sign_all(key_ref key, const telemetry_list_string_t *readings, bool log, error_t *error);
static bool sign_reading(key_ref key, const telemetry_string_t *reading, error_t *error);
static bool sign_log(key_ref key, const telemetry_list_string_t *readings, error_t *error);
static void print_and_free(telemetry_list_u8_t *signed_message);
static void print_error(const error_t *error);
static bool is_equal(const telemetry_string_t *string, const char *text);

// What the component exports; false ends the host with status 1.
//
// A program with a `main` would not do: its linker has every function that the host calls into end the program, and the
// host calls one for each list of bytes that it returns.
bool exports_wasi_cli_run_run(void) {
    telemetry_list_string_t arguments;
    wasi_cli_environment_get_arguments(&arguments);
    // The first argument is the program's own name.
    bool log = arguments.len > 1 && is_equal(&arguments.ptr[1], "--log");
    size_t first = log ? 2 : 1;
    telemetry_string_t own;
    telemetry_string_set(&own, DEFAULT_READING);
    telemetry_list_string_t readings = {&own, 1};
    if (arguments.len > first) {
        readings = (telemetry_list_string_t){arguments.ptr + first, arguments.len - first};
    }

    telemetry_string_t name;
    telemetry_string_set(&name, KEY);
    countersign_device_signing_own_key_t key;
    error_t error;
    bool is_done = countersign_device_signing_open(&name, &key, &error);
    if (is_done) {
        is_done = sign_all(countersign_device_signing_borrow_key(key), &readings, log, &error);
        countersign_device_signing_key_drop_own(key);
    }
    telemetry_list_string_free(&arguments);
    bool is_written = fflush(stdout) == 0;
    if (!is_done) {
        print_error(&error);
    }
    return is_done && is_written;
}

static bool sign_all(key_ref key, const telemetry_list_string_t *readings, bool log, error_t *error) {
    for (size_t at = 0; at < readings->len; at++) {
        if (!sign_reading(key, &readings->ptr[at], error)) {
            return false;
        }
    }
    return !log || sign_log(key, readings, error);
}

static bool sign_reading(key_ref key, const telemetry_string_t *reading, error_t *error) {
    telemetry_string_t context;
    telemetry_string_set(&context, READING);
    telemetry_list_u8_t message = {reading->ptr, reading->len};
    telemetry_list_u8_t signed_message;
    if (!countersign_device_signing_method_key_sign(key, &context, &message, &signed_message, error)) {
        return false;
    }
    print_and_free(&signed_message);
    return true;
}

// Signs all readings, a line for each, by their digest.
static bool sign_log(key_ref key, const telemetry_list_string_t *readings, error_t *error) {
    telemetry_string_t context;
    telemetry_string_set(&context, LOG);
    countersign_device_signing_own_message_t message;
    if (!countersign_device_signing_method_key_begin(key, &context, &message, error)) {
        return false;
    }
    countersign_device_signing_borrow_message_t writer = countersign_device_signing_borrow_message(message);
    for (size_t at = 0; at < readings->len; at++) {
        telemetry_list_u8_t reading = {readings->ptr[at].ptr, readings->ptr[at].len};
        telemetry_list_u8_t end = {(uint8_t *)"\n", 1};
        if (!countersign_device_signing_method_message_write(writer, &reading, error) ||
            !countersign_device_signing_method_message_write(writer, &end, error)) {
            countersign_device_signing_message_drop_own(message);
            return false;
        }
    }
    // This takes the message: there is nothing left to drop.
    telemetry_list_u8_t signed_message;
    if (!countersign_device_signing_static_message_finish(message, &signed_message, error)) {
        return false;
    }
    print_and_free(&signed_message);
    return true;
}

static void print_and_free(telemetry_list_u8_t *signed_message) {
    for (size_t at = 0; at < signed_message->len; at++) {
        printf("%02x", signed_message->ptr[at]);
    }
    putchar('\n');
    telemetry_list_u8_free(signed_message);
}

// The error's name as the interface spells it.
static void print_error(const error_t *error) {
    static const char *const NAMES[] = {
        [COUNTERSIGN_DEVICE_SIGNING_ERROR_NOT_GRANTED] = "not-granted",
        [COUNTERSIGN_DEVICE_SIGNING_ERROR_UNKNOWN_KEY] = "unknown-key",
        [COUNTERSIGN_DEVICE_SIGNING_ERROR_CONTEXT_INVALID] = "context-invalid",
        [COUNTERSIGN_DEVICE_SIGNING_ERROR_MESSAGE_TOO_LARGE] = "message-too-large",
        [COUNTERSIGN_DEVICE_SIGNING_ERROR_BUSY] = "busy",
        [COUNTERSIGN_DEVICE_SIGNING_ERROR_HARDWARE_FAILURE] = "hardware-failure",
    };
    if (error->tag == COUNTERSIGN_DEVICE_SIGNING_ERROR_QUOTA_EXCEEDED) {
        fprintf(stderr, "quota-exceeded: try again in %" PRIu64 " ms\n", error->val.quota_exceeded);
    } else {
        fprintf(stderr, "%s\n", NAMES[error->tag]);
    }
}

static bool is_equal(const telemetry_string_t *string, const char *text) {
    return string->len == strlen(text) && memcmp(string->ptr, text, string->len) == 0;
}
