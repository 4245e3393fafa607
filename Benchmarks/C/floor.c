// The floors that the monitor's start is compared with: the least that a C program has to do for the same result.
//
// floor greeting SOCKET   listens, and sends QMP's greeting to one client after the other
// floor guest KERNEL      makes the KVM calls that a microVM with one processor makes, and runs a raw kernel until it resets
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int check(int result, const char *what) {
    if (result < 0) {
        perror(what);
        exit(1);
    }
    return result;
}

static void greet(const char *path) {
    static const char greeting[] =
        "{\"QMP\":{\"version\":{\"qemu\":{\"micro\":1,\"minor\":0,\"major\":5},\"package\":\"\"},\"capabilities\":[]}}\r\n";
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strncpy(address.sun_path, path, sizeof address.sun_path - 1);
    int listener = check(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
    check(bind(listener, (struct sockaddr *)&address, sizeof address), "bind");
    check(listen(listener, 8), "listen");
    for (;;) {
        int client = check(accept4(listener, NULL, NULL, SOCK_CLOEXEC), "accept");
        if (write(client, greeting, sizeof greeting - 1) < 0) {
            perror("write");
        }
        close(client);
    }
}

#define RAM_SIZE (128ull << 20)
#define KERNEL_ADDRESS 0x1000000ull
#define GDT_ADDRESS 0x500ull
#define PML4_ADDRESS 0x9000ull
#define PDPT_ADDRESS 0xa000ull
#define DIRECTORY_ADDRESS 0xb000ull
#define SERIAL_PORT 0x3f8
#define RESET_PORT 0x64
#define RESET_COMMAND 0xfe

static void connect_interrupt(int vm, uint32_t number) {
    struct kvm_irqfd request = {.fd = (uint32_t)check(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "eventfd"), .gsi = number};
    check(ioctl(vm, KVM_IRQFD, &request), "KVM_IRQFD");
}

static void load(uint8_t *ram, const char *path) {
    int file = check(open(path, O_RDONLY | O_CLOEXEC), path);
    check(read(file, ram + KERNEL_ADDRESS, RAM_SIZE - KERNEL_ADDRESS) > 0 ? 0 : -1, path);
    close(file);
    uint64_t gdt[] = {0, 0, 0x00af9b000000ffff, 0x00cf93000000ffff};
    uint64_t pml4 = PDPT_ADDRESS | 3, pdpt = DIRECTORY_ADDRESS | 3;
    memcpy(ram + GDT_ADDRESS, gdt, sizeof gdt);
    memcpy(ram + PML4_ADDRESS, &pml4, 8);
    memcpy(ram + PDPT_ADDRESS, &pdpt, 8);
    for (uint64_t i = 0; i < 512; i++) {
        uint64_t entry = i << 21 | 0x83;
        memcpy(ram + DIRECTORY_ADDRESS + i * 8, &entry, 8);
    }
}

static void set_registers(int processor) {
    struct kvm_sregs special;
    struct kvm_regs general = {.rip = KERNEL_ADDRESS, .rflags = 2, .rsp = 0x8ff0, .rbp = 0x8ff0};
    struct kvm_segment code = {
        .limit = 0xffffffff, .selector = 0x10, .type = 11, .present = 1, .s = 1, .l = 1, .g = 1,
    };
    struct kvm_segment data = {
        .limit = 0xffffffff, .selector = 0x18, .type = 3, .present = 1, .s = 1, .db = 1, .g = 1,
    };
    check(ioctl(processor, KVM_GET_SREGS, &special), "KVM_GET_SREGS");
    special.cs = code;
    special.ds = special.es = special.fs = special.gs = special.ss = data;
    special.gdt.base = GDT_ADDRESS;
    special.gdt.limit = 31;
    special.cr0 = 0x80000011;
    special.cr3 = PML4_ADDRESS;
    special.cr4 = 0x20;
    special.efer = 0x500;
    check(ioctl(processor, KVM_SET_SREGS, &special), "KVM_SET_SREGS");
    check(ioctl(processor, KVM_SET_REGS, &general), "KVM_SET_REGS");
}

static void run_guest(const char *kernel) {
    struct kvm_cpuid2 *identification = calloc(1, sizeof *identification + 256 * sizeof identification->entries[0]);
    struct kvm_lapic_state controller;
    struct kvm_pit_config timer = {.flags = KVM_PIT_SPEAKER_DUMMY};
    uint64_t identity_map = 0xfef0c000;
    check(identification == NULL ? -1 : 0, "calloc");
    identification->nent = 256;
    int kvm = check(open("/dev/kvm", O_RDWR | O_CLOEXEC), "/dev/kvm");
    size_t area_size = (size_t)check(ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), "KVM_GET_VCPU_MMAP_SIZE");
    uint8_t *ram = mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    check(ram == MAP_FAILED ? -1 : 0, "mmap");
    int vm = check(ioctl(kvm, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
    struct kvm_userspace_memory_region region = {.memory_size = RAM_SIZE, .userspace_addr = (uint64_t)(uintptr_t)ram};
    check(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region), "KVM_SET_USER_MEMORY_REGION");
    check(ioctl(vm, KVM_SET_IDENTITY_MAP_ADDR, &identity_map), "KVM_SET_IDENTITY_MAP_ADDR");
    check(ioctl(vm, KVM_SET_TSS_ADDR, identity_map + 0x1000), "KVM_SET_TSS_ADDR");
    check(ioctl(vm, KVM_CREATE_IRQCHIP, 0), "KVM_CREATE_IRQCHIP");
    check(ioctl(vm, KVM_CREATE_PIT2, &timer), "KVM_CREATE_PIT2");
    connect_interrupt(vm, 4);
    connect_interrupt(vm, 16);
    check(ioctl(kvm, KVM_GET_SUPPORTED_CPUID, identification), "KVM_GET_SUPPORTED_CPUID");
    int processor = check(ioctl(vm, KVM_CREATE_VCPU, 0), "KVM_CREATE_VCPU");
    struct kvm_run *run = mmap(NULL, area_size, PROT_READ | PROT_WRITE, MAP_SHARED, processor, 0);
    check(run == MAP_FAILED ? -1 : 0, "mmap");
    check(ioctl(processor, KVM_SET_CPUID2, identification), "KVM_SET_CPUID2");
    check(ioctl(processor, KVM_GET_LAPIC, &controller), "KVM_GET_LAPIC");
    check(ioctl(processor, KVM_SET_LAPIC, &controller), "KVM_SET_LAPIC");
    load(ram, kernel);
    set_registers(processor);
    for (;;) {
        if (ioctl(processor, KVM_RUN, 0) < 0 && errno != EINTR) {
            check(-1, "KVM_RUN");
        }
        if (run->exit_reason != KVM_EXIT_IO || run->io.direction != KVM_EXIT_IO_OUT) {
            fprintf(stderr, "exit %u\n", run->exit_reason);
            exit(1);
        }
        const char *value = (const char *)run + run->io.data_offset;
        if (run->io.port == SERIAL_PORT) {
            check((int)write(STDOUT_FILENO, value, 1), "write");
        } else if (run->io.port == RESET_PORT && (uint8_t)*value == RESET_COMMAND) {
            exit(0);
        }
    }
}

int main(int argc, char **argv) {
    if (argc == 3 && strcmp(argv[1], "greeting") == 0) {
        greet(argv[2]);
    }
    if (argc == 3 && strcmp(argv[1], "guest") == 0) {
        run_guest(argv[2]);
    }
    fprintf(stderr, "usage: floor greeting SOCKET | floor guest KERNEL\n");
    return 2;
}
