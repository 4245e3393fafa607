#ifndef CSTRATOLINUX_KVM_H
#define CSTRATOLINUX_KVM_H
#include <linux/kvm.h>
#endif
