#!/bin/sh
# Holds the project to its rules: `check.sh test [filter]` or `check.sh lint`. Called by ./dev, which installs first.
#
# Every check runs, whatever became of those before it, and the last line counts them all: each test, and each of the
# checks that are not tests.
set -u
cd "$(dirname "$0")/.." || exit 1

mode=${1:?test or lint}
shift
dev=$PWD/.dev
export DENDRON_DEV="$dev"
export PATH="$dev/bin:$dev/tools/bin:$PATH"
# The output passes through a pipe, where cargo would not see that it ends at a terminal.
[ ! -t 1 ] || export CARGO_TERM_COLOR=always

passed=0
failed=0
skipped=0
failures=

has() { command -v "$1" >/dev/null 2>&1; }

fails() {
    failures="$failures $1"
    echo "==> $1 FAILED"
}

# shown NAME COMMAND…: runs a command, shows its output and keeps it in a log. Its exit code is the command's.
shown() {
    log=$dev/log/check-$1.log
    echo "==> $1"
    shift
    { "$@" </dev/null 2>&1; echo $? >"$log.code"; } | tee "$log"
    code=$(cat "$log.code")
    rm -f "$log.code"
    return "$code"
}

# check NAME COMMAND…: counts as one test.
check() {
    if shown "$@"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        fails "$1"
    fi
}

# suite NAME COMMAND…: a run of cargo's tests, counted by the lines in which the runners say their results.
suite() {
    shown "$@"
    code=$?
    # One for each runner: `test result: ok. 12 passed; 0 failed; 1 ignored; …`
    counts=$(awk '/^test result: / { p += $4; f += $6; s += $8; n++ } END { print p + 0, f + 0, s + 0, n + 0 }' "$log")
    # shellcheck disable=SC2086 # These are four numbers.
    set -- "$1" $counts
    passed=$((passed + $2))
    failed=$((failed + $3))
    skipped=$((skipped + $4))
    # A suite that does not compile, or breaks off, has counted no failure; one without a result has not run at all.
    if [ $code -ne 0 ] && [ "$3" -eq 0 ] || [ "$5" -eq 0 ]; then
        failed=$((failed + 1))
        fails "$1"
    elif [ "$3" -ne 0 ]; then
        fails "$1"
    fi
}

skip() {
    skipped=$((skipped + 1))
    echo "==> $1: skipped, $2"
}

python_files_compile() { /usr/bin/python3 -m compileall -q scripts integration; }

rules() {
    check format cargo fmt --all --check
    check clippy cargo clippy --locked --all-targets -- -D warnings
    check python python_files_compile
    if has shellcheck; then
        check shell shellcheck dev .ci/run scripts/*.sh
    fi
}

documentation() { RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps; }

# Without the advisories, which change from day to day and only the network has: they are a part of `lint`.
dependencies() { cargo deny --locked check --hide-inclusion-graph licenses bans sources; }

advisories() { cargo deny --locked check --hide-inclusion-graph --disable-fetch advisories; }

# The load suite itself, in seconds: whether it works, and no number that anybody should look at.
load() { PATH="$PATH:/usr/sbin" cargo test --locked --bench load -- smoke --report "$dev/bench-smoke"; }

tests() {
    if [ $# -eq 0 ]; then
        rules
        if has cargo-deny; then
            check dependencies dependencies
        else
            skip dependencies "cargo-deny is not installed (./dev lint installs it)"
        fi
        check documentation documentation
    fi
    # The suite runs the example as a program of its own, which `cargo test` does not build.
    check examples cargo build --locked --examples
    suite unit cargo test --locked --no-fail-fast --lib --bins -- "$@"
    suite doctests cargo test --locked --no-fail-fast --doc -- "$@"
    suite load_suite cargo test --locked --no-fail-fast --test load_suite -- "$@"
    if [ $# -eq 0 ] || [ "$1" = load ]; then
        check load load
    fi
    suite integration cargo test --locked --no-fail-fast --test integration -- "$@"
}

lint() {
    rules
    if ! has cargo-deny; then
        echo "==> installing cargo-deny (some minutes, once)"
        cargo install --locked --quiet --root "$dev/tools" cargo-deny
    fi
    check dependencies dependencies
    if cargo deny --locked fetch db 2>/dev/null; then
        check advisories advisories
    else
        skip advisories "their database cannot be reached"
    fi
}

case $mode in
    test) tests "$@" ;;
    lint) lint ;;
    *) exit 2 ;;
esac
[ -z "$failures" ] || echo "failed:$failures"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
