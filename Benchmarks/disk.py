"""The part of disk that runs where KVM is: two guests with fio, which take turns job by job."""
import argparse
import os
import re
import select
import shlex
import shutil
import signal
import subprocess
import sys
import time

from results import Results, median
from tracing import EventCounts

QEMU_MICROVM = "microvm,x-option-roms=off,pit=off,pic=off,rtc=off,isa-serial=on,auto-kernel-cmdline=on"
KERNEL_PARAMETERS = "console=ttyS0 pci=off reboot=k quiet panic=1"
# A guest that takes longer, in seconds, to come up or for a job beside the job's own time, has failed.
PATIENCE = 120
SERIAL = "measured"
OURS, QEMU = "stratovirt", "QEMU"
# Job, what people call it, and the least ratio to QEMU that we want.
JOBS = [
    ("randread-4k-1", "4 KiB random read, depth 1", 1.0), ("randread-4k-32", "4 KiB random read, depth 32", 1.2),
    ("randwrite-4k-1", "4 KiB random write, depth 1", 1.0), ("randwrite-4k-32", "4 KiB random write, depth 32", 1.2),
    ("read-128k-1", "128 KiB read, depth 1", 1.0), ("read-128k-32", "128 KiB read, depth 32", 1.0),
    ("write-128k-1", "128 KiB write, depth 1", 1.0), ("write-128k-32", "128 KiB write, depth 32", 1.0),
]
BLOCK_KIB = {"4k": 4, "128k": 128}
EVENTS = {
    "exits": ("kvm/kvm_exit", "exit_reason"), "to the monitor": ("kvm/kvm_userspace_exit", "reason"),
    "doorbells": ("kvm/kvm_mmio", "type"), "interrupts": ("kvm/kvm_set_irq", "gsi,level"),
    "system calls": ("raw_syscalls/sys_enter", "id"), "host requests": ("block/block_rq_issue", "dev"),
}


class Guest:
    """A monitor with a guest that waits for fio's jobs to be started."""

    def __init__(self, name, command):
        self.name, self.command, self.output, self.position = name, command, "", 0
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def fail(self, text):
        """Ends everything, with what the guest said last."""
        sys.stdout.write(self.output[-3000:])
        sys.exit(f"\n{shlex.join(self.command)}\n{self.name}: {text}")

    def wait_for(self, pattern, seconds):
        """What matches in the guest's next output."""
        until = time.monotonic() + seconds
        while True:
            found = re.search(pattern, self.output[self.position:])
            if found:
                self.position += found.end()
                return found
            failed = re.search(r"FIO FAILED [^\r\n]*[\r\n]", self.output)
            if failed:
                self.fail(failed[0].strip())
            left = until - time.monotonic()
            piece = b""
            if left > 0 and select.select([self.process.stdout], [], [], left)[0]:
                piece = os.read(self.process.stdout.fileno(), 65536)
            if not piece:
                self.fail(f"nothing like {pattern} within {seconds} s")
            self.output += piece.decode(errors="replace")

    def stop(self):
        """Keeps it from using the processor."""
        self.process.send_signal(signal.SIGSTOP)

    def start_job(self, job):
        """Lets it go on with the job that it waits at."""
        self.process.send_signal(signal.SIGCONT)
        self.process.stdin.write(b"go\n")
        self.process.stdin.flush()

    def run_job(self, job, seconds):
        """Runs one job to its end, and up to where the next one waits."""
        self.start_job(job)
        self.wait_for(rf"FIO END {re.escape(job)}\s", seconds + PATIENCE)
        self.wait_for(r"FIO (READY \S+|RESULT)", PATIENCE)
        self.position = self.output.rindex("FIO", 0, self.position)

    def results(self):
        """What fio found, by job and round: KiB and seconds."""
        self.process.send_signal(signal.SIGCONT)
        self.wait_for(r"FIO DONE", PATIENCE)
        found = {}
        for job, round_number, kib, milliseconds, error in re.findall(
                r"FIO RESULT (\S+)\.(\d+) kib=(\d+) ms=(\d+) error=(\d+)", self.output):
            if int(error) or not int(milliseconds):
                self.fail(f"{job}: fio's error {error}, {milliseconds} ms")
            found.setdefault(job, {})[int(round_number)] = (int(kib), int(milliseconds) / 1000)
        return found

    def end(self):
        """Kills it."""
        self.process.kill()
        self.process.wait()


def commands(options, engine, images):
    """The two command lines for an engine."""
    words = f"{KERNEL_PARAMETERS} init=/sbin/fio-init fio_serial={SERIAL} fio_seconds={options.seconds} fio_rounds={options.all_rounds}"
    common = ["-m", "256m", "-smp", "1", "-kernel", options.kernel]
    direct = "off" if engine == "off" else "on"
    ours = [options.stratovirt, "-machine", "microvm", *common, "-append", f"{words} root=/dev/vda", "-serial", "stdio",
            "-drive", f"file={options.root_copy},id=root,readonly=on,direct=off", "-device", "virtio-blk-device,drive=root",
            "-drive", f"file={images[OURS]},id=disk,direct={direct},aio={engine}",
            "-device", f"virtio-blk-device,drive=disk,serial={SERIAL}"]
    cache, aio = ("writeback", "threads") if engine == "off" else ("none", engine)
    qemu = ["qemu-system-x86_64", "-M", QEMU_MICROVM, "-accel", "kvm", "-cpu", "host", "-nodefaults", "-no-user-config",
            "-display", "none", *common, "-append", f"{words} root=/dev/vda", "-serial", "stdio",
            "-drive", f"file={options.root_copy},if=none,id=root,format=raw,readonly=on",
            "-device", "virtio-blk-device,drive=root",
            "-drive", f"file={images[QEMU]},if=none,id=disk,format=raw,cache={cache},aio={aio}",
            "-device", f"virtio-blk-device,drive=disk,serial={SERIAL}"]
    return {OURS: ours, QEMU: qemu}


