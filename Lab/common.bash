# Shared by the scripts of Guest/ and Lab/: messages, the cache, Debian packages. Sourced, never run.
# shellcheck shell=bash

# Every generated thing lives below one directory, so that removing it removes all of it.
cache_root="${XDG_CACHE_HOME:-$HOME/.cache}/swift-stratovirt"
program_name="${0##*/}"

# say TEXT…: one progress line. Standard output is left to results.
say() {
    printf '%s: %s\n' "$program_name" "$*" >&2
}

# die TEXT…: one line that says what is wrong and what to do.
die() {
    printf '%s: error: %s\n' "$program_name" "$*" >&2
    exit 1
}

# usage_error TEXT…: as die, for a wrong command line.
usage_error() {
    printf '%s: %s (see %s --help)\n' "$program_name" "$*" "$program_name" >&2
    exit 2
}

# print_header_as_help FILE: prints the comment block at the top of a script.
print_header_as_help() {
    awk 'NR == 1 { next } /^#/ { sub(/^# ?/, ""); print; next } { exit }' "$1"
}

have_package() {
    [[ "$(dpkg-query -W -f '${db:Status-Abbrev}' "$1" 2>/dev/null)" == ii* ]]
}

# as_root CMD…: runs CMD as root, by sudo where we are not root.
as_root() {
    if [[ $EUID -eq 0 ]]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "root is needed to run '$*', and there is no sudo: run it as root, then try again"
    fi
}

# need_packages NAME…: installs those of the Debian packages that are missing.
need_packages() {
    local missing=() package log
    for package in "$@"; do
        have_package "$package" || missing+=("$package")
    done
    [[ ${#missing[@]} -eq 0 ]] && return 0
    command -v apt-get >/dev/null || die "these Debian packages are needed, and there is no apt-get: ${missing[*]}"
    say "installing Debian packages: ${missing[*]}"
    log="$(mktemp)"
    if ! install_with_apt "${missing[@]}" >"$log" 2>&1; then
        refresh_package_lists
        if ! install_with_apt "${missing[@]}" >"$log" 2>&1; then
            tail -n 20 "$log" >&2
            rm -f "$log"
            die "could not install ${missing[*]}: run 'apt-get install ${missing[*]}' and try again"
        fi
    fi
    rm -f "$log"
}

install_with_apt() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=600 install -y --no-install-recommends "$@"
}

refresh_package_lists() {
    say "refreshing the Debian package lists"
    as_root apt-get -qq -o DPkg::Lock::Timeout=600 update >/dev/null || die "apt-get update failed: look at /etc/apt/sources.list"
}

# candidate_version PACKAGE: the version that apt would install or download.
candidate_version() {
    apt-cache policy "$1" | awk '$1 == "Candidate:" { print $2 }'
}

# real_kernel_package META: the package with the kernel image that a metapackage such as linux-image-amd64 stands for.
real_kernel_package() {
    local name
    name="$(apt-cache depends --important "$1" 2>/dev/null | awk '$1 == "Depends:" && $2 ~ /^linux-image-/ { print $2; exit }')"
    if [[ -z "$name" ]]; then
        refresh_package_lists
        name="$(apt-cache depends --important "$1" | awk '$1 == "Depends:" && $2 ~ /^linux-image-/ { print $2; exit }')"
    fi
    [[ -n "$name" ]] || die "apt knows no kernel package behind $1"
    printf '%s\n' "$name"
}

# unpack_debian_package PACKAGE DIRECTORY: downloads a package and unpacks it, without installing it.
unpack_debian_package() {
    local package="$1" directory="$2" download
    download="$(mktemp -d)"
    # apt drops to its own user for downloads where it can, which needs a directory open to it.
    chmod 755 "$download"
    if ! (cd "$download" && apt-get -qq -o APT::Sandbox::User=root download "$package" >/dev/null 2>&1); then
        refresh_package_lists
        (cd "$download" && apt-get -qq -o APT::Sandbox::User=root download "$package" >/dev/null) ||
            die "could not download the Debian package $package"
    fi
    mkdir -p "$directory"
    dpkg-deb -x "$download"/*.deb "$directory"
    rm -rf "$download"
}

# digest_of FILE…: one SHA-256 over the contents of files, in order.
digest_of() {
    cat -- "$@" | sha256sum | cut -d' ' -f1
}

# is_current DIRECTORY STAMP: whether a finished directory was made from exactly what STAMP describes.
is_current() {
    [[ -f "$1/.stamp" && "$(cat "$1/.stamp")" == "$2" ]]
}

# lock_cache NAME: one builder of NAME at a time; the lock ends with the calling process.
lock_cache() {
    mkdir -p "$cache_root/locks"
    exec {cache_lock_descriptor}>"$cache_root/locks/$1"
    if ! flock -n "$cache_lock_descriptor"; then
        say "waiting for another run that makes $1"
        flock "$cache_lock_descriptor"
    fi
}

# publish NEW FINAL STAMP: puts a finished directory in its place; a reader sees the old one or the new one, whole.
publish() {
    local new="$1" final="$2" stamp="$3" old
    printf '%s\n' "$stamp" >"$new/.stamp"
    chmod 755 "$new"
    old="$final.old.$$"
    [[ -e "$final" ]] && mv -T "$final" "$old"
    mv -T "$new" "$final"
    rm -rf "$old"
}

# fill_with_busybox TREE [BUSYBOX]: busybox and a link for each of its commands, below an existing tree. Another architecture's
# busybox can be given; it has the same commands as far as anybody here uses them.
fill_with_busybox() {
    local tree="$1" name
    install -m 755 "${2:-/bin/busybox}" "$tree/bin/busybox"
    while IFS= read -r name; do
        [[ -e "$tree/$name" || -L "$tree/$name" || ! -d "$tree/${name%/*}" ]] || ln -s /bin/busybox "$tree/$name"
    done < <(/bin/busybox --list-full)
    rm -f "$tree/sbin/init"
}

# copy_modules KERNEL DIRECTORY NAME…: modules of an unpacked Debian kernel and all they depend on, without debugging
# sections, and a file `order` with the order in which insmod can load them. What the kernel has built in is left out.
# OBJCOPY names the tool for modules of another architecture.
copy_modules() {
    local kernel="$1" directory="$2" release module name lists
    shift 2
    mkdir -p "$directory"
    release="$(cat "$kernel/release")"
    lists=""
    for name in "$@"; do
        module="$(PATH="$PATH:/sbin:/usr/sbin" modprobe -d "$kernel" -S "$release" --show-depends "$name")" ||
            die "the kernel $release has no module $name"
        lists+="$module"$'\n'
    done
    while IFS= read -r module; do
        name="${module##*/}"
        "${OBJCOPY:-objcopy}" --strip-debug "$module" "$directory/$name"
        printf '%s\n' "$name"
    done < <(awk '$1 == "insmod" && !seen[$2]++ { print $2 }' <<<"$lists") >"$directory/order"
}
