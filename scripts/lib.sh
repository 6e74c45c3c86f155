# What the scripts share; sourced, never run.
# shellcheck shell=bash

set -euo pipefail
# A failure inside $(...) must stop it too; bash 3 does not know this and has nothing better.
shopt -s inherit_errexit 2>/dev/null || true

ROOT="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)"
cd -- "$ROOT"

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

service_manager_runs() { [ -d /run/systemd/system ] && have systemctl; }
