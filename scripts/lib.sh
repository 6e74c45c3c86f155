# What the scripts share; sourced, never run.
# shellcheck shell=bash

set -euo pipefail
# A failure inside $(...) must stop it too; bash 3 does not know this and has nothing better.
shopt -s inherit_errexit 2>/dev/null || true

ROOT="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)"
cd -- "$ROOT"

# The release of Debian that whatever we make is made from.
# shellcheck disable=SC2034  # for those who source this
SUITE=bookworm

# Say what is being done; only ever called before real work, so that a second run is silent.
step() { printf -- '- %s\n' "$*" >&2; }

# Stop with two lines, what and what to do, and the exit code for "the machine lacks something".
missing() {
    printf '%s\n%s\n' "$1" "$2" >&2
    exit 3
}

have() { command -v "$1" >/dev/null 2>&1; }

is_root() { [ "$(id -u)" -eq 0 ]; }

# The digest of standard input, by whichever tool the system has.
sha256() {
    if have sha256sum; then sha256sum; else shasum -a 256; fi | cut -d ' ' -f 1
}

# The digest of files given by name: of their names and contents, in a fixed order.
sha256_of_files() {
    local tool=(sha256sum)
    have sha256sum || tool=(shasum -a 256)
    printf '%s\0' "$@" | LC_ALL=C sort -z | xargs -0 "${tool[@]}" | sha256
}

# Run a command whose output matters only if it fails.
quietly() {
    local log code=0
    log="$(mktemp)"
    "$@" >"$log" 2>&1 </dev/null || code=$?
    if [ "$code" -ne 0 ]; then
        tail -n 20 "$log" | cut -c -300 >&2
        printf 'failed (%s): %s\n' "$code" "$1 ${2:-}" >&2
    fi
    rm -f "$log"
    return "$code"
}

# Install packages of the distribution (Debian and its descendants), as root.
install_packages() {
    if [ -z "${APT_UPDATED:-}" ]; then
        # A broken third-party source must not stop us: the installation below is the judge.
        apt-get update -qq >/dev/null 2>&1 || true
        export APT_UPDATED=1
    fi
    DEBIAN_FRONTEND=noninteractive quietly apt-get install -y --no-install-recommends "$@"
}

# Where the client would look for the engine: DOCKER_HOST, else the client's context, else the default.
engine_address() {
    if [ -n "${DOCKER_HOST:-}" ]; then
        printf '%s' "$DOCKER_HOST"
    elif have docker; then
        docker context inspect --format '{{.Endpoints.docker.Host}}' 2>/dev/null || printf 'unix:///var/run/docker.sock'
    else
        printf 'unix:///var/run/docker.sock'
    fi
}

# Whether a Docker Engine answers there.
engine_answers() { have docker && timeout 10 docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }

# Wait a minute at most until it does; where the process that is to be it is given, only as long as that lives.
wait_for_answer() {
    local deadline=$((SECONDS + 60))
    until engine_answers; do
        [ "$SECONDS" -lt "$deadline" ] || return 1
        [ -z "${1:-}" ] || kill -0 "$1" 2>/dev/null || return 1
        sleep 0.2
    done
}

service_manager_runs() { [ -d /run/systemd/system ] && have systemctl; }

# This machine's own sources of a suite, as apt resolved them; nothing on another distribution.
# shellcheck disable=SC2016  # apt's own placeholders
own_sources() {
    local codename
    for codename in "$1" "$1-updates" "$1-security"; do
        apt-get indextargets --format 'deb $(REPO_URI) $(RELEASE) $(COMPONENT)' \
            'Created-By: Packages' 'Origin: Debian' "Codename: $codename" 'Component: main' 2>/dev/null || true
    done
}

# Install a suite of Debian and packages into a folder or an archive, as root: debian_tree SUITE TARGET PACKAGE...
# From the machine's own sources of it, else from the tool's defaults: the suite, its updates, its security updates.
debian_tree() (
    suite="$1" target="$2"
    shift 2
    have mmdebstrap || install_packages mmdebstrap
    [ -e /usr/share/keyrings/debian-archive-keyring.gpg ] || install_packages debian-archive-keyring
    settings="$(mktemp -d)"
    trap 'rm -rf "$settings"' EXIT
    apt-config dump | grep -E '^Acquire::(Check-Valid-Until|Check-Date|Retries|https?::)' >"$settings/apt.conf" || true
    own_sources "$suite" | sort -u >"$settings/sources.list"
    arguments=(--quiet --variant=essential --include="$*" --aptopt="$settings/apt.conf")
    for name in doc man locale; do arguments+=(--dpkgopt="path-exclude=/usr/share/$name/*"); done
    arguments+=("$suite" "$target")
    if [ -s "$settings/sources.list" ]; then arguments+=("$settings/sources.list"); fi
    quietly mmdebstrap "${arguments[@]}"
)

image_exists() { docker image inspect "$1" >/dev/null 2>&1; }

# A label of an image; empty if there is no such label, or image: image_label IMAGE LABEL
image_label() { docker image inspect --format "{{index .Config.Labels \"$2\"}}" "$1" 2>/dev/null || true; }

# Make sure of an image of Debian to build on, and print its name: debian_base PACKAGE...
# The registry's where one answers, else one made from Debian's packages, with these in it; a Dockerfile installs what
# it misses. A registry is asked once: what was pulled or made is found here the next time.
debian_base() {
    local registry="debian:$SUITE-slim" own
    own="isolation-base:$SUITE-$(printf '%s ' "$@" | sha256 | cut -c 1-8)"
    if image_exists "$registry"; then
        printf '%s' "$registry"
    elif image_exists "$own"; then
        printf '%s' "$own"
    elif timeout 8 docker pull -q "$registry" >/dev/null 2>&1; then
        printf '%s' "$registry"
    else
        make_debian_base "$own" "$@"
        printf '%s' "$own"
    fi
}

make_debian_base() (
    name="$1"
    shift
    have apt-get || missing "No image registry answers to pull debian:$SUITE-slim from." \
        "Connect the engine to one, or load that image (docker load), then run this again."
    is_root || missing "No image registry answers, and only root can make a base image from Debian's packages." \
        "Run this with sudo once; your user can build on that base from then on."
    step "making a base image from Debian's packages"
    tree="$(mktemp -d)"
    trap 'rm -rf "$tree"' EXIT
    debian_tree "$SUITE" "$tree/base.tar" "$@"
    quietly docker import "$tree/base.tar" "$name"
)

# Build an image, as `docker build` is told to.
build_image() {
    # The older builder where the newer one is not installed: the client's own fallback, without its warning.
    docker buildx version >/dev/null 2>&1 || export DOCKER_BUILDKIT=0
    quietly docker build --force-rm --network host "$@"
}
