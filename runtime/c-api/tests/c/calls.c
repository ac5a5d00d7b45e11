/*
 * Calls every function of countersign.h, rightly and wrongly, and looks at each answer.
 *
 *   calls ROOTS.pem LISTS.pem FOLDER, with signed files in the folder
 */
#include <countersign.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ENSURE(what)                                                                                  \
    do {                                                                                              \
        if (!(what)) {                                                                                \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #what);                        \
            exit(1);                                                                                  \
        }                                                                                             \
    } while (0)
#define DONE(call) done(__LINE__, call)
#define REFUSED(call, code) refused(__LINE__, call, code)
#define MISUSED(call) refused(__LINE__, call, "misuse")

static void done(int line, countersign_error *error) {
    if (error != NULL) {
        fprintf(stderr, "%d: %s: %s\n", line, countersign_error_code(error), countersign_error_message(error));
        exit(1);
    }
}

static void refused(int line, countersign_error *error, const char *code) {
    if (strcmp(countersign_error_code(error), code) != 0) {
        fprintf(stderr, "%d: not %s, but \"%s\": %s\n", line, code, countersign_error_code(error),
                countersign_error_message(error));
        exit(1);
    }
    int status = countersign_error_exit_status(error);
    if (strcmp(code, "misuse") == 0) {
        ENSURE(status == 2);
    } else if (strcmp(code, "stopped") == 0) {
        ENSURE(status == 1);
    } else {
        ENSURE(status >= 110 && status <= 119);
    }
    ENSURE(strlen(countersign_error_message(error)) > 0);
    ENSURE(strlen(countersign_error_next_step(error)) > 0);
    countersign_error_free(error);
}

typedef struct {
    uint8_t *bytes;
    size_t length;
} file;

static file in_folder(const char *folder, const char *name) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *opened = fopen(path, "rb");
    ENSURE(opened != NULL);
    file read = {malloc(1 << 20), 0};
    ENSURE(read.bytes != NULL);
    read.length = fread(read.bytes, 1, 1 << 20, opened);
    fclose(opened);
    return read;
}

