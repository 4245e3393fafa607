"""The part of boot that runs where KVM is: boots the guest by each monitor in turn, and prints times and exits."""
import argparse
import os
import select
import shlex
import shutil
import signal
import subprocess
import sys
import time

from results import Results, median
from tracing import EntryTrace, EventCounts, exit_name, symbols

MARK = b"GUEST-INIT"
# A boot that takes longer, in seconds, has failed.
PATIENCE = 60
# What both kernels are told. The disk's comes behind.
KERNEL_PARAMETERS = "console=ttyS0 pci=off reboot=k quiet panic=1"
QEMU_MICROVM = "microvm,x-option-roms=off,pit=off,pic=off,rtc=off,isa-serial=on,auto-kernel-cmdline=on"
EVENTS = {
    "exits": ("kvm/kvm_exit", "exit_reason,isa"),
    "user": ("kvm/kvm_userspace_exit", "reason"),
    "ports": ("kvm/kvm_pio", "port,rw"),
    "memory": ("kvm/kvm_mmio", "gpa,type"),
    "registers": ("kvm/kvm_msr", "ecx,write"),
}
# Who answers at a port.
PORTS = [
    (0x20, 0x21, "interrupt controller"), (0x40, 0x43, "timer 8254"), (0x60, 0x60, "keyboard controller"),
    (0x61, 0x61, "speaker"), (0x64, 0x64, "keyboard controller"), (0x70, 0x71, "clock"), (0x80, 0x80, "delay"),
    (0x92, 0x92, "A20 gate"), (0xA0, 0xA1, "interrupt controller"), (0x2E8, 0x2EF, "COM4"), (0x2F8, 0x2FF, "COM2"),
    (0x3B4, 0x3B5, "display"), (0x3D4, 0x3D5, "display"),
    (0x3E8, 0x3EF, "COM3"), (0x3F8, 0x3FF, "COM1"), (0x402, 0x402, "firmware's log"), (0x4D0, 0x4D1, "interrupt controller"),
    (0x510, 0x51B, "fw_cfg"), (0xCF8, 0xCFF, "PCI configuration"),
]
# Of a table of counts; what is behind is added up.
MOST_LINES = 24
IO_APIC, LOCAL_APIC, APIC_SIZE = 0xFEC00000, 0xFEE00000, 0x1000
READ, WRITE = "read", "write"


class Process:
    """A monitor that runs, and what comes from its serial port."""

    def __init__(self, command):
        reading, writing = os.pipe()
        self.started = time.monotonic()
        self.identifier = os.posix_spawnp(command[0], command, os.environ, file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, writing, 1), (os.POSIX_SPAWN_DUP2, writing, 2)])
        os.close(writing)
        self.output, self.reading, self.command = b"", reading, command

    def wait_for_mark(self):
        """Seconds from exec to the first word of the guest's first process."""
        while MARK not in self.output:
            left = self.started + PATIENCE - time.monotonic()
            piece = b""
            if left > 0 and select.select([self.reading], [], [], left)[0]:
                piece = os.read(self.reading, 65536)
            if not piece:
                self.end()
                sys.stdout.write(self.output.decode(errors="replace")[-2000:])
                sys.exit(f"\n{shlex.join(self.command)}\ndid not come to the guest's first process within {PATIENCE} s")
            self.output += piece
        return time.monotonic() - self.started

    def end(self):
        """Kills it. Returns the processor time that it took, in seconds."""
        os.kill(self.identifier, signal.SIGKILL)
        _, _, usage = os.wait4(self.identifier, 0)
        os.close(self.reading)
        return usage.ru_utime + usage.ru_stime


def boot(command):
    """One boot for its time: wall and processor time to the mark."""
    process = Process(command)
    wall = process.wait_for_mark()
    return wall, process.end()


def boot_to_first_instruction(command):
    """One boot for the time until the processor first enters the guest: the monitor's own start."""
    with EntryTrace() as trace:
        process = Process(command)
        process.wait_for_mark()
        process.end()
        first = trace.first()
    return None if first is None else first - process.started


def boot_and_count(command):
    """One boot for its exits: counts by kind of event."""
    with EventCounts(*EVENTS.values()) as counts:
        process = Process(command)
        process.wait_for_mark()
        os.kill(process.identifier, signal.SIGSTOP)
        found = {kind: counts.read(event) for kind, (event, _) in EVENTS.items()}
        process.end()
    return found


def port_name(port):
    """Which device a port belongs to."""
    return next((name for first, last, name in PORTS if first <= port <= last), hex(port))


def memory_name(address):
    """Which device an address belongs to, as far as all monitors agree."""
    if IO_APIC <= address < IO_APIC + APIC_SIZE:
        return "I/O APIC"
    if LOCAL_APIC <= address < LOCAL_APIC + APIC_SIZE:
        return "local APIC"
    return f"page {address & ~0xFFF:#x}"


def grouped(counts, name):
    """Counts added up by what `name` says of their keys."""
    sums = {}
    for key, count in counts.items():
        sums[name(*key)] = sums.get(name(*key), 0) + count
    return sums


def show_counts(title, monitors, counts):
    """Prints a table of counts: a line for each name, the most frequent first."""
    print(f"  {title:42}" + "".join(f"{name:>14}" for name in monitors))
    names = sorted({name for found in counts.values() for name in found},
                   key=lambda name: (-max(found.get(name, 0) for found in counts.values()), name))
    for name in names[:MOST_LINES]:
        print(f"    {name:40}" + "".join(f"{counts[monitor].get(name, 0):14}" for monitor in monitors))
    if len(names) > MOST_LINES:
        print(f"    {f'{len(names) - MOST_LINES} more':40}" +
              "".join(f"{sum(counts[monitor].get(name, 0) for name in names[MOST_LINES:]):14}" for monitor in monitors))


