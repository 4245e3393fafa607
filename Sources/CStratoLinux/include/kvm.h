// KVM's requests, which are macros that Swift does not see, and its structures with flexible arrays.
#ifndef CSTRATOLINUX_KVM_H
#define CSTRATOLINUX_KVM_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "host.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

enum csl_kvm_request : unsigned long {
    CSL_KVM_GET_API_VERSION = KVM_GET_API_VERSION,
    CSL_KVM_CREATE_VM = KVM_CREATE_VM,
    CSL_KVM_CHECK_EXTENSION = KVM_CHECK_EXTENSION,
    CSL_KVM_GET_VCPU_MMAP_SIZE = KVM_GET_VCPU_MMAP_SIZE,
    CSL_KVM_CREATE_VCPU = KVM_CREATE_VCPU,
    CSL_KVM_SET_USER_MEMORY_REGION = KVM_SET_USER_MEMORY_REGION,
    CSL_KVM_IOEVENTFD = KVM_IOEVENTFD,
    CSL_KVM_IRQFD = KVM_IRQFD,
    CSL_KVM_IRQ_LINE = KVM_IRQ_LINE,
    CSL_KVM_RUN = KVM_RUN,
    CSL_KVM_GET_MP_STATE = KVM_GET_MP_STATE,
    CSL_KVM_SET_MP_STATE = KVM_SET_MP_STATE,
    CSL_KVM_GET_VCPU_EVENTS = KVM_GET_VCPU_EVENTS,
    CSL_KVM_SET_VCPU_EVENTS = KVM_SET_VCPU_EVENTS,
    CSL_KVM_SET_GSI_ROUTING = KVM_SET_GSI_ROUTING,
};

/// The signals that end KVM_RUN: all but `signal_number` stay blocked inside it. The kernel's set is 8 bytes.
static inline int csl_kvm_set_signal_mask(int fd, int signal_number) {
    const uint32_t length = 8;
    const uint64_t set = ~(UINT64_C(1) << (signal_number - 1));
    unsigned char mask[sizeof length + sizeof set];
    memcpy(mask, &length, sizeof length);
    memcpy(mask + sizeof length, &set, sizeof set);
    return csl_ioctl_pointer(fd, KVM_SET_SIGNAL_MASK, mask);
}

/// Takes a pending signal that is blocked in this thread; 0 if there was none.
static inline int csl_take_pending_signal(int signal_number) {
    sigset_t set;
    struct timespec now = {0, 0};
    sigemptyset(&set);
    sigaddset(&set, signal_number);
    int result = sigtimedwait(&set, NULL, &now);
    return result < 0 ? 0 : result;
}
static inline int csl_kick_signal(void) { return __libc_current_sigrtmin(); }

static inline void csl_kvm_set_immediate_exit(struct kvm_run *_Nonnull run, uint8_t value) {
    __atomic_store_n(&run->immediate_exit, value, __ATOMIC_SEQ_CST);
}

static inline uint32_t csl_kvm_mem_readonly(void) { return KVM_MEM_READONLY; }
static inline long csl_kvm_mmio_data_offset(void) { return __builtin_offsetof(struct kvm_run, mmio.data); }
static inline uint32_t csl_kvm_ioeventfd_flags(_Bool matches, _Bool deassigns) {
    return (matches ? (uint32_t)KVM_IOEVENTFD_FLAG_DATAMATCH : 0) |
           (deassigns ? (uint32_t)KVM_IOEVENTFD_FLAG_DEASSIGN : 0);
}

/// A route of a global system interrupt to a pin of an interrupt controller in the kernel.
static inline struct kvm_irq_routing_entry csl_kvm_pin_route(uint32_t gsi, uint32_t chip, uint32_t pin) {
    struct kvm_irq_routing_entry entry;
    memset(&entry, 0, sizeof entry);
    entry.gsi = gsi;
    entry.type = KVM_IRQ_ROUTING_IRQCHIP;
    entry.u.irqchip.irqchip = chip;
    entry.u.irqchip.pin = pin;
    return entry;
}