/* Nothing but NULL, everywhere. */
static void nulls(void) {
    ENSURE(strcmp(countersign_version(), EXPECTED_VERSION) == 0);
    ENSURE(strcmp(countersign_error_code(NULL), "") == 0);
    ENSURE(strcmp(countersign_error_message(NULL), "") == 0);
    ENSURE(strcmp(countersign_error_next_step(NULL), "") == 0);
    ENSURE(countersign_error_exit_status(NULL) == 0);
    countersign_error_free(NULL);
    countersign_config_free(NULL);
    countersign_runtime_free(NULL);
    countersign_component_free(NULL);
    countersign_ceiling_free(NULL);
    countersign_capture_free(NULL);
    countersign_buffer_free(NULL);
    countersign_guest_free(NULL);
    countersign_instance_free(NULL);

    MISUSED(countersign_config_roots(NULL, NULL, 0));
    MISUSED(countersign_config_compiled_in_roots(NULL));
    MISUSED(countersign_config_signers(NULL, 1));
    MISUSED(countersign_config_device(NULL, NULL, NULL));
    MISUSED(countersign_config_time_floor(NULL, 0));
    MISUSED(countersign_config_audit(NULL, NULL, NULL));
    MISUSED(countersign_config_code_cache(NULL, NULL, 0));
    countersign_runtime *runtime = (countersign_runtime *)&runtime;
    MISUSED(countersign_runtime_new(NULL, &runtime));
    ENSURE(runtime == NULL);
    MISUSED(countersign_runtime_new(NULL, NULL));
    MISUSED(countersign_runtime_lists(NULL, NULL, 0));
    MISUSED(countersign_runtime_note_version(NULL, NULL, NULL, 0));
    countersign_component *component = (countersign_component *)&component;
    MISUSED(countersign_verify(NULL, NULL, 0, &component));
    ENSURE(component == NULL);
    MISUSED(countersign_verify(NULL, NULL, 0, NULL));
    ENSURE(countersign_component_name(NULL) == NULL);
    ENSURE(countersign_component_version(NULL) == NULL);
    ENSURE(countersign_component_security_version(NULL) == 0);
    ENSURE(countersign_component_signers(NULL) == 0);
    ENSURE(countersign_component_root(NULL, 0) == NULL);
    MISUSED(countersign_ceiling_args(NULL, NULL, 0));
    MISUSED(countersign_ceiling_env(NULL, NULL, NULL));
    MISUSED(countersign_ceiling_stdin(NULL, NULL, 0));
    MISUSED(countersign_ceiling_inherit_stdin(NULL));
    MISUSED(countersign_ceiling_output_inherit(NULL, 1));
    MISUSED(countersign_ceiling_output_capture(NULL, 1, NULL));
    MISUSED(countersign_ceiling_output_lines(NULL, 1, NULL, NULL));
    MISUSED(countersign_ceiling_directory(NULL, NULL, NULL, false));
    MISUSED(countersign_ceiling_directory_quota(NULL, NULL, 0));
    MISUSED(countersign_ceiling_sockets(NULL, NULL, 0));
    MISUSED(countersign_ceiling_wall_clock(NULL));
    MISUSED(countersign_ceiling_memory(NULL, 0));
    MISUSED(countersign_ceiling_time(NULL, 0));
    MISUSED(countersign_ceiling_processor_time(NULL, 0));
    MISUSED(countersign_ceiling_written(NULL, 0));
    MISUSED(countersign_ceiling_handles(NULL, 0));
    MISUSED(countersign_ceiling_call_bytes(NULL, 0));
    MISUSED(countersign_ceiling_table_elements(NULL, 0));
    MISUSED(countersign_guest_stop(NULL));
    MISUSED(countersign_capture_contents(NULL, NULL));
    ENSURE(countersign_buffer_data(NULL) == NULL);
    ENSURE(countersign_buffer_length(NULL) == 0);
    countersign_guest *guest = (countersign_guest *)&guest;
    MISUSED(countersign_load(NULL, NULL, NULL, &guest));
    ENSURE(guest == NULL);
    ENSURE(countersign_guest_withheld(NULL, 0) == NULL);
    uint8_t status = 0;
    MISUSED(countersign_guest_run(NULL, &status));
    ENSURE(status == 1);
    MISUSED(countersign_guest_run(NULL, NULL));
    MISUSED(countersign_guest_start(NULL, NULL));
    countersign_buffer *buffer = (countersign_buffer *)&buffer;
    MISUSED(countersign_instance_call_bytes(NULL, NULL, NULL, NULL, 0, &buffer));
    ENSURE(buffer == NULL);
    MISUSED(countersign_instance_call_text(NULL, NULL, NULL, NULL, 0, NULL));
}

static void count_lines(void *user, const char *line, size_t length) {
    ENSURE(line[length] == 0 && line[length - 1] == '\n');
    __atomic_add_fetch((int *)user, 1, __ATOMIC_SEQ_CST);
}

/* A configuration that is not complete, or wrong. */
static countersign_runtime *configured(file roots, file lists, const char *folder, int *audited) {
    countersign_config *config = countersign_config_new();
    countersign_runtime *runtime;
    REFUSED(countersign_runtime_new(config, &runtime), "no-root");
    ENSURE(runtime == NULL);
    MISUSED(countersign_config_roots(config, NULL, 10));
    MISUSED(countersign_config_roots(config, (const uint8_t *)"no root", 7));
    MISUSED(countersign_config_roots(config, roots.bytes, (size_t)-1));
    MISUSED(countersign_config_signers(config, 0));
    MISUSED(countersign_config_signers(config, 200));
    MISUSED(countersign_config_audit(config, NULL, NULL));
    DONE(countersign_config_compiled_in_roots(config));
    DONE(countersign_config_roots(config, roots.bytes, roots.length));
    DONE(countersign_config_signers(config, 1));
    MISUSED(countersign_config_device(config, NULL, NULL));
    MISUSED(countersign_config_device(config, "two words", NULL));
    MISUSED(countersign_config_device(config, "pump-7", "\xff"));
    DONE(countersign_config_device(config, "pump-7", "pump"));
    DONE(countersign_config_time_floor(config, 0));
    MISUSED(countersign_config_code_cache(config, NULL, 0));
    DONE(countersign_config_code_cache(config, "/proc/self/mem", 1 << 20));
    DONE(countersign_config_audit(config, count_lines, audited));
    MISUSED(countersign_runtime_new(config, NULL));
    REFUSED(countersign_runtime_new(config, &runtime), "host-failure");
    char cache[4096];
    snprintf(cache, sizeof cache, "%s/code", folder);
    DONE(countersign_config_code_cache(config, cache, 64 << 20));
    DONE(countersign_runtime_new(config, &runtime));
    /* The same root a second time: none is trusted then. */
    DONE(countersign_config_roots(config, roots.bytes, roots.length));
    countersign_runtime *other;
    REFUSED(countersign_runtime_new(config, &other), "root-unusable");
    countersign_config_free(config);

    REFUSED(countersign_runtime_lists(runtime, (const uint8_t *)"no list", 7), "crl-invalid");
    MISUSED(countersign_runtime_lists(runtime, NULL, 7));
    MISUSED(countersign_runtime_note_version(runtime, NULL, "acme:pump", 1));
    MISUSED(countersign_runtime_note_version(runtime, lists.bytes, NULL, 1));
    MISUSED(countersign_runtime_note_version(runtime, lists.bytes, "\xff", 1));
    MISUSED(countersign_runtime_note_version(runtime, lists.bytes, "no name", 1));
    return runtime;
}

