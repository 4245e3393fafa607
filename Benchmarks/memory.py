"""The part of `memory` that runs where KVM is: boots a guest on each kind of page, or times -mem-prealloc."""
import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time

HUGE = "/sys/kernel/mm/hugepages"
TRANSPARENT = "/sys/kernel/mm/transparent_hugepage/enabled"
STATISTICS = "/sys/kernel/debug/kvm"
# A run that takes longer, in seconds, has failed.
PATIENCE = 300
READY = b"GUEST-CHECK idle begin"
BOOT_MIB = 1024
PREALLOC_MIB = 4096


def read(path):
    with open(path, encoding="ascii") as file:
        return file.read()


def write(path, text):
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


class HugePages:
    """Pages that are set aside and mounted for the length of a `with`; the directory, or None if there are none to be had."""

    def __init__(self, kibibytes, mebibytes):
        self.setting = f"{HUGE}/hugepages-{kibibytes}kB/nr_hugepages"
        self.kibibytes = kibibytes
        self.count = mebibytes * 1024 // kibibytes
        self.directory = None

    def __enter__(self):
        try:
            self.before = int(read(self.setting))
            write(self.setting, str(self.before + self.count))
        except OSError:
            return None
        if int(read(self.setting)) < self.before + self.count:
            write(self.setting, str(self.before))
            return None
        directory = tempfile.mkdtemp()
        if subprocess.call(["mount", "-t", "hugetlbfs", "-o", f"pagesize={self.kibibytes}K", "none", directory]) != 0:
            os.rmdir(directory)
            write(self.setting, str(self.before))
            return None
        self.directory = directory
        return directory

    def __exit__(self, *_):
        if self.directory is not None:
            subprocess.call(["umount", self.directory])
            os.rmdir(self.directory)
            write(self.setting, str(self.before))


def guest_memory(process, mebibytes):
    """KiB of the guest's memory that the host has given."""
    present, size = 0, 0
    for line in read(f"/proc/{process.pid}/smaps").splitlines():
        words = line.split()
        if words[0] == "Size:":
            size = int(words[1])
        elif size == mebibytes * 1024 and words[0] in ("Rss:", "Shared_Hugetlb:", "Private_Hugetlb:"):
            present += int(words[1])
    return present


def kvm_counts():
    """What KVM counts for the one guest that there is: its directory is named by a thread, which may have ended."""
    found = [name for name in os.listdir(STATISTICS) if name[0].isdigit() and "-" in name]
    if len(found) != 1:
        sys.exit(f"{len(found)} guests run here; one is to be measured")
    directory = f"{STATISTICS}/{found[0]}"
    return {name: int(read(f"{directory}/{name}")) for name in ("pf_fixed", "pages_4k", "pages_2m", "pages_1g")}


def boot(arguments, options):
    """Boots a guest until it is idle."""
    command = [
        arguments.stratovirt, "-machine", "microvm" + options.pop("machine", ""), "-m", f"{BOOT_MIB}m",
        "-kernel", arguments.kernel, "-initrd", arguments.initrd, "-serial", "stdio",
        "-append", "console=ttyS0 pci=off reboot=k quiet panic=1 guest_checks=idle guest_end=poweroff",
    ]
    for name, value in options.items():
        command += ["-" + name] + ([value] if value else [])
    started = time.monotonic()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    output = b""
    try:
        while READY not in output:
            piece = os.read(process.stdout.fileno(), 65536)
            if not piece or time.monotonic() > started + PATIENCE:
                sys.exit(f"a boot did not come to its end:\n{output.decode(errors='replace')[-2000:]}")
            output += piece
        seconds = time.monotonic() - started
        return {"seconds": seconds, "present": guest_memory(process, BOOT_MIB), **kvm_counts()}
    finally:
        process.kill()
        process.wait()


def measure_boots(arguments):
    print(f"transparent huge pages: {read(TRANSPARENT).strip()}; {BOOT_MIB} MiB, medians of {arguments.rounds}")
    rows = [
        ("thp=off", None, {"machine": ",thp=off"}), ("(no option)", None, {}), ("thp=on", None, {"machine": ",thp=on"}),
        ("hugetlbfs, 2 MiB", 2048, {}), ("the same, -mem-prealloc", 2048, {"mem-prealloc": None}),
        ("hugetlbfs, 1 GiB", 1048576, {}),
    ]
    results = {name: [] for name, _, _ in rows}
    for _ in range(arguments.rounds):
        for name, kibibytes, options in rows:
            if kibibytes is None:
                results[name].append(boot(arguments, dict(options)))
                continue
            with HugePages(kibibytes, BOOT_MIB) as directory:
                if directory is not None:
                    results[name].append(boot(arguments, {**options, "mem-path": directory}))
    columns = [("seconds", "boot, s", "{:.2f}"), ("pf_fixed", "faults", "{:.0f}"), ("pages_4k", "4 KiB", "{:.0f}"),
               ("pages_2m", "2 MiB", "{:.0f}"), ("pages_1g", "1 GiB", "{:.0f}"), ("present", "present, KiB", "{:.0f}")]
    print(f"{'':26}" + "".join(f"{title:>14}" for _, title, _ in columns))
    for name, values in results.items():
        cells = [form.format(statistics.median(value[key] for value in values)) if values else "-" for key, _, form in columns]
        print(f"{name:26}" + "".join(f"{cell:>14}" for cell in cells))


def measure_preallocation(arguments):
    processors = sorted(os.sched_getaffinity(0))
    base = [arguments.stratovirt, "-m", f"{PREALLOC_MIB}m", "-kernel", arguments.kernel, "-serial", "null"]

    def run(command, allowed):
        started = time.monotonic()
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL, preexec_fn=lambda: os.sched_setaffinity(0, allowed))
        return time.monotonic() - started

    with HugePages(2048, PREALLOC_MIB) as directory:
        rows = [("small pages", ["-machine", "microvm,thp=off"]), ("thp=on", ["-machine", "microvm,thp=on"])]
        if directory is not None:
            rows.append(("hugetlbfs, 2 MiB", ["-mem-path", directory]))
        times = {(name, count): [] for name, _ in rows for count in ("none", "one", "all")}
        for _ in range(arguments.rounds):
            for name, options in rows:
                times[name, "none"].append(run(base + options, processors))
                times[name, "one"].append(run(base + options + ["-mem-prealloc"], processors[:1]))
                times[name, "all"].append(run(base + options + ["-mem-prealloc"], processors))
    print(f"start to end of a guest with {PREALLOC_MIB} MiB, in seconds, medians of {arguments.rounds}")
    print(f"{'':26}{'not preallocated':>20}{'one processor':>20}{f'{len(processors)} processors':>20}")
    for name, _ in rows:
        print(f"{name:26}" + "".join(f"{statistics.median(times[name, count]):20.3f}" for count in ("none", "one", "all")))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("part", choices=["boot", "prealloc"])
    parser.add_argument("--stratovirt", required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--kernel", required=True)
    parser.add_argument("--initrd")
    arguments = parser.parse_args()
    # What was set aside goes back, also where a time limit ends the run.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    measure_boots(arguments) if arguments.part == "boot" else measure_preallocation(arguments)


main()