/// A route of a global system interrupt to a message. The device id counts only where KVM asks for one.
static inline struct kvm_irq_routing_entry csl_kvm_message_route(
    uint32_t gsi, uint64_t address, uint32_t data, uint32_t device, _Bool has_device) {
    struct kvm_irq_routing_entry entry;
    memset(&entry, 0, sizeof entry);
    entry.gsi = gsi;
    entry.type = KVM_IRQ_ROUTING_MSI;
    entry.u.msi.address_lo = (uint32_t)address;
    entry.u.msi.address_hi = (uint32_t)(address >> 32);
    entry.u.msi.data = data;
    if (has_device) {
        entry.flags = KVM_MSI_VALID_DEVID;
        entry.u.msi.devid = device;
    }
    return entry;
}

/// Replaces the whole table of routes.
static inline int csl_kvm_set_gsi_routing(int fd, const struct kvm_irq_routing_entry *_Nonnull entries, uint32_t count) {
    struct kvm_irq_routing *table = calloc(1, sizeof *table + count * sizeof *entries);
    if (table == NULL) {
        return -ENOMEM;
    }
    table->nr = count;
    memcpy(table->entries, entries, count * sizeof *entries);
    int result = csl_ioctl_pointer(fd, KVM_SET_GSI_ROUTING, table);
    free(table);
    return result;
}

#if defined(__x86_64__)

enum csl_kvm_x86_request : unsigned long {
    CSL_KVM_SET_TSS_ADDR = KVM_SET_TSS_ADDR,
    CSL_KVM_SET_IDENTITY_MAP_ADDR = KVM_SET_IDENTITY_MAP_ADDR,
    CSL_KVM_CREATE_IRQCHIP = KVM_CREATE_IRQCHIP,
    CSL_KVM_GET_IRQCHIP = KVM_GET_IRQCHIP,
    CSL_KVM_SET_IRQCHIP = KVM_SET_IRQCHIP,
    CSL_KVM_CREATE_PIT2 = KVM_CREATE_PIT2,
    CSL_KVM_GET_PIT2 = KVM_GET_PIT2,
    CSL_KVM_SET_PIT2 = KVM_SET_PIT2,
    CSL_KVM_GET_REGS = KVM_GET_REGS,
    CSL_KVM_SET_REGS = KVM_SET_REGS,
    CSL_KVM_GET_SREGS = KVM_GET_SREGS,
    CSL_KVM_SET_SREGS = KVM_SET_SREGS,
    CSL_KVM_GET_FPU = KVM_GET_FPU,
    CSL_KVM_SET_FPU = KVM_SET_FPU,
    CSL_KVM_GET_LAPIC = KVM_GET_LAPIC,
    CSL_KVM_SET_LAPIC = KVM_SET_LAPIC,
    CSL_KVM_GET_XCRS = KVM_GET_XCRS,
    CSL_KVM_SET_XCRS = KVM_SET_XCRS,
    CSL_KVM_GET_DEBUGREGS = KVM_GET_DEBUGREGS,
    CSL_KVM_SET_DEBUGREGS = KVM_SET_DEBUGREGS,
    CSL_KVM_GET_MSRS = KVM_GET_MSRS,
    CSL_KVM_SET_MSRS = KVM_SET_MSRS,
};

/// Whether the processor shows VMX or SVM (Intel SDM vol. 2 CPUID leaf 1, AMD APM vol. 3 leaf 8000_0001h).
static inline bool csl_has_virtualization(void) {
    unsigned eax, ebx, ecx, edx;
    if (__get_cpuid(1, &eax, &ebx, &ecx, &edx) && (ecx & 1u << 5) != 0) {
        return true;
    }
    return __get_cpuid(0x80000001, &eax, &ebx, &ecx, &edx) && (ecx & 1u << 2) != 0;
}