static countersign_component *verified(countersign_runtime *runtime, file signed_file) {
    countersign_component *component;
    DONE(countersign_verify(runtime, signed_file.bytes, signed_file.length, &component));
    return component;
}

/* What must not run. */
static void refusals(countersign_runtime *runtime, file hello, file lists, const char *folder) {
    countersign_component *component;
    REFUSED(countersign_verify(runtime, hello.bytes, hello.length, &component), "revocation-unknown");
    ENSURE(component == NULL);
    DONE(countersign_runtime_lists(runtime, lists.bytes, lists.length));
    DONE(countersign_runtime_lists(runtime, lists.bytes, lists.length));
    REFUSED(countersign_verify(runtime, NULL, 0, &component), "not-a-component");
    MISUSED(countersign_verify(runtime, NULL, 1, &component));
    MISUSED(countersign_verify(runtime, hello.bytes, hello.length, NULL));
    REFUSED(countersign_verify(runtime, hello.bytes, SIZE_MAX, &component), "limit-exceeded");
    file unsigned_file = in_folder(folder, "unsigned.wasm");
    REFUSED(countersign_verify(runtime, unsigned_file.bytes, unsigned_file.length, &component), "signature-missing");
    free(unsigned_file.bytes);
    file stranger = in_folder(folder, "stranger.wasm");
    REFUSED(countersign_verify(runtime, stranger.bytes, stranger.length, &component), "untrusted-root");
    free(stranger.bytes);
    hello.bytes[hello.length / 4] ^= 1;
    REFUSED(countersign_verify(runtime, hello.bytes, hello.length, &component), "digest-mismatch");
    hello.bytes[hello.length / 4] ^= 1;

    file greedy = in_folder(folder, "greedy.wasm");
    component = verified(runtime, greedy);
    countersign_ceiling *ceiling = countersign_ceiling_new();
    countersign_guest *guest;
    REFUSED(countersign_load(runtime, component, ceiling, &guest), "import-denied");
    ENSURE(guest == NULL);
    countersign_component_free(component);
    countersign_ceiling_free(ceiling);
    free(greedy.bytes);
}

/* What another runtime verified is not loaded; and what a list revoked does not come back with the lists before. */
static void apart(countersign_runtime *runtime, file roots, file lists, file hello, const char *folder) {
    countersign_config *config = countersign_config_new();
    DONE(countersign_config_roots(config, roots.bytes, roots.length));
    countersign_runtime *other;
    DONE(countersign_runtime_new(config, &other));
    countersign_config_free(config);
    DONE(countersign_runtime_lists(other, lists.bytes, lists.length));
    countersign_component *component = verified(other, hello);
    countersign_ceiling *ceiling = countersign_ceiling_new();
    countersign_guest *guest;
    MISUSED(countersign_load(runtime, component, ceiling, &guest));
    ENSURE(guest == NULL);
    countersign_ceiling_free(ceiling);
    countersign_component_free(component);

    file revoked = in_folder(folder, "revoked.crl");
    DONE(countersign_runtime_lists(other, revoked.bytes, revoked.length));
    REFUSED(countersign_verify(other, hello.bytes, hello.length, &component), "revoked");
    free(revoked.bytes);
    DONE(countersign_runtime_lists(other, lists.bytes, lists.length));
    REFUSED(countersign_verify(other, hello.bytes, hello.length, &component), "crl-rollback");
    countersign_runtime_free(other);
}

