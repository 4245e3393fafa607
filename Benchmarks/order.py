"""Names the functions and zero-initialised variables that a trace of lackey's touches, in the order of first touch.

Usage: order.py PROGRAM TRACE
"""

import bisect
import subprocess
import sys

# What nm calls functions and variables of .bss. Initialised data is left out: relocation touches all of it anyway.
MOVABLE = "tTwWbB"
# Two accesses to the same 16 bytes are looked up once.
GRAIN = 4


def symbols(program):
    """All sized symbols as (address, size, kind, name), ascending."""
    listing = subprocess.run(["nm", "-S", program], capture_output=True, text=True, check=True).stdout
    rows = (line.split() for line in listing.splitlines())
    return sorted((int(row[0], 16), int(row[1], 16), row[2], row[3]) for row in rows if len(row) == 4)


def accesses(trace):
    """The address of each access: lines are ' L 1ffe,8' or 'I  0400,3'; others are valgrind's own."""
    with open(trace, encoding="ascii", errors="replace") as lines:
        for line in lines:
            if line[:1] in "I " and line[2:3] == " ":
                yield int(line[3:].split(",")[0], 16)


def main(program, trace):
    table = symbols(program)
    starts = [row[0] for row in table]
    entry = next(row[0] for row in table if row[3] == "_start")
    # The first instruction is _start's: it tells where a position-independent program was loaded.
    base = None
    seen, named = set(), {}
    for address in accesses(trace):
        if base is None:
            base = address - entry
        offset = address - base
        if offset >> GRAIN in seen:
            continue
        seen.add(offset >> GRAIN)
        index = bisect.bisect_right(starts, offset) - 1
        if index >= 0 and offset < table[index][0] + table[index][1] and table[index][2] in MOVABLE:
            named.setdefault(table[index][3])
    print("\n".join(named))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2])
