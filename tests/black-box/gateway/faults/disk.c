/*
 * Lets calls on what lies below a folder fail, as a full or a broken disk does. Preloaded into a program.
 *
 * FAULTS_FOLDER names the folder, FAULTS_ORDER a file of one `struct order`, which says what fails. Whoever maps or writes that
 * file changes it while the program runs. A process that cannot open it (because it confined itself before it began this
 * program) has a disk without faults.
 *
 * What a program does by bare system calls, past its C library, is not seen.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

/* MAKES: opened to be written, made. NAMES: renamed. REMOVES: removed. */
enum { MAKES = 1, WRITES = 2, FLUSHES = 4, NAMES = 8, READS = 16, REMOVES = 32 };

struct order {
    uint32_t kinds;  /* Those calls are counted, */
    uint32_t error;  /* and fail with this number of errno(3), */
    uint32_t from;   /* from this one on, where the first is 1, */
    uint32_t until;  /* up to the one before this. */
    uint32_t room;   /* So many bytes can be written, unless it is all ones. What is removed makes room. */
    uint32_t seen;   /* So many calls were counted, */
    uint32_t struck; /* and so many failed. */
};

static struct order *order;
static char folder[4096];
static unsigned char is_below[1 << 16];

__attribute__((constructor)) static void begin(void) {
    const char *below = getenv("FAULTS_FOLDER"), *file = getenv("FAULTS_ORDER");
    if (!below || !file || strlen(below) >= sizeof folder)
        return;
    int descriptor = open(file, O_RDWR | O_CLOEXEC);
    if (descriptor < 0)
        return;
    void *mapped = mmap(NULL, sizeof *order, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    close(descriptor);
    if (mapped == MAP_FAILED)
        return;
    strcpy(folder, below);
    order = mapped;
}

/* Whether a call of this kind fails; it has errno then. */
static int fails(uint32_t kind) {
    if (!(order->kinds & kind))
        return 0;
    uint32_t number = __atomic_add_fetch(&order->seen, 1, __ATOMIC_SEQ_CST);
    if (number < order->from || number >= order->until)
        return 0;
    __atomic_add_fetch(&order->struck, 1, __ATOMIC_SEQ_CST);
    errno = (int)order->error;
    return 1;
}

/* Says what failed, for whoever looks for the reason. */
static int failed(const char *path, uint32_t kind) {
    int error = errno;
    dprintf(2, "disk: a call of kind %u on %s failed\n", kind, path);
    errno = error;
    return 1;
}

static int path_fails(const char *path, uint32_t kind) {
    size_t length = strlen(folder);
    int is_ours = order && path && !strncmp(path, folder, length) && path[length] == '/';
    return is_ours && fails(kind) && failed(path, kind);
}

static int of_ours(int descriptor) {
    return order && descriptor >= 0 && (size_t)descriptor < sizeof is_below && is_below[descriptor];
}

static int file_fails(int descriptor, uint32_t kind) {
    if (!of_ours(descriptor) || !fails(kind))
        return 0;
    char name[32], path[4096] = "";
    int error = errno;
    snprintf(name, sizeof name, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(name, path, sizeof path - 1);
    errno = error;
    return failed(length > 0 ? path : name, kind);
}

static int opened(int descriptor, const char *path) {
    size_t length = strlen(folder);
    if (order && descriptor >= 0 && (size_t)descriptor < sizeof is_below)
        is_below[descriptor] = path && !strncmp(path, folder, length) && path[length] == '/';
    return descriptor;
}

/* Whether there is no room for so many bytes; takes it otherwise. */
static int is_full(int descriptor, size_t length) {
    if (!of_ours(descriptor) || order->room == UINT32_MAX)
        return 0;
    uint32_t room = __atomic_load_n(&order->room, __ATOMIC_SEQ_CST);
    while (room >= length)
        if (__atomic_compare_exchange_n(&order->room, &room, room - (uint32_t)length, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
            return 0;
    __atomic_add_fetch(&order->struck, 1, __ATOMIC_SEQ_CST);
    errno = ENOSPC;
    return failed("a full disk", WRITES);
}

static uint32_t kind_of(int flags) { return flags & O_ACCMODE ? MAKES : READS; }

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define OPENS(name)                                                                                                            \
    int name(const char *path, int flags, ...) {                                                                               \
        va_list more;                                                                                                          \
        va_start(more, flags);                                                                                                 \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;                                                \
        va_end(more);                                                                                                          \
        return path_fails(path, kind_of(flags)) ? -1 : opened(NEXT(name)(path, flags, mode), path);                            \
    }

OPENS(open)
OPENS(open64)

int close(int descriptor) {
    if (of_ours(descriptor))
        is_below[descriptor] = 0;
    return NEXT(close)(descriptor);
}

ssize_t write(int descriptor, const void *bytes, size_t length) {
    return file_fails(descriptor, WRITES) || is_full(descriptor, length) ? -1 : NEXT(write)(descriptor, bytes, length);
}

ssize_t writev(int descriptor, const struct iovec *parts, int count) {
    return file_fails(descriptor, WRITES) ? -1 : NEXT(writev)(descriptor, parts, count);
}

ssize_t pwrite64(int descriptor, const void *bytes, size_t length, off64_t at) {
    return file_fails(descriptor, WRITES) || is_full(descriptor, length) ? -1 : NEXT(pwrite64)(descriptor, bytes, length, at);
}

int ftruncate64(int descriptor, off64_t length) {
    return file_fails(descriptor, WRITES) ? -1 : NEXT(ftruncate64)(descriptor, length);
}

int fsync(int descriptor) { return file_fails(descriptor, FLUSHES) ? -1 : NEXT(fsync)(descriptor); }

int fdatasync(int descriptor) { return file_fails(descriptor, FLUSHES) ? -1 : NEXT(fdatasync)(descriptor); }

ssize_t read(int descriptor, void *bytes, size_t length) {
    return file_fails(descriptor, READS) ? -1 : NEXT(read)(descriptor, bytes, length);
}

ssize_t pread64(int descriptor, void *bytes, size_t length, off64_t at) {
    return file_fails(descriptor, READS) ? -1 : NEXT(pread64)(descriptor, bytes, length, at);
}

int mkdir(const char *path, mode_t mode) { return path_fails(path, MAKES) ? -1 : NEXT(mkdir)(path, mode); }

int rename(const char *from, const char *to) { return path_fails(to, NAMES) ? -1 : NEXT(rename)(from, to); }

int unlink(const char *path) {
    struct stat status;
    size_t length = strlen(folder);
    int is_ours = order && !strncmp(path, folder, length) && path[length] == '/' && !lstat(path, &status);
    /* Of what is not there the disk is not asked. */
    if (is_ours && path_fails(path, REMOVES))
        return -1;
    int gives = is_ours && order->room != UINT32_MAX && S_ISREG(status.st_mode);
    int removed = NEXT(unlink)(path);
    if (gives && !removed)
        __atomic_add_fetch(&order->room, (uint32_t)status.st_size, __ATOMIC_SEQ_CST);
    return removed;
}
