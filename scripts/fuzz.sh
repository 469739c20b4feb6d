#!/bin/sh
# Feeds random input to the fuzz targets: `fuzz.sh [target] [seconds]`. Called by ./dev.
set -eu
cd "$(dirname "$0")/.."

[ -d fuzz ] || { echo "fuzz: there are no targets" >&2; exit 1; }
target=${1:-}
seconds=${2:-60}
tools=$PWD/.dev/tools
export PATH="$tools/bin:$PATH"

if ! command -v cargo-fuzz >/dev/null 2>&1; then
    echo "==> installing cargo-fuzz (a minute, once)"
    cargo install --locked --quiet --root "$tools" cargo-fuzz
fi

# The sanitizers are options of the compiler that are not stable yet. So a stable compiler is told to allow them, which
# spares everybody a second toolchain.
export RUSTC_BOOTSTRAP=1

for name in ${target:-$(cargo fuzz list)}; do
    echo "==> $name, $seconds seconds"
    set -- -max_total_time="$seconds"
    # Words of which such input is made, which chance would hardly hit upon.
    [ ! -f "fuzz/$name.dict" ] || set -- "$@" -dict="fuzz/$name.dict"
    cargo fuzz run "$name" -- "$@"
done
