/*
 * Countersign for C: runs WebAssembly components that the right device signed, and no others.
 *
 *   configuration ─> runtime ─ countersign_verify ─> component ─ countersign_load ─> guest ─ run, or start and call
 *
 * There is no way around a step, and no function that skips one. examples/host.c is a whole program; docs/embedding.md says
 * what the words mean.
 *
 * What holds for all functions
 * - A function that can fail returns NULL when it did what it is for, and otherwise an error that is yours to free with
 *   countersign_error_free. What it would have put into its last argument is then NULL (a status is 1).
 * - Objects are yours to free, each with the function of its own, once, in any order, when no other thread is using them.
 *   Freeing NULL does nothing. Freeing twice, or using what was freed, is undefined, as it is with free().
 * - Every pointer to an object may be NULL: that is an error ("misuse"), or the empty answer of a function without errors.
 * - Text is UTF-8 and ends with NUL. Bytes come with their number; of none, the pointer may be NULL. Nothing that you hand
 *   over is kept: it was copied when the function returns.
 * - Text and bytes that you are given belong to the object that you asked, and live as long as it does.
 * - Objects may be used from any thread, and from several at once. Functions that run a guest block until it ended.
 * - Functions of yours are called from the thread that runs a guest or verifies, and may be called from several at once. They
 *   must return (no longjmp, no exception) and cannot run a guest themselves. They and what `user` points to are needed until
 *   every runtime, ceiling, guest and instance that was made with them is freed.
 * - No function ends the process or unwinds into yours: what would, comes back as "host-failure".
 * - Wasmtime handles SIGSEGV, SIGILL, SIGFPE and SIGBUS for traps of guests, and passes on what is none. Do not fork and go on
 *   with these objects in the child.
 */
#ifndef COUNTERSIGN_H
#define COUNTERSIGN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What was not done, and why. */
typedef struct countersign_error countersign_error;
/* What a runtime trusts and demands. */
typedef struct countersign_config countersign_config;
/* Verifies and loads. One for a program. */
typedef struct countersign_runtime countersign_runtime;
/* What was verified, to be loaded once. */
typedef struct countersign_component countersign_component;
/* What a guest may be granted at most. */
typedef struct countersign_ceiling countersign_ceiling;
/* What was loaded: verified, compiled, its imports granted. */
typedef struct countersign_guest countersign_guest;
/* A guest that was started, and answers calls. */
typedef struct countersign_instance countersign_instance;
/* Memory that guests write into. */
typedef struct countersign_capture countersign_capture;
/* Bytes. */
typedef struct countersign_buffer countersign_buffer;

/*
 * A function of yours that is called with lines. NUL stands after the line's `length` bytes, and may stand in it, too, where a
 * guest wrote it. What guests write is a stranger's text: escape it before a terminal sees it.
 */
typedef void (*countersign_line_fn)(void *user, const char *line, size_t length);

/* The version of this library, e.g. "0.1.0". */
const char *countersign_version(void);

/* ---- Errors ---- */

/*
 * The code: stable words such as "signature-missing" (docs/codes.md lists them); "misuse" where a function was called wrongly, and
 * "stopped" where this program stopped a guest.
 */
const char *countersign_error_code(const countersign_error *error);
/* What happened, in a sentence. What a terminal would obey is escaped. */
const char *countersign_error_message(const countersign_error *error);
/* What to do about it, in a sentence. */
const char *countersign_error_next_step(const countersign_error *error);
/* The exit status of a program that ends for this reason: 110 to 119, 2 for misuse, 1 for stopped. 0 for NULL. */
int countersign_error_exit_status(const countersign_error *error);
void countersign_error_free(countersign_error *error);

/* ---- Configuration ---- */

/* An empty configuration, with which no runtime can be made: it has no root. */
countersign_config *countersign_config_new(void);
void countersign_config_free(countersign_config *config);
/*
 * Adds roots, PEM, which should be a constant of your program: whoever can replace them decides what runs. They are judged when
 * the runtime is made.
 */
countersign_error *countersign_config_roots(countersign_config *config, const uint8_t *pem, size_t length);
/*
 * Adds the roots in this library's own section, filled by COUNTERSIGN_ROOTS when it was built or by `cargo xtask roots` when it
 * was finished, with the revocation lists that came with them.
 */
countersign_error *countersign_config_compiled_in_roots(countersign_config *config);
/* Demands that so many devices signed, 1 to 4. Default 1. */
countersign_error *countersign_config_signers(countersign_config *config, uint8_t least);
/*
 * States which device this is, and of which type, or NULL: components that are meant for certain devices run where they are meant
 * for, and nowhere else. Take both from a certificate of the device, and not from what a stranger can write.
 */
