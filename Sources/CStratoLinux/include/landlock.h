// Landlock (landlock(7)): what a thread may open, make and remove. Numbers are those of every architecture; the kernel's header
// of a distribution can be older than its kernel. Every function returns a negative errno on failure.
#ifndef CSTRATOLINUX_LANDLOCK_H
#define CSTRATOLINUX_LANDLOCK_H

#include <errno.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/// Rights, by the version of the interface that has brought them.
enum csl_landlock_access : uint64_t {
    CSL_LANDLOCK_WRITE_FILE = 1 << 1,
    CSL_LANDLOCK_READ_FILE = 1 << 2,
    CSL_LANDLOCK_READ_DIR = 1 << 3,
    CSL_LANDLOCK_REMOVE_DIR = 1 << 4,
    CSL_LANDLOCK_REMOVE_FILE = 1 << 5,
    CSL_LANDLOCK_MAKE_DIR = 1 << 7,
    CSL_LANDLOCK_MAKE_REG = 1 << 8,
    CSL_LANDLOCK_MAKE_SOCK = 1 << 9,
    CSL_LANDLOCK_FILES_1 = (1 << 13) - 1,
    CSL_LANDLOCK_REFER_2 = 1 << 13,
    CSL_LANDLOCK_TRUNCATE_3 = 1 << 14,
    CSL_LANDLOCK_IOCTL_DEV_5 = 1 << 15,
};
enum csl_landlock_network : uint64_t { CSL_LANDLOCK_TCP_4 = 3 };

/// The version of the interface, 1 or more.
static inline int csl_landlock_version(void) {
    long result = syscall(444, NULL, 0, 1u);
    return result < 0 ? -errno : (int)result;
}
/// Makes a set of rules that refuses the rights named here, where no rule gives them; returns its descriptor.
static inline int csl_landlock_create(uint64_t files, uint64_t network) {
    struct {
        uint64_t files, network;
    } attributes = {files, network};
    // A kernel that knows less takes more, if that is zero.
    long result = syscall(444, &attributes, sizeof attributes, 0);
    return result < 0 ? -errno : (int)result;
}
/// Gives rights to a file, or to everything beneath a directory.
static inline int csl_landlock_allow(int ruleset, int place, uint64_t files) {
    struct __attribute__((packed)) {
        uint64_t files;
        int32_t place;
    } rule = {files, place};
    return syscall(445, ruleset, 1, &rule, 0) < 0 ? -errno : 0;
}
/// Puts the rules in place for the calling thread and those that it starts from now on, which cannot be undone.
static inline int csl_landlock_restrict(int ruleset) {
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) {
        return -errno;
    }
    return syscall(446, ruleset, 0) < 0 ? -errno : 0;
}

#endif