/// Reads up to `capacity` entries of what KVM can show a guest; returns how many there are.
static inline int csl_kvm_get_supported_cpuid(int fd, struct kvm_cpuid_entry2 *_Nonnull entries, uint32_t capacity) {
    struct kvm_cpuid2 *list = calloc(1, sizeof *list + capacity * sizeof *entries);
    if (list == NULL) {
        return -ENOMEM;
    }
    list->nent = capacity;
    int result = csl_ioctl_pointer(fd, KVM_GET_SUPPORTED_CPUID, list);
    if (result >= 0) {
        result = (int)list->nent;
        memcpy(entries, list->entries, list->nent * sizeof *entries);
    }
    free(list);
    return result;
}
static inline int csl_kvm_set_cpuid(int fd, const struct kvm_cpuid_entry2 *_Nonnull entries, uint32_t count) {
    struct kvm_cpuid2 *list = calloc(1, sizeof *list + count * sizeof *entries);
    if (list == NULL) {
        return -ENOMEM;
    }
    list->nent = count;
    memcpy(list->entries, entries, count * sizeof *entries);
    int result = csl_ioctl_pointer(fd, KVM_SET_CPUID2, list);
    free(list);
    return result;
}

/// Reads up to `capacity` numbers of the MSRs that make up a virtual CPU's state; returns how many there are.
static inline int csl_kvm_get_msr_index_list(int fd, uint32_t *_Nonnull indices, uint32_t capacity) {
    struct kvm_msr_list *list = calloc(1, sizeof *list + capacity * sizeof *indices);
    if (list == NULL) {
        return -ENOMEM;
    }
    list->nmsrs = capacity;
    int result = csl_ioctl_pointer(fd, KVM_GET_MSR_INDEX_LIST, list);
    if (result >= 0) {
        result = (int)list->nmsrs;
        memcpy(indices, list->indices, list->nmsrs * sizeof *indices);
    }
    free(list);
    return result;
}

/// Reads or writes MSRs up to the first that KVM refuses; returns how many were done.
static inline int csl_kvm_transfer_msrs(int fd, int writes, struct kvm_msr_entry *_Nonnull entries, uint32_t count) {
    struct kvm_msrs *list = calloc(1, sizeof *list + count * sizeof *entries);
    if (list == NULL) {
        return -ENOMEM;
    }
    list->nmsrs = count;
    memcpy(list->entries, entries, count * sizeof *entries);
    int result = csl_ioctl_pointer(fd, writes ? KVM_SET_MSRS : KVM_GET_MSRS, list);
    if (result > 0 && !writes) {
        memcpy(entries, list->entries, (uint32_t)result * sizeof *entries);
    }
    free(list);
    return result;
}

static inline uint32_t csl_kvm_pit_speaker_dummy(void) { return KVM_PIT_SPEAKER_DUMMY; }

static inline uint32_t csl_lapic_register(const struct kvm_lapic_state *_Nonnull state, uint32_t offset) {
    uint32_t value;
    memcpy(&value, state->regs + offset, sizeof value);
    return value;
}
static inline void csl_set_lapic_register(struct kvm_lapic_state *_Nonnull state, uint32_t offset, uint32_t value) {
    memcpy(state->regs + offset, &value, sizeof value);
}

#elif defined(__aarch64__)

enum csl_kvm_arm64_request : unsigned long {
    CSL_KVM_CREATE_DEVICE = KVM_CREATE_DEVICE,
    CSL_KVM_SET_DEVICE_ATTR = KVM_SET_DEVICE_ATTR,
    CSL_KVM_GET_DEVICE_ATTR = KVM_GET_DEVICE_ATTR,
    CSL_KVM_ARM_PREFERRED_TARGET = KVM_ARM_PREFERRED_TARGET,
    CSL_KVM_ARM_VCPU_INIT = KVM_ARM_VCPU_INIT,
    CSL_KVM_ARM_VCPU_FINALIZE = KVM_ARM_VCPU_FINALIZE,
    CSL_KVM_GET_ONE_REG = KVM_GET_ONE_REG,
    CSL_KVM_SET_ONE_REG = KVM_SET_ONE_REG,
};

static inline void csl_kvm_set_feature(struct kvm_vcpu_init *_Nonnull init, uint32_t bit) {
    init->features[bit / 32] |= UINT32_C(1) << (bit % 32);
}

#endif
#endif