countersign_error *countersign_config_device(countersign_config *config, const char *identity, const char *device_type);
/*
 * States a time that has certainly passed, in seconds since 1970: a system's clock below it is not believed. Default, and never
 * less: when this library was built.
 */
countersign_error *countersign_config_time_floor(countersign_config *config, uint64_t seconds);
/*
 * Keeps compiled code in a folder, at most so many bytes, so that a component is compiled once. The folder is made if it is not
 * there, and must be nobody else's; what is found there is believed if this device sealed it. Looked at when the runtime is made.
 */
countersign_error *countersign_config_code_cache(countersign_config *config, const char *folder, uint64_t most);
/* Calls `function` with a record of every acceptance and refusal: a line of JSON in ASCII, its newline included. */
countersign_error *countersign_config_audit(countersign_config *config, countersign_line_fn function, void *user);

/* ---- The runtime ---- */

/*
 * Makes a runtime. The configuration can be freed or used again. "no-root": there is none; "root-unusable": one breaks a rule for
 * roots, and then none is trusted.
 */
countersign_error *countersign_runtime_new(const countersign_config *config, countersign_runtime **runtime);
/* Guests and instances live on without it. */
void countersign_runtime_free(countersign_runtime *runtime);
/*
 * Says what was revoked: lists in PEM or DER, which take the place of those given before. Every certificate below a root needs a
 * current one of its issuer. An issuer's list that is older than one that was consulted before will refuse its components.
 */
countersign_error *countersign_runtime_lists(countersign_runtime *runtime, const uint8_t *lists, size_t length);
/*
 * States that a component of this name and security version worked, under the root whose key has this SHA-256 (32 bytes;
 * countersign_component_root): an older one is refused from now on ("rollback"). Remembered until the runtime is freed; keep the
 * three on disk and state them again at the next start.
 */
countersign_error *countersign_runtime_note_version(countersign_runtime *runtime, const uint8_t *root, const char *name,
                                                    uint64_t security_version);

/* ---- Components ---- */

/*
 * Verifies a signed file: its bytes, read once. Framing, digest, chain, revocation, signatures, scope, version; the first that
 * fails is the error.
 */
countersign_error *countersign_verify(countersign_runtime *runtime, const uint8_t *file, size_t length,
                                      countersign_component **component);
void countersign_component_free(countersign_component *component);
/* The name that was signed, e.g. "acme:pump". What a file is called says nothing: compare this. */
const char *countersign_component_name(const countersign_component *component);
/* The version for people, e.g. "1.2.0". */
const char *countersign_component_version(const countersign_component *component);
/* The version that must not fall. */
uint64_t countersign_component_security_version(const countersign_component *component);
/* How many signers count: at least 1. */
size_t countersign_component_signers(const countersign_component *component);
/* SHA-256 (32 bytes) of the key of a signer's root, counted from 0; NULL beyond the last. */
const uint8_t *countersign_component_root(const countersign_component *component, size_t signer);

/* ---- What a guest may do ---- */

/* A ceiling that allows nothing. A guest gets what its statement asks for and its ceiling allows. */
countersign_ceiling *countersign_ceiling_new(void);
void countersign_ceiling_free(countersign_ceiling *ceiling);
/* Allows arguments and sets them; the first is by custom the program's name. */
countersign_error *countersign_ceiling_args(countersign_ceiling *ceiling, const char *const *args, size_t count);
/* Allows a variable of the environment and sets it. */
countersign_error *countersign_ceiling_env(countersign_ceiling *ceiling, const char *name, const char *value);
/* Standard input reads these bytes and then its end. */
countersign_error *countersign_ceiling_stdin(countersign_ceiling *ceiling, const uint8_t *bytes, size_t length);
/* Standard input is this process's. */
countersign_error *countersign_ceiling_inherit_stdin(countersign_ceiling *ceiling);
/* Standard output (1) or error (2) is this process's. */
countersign_error *countersign_ceiling_output_inherit(countersign_ceiling *ceiling, int stream);
/* Standard output (1) or error (2) goes into memory. */
countersign_error *countersign_ceiling_output_capture(countersign_ceiling *ceiling, int stream,
                                                      const countersign_capture *capture);
/* Standard output (1) or error (2) goes to a function, line by line without newlines; a line above 8 KiB in parts. */
countersign_error *countersign_ceiling_output_lines(countersign_ceiling *ceiling, int stream,
                                                    countersign_line_fn function, void *user);
