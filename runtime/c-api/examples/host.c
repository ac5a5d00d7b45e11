/*
 * A host in C: verifies a signed command and runs it.
 *
 *   host ROOTS.pem LISTS.pem FILE.wasm [ARGUMENT ...]
 *
 * A real program has its roots as a constant instead of reading a file: whoever can replace them decides what runs.
 */
#include <countersign.h>

#include <stdio.h>
#include <stdlib.h>

/* No file of this program is larger. */
#define LARGEST (64u << 20)

static uint8_t *read_file(const char *path, size_t *length) {
    FILE *file = fopen(path, "rb");
    uint8_t *bytes = malloc(LARGEST);
    if (file == NULL || bytes == NULL) {
        fprintf(stderr, "host: %s cannot be read\n", path);
        exit(2);
    }
    *length = fread(bytes, 1, LARGEST, file);
    fclose(file);
    return bytes;
}

/* Says what went wrong, and ends with the status that goes with it. */
static void check(countersign_error *error) {
    if (error == NULL) {
        return;
    }
    int status = countersign_error_exit_status(error);
    fprintf(stderr, "host: %s\n  why:  %s\n  next: %s\n", countersign_error_code(error),
            countersign_error_message(error), countersign_error_next_step(error));
    countersign_error_free(error);
    exit(status);
}

static void audit(void *user, const char *line, size_t length) {
    fwrite(line, 1, length, user);
}

int main(int count, char **words) {
    if (count < 4) {
        fprintf(stderr, "usage: %s ROOTS.pem LISTS.pem FILE.wasm [ARGUMENT ...]\n", words[0]);
        return 2;
    }
    size_t length;
    uint8_t *bytes = read_file(words[1], &length);
    countersign_config *config = countersign_config_new();
    check(countersign_config_roots(config, bytes, length));
    check(countersign_config_audit(config, audit, stderr));
    free(bytes);
    countersign_runtime *runtime;
    check(countersign_runtime_new(config, &runtime));
    countersign_config_free(config);

    bytes = read_file(words[2], &length);
    check(countersign_runtime_lists(runtime, bytes, length));
    free(bytes);

    bytes = read_file(words[3], &length);
    countersign_component *component;
    check(countersign_verify(runtime, bytes, length, &component));
    free(bytes);
    fprintf(stderr, "host: %s %s\n", countersign_component_name(component),
            countersign_component_version(component));

    countersign_ceiling *ceiling = countersign_ceiling_new();
    check(countersign_ceiling_args(ceiling, (const char *const *)&words[3], (size_t)count - 3));
    check(countersign_ceiling_output_inherit(ceiling, 1));
    check(countersign_ceiling_output_inherit(ceiling, 2));
    check(countersign_ceiling_memory(ceiling, 64u << 20));
    check(countersign_ceiling_time(ceiling, 10000));
    countersign_guest *guest;
    check(countersign_load(runtime, component, ceiling, &guest));
    countersign_component_free(component);
    countersign_ceiling_free(ceiling);
    const char *line;
    for (size_t i = 0; (line = countersign_guest_withheld(guest, i)) != NULL; i++) {
        fprintf(stderr, "host: not given: %s\n", line);
    }

    uint8_t status;
    check(countersign_guest_run(guest, &status));
    countersign_guest_free(guest);
    countersign_runtime_free(runtime);
    return status;
}