def make_images(options):
    """A disk for each monitor, all of it written, so that no write has to find room for itself."""
    images = {}
    for name in (OURS, QEMU):
        images[name] = os.path.join(os.environ["LAB_SCRATCH"], f"{name}.raw")
        subprocess.run(["dd", "if=/dev/urandom", f"of={images[name]}", "bs=1M", f"count={options.size}", "oflag=direct", "status=none"],
                       check=True)
    subprocess.run(["sync"], check=True)
    return images


def measure(options, engine, images):
    """Runs every job of an engine in both guests. Returns the results of fio by monitor, and the counted events."""
    counted, guests = {}, {}
    for name, command in commands(options, engine, images).items():
        print(f"$ {shlex.join(command)}", flush=True)
        guests[name] = Guest(name, command)
        guests[name].wait_for(r"FIO READY \S+", PATIENCE)
        guests[name].stop()
    for round_number in range(1, options.all_rounds + 1):
        # Each in turn goes first.
        order = [OURS, QEMU] if round_number % 2 else [QEMU, OURS]
        for job, _, _ in JOBS:
            for name in order:
                if round_number <= options.rounds:
                    guests[name].run_job(f"{job}.{round_number}", options.seconds)
                else:
                    with EventCounts(*EVENTS.values()) as counts:
                        guests[name].run_job(f"{job}.{round_number}", options.seconds)
                        guests[name].stop()
                        counted[job, name] = {kind: counts.read(event) for kind, (event, _) in EVENTS.items()}
                if (round_number, job) != (options.all_rounds, JOBS[-1][0]):
                    guests[name].stop()
        print(f"disk, {engine}: round {round_number} of {options.all_rounds}", file=sys.stderr, flush=True)
    found = {name: guest.results() for name, guest in guests.items()}
    for guest in guests.values():
        guest.end()
    return found, counted


def show_counted(found, counted, last_round):
    """Prints, by job and monitor, how many events there were for each request."""
    for job, text, _ in JOBS:
        print(f"  {text}: events for each request")
        requests = {name: found[name][job][last_round][0] / BLOCK_KIB[job.split('-')[1]] for name in (OURS, QEMU)}
        for kind in EVENTS:
            sums = [sum(counted[job, name][kind].values()) / requests[name] for name in (OURS, QEMU)]
            print(f"    {kind:24}" + "".join(f"{number:12.2f}" for number in sums))
            if kind in ("exits", "system calls"):
                most = sorted({key for name in (OURS, QEMU) for key in counted[job, name][kind]},
                              key=lambda key, k=kind, j=job: -max(counted[j, n][k].get(key, 0) for n in (OURS, QEMU)))
                for key in most[:6]:
                    numbers = [counted[job, name][kind].get(key, 0) / requests[name] for name in (OURS, QEMU)]
                    print(f"      number {key[0]:#x} ({key[0]})".ljust(28) + "".join(f"{number:12.2f}" for number in numbers))


def main():
    """Measures each engine, and prints a table."""
    parser = argparse.ArgumentParser()
    for name in ("stratovirt", "kernel", "root"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("rounds", "seconds", "size"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--count", action="store_true")
    parser.add_argument("engines", nargs="+")
    options = parser.parse_args()
    options.all_rounds = options.rounds + (1 if options.count else 0)
    options.root_copy = os.path.join(os.environ["LAB_SCRATCH"], "root.ext4")
    shutil.copyfile(options.root, options.root_copy)
    images = make_images(options)

    results = Results("A virtio disk, by fio in the guest")
    version = subprocess.run(["qemu-system-x86_64", "--version"], capture_output=True, text=True, check=True).stdout.split()[3]
    results.ran(f"fio in guests with one processor, {options.rounds} rounds of {options.seconds} s, medians. QEMU {version}, -M microvm, "
                "cache=none and the same engine; beside off: threads and cache=writeback.")
    results.chart("4k", "Disk: 4 KiB random reads and writes", "requests a second", "higher")
    results.chart("128k", "Disk: 128 KiB sequential reads and writes", "MiB a second", "higher")
    missed = 0
    for engine in options.engines:
        found, counted = measure(options, engine, images)
        print(f"\n  {engine:32}{'stratovirt':>22}{'QEMU':>22}{'ratio':>8}  target")
        for job, text, target in JOBS:
            block = BLOCK_KIB[job.split("-")[1]]
            unit, divisor = ("IOPS", block) if block == 4 else ("MiB/s", 1024)
            rates = {name: [found[name][job][number][0] / found[name][job][number][1] / divisor
                            for number in range(1, options.rounds + 1)] for name in (OURS, QEMU)}
            ratio = median(rates[OURS]) / median(rates[QEMU])
            missed += ratio < target
            print(f"  {text:32}" + "".join(f"{median(rates[name]):16.1f} {unit:5}" for name in (OURS, QEMU)) +
                  f"{ratio:8.2f}  {target:.1f}" + ("" if ratio >= target else "  missed"), flush=True)
            for name in (OURS, QEMU):
                results.samples("4k" if block == 4 else "128k", f"{engine}: {text.split(' ', 2)[2]}", name, rates[name])
        print("  the least and the most of each are in the results that are kept\n", flush=True)
        if options.count:
            show_counted(found, counted, options.all_rounds)
    print(f"{len(JOBS) * len(options.engines) - missed} of {len(JOBS) * len(options.engines)} figures reach their target")
    results.write(os.path.join(os.environ["LAB_OUT"], "disk.tsv"))


main()
