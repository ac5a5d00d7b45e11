/* A disk that fails, between a process and the files of one folder: loaded before libc (LD_PRELOAD).
 *
 * DISK_FOLDER: the files that are concerned. DISK_FAULT: a file whose first letter says what fails now, none if it is not
 * there: f, it is full; r, it is read-only; s, what is flushed does not arrive. DISK_KEPT: a folder that gets of each file
 * what was flushed, and nothing else: what is left when the power fails.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Pieces of files that were written and not flushed. */
struct piece { ino_t file; off_t from; size_t length; };
static struct piece *pieces;
static size_t count, room;
static pthread_mutex_t guard = PTHREAD_MUTEX_INITIALIZER;

static char fault(void)
{
    const char *path = getenv("DISK_FAULT");
    char letter = 0;
    int fd = path ? (int)((int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open"))(path, O_RDONLY) : -1;
    if (fd < 0)
        return 0;
    if (read(fd, &letter, 1) != 1)
        letter = 0;
    close(fd);
    return letter;
}

static int concerns(const char *path)
{
    const char *folder = getenv("DISK_FOLDER");
    return folder && strncmp(path, folder, strlen(folder)) == 0;
}

/* The path of an open file of the folder, or nothing. */
static int path_of(int fd, char *path, size_t size)
{
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, size - 1);
    if (length <= 0)
        return 0;
    path[length] = 0;
    return concerns(path);
}

static void note(int fd, off_t from, size_t length)
{
    struct stat is;
    if (!getenv("DISK_KEPT") || fstat(fd, &is) != 0)
        return;
    pthread_mutex_lock(&guard);
    if (count == room) {
        room = room ? room * 2 : 4096;
        pieces = realloc(pieces, room * sizeof *pieces);
        if (!pieces)
            abort();
    }
    pieces[count++] = (struct piece){ is.st_ino, from, length };
    pthread_mutex_unlock(&guard);
}

static void keep(int fd, const char *path)
{
    const char *folder = getenv("DISK_KEPT"), *name = strrchr(path, '/');
    ssize_t (*out)(int, const void *, size_t, off_t) = dlsym(RTLD_NEXT, "pwrite64");
    char kept[4096], buffer[65536];
    struct stat is;
    if (!folder || !name || fstat(fd, &is) != 0)
        return;
    snprintf(kept, sizeof kept, "%s%s", folder, name);
    int copy = ((int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open"))(kept, O_WRONLY | O_CREAT, 0600);
    pthread_mutex_lock(&guard);
    size_t left = 0;
    for (size_t i = 0; i < count; i++) {
        struct piece piece = pieces[i];
        if (piece.file != is.st_ino) {
            pieces[left++] = piece;
            continue;
        }
        while (piece.length > 0) {
            size_t most = piece.length < sizeof buffer ? piece.length : sizeof buffer;
            ssize_t got = pread(fd, buffer, most, piece.from);
            if (got <= 0)
                break;
            if (out(copy, buffer, (size_t)got, piece.from) != got)
                abort();
            piece.from += got;
            piece.length -= (size_t)got;
        }
    }
    count = left;
    pthread_mutex_unlock(&guard);
    close(copy);
}

static int refused(int fd, off_t end)
{
    char path[4096];
    struct stat is;
    if (!path_of(fd, path, sizeof path))
        return 0;
    switch (fault()) {
    case 'f':
        /* What has its place already may be written over. */
        if (fstat(fd, &is) == 0 && end <= is.st_size)
            return 0;
        errno = ENOSPC;
        return 1;
    case 'r':
        errno = EROFS;
        return 1;
    default:
        return 0;
    }
}

static ssize_t write_at(const char *name, int fd, const void *bytes, size_t length, off_t from)
{
    char path[4096];
    if (refused(fd, from + (off_t)length))
        return -1;
    ssize_t written = ((ssize_t (*)(int, const void *, size_t, off_t))dlsym(RTLD_NEXT, name))(fd, bytes, length, from);
    if (written > 0 && path_of(fd, path, sizeof path))
        note(fd, from, (size_t)written);
    return written;
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t from)
{
    return write_at("pwrite", fd, bytes, length, from);
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off_t from)
{
    return write_at("pwrite64", fd, bytes, length, from);
}

ssize_t write(int fd, const void *bytes, size_t length)
{
    char path[4096];
    off_t from = lseek(fd, 0, SEEK_CUR);
    if (from >= 0 && refused(fd, from + (off_t)length))
        return -1;
    ssize_t written = ((ssize_t (*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write"))(fd, bytes, length);
    if (written > 0 && from >= 0 && path_of(fd, path, sizeof path))
        note(fd, from, (size_t)written);
    return written;
}

static int flush(const char *name, int fd)
{
    char path[4096];
    struct stat is;
    int concerned = path_of(fd, path, sizeof path) && fstat(fd, &is) == 0 && S_ISREG(is.st_mode);
    if (concerned && fault() == 's') {
        errno = EIO;
        return -1;
    }
    if (concerned)
        keep(fd, path);
    return ((int (*)(int))dlsym(RTLD_NEXT, name))(fd);
}

int fsync(int fd)
{
    return flush("fsync", fd);
}

int fdatasync(int fd)
{
    return flush("fdatasync", fd);
}

static int open_as(const char *name, const char *path, int flags, mode_t mode)
{
    if ((flags & (O_WRONLY | O_RDWR | O_CREAT)) && concerns(path) && fault() == 'r') {
        errno = EROFS;
        return -1;
    }
    return ((int (*)(const char *, int, ...))dlsym(RTLD_NEXT, name))(path, flags, mode);
}

int open(const char *path, int flags, ...)
{
    va_list rest;
    va_start(rest, flags);
    mode_t mode = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    return open_as("open", path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    va_list rest;
    va_start(rest, flags);
    mode_t mode = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    return open_as("open64", path, flags, mode);
}
