"""What KVM tells about guests by the kernel's tracing (see Documentation/trace in the kernel's source)."""
import re

TRACING = "/sys/kernel/debug/tracing"


def write_tracing(name, text):
    """Sets one file of the kernel's tracing; removing a trigger that is not there is no error."""
    try:
        with open(f"{TRACING}/{name}", "w", encoding="ascii") as file:
            file.write(text)
    except OSError:
        if not text.startswith("!"):
            raise


class EntryTrace:
    """Records the first entry into a guest, and stops by itself."""

    def __enter__(self):
        write_tracing("tracing_on", "0")
        write_tracing("trace_clock", "mono")
        write_tracing("events/kvm/kvm_entry/trigger", "!traceoff")
        write_tracing("trace", "")
        write_tracing("events/kvm/kvm_entry/trigger", "traceoff:1")
        write_tracing("events/kvm/kvm_entry/enable", "1")
        write_tracing("tracing_on", "1")
        return self

    def __exit__(self, *_):
        write_tracing("events/kvm/kvm_entry/enable", "0")
        write_tracing("events/kvm/kvm_entry/trigger", "!traceoff")
        write_tracing("tracing_on", "1")

    def first(self):
        """The monotonic time of the first entry, or None."""
        with open(f"{TRACING}/trace", encoding="utf-8", errors="replace") as file:
            for line in file:
                found = re.search(r" (\d+\.\d+): kvm_entry:", line)
                if found:
                    return float(found[1])
        return None


class EventCounts:
    """Counts events of the kernel by the values of their fields, in the kernel itself: nothing is written for each of them.

    Made from (event, fields) pairs, such as ("kvm/kvm_pio", "port,rw").
    """

    def __init__(self, *events):
        self.events = events

    def __enter__(self):
        for event, fields in self.events:
            write_tracing(f"events/{event}/trigger", f"!hist:keys={fields}")
            write_tracing(f"events/{event}/trigger", f"hist:keys={fields}:size=4096")
        return self

    def __exit__(self, *_):
        for event, fields in self.events:
            write_tracing(f"events/{event}/trigger", f"!hist:keys={fields}")

    def read(self, event):
        """The counts so far, by the fields' values: a dictionary from tuples of numbers to counts."""
        counts = {}
        with open(f"{TRACING}/events/{event}/hist", encoding="ascii", errors="replace") as file:
            for line in file:
                found = re.match(r"\{ (.*) \} hitcount:\s+(\d+)", line)
                if found:
                    counts[tuple(int(value) for value in re.findall(r":\s*(\d+)", found[1]))] = int(found[2])
        return counts


def symbols(event, field):
    """The names that this kernel's own trace gives to the numbers in a field: a dictionary for each table that it prints by."""
    with open(f"{TRACING}/events/{event}/format", encoding="ascii", errors="replace") as file:
        text = file.read()
    tables = []
    for table in re.findall(r"__print_symbolic\(\(?REC->" + field + r"[^,]*,((?:\s*\{[^}]*\},?)+)\s*\)", text):
        # Some numbers are sums, such as the first exception and a vector; some names are two strings side by side.
        tables.append({
            sum(int(part.strip(" ()"), 0) for part in number.split("+")): "".join(re.findall(r'"([^"]*)"', name))
            for number, name in re.findall(r'\{\s*([^,{}]+?)\s*,((?:\s*"[^"]*")+)\s*\}', table)
        })
    return tables


def exit_name(tables, isa, reason):
    """What a reason for leaving a guest is called: the first table is that of Intel's (1), the second that of AMD's."""
    table = tables[isa - 1] if 0 < isa <= len(tables) else {}
    return table.get(reason, hex(reason)).lower()
