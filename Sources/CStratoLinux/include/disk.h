// Shims for StratoDisk. Every function returns a negative errno on failure.
#ifndef CSTRATOLINUX_DISK_H
#define CSTRATOLINUX_DISK_H

#endif
