#!/usr/bin/env bash
# Finds a Chromium for the browser tests, or installs one. Prints its path; everything else goes to stderr.
# Order: $CHROMIUM, Playwright's own, PATH, apt-get, npm. Finding none is an error: tests are never skipped.
set -euo pipefail
cd "$(dirname "$0")/.."
exec 3>&1 1>&2 # only found() writes to the real stdout

found() { echo "$1" >&3; exit 0; }
fail() { echo "chromium.sh: $1"; exit 1; }
runs() { [ -n "$1" ] && "$1" --version >/dev/null 2>&1; }

from_playwright() {
    .venv/bin/python -c 'from playwright.sync_api import sync_playwright
with sync_playwright() as p: print(p.chromium.executable_path)' 2>/dev/null
}

# The shell has the same engine without the windows of a desktop, which would cost more than the pages in them.
from_path() {
    local name
    for name in chromium-headless-shell chromium chromium-browser google-chrome; do
        if runs "$(command -v "$name")"; then command -v "$name"; return; fi
    done
}

from_apt() {
    local root=() package
    command -v apt-get >/dev/null || return 0
    if [ "$(id -u)" != 0 ]; then sudo -n true 2>/dev/null || return 0; root=(sudo -n); fi
    echo "Installing Chromium with apt-get (about 15 seconds)"
    "${root[@]}" apt-get update -qq || return 0
    for package in chromium-headless-shell chromium; do # Ubuntu has no shell
        "${root[@]}" env DEBIAN_FRONTEND=noninteractive \
            apt-get install -y -qq --no-install-recommends "$package" fonts-dejavu-core >/dev/null && return
    done
}

# A headless shell made for bare servers. It brings its own libraries, so it is started through a small wrapper.
from_npm() {
    local dir="$PWD/var/chromium"
    command -v npm >/dev/null || return 0
    echo "Installing Chromium with npm into var/chromium (66 MB)"
    mkdir -p "$dir"
    npm install --silent --no-save --ignore-scripts --prefix "$dir" @sparticuz/chromium@147.0.0 || return 0
    (cd "$dir" && TMPDIR="$dir" AWS_EXECUTION_ENV=AWS_Lambda_nodejs22.x node --input-type=module -e \
        'import chromium from "@sparticuz/chromium"; await chromium.executablePath()') || return 0
    printf '#!/bin/sh\nLD_LIBRARY_PATH="%s" exec "%s" "$@"\n' "$dir/al2023/lib" "$dir/chromium" >"$dir/run"
    chmod +x "$dir/run"
}

if [ -n "${CHROMIUM:-}" ]; then
    if runs "$CHROMIUM"; then found "$CHROMIUM"; fi
    fail "CHROMIUM is set to $CHROMIUM, which does not run."
fi
for look in from_playwright from_path; do
    path="$($look 3>&- || true)"
    if runs "$path"; then found "$path"; fi
done
from_apt || true
path="$(from_path || true)"
if runs "$path"; then found "$path"; fi
if ! runs "$PWD/var/chromium/run"; then from_npm; fi
if runs "$PWD/var/chromium/run"; then found "$PWD/var/chromium/run"; fi
fail "The browser tests need Chromium: install it, or set CHROMIUM to its path."