static void ceilings(countersign_ceiling *ceiling, const char *folder) {
    const char *args[] = {"hello", NULL};
    MISUSED(countersign_ceiling_args(ceiling, args, 2));
    MISUSED(countersign_ceiling_args(ceiling, NULL, 2));
    MISUSED(countersign_ceiling_args(ceiling, args, SIZE_MAX));
    DONE(countersign_ceiling_args(ceiling, args, 1));
    MISUSED(countersign_ceiling_env(ceiling, NULL, "en"));
    MISUSED(countersign_ceiling_env(ceiling, "LANG", NULL));
    DONE(countersign_ceiling_env(ceiling, "LANG", "en"));
    MISUSED(countersign_ceiling_stdin(ceiling, NULL, 5));
    DONE(countersign_ceiling_stdin(ceiling, NULL, 0));
    DONE(countersign_ceiling_inherit_stdin(ceiling));
    MISUSED(countersign_ceiling_output_inherit(ceiling, 0));
    DONE(countersign_ceiling_output_inherit(ceiling, 2));
    MISUSED(countersign_ceiling_output_capture(ceiling, 1, NULL));
    MISUSED(countersign_ceiling_output_lines(ceiling, 1, NULL, NULL));
    REFUSED(countersign_ceiling_directory(ceiling, "/does/not/exist", "/data", false), "grant-invalid");
    MISUSED(countersign_ceiling_directory(ceiling, NULL, "/data", false));
    DONE(countersign_ceiling_directory(ceiling, folder, "/data", true));
    REFUSED(countersign_ceiling_directory(ceiling, folder, "/data", true), "grant-invalid");
    REFUSED(countersign_ceiling_directory_quota(ceiling, "/other", 1 << 20), "grant-invalid");
    MISUSED(countersign_ceiling_directory_quota(ceiling, NULL, 1 << 20));
    DONE(countersign_ceiling_directory_quota(ceiling, "/data", 1 << 20));
    DONE(countersign_ceiling_sockets(ceiling, NULL, 0));
    DONE(countersign_ceiling_wall_clock(ceiling));
    DONE(countersign_ceiling_memory(ceiling, 1 << 20));
    DONE(countersign_ceiling_time(ceiling, 10000));
    DONE(countersign_ceiling_processor_time(ceiling, 10000));
    DONE(countersign_ceiling_written(ceiling, 1000));
    DONE(countersign_ceiling_handles(ceiling, 100));
    DONE(countersign_ceiling_call_bytes(ceiling, 100000));
    DONE(countersign_ceiling_table_elements(ceiling, 1000));
}

static void *run_in_a_thread(void *guest) {
    uint8_t status;
    DONE(countersign_guest_run(guest, &status));
    ENSURE(status == 0);
    return NULL;
}