/*
 * Allows a folder of this machine, opened now, under the path that the statement asks for, e.g. "/data". `writable` allows to
 * change what is in it.
 */
countersign_error *countersign_ceiling_directory(countersign_ceiling *ceiling, const char *host, const char *guest,
                                                 bool writable);
/*
 * Bounds what the folder with this guest path may hold, in bytes: files in blocks of 4 KiB, a block for each folder and link, and what
 * was there before. A write beyond it fails as on a full disk.
 */
countersign_error *countersign_ceiling_directory_quota(countersign_ceiling *ceiling, const char *guest, uint64_t bytes);
/* Allows sockets to these peers, spelled as in the statement, e.g. "tcp:192.0.2.7:502". */
countersign_error *countersign_ceiling_sockets(countersign_ceiling *ceiling, const char *const *peers, size_t count);
/* Allows the date. */
countersign_error *countersign_ceiling_wall_clock(countersign_ceiling *ceiling);
/* Bytes of all memories together. Default 256 MiB. */
countersign_error *countersign_ceiling_memory(countersign_ceiling *ceiling, uint64_t bytes);
/* Time of one run, or of one call, by the clock on the wall. Default 60,000 ms. */
countersign_error *countersign_ceiling_time(countersign_ceiling *ceiling, uint64_t milliseconds);
/* Time on a processor of one run, or of one call. Default 60,000 ms. */
countersign_error *countersign_ceiling_processor_time(countersign_ceiling *ceiling, uint64_t milliseconds);
/* Bytes written to standard output and error together. Default 64 MiB. */
countersign_error *countersign_ceiling_written(countersign_ceiling *ceiling, uint64_t bytes);

/* Handles that live at the same time. Default 10,000. */
countersign_error *countersign_ceiling_handles(countersign_ceiling *ceiling, uint64_t most);
/* Bytes in one call of the guest to its host. Default 1,088 KiB: a deadline waits while its strings are read. */
countersign_error *countersign_ceiling_call_bytes(countersign_ceiling *ceiling, uint64_t most);
/* Elements of all tables together. Default 262,144. */
countersign_error *countersign_ceiling_table_elements(countersign_ceiling *ceiling, uint64_t most);

/* Memory that guests write into, as many as have it in their ceiling. */
countersign_capture *countersign_capture_new(void);
void countersign_capture_free(countersign_capture *capture);
/* A copy of what was written so far. */
countersign_error *countersign_capture_contents(const countersign_capture *capture, countersign_buffer **buffer);
const uint8_t *countersign_buffer_data(const countersign_buffer *buffer);
size_t countersign_buffer_length(const countersign_buffer *buffer);
void countersign_buffer_free(countersign_buffer *buffer);

/* ---- Guests ---- */

/*
 * Holds the imports against statement and ceiling, compiles (about a second for 4 MB) and links. The runtime must be the one that
 * verified the component (else "misuse"). Takes the component's content: a second time, verify again. The component is still yours to free.
 */
countersign_error *countersign_load(countersign_runtime *runtime, countersign_component *component,
                                    const countersign_ceiling *ceiling, countersign_guest **guest);
void countersign_guest_free(countersign_guest *guest);
/* What only the statement or only the ceiling wanted, and was not given: a line for each, from 0; NULL beyond the last. */
const char *countersign_guest_withheld(const countersign_guest *guest, size_t index);
/* Runs a command from its start to its end, as often as you like. `status` becomes the guest's own. */
countersign_error *countersign_guest_run(const countersign_guest *guest, uint8_t *status);
/* Starts a guest that is no command. Each start has a memory of its own. */
countersign_error *countersign_guest_start(const countersign_guest *guest, countersign_instance **instance);
/*
 * Stops, from another thread, whatever of this guest runs now: each run, start and call ends with the error "stopped" (status 1).
 * What begins afterwards is not concerned.
 */
countersign_error *countersign_guest_stop(const countersign_guest *guest);
void countersign_instance_free(countersign_instance *instance);
/*
 * Calls an exported function `func(list<u8>) -> list<u8>`, of an interface, or of the world itself where that is NULL. After an
 * error other than misuse and "component-invalid" (no such function) the instance is stopped: start another.
 */
countersign_error *countersign_instance_call_bytes(countersign_instance *instance, const char *interface,
                                                   const char *function, const uint8_t *bytes, size_t length,
                                                   countersign_buffer **result);
/* The same for `func(string) -> string`. */
countersign_error *countersign_instance_call_text(countersign_instance *instance, const char *interface,
                                                  const char *function, const uint8_t *text, size_t length,
                                                  countersign_buffer **result);

#ifdef __cplusplus
}
#endif

#endif
