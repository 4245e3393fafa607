# Shared by the benchmarks: where things are, how C is built, the guests of a few instructions. Sourced, never run.
# shellcheck shell=bash
benchmarks="$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")"
# shellcheck source=../Lab/common.bash
source "$benchmarks/../Lab/common.bash"

# Nothing in it is worth keeping.
built="$benchmarks/../.build/benchmarks"
mkdir -p "$built"
built="$(readlink -f "$built")"

# The executable that is measured.
stratovirt="${STRATOVIRT_BINARY:-$benchmarks/../.build/stratovirt}"

need_stratovirt() {
    [[ -x "$stratovirt" ]] || die "$stratovirt is not there: run 'make build', or name another in STRATOVIRT_BINARY"
    stratovirt="$(readlink -f "$stratovirt")"
}

# need_kvm: the guests here are so small that every KVM runs them.
need_kvm() {
    [[ -r /dev/kvm && -w /dev/kvm ]] || die "/dev/kvm is missing, or not yours to open: these figures need it"
}

# build_c NAME FLAG…: the program of C/NAME.c, optimised, in $built.
build_c() {
    local name="$1"
    shift
    "${CC:-clang}" -O2 -Wall -Wextra "$@" -o "$built/$name" "$benchmarks/C/$name.c"
}

# raw_kernel FILE CODE: a file that is taken for a raw kernel: machine code as printf writes it, and the banner by which
# such a file is known.
raw_kernel() {
    {
        # shellcheck disable=SC2059
        printf "$2"
        printf 'Linux version 0'
        head -c 4096 /dev/zero
    } >"$1"
}

# make_guests: $built/ends.bin writes a byte to the serial port and resets; $built/idle.bin writes a byte and halts.
#
#   fa             cli
#   66 ba f8 03    mov dx, 0x3f8
#   b0 21          mov al, '!'
#   ee             out dx, al
#   b0 fe e6 64    mov al, 0xfe; out 0x64, al      (ends.bin only)
#   f4 eb fd       1: hlt; jmp 1b
make_guests() {
    raw_kernel "$built/ends.bin" '\xfa\x66\xba\xf8\x03\xb0\x21\xee\xb0\xfe\xe6\x64\xf4\xeb\xfd'
    raw_kernel "$built/idle.bin" '\xfa\x66\xba\xf8\x03\xb0\x21\xee\xf4\xeb\xfd'
}

# What QEMU's microvm is when it is as small as it gets, on KVM, and nothing but what is asked for. Its processor is one that every KVM
# takes: the limited ones refuse some of what -cpu host sets.
qemu_microvm=(qemu-system-x86_64 -M "microvm,x-option-roms=off,pit=off,pic=off,rtc=off,isa-serial=on,auto-kernel-cmdline=on"
    -accel kvm -cpu qemu64,-pni -nodefaults -no-user-config -display none)

# make_qemu_guest: $built/idle.rom, which QEMU starts in place of firmware: what idle.bin does, from the reset vector on.
#
#   ba f8 03       mov dx, 0x3f8
#   b0 21          mov al, '!'
#   ee             out dx, al
#   f4 eb fd       1: hlt; jmp 1b
make_qemu_guest() {
    {
        head -c $((0xfff0)) /dev/zero
        printf '\xba\xf8\x03\xb0\x21\xee\xf4\xeb\xfd'
        head -c 7 /dev/zero
    } >"$built/idle.rom"
}

# host_line: what the figures were taken on.
host_line() {
    local model load
    model="$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)"
    read -r load _ </proc/loadavg
    printf '%s, %s processors, load %s, Linux %s\n' "${model:-$(uname -m)}" "$(nproc)" "$load" "$(uname -r)"
}

# Results and their plots: where they are kept.
plots="${STRATOVIRT_PLOTS:-$benchmarks/../Documentation/plots}"

# begin_lab_results: makes $lab_results, a directory that a run of the lab can write to.
begin_lab_results() {
    lab_results="$built/lab-results"
    rm -rf "$lab_results"
    mkdir -p "$lab_results"
}

# keep_results NAME FILE [native]: keeps a benchmark's results (results.py tells their form) with what they were taken on, and
# draws them. `native` says that no Linux guest was started, so that the lab was not used whatever this machine's KVM is.
keep_results() {
    local where=""
    if [[ "${3:-}" != native && "$("$benchmarks/../Lab/lab" detect | head -n 1)" != real ]]; then
        where="In the lab: QEMU emulates one AMD processor in which KVM runs, so that ratios alone mean something. Host: "
    fi
    mkdir -p "$plots"
    {
        cat "$2"
        printf 'ran\t%s\n' "$where$(host_line)."
    } >"$plots/$1.tsv"
    "$benchmarks/plot" "$plots/$1.tsv"
}