/* A command: its output in memory, twice and in threads; its runtime freed before it. */
static void command(countersign_runtime **runtime, file hello, const char *folder) {
    countersign_component *component = verified(*runtime, hello);
    ENSURE(strcmp(countersign_component_name(component), "test:hello") == 0);
    ENSURE(strcmp(countersign_component_version(component), "1.0.0") == 0);
    ENSURE(countersign_component_security_version(component) == 2);
    ENSURE(countersign_component_signers(component) == 1);
    ENSURE(countersign_component_root(component, 0) != NULL);
    ENSURE(countersign_component_root(component, 1) == NULL);
    uint8_t root[32];
    memcpy(root, countersign_component_root(component, 0), 32);

    countersign_ceiling *ceiling = countersign_ceiling_new();
    ceilings(ceiling, folder);
    countersign_capture *capture = countersign_capture_new();
    DONE(countersign_ceiling_output_capture(ceiling, 1, capture));
    countersign_guest *guest;
    MISUSED(countersign_load(*runtime, component, NULL, &guest));
    MISUSED(countersign_load(*runtime, NULL, ceiling, &guest));
    DONE(countersign_load(*runtime, component, ceiling, &guest));
    countersign_guest *again;
    MISUSED(countersign_load(*runtime, component, ceiling, &again));
    ENSURE(again == NULL);
    countersign_component_free(component);
    ENSURE(strstr(countersign_guest_withheld(guest, 0), "LANG") != NULL);
    ENSURE(countersign_guest_withheld(guest, 1000) == NULL);

    uint8_t status;
    DONE(countersign_guest_run(guest, &status));
    ENSURE(status == 0);
    countersign_buffer *buffer;
    MISUSED(countersign_capture_contents(capture, NULL));
    DONE(countersign_capture_contents(capture, &buffer));
    static const char EXPECTED[] = "hello from a verified guest\n";
    ENSURE(countersign_buffer_length(buffer) == strlen(EXPECTED));
    ENSURE(memcmp(countersign_buffer_data(buffer), EXPECTED, strlen(EXPECTED)) == 0);
    countersign_buffer_free(buffer);

    DONE(countersign_runtime_note_version(*runtime, root, "test:hello", 3));
    REFUSED(countersign_verify(*runtime, hello.bytes, hello.length, &component), "rollback");

    countersign_ceiling_free(ceiling);
    countersign_runtime_free(*runtime);
    *runtime = NULL;
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        ENSURE(pthread_create(&threads[i], NULL, run_in_a_thread, guest) == 0);
    }
    for (int i = 0; i < 4; i++) {
        ENSURE(pthread_join(threads[i], NULL) == 0);
    }
    DONE(countersign_capture_contents(capture, &buffer));
    ENSURE(countersign_buffer_length(buffer) == 5 * strlen(EXPECTED));
    countersign_buffer_free(buffer);
    countersign_capture_free(capture);
    countersign_guest_free(guest);
}

static countersign_guest *within;
static int lines_seen;
static int stopped;

/* A function that is called with a line, and tries what it may not. */
static void runs_another(void *user, const char *line, size_t length) {
    ENSURE(user == &lines_seen && length == strlen("hello from a verified guest") && line[length] == 0);
    uint8_t status;
    MISUSED(countersign_guest_run(within, &status));
    lines_seen++;
}

static void lines(countersign_runtime *runtime, file hello) {
    countersign_component *component = verified(runtime, hello);
    countersign_ceiling *ceiling = countersign_ceiling_new();
    DONE(countersign_ceiling_output_lines(ceiling, 1, runs_another, &lines_seen));
    DONE(countersign_load(runtime, component, ceiling, &within));
    uint8_t status;
    DONE(countersign_guest_run(within, &status));
    ENSURE(lines_seen == 1);
    countersign_component_free(component);
    countersign_ceiling_free(ceiling);
    countersign_guest_free(within);
}

/* Stops a guest again and again, until it was told that it ended. */
static void *stops(void *guest) {
    const struct timespec moment = {0, 20 * 1000 * 1000};
    for (;;) {
        nanosleep(&moment, NULL);
        if (__atomic_load_n(&stopped, __ATOMIC_SEQ_CST)) {
            return NULL;
        }
        DONE(countersign_guest_stop(guest));
    }
}

/* Another thread ends what would not end for a minute. */
static void stop(countersign_runtime *runtime, const char *folder) {
    file signed_file = in_folder(folder, "plug-in.wasm");
    countersign_component *component = verified(runtime, signed_file);
    free(signed_file.bytes);
    countersign_ceiling *ceiling = countersign_ceiling_new();
    countersign_guest *guest;
    DONE(countersign_load(runtime, component, ceiling, &guest));
    countersign_component_free(component);
    countersign_ceiling_free(ceiling);
    countersign_instance *instance;
    DONE(countersign_guest_start(guest, &instance));
    /* Nothing runs: nothing is stopped. */
    DONE(countersign_guest_stop(guest));
    countersign_buffer *buffer;
    DONE(countersign_instance_call_text(instance, NULL, "text", NULL, 0, &buffer));
    countersign_buffer_free(buffer);

    pthread_t thread;
    ENSURE(pthread_create(&thread, NULL, stops, guest) == 0);
    time_t before = time(NULL);
    REFUSED(countersign_instance_call_text(instance, NULL, "endless", NULL, 0, &buffer), "stopped");
    __atomic_store_n(&stopped, 1, __ATOMIC_SEQ_CST);
    ENSURE(buffer == NULL && time(NULL) - before < 30);
    ENSURE(pthread_join(thread, NULL) == 0);
    REFUSED(countersign_instance_call_text(instance, NULL, "text", NULL, 0, &buffer), "host-failure");
    countersign_instance_free(instance);
    countersign_guest_free(guest);
}

