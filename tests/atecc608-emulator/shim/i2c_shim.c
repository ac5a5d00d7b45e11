/* Takes a Unix socket for /dev/i2c-N: open, close, read, write and three ioctls are looked at, everything else goes to
 * the C library. ATECC608_EMULATOR_SOCKET names the socket; without it nothing is changed. For tests. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/i2c-dev.h>
#include <linux/i2c.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>
#include <unistd.h>

#define MOST 1024
static struct { int used; uint8_t address; } buses[MOST];

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int is_bus(int fd) { return fd >= 0 && fd < MOST && buses[fd].used; }

static int all(int fd, void *bytes, size_t length, int sending);

/* Connects, and says which bus it is: 'B', nothing, N in two bytes. */
static int connect_to_emulator(const char *number) {
    const char *path = getenv("ATECC608_EMULATOR_SOCKET");
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    if (!path || strlen(path) >= sizeof name.sun_path) { errno = ENOENT; return -1; }
    strcpy(name.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    if (fd >= MOST || connect(fd, (struct sockaddr *)&name, sizeof name)) {
        REAL(close)(fd);
        errno = ENXIO;
        return -1;
    }
    unsigned long bus = strtoul(number, 0, 10);
    uint8_t head[4] = {'B', 0, bus & 0xff, (bus >> 8) & 0xff}, status = 1;
    if (all(fd, head, 4, 1) || all(fd, &status, 1, 0) || status) {
        REAL(close)(fd);
        errno = ENOENT;
        return -1;
    }
    buses[fd].used = 1;
    buses[fd].address = 0;
    return fd;
}

static int is_ours(const char *path) {
    return getenv("ATECC608_EMULATOR_SOCKET") && path && !strncmp(path, "/dev/i2c-", 9);
}

static int all(int fd, void *bytes, size_t length, int sending) {
    uint8_t *at = bytes;
    while (length) {
        ssize_t n = sending ? send(fd, at, length, MSG_NOSIGNAL) : recv(fd, at, length, 0);
        if (n <= 0) { errno = EIO; return -1; }
        at += n;
        length -= (size_t)n;
    }
    return 0;
}

static int transfer(int fd, char direction, uint8_t address, void *bytes, uint16_t length) {
    uint8_t head[4] = {(uint8_t)direction, address, length & 0xff, length >> 8}, status;
    if (all(fd, head, 4, 1)) return -1;
    if (direction == 'W' && all(fd, bytes, length, 1)) return -1;
    if (all(fd, &status, 1, 0)) return -1;
    if (status) { errno = status == 1 ? EREMOTEIO : ETIMEDOUT; return -1; }
    return direction == 'R' ? all(fd, bytes, length, 0) : 0;
}

static int open_any(const char *path, int flags, mode_t mode, const char *name) {
    if (is_ours(path)) return connect_to_emulator(path + 9);
    int (*real)(const char *, int, ...) = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, name);
    return real(path, flags, mode);
}

#define OPEN(name)                                                   \
    int name(const char *path, int flags, ...) {                     \
        va_list list;                                                \
        va_start(list, flags);                                       \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(list, mode_t) : 0; \
        va_end(list);                                                \
        return open_any(path, flags, mode, #name);                   \
    }
OPEN(open)
OPEN(open64)
int __open_2(const char *path, int flags) { return open_any(path, flags, 0, "open"); }
int __open64_2(const char *path, int flags) { return open_any(path, flags, 0, "open64"); }

int close(int fd) {
    if (is_bus(fd)) buses[fd].used = 0;
    return REAL(close)(fd);
}

ssize_t read(int fd, void *bytes, size_t length) {
    if (!is_bus(fd)) return REAL(read)(fd, bytes, length);
    if (length > 0xffff) { errno = EINVAL; return -1; }
    return transfer(fd, 'R', buses[fd].address, bytes, (uint16_t)length) ? -1 : (ssize_t)length;
}

ssize_t write(int fd, const void *bytes, size_t length) {
    if (!is_bus(fd)) return REAL(write)(fd, bytes, length);
    if (length > 0xffff) { errno = EINVAL; return -1; }
    return transfer(fd, 'W', buses[fd].address, (void *)bytes, (uint16_t)length) ? -1 : (ssize_t)length;
}

int ioctl(int fd, unsigned long request, ...) {
    va_list list;
    va_start(list, request);
    void *argument = va_arg(list, void *);
    va_end(list);
    if (!is_bus(fd)) return REAL(ioctl)(fd, request, argument);
    switch (request) {
    case I2C_SLAVE:
    case I2C_SLAVE_FORCE:
        buses[fd].address = (uint8_t)(uintptr_t)argument;
        return 0;
    case I2C_FUNCS:
        *(unsigned long *)argument = I2C_FUNC_I2C;
        return 0;
    case I2C_RDWR: {
        struct i2c_rdwr_ioctl_data *all_messages = argument;
        for (uint32_t i = 0; i < all_messages->nmsgs; i++) {
            struct i2c_msg *m = &all_messages->msgs[i];
            if (transfer(fd, m->flags & I2C_M_RD ? 'R' : 'W', (uint8_t)m->addr, m->buf, m->len)) return -1;
        }
        return (int)all_messages->nmsgs;
    }
    default:
        errno = ENOTTY;
        return -1;
    }
}