def commands(options, disk):
    """The command lines, by monitor."""
    words = KERNEL_PARAMETERS + (" root=/dev/vda init=/init" if disk else "")
    common = ["-m", "128m", "-smp", "1", "-kernel", options.kernel, "-append", words, "-serial", "stdio"]
    if not disk:
        common += ["-initrd", f"{options.guest}/initrd.gz"]
    qemu = ["-accel", "kvm", "-cpu", "host", "-nodefaults", "-no-user-config", "-display", "none", *common]
    ours = [options.stratovirt, "-machine", "microvm", *common]
    if disk:
        qemu += ["-drive", f"file={disk},if=none,id=disk,format=raw", "-device", "virtio-blk-device,drive=disk"]
        ours += ["-drive", f"file={disk},id=disk,direct=off", "-device", "virtio-blk-device,drive=disk"]
    found = {"stratovirt": ours}
    if options.plain:
        found["QEMU, plain"] = ["qemu-system-x86_64", "-M", "microvm", *qemu]
    found["QEMU"] = ["qemu-system-x86_64", "-M", QEMU_MICROVM, *qemu]
    return found


def main():
    """Boots what is asked for, and prints tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--plain", action="store_true")
    for name in ("stratovirt", "kernel", "guest", "rounds"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("cases", nargs="+")
    options = parser.parse_args()
    results = Results("Boot of a microVM")
    version = subprocess.run(["qemu-system-x86_64", "--version"], capture_output=True, text=True, check=True).stdout.split()[3]
    results.ran(f"QEMU {version}, -M {QEMU_MICROVM}; both with -m 128m -smp 1, the same bzImage and `{KERNEL_PARAMETERS}`.")
    results.chart("time", "From exec to the guest's first process", "seconds", "lower")
    results.chart("exits", "How often the guest was left until its first process", "exits", "lower")
    tables = symbols("kvm/kvm_exit", "exit_reason")
    users = (symbols("kvm/kvm_userspace_exit", "reason") or [{}])[0]
    for case in options.cases:
        disk = None
        if case == "disk":
            disk = os.path.join(os.environ["LAB_SCRATCH"], "disk.ext4")
            shutil.copyfile(f"{options.guest}/disk.ext4", disk)
        monitors = commands(options, disk)
        for command in monitors.values():
            print(f"$ {shlex.join(command)}", flush=True)
        times = {name: [] for name in monitors}
        # The first boots fill caches: of the host's tree, of the kernel's image.
        for round_number in range(int(options.rounds) + 1):
            for name, command in monitors.items():
                measured = boot(command)
                if round_number:
                    times[name].append(measured)
            print(f"boot, {case}: round {round_number} of {options.rounds}", file=sys.stderr, flush=True)
        first = {name: boot_to_first_instruction(command) for name, command in monitors.items()}
        counts = {name: boot_and_count(command) for name, command in monitors.items()}

        print(f"\n{case}\n  {'seconds':42}" + "".join(f"{name:>14}" for name in monitors) + "   ratio to QEMU")
        for index, text in enumerate(("exec to first process, median", "processor time, median")):
            middle = {name: median([sample[index] for sample in samples]) for name, samples in times.items()}
            print(f"    {text:40}" + "".join(f"{middle[name]:14.3f}" for name in monitors) +
                  f"{middle['stratovirt'] / middle['QEMU']:16.2f}" + ("   target 0.40, aim 0.33" if index == 0 else ""))
        print(f"    {'least … most':40}" + "".join(
            f"{min(s[0] for s in times[name]):8.3f}-{max(s[0] for s in times[name]):5.3f}" for name in monitors))
        print(f"    {'exec to first instruction (one boot)':40}" + "".join(
            f"{'-' if first[name] is None else format(first[name], '.3f'):>14}" for name in monitors))
        total = {name: sum(counts[name]["exits"].values()) for name in monitors}
        print(f"    {'exits':40}" + "".join(f"{total[name]:14}" for name in monitors) +
              f"{total['stratovirt'] / total['QEMU']:16.2f}   target 0.33")
        print(f"    {'of them to the monitor':40}" + "".join(f"{sum(counts[name]['user'].values()):14}" for name in monitors))
        show_counts("exits by reason", monitors, {
            name: grouped(counts[name]["exits"], lambda reason, isa: exit_name(tables, isa, reason)) for name in monitors})
        show_counts("exits to the monitor, by reason", monitors, {
            name: grouped(counts[name]["user"], lambda reason: users.get(reason, str(reason)).removeprefix("KVM_EXIT_").lower())
            for name in monitors})
        show_counts("ports", monitors, {
            name: grouped(counts[name]["ports"], lambda port, out: f"{port_name(port)} {port:#x} {WRITE if out else READ}")
            for name in monitors})
        show_counts("memory-mapped registers", monitors, {
            name: grouped(counts[name]["memory"], lambda address, kind: f"{memory_name(address)} {WRITE if kind == 2 else READ}")
            for name in monitors})
        show_counts("model-specific registers", monitors, {
            name: grouped(counts[name]["registers"], lambda number, write: f"{number:#x} {WRITE if write else READ}")
            for name in monitors})
        print(flush=True)
        for name in monitors:
            results.samples("time", case, name, [sample[0] for sample in times[name]])
            results.samples("exits", case, name, [total[name]])
    results.write(os.path.join(os.environ["LAB_OUT"], "boot.tsv"))


main()