/* A plug-in: called with bytes and text, stopped at a limit, and started anew. */
static void plug_in(countersign_runtime *runtime, const char *folder) {
    file signed_file = in_folder(folder, "plug-in.wasm");
    countersign_component *component = verified(runtime, signed_file);
    free(signed_file.bytes);
    countersign_ceiling *ceiling = countersign_ceiling_new();
    DONE(countersign_ceiling_time(ceiling, 200));
    countersign_guest *guest;
    DONE(countersign_load(runtime, component, ceiling, &guest));
    countersign_component_free(component);
    countersign_ceiling_free(ceiling);

    countersign_instance *instance;
    MISUSED(countersign_guest_start(guest, NULL));
    DONE(countersign_guest_start(guest, &instance));
    countersign_buffer *buffer;
    const uint8_t bytes[] = {1, 2, 255};
    DONE(countersign_instance_call_bytes(instance, NULL, "bytes", bytes, 3, &buffer));
    ENSURE(countersign_buffer_length(buffer) == 3);
    ENSURE(memcmp(countersign_buffer_data(buffer), "\xfe\xfd\x00", 3) == 0);
    countersign_buffer_free(buffer);
    DONE(countersign_instance_call_bytes(instance, NULL, "bytes", NULL, 0, &buffer));
    ENSURE(countersign_buffer_length(buffer) == 0);
    countersign_buffer_free(buffer);
    const uint8_t *text = (const uint8_t *)"gr\xc3\xbc\xc3\x9f";
    DONE(countersign_instance_call_text(instance, NULL, "text", text, 6, &buffer));
    ENSURE(countersign_buffer_length(buffer) == 6 && memcmp(countersign_buffer_data(buffer), text, 6) == 0);
    countersign_buffer_free(buffer);

    MISUSED(countersign_instance_call_text(instance, NULL, "text", bytes, 3, &buffer));
    ENSURE(buffer == NULL);
    MISUSED(countersign_instance_call_text(instance, NULL, NULL, text, 6, &buffer));
    MISUSED(countersign_instance_call_bytes(instance, NULL, "bytes", NULL, 3, &buffer));
    MISUSED(countersign_instance_call_bytes(instance, "\xff", "bytes", bytes, 3, &buffer));
    REFUSED(countersign_instance_call_bytes(instance, NULL, "text", bytes, 3, &buffer), "component-invalid");
    REFUSED(countersign_instance_call_bytes(instance, "a:b/c", "bytes", bytes, 3, &buffer), "component-invalid");
    DONE(countersign_instance_call_text(instance, NULL, "text", text, 6, &buffer));
    countersign_buffer_free(buffer);
    REFUSED(countersign_instance_call_text(instance, NULL, "endless", text, 6, &buffer), "limit-time");
    REFUSED(countersign_instance_call_text(instance, NULL, "text", text, 6, &buffer), "host-failure");
    countersign_instance_free(instance);
    DONE(countersign_guest_start(guest, &instance));
    DONE(countersign_instance_call_text(instance, NULL, "text", text, 6, &buffer));
    countersign_buffer_free(buffer);
    countersign_instance_free(instance);
    countersign_guest_free(guest);
}

int main(int count, char **words) {
    ENSURE(count == 4);
    const char *folder = words[3];
    file roots = in_folder("", words[1]), lists_file = in_folder("", words[2]);
    file hello = in_folder(folder, "hello.wasm");
    nulls();
    int audited = 0;
    countersign_runtime *runtime = configured(roots, lists_file, folder, &audited);
    refusals(runtime, hello, lists_file, folder);
    apart(runtime, roots, lists_file, hello, folder);
    lines(runtime, hello);
    plug_in(runtime, folder);
    stop(runtime, folder);
    command(&runtime, hello, folder);
    /* Refused: seven files, one of them too long to look at, and the greedy one. Accepted: four. */
    if (audited != 11) {
        fprintf(stderr, "%d records\n", audited);
        return 1;
    }
    free(roots.bytes);
    free(lists_file.bytes);
    free(hello.bytes);
    puts("every call answered");
    return 0;
}
