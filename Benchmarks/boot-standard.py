"""The part of boot-standard that runs where KVM is: boots each guest by each monitor and prints when what was reached."""
import argparse
import os
import selectors
import shutil
import subprocess
import sys
import time

from tracing import EntryTrace

# A boot that takes longer, in seconds, has failed.
PATIENCE = 400


def boot(command, marks):
    """Runs a monitor until the last mark came on its serial port. Returns the time of each mark from exec on."""
    reached = {}
    with EntryTrace() as trace:
        started = time.monotonic()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        output = b""
        selector = selectors.DefaultSelector()
        selector.register(process.stdout, selectors.EVENT_READ)
        while len(reached) < len(marks) and time.monotonic() < started + PATIENCE:
            if not selector.select(1):
                continue
            piece = os.read(process.stdout.fileno(), 65536)
            if not piece:
                break
            output += piece
            for name, text in marks:
                if name not in reached and text in output:
                    reached[name] = time.monotonic() - started
        process.kill()
        process.wait()
        first = trace.first()
    if len(reached) < len(marks):
        sys.stdout.write(output.decode(errors="replace")[-2000:])
        sys.exit(f"{command[0]} did not come to its end: {', '.join(name for name, _ in marks if name not in reached)} missing")
    return {"first instruction": None if first is None else first - started, **reached}


def machine(monitor, variables, code, disk, extra):
    """The command line of a monitor; both understand the same but for what QEMU adds by itself."""
    drives = ["-drive", f"file={code},if=pflash,unit=0,readonly=on" + (",format=raw" if monitor == "qemu-system-x86_64" else ""),
              "-drive", f"file={variables},if=pflash,unit=1" + (",format=raw" if monitor == "qemu-system-x86_64" else "")]
    common = ["-m", "1G", "-smp", "1", "-serial", "stdio", *extra]
    if monitor == "qemu-system-x86_64":
        return [monitor, "-machine", "q35", "-accel", "kvm", "-cpu", "host", "-nodefaults", "-no-user-config", "-display", "none",
                *common, *drives, "-drive", f"file={disk},if=none,id=disk,format=raw,cache=writeback",
                "-device", "virtio-blk-pci,drive=disk,disable-legacy=on"]
    return [monitor, "-machine", "q35", *common, *drives, "-drive", f"file={disk},id=disk,direct=off",
            "-device", "virtio-blk-pci,drive=disk,bus=pcie.0,addr=0x2"]


def main():
    """Boots what is asked for, and prints a line for each."""
    parser = argparse.ArgumentParser()
    for name in ("code", "variables", "kernel", "root", "disk", "stratovirt"):
        parser.add_argument(f"--{name}")
    options = parser.parse_args()
    cases = []
    if options.kernel:
        cases.append(("kernel", options.root, [("user space", b"GUEST-CHECK up ")], [
            "-kernel", options.kernel, "-append",
            "console=ttyS0 quiet root=/dev/vda rw init=/sbin/guest-check guest_checks=up guest_end=poweroff"]))
    if options.disk:
        cases.append(("disk", options.disk, [
            ("boot loader", b"GRUB starts"), ("user space", b"GUEST-CHECK multi-user"), ("login", b" login:")], []))
    columns = ["first instruction", "boot loader", "user space", "login"]
    scratch = os.environ["LAB_SCRATCH"]
    print(f"{'seconds from exec':32}" + "".join(f"{column:>19}" for column in columns), flush=True)
    for name, image, marks, extra in cases:
        for monitor in ["qemu-system-x86_64"] + ([options.stratovirt] if options.stratovirt else []):
            disk, variables = f"{scratch}/disk", f"{scratch}/variables"
            subprocess.run(["cp", "--sparse=always", image, disk], check=True)
            shutil.copyfile(options.variables, variables)
            times = boot(machine(monitor, variables, options.code, disk, extra), marks)
            shown = "".join(f"{times[column]:19.2f}" if times.get(column) is not None else f"{'-':>19}" for column in columns)
            print(f"{name + ', ' + os.path.basename(monitor):32}{shown}", flush=True)


main()
