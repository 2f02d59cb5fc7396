#!/usr/bin/env bash
# Makes sure that everything is there that the build, the demo and the tests start. As root on Debian (or a system made
# from it) it installs what is missing; otherwise it names it and ends with status 1. It is quick if nothing is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

missing=()
needs() { # PACKAGE CHECK...: the Debian package that is needed where the check fails
    local package=$1
    shift
    "$@" >/dev/null 2>&1 || missing+=("$package")
}
has() { command -v "$1"; }
has_postgres() {
    local folder
    for folder in $(tr ':' ' ' <<<"$PATH") /usr/lib/postgresql/*/bin; do
        [ -x "$folder/initdb" ] && [ -x "$folder/pg_ctl" ] && [ -x "$folder/postgres" ] && return
    done
    return 1
}
compiles() { # a compiler without the headers of the C library is of no use
    local folder status=0
    folder=$(mktemp -d)
    printf '#include <stdlib.h>\nint main(void) { return 0; }\n' >"$folder/a.c"
    cc -o "$folder/a" "$folder/a.c" || status=1
    rm -r "$folder"
    return "$status"
}
has_venv() { python3 -c 'import ensurepip, venv'; }

look() {
    missing=()
    needs gcc compiles
    needs libc6-dev compiles
    needs make has make
    needs postgresql has_postgres
    needs postgresql-client has psql
    needs python3 has python3
    needs python3-venv has_venv
    needs curl has curl
    needs ca-certificates test -s /etc/ssl/certs/ca-certificates.crt
    needs jq has jq
    needs openssl has openssl
    needs gnupg has gpg
    needs util-linux has setpriv
    needs procps has ps
}

look
if [ "${#missing[@]}" -gt 0 ]; then
    if [ "$(id -u)" = 0 ] && has apt-get >/dev/null; then
        echo "Installing what is missing: ${missing[*]}" >&2
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -qq >&2
        apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
        look
    fi
    if [ "${#missing[@]}" -gt 0 ]; then
        {
            echo "Missing, by the names of Debian's packages: ${missing[*]}"
            echo "Install it, on Debian and Ubuntu with"
            echo "    sudo apt-get update && sudo apt-get install -y ${missing[*]}"
            echo "and start again."
        } >&2
        exit 1
    fi
fi

if ! has cargo >/dev/null; then
    [ -x "$HOME/.cargo/bin/cargo" ] && hint="add ~/.cargo/bin to PATH" || hint="install it with rustup, see https://rustup.rs"
    echo "Missing: Rust (cargo and rustc); $hint, and start again." >&2
    exit 1
fi
# With rustup this fetches the toolchain that rust-toolchain.toml names, if it is not there yet.
wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
found=$(rustc --version | cut -d ' ' -f 2)
if [ "$(printf '%s\n' "$wanted" "$found" | sort -V | head -n 1)" != "$wanted" ]; then
    echo "Rust $found is too old: at least $wanted is needed; with rustup: rustup toolchain install $wanted" >&2
    exit 1
fi
