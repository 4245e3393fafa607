# What the scripts share that make aarch64 things on an x86_64 machine: Debian packages of other architectures and
# releases, and where the results are. Sourced after common.bash, never run.
# shellcheck shell=bash disable=SC2034,SC2154

arm64_cache="$cache_root/arm64"
# The libraries, headers and tools of an aarch64 Debian: what programs are linked against, and the root that they run in.
arm64_root="$arm64_cache/root"

# own_mirror: where this machine's own Debian packages come from, unless DEBIAN_MIRROR names another place.
own_mirror() {
    local codename mirror=""
    if [[ -n "${DEBIAN_MIRROR:-}" ]]; then
        printf '%s\n' "$DEBIAN_MIRROR"
        return
    fi
    # shellcheck source=/dev/null
    codename="$(. /etc/os-release && printf '%s' "${VERSION_CODENAME:-}")"
    for attempt in 1 2; do
        mirror="$(apt-get indextargets --format '$(REPO_URI)' 'Identifier: Packages' 'Origin: Debian' "Codename: $codename" |
            head -n 1)"
        [[ -z "$mirror" ]] || break
        [[ $attempt -eq 2 ]] || refresh_package_lists
    done
    [[ -n "$mirror" ]] || die "apt names no source of Debian's packages: set DEBIAN_MIRROR to one"
    printf '%s\n' "${mirror%/}"
}

# private_apt NAME ARCHITECTURE RELEASE…: an apt with lists and an (empty) status of its own; prints its configuration
# file. The machine's own package lists and packages are not touched.
private_apt() {
    local name="$1" architecture="$2" release directory mirror
    shift 2
    mirror="$(own_mirror)"
    directory="$arm64_cache/apt/$name"
    mkdir -p "$directory"/{lists,archives}/partial
    : >"$directory/status"
    for release in "$@"; do
        printf 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main\n' "$mirror" "$release"
    done >"$directory/sources.list"
    cat >"$directory/apt.conf" <<END
Dir::Etc::sourcelist "$directory/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::parts "/dev/null";
Dir::State::lists "$directory/lists";
Dir::State::status "$directory/status";
Dir::Cache "$directory";
Dir::Cache::archives "$directory/archives";
APT::Architecture "$architecture";
APT::Architectures { "$architecture"; "arm64"; };
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::Retries "3";
# A mirror may lag behind; what it has is still signed.
Acquire::Check-Valid-Until "false";
END
    printf '%s\n' "$directory/apt.conf"
}

# refresh_private_apt CONFIGURATION: fetches the package lists, once a day at most.
refresh_private_apt() {
    local configuration="$1" mark="${1%/*}/refreshed"
    [[ -n "$(find "$mark" -mmin -1440 2>/dev/null)" ]] && cmp -s "$mark" "${configuration%/*}/sources.list" && return 0
    say "fetching Debian's package lists"
    APT_CONFIG="$configuration" apt-get -qq update || die "Debian's package lists could not be fetched (DEBIAN_MIRROR names another mirror)"
    cp "${configuration%/*}/sources.list" "$mark"
}

# download_packages CONFIGURATION DIRECTORY NAME[:ARCHITECTURE]/RELEASE…: the packages' files, one after the other, since some
# are large; those that are there already stay.
download_packages() {
    local configuration="$1" directory="$2" package name number=0 before
    shift 2
    mkdir -p "$directory"
    for package in "$@"; do
        number=$((number + 1))
        name="${package%%/*}"
        [[ -f "$directory/$name.deb" ]] && continue
        before=$SECONDS
        rm -rf "$directory/partial"
        mkdir "$directory/partial"
        if ! (cd "$directory/partial" && APT_CONFIG="$configuration" apt-get -qq download "$package" >"$directory/log" 2>&1); then
            tail -n 3 "$directory/log" >&2
            die "the Debian package $package could not be downloaded"
        fi
        mv "$directory"/partial/*.deb "$directory/$name.deb"
        say "$number of $#: $name, $(($(stat -c %s "$directory/$name.deb") >> 20)) MB, $((SECONDS - before)) s"
    done
    rm -rf "$directory/partial"
}

# unpack_package FILE DIRECTORY [TAR-OPTION…]: a package's files, below a directory whose links to directories stay.
unpack_package() {
    local file="$1" directory="$2"
    shift 2
    mkdir -p "$directory"
    dpkg-deb --fsys-tarfile "$file" | tar -x --keep-directory-symlink -C "$directory" "$@"
}
