// Kernel interfaces that Swift cannot import: request macros, variadic calls and atomics on memory shared with a guest.
#ifndef CSTRATOLINUX_H
#define CSTRATOLINUX_H

// _GNU_SOURCE stays undefined: Swift's Glibc module is built without it, and the two must agree on every type.

#include "atomics.h"
#include "disk.h"
#include "host.h"
#include "kvm.h"
#include "landlock.h"
#include "memory.h"
#include "process.h"
#include "rings.h"
#include "scheduling.h"
#include "seccomp.h"

#endif
