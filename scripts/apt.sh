#!/bin/sh
# Installs Debian packages as root, without starting their services, now or at the next boot: only their programs are
# wanted. Whatever it changes for that it changes back. Called by install.sh.
set -eu
export DEBIAN_FRONTEND=noninteractive

# Debian asks this program before it starts or restarts a service; code 101 means no.
policy=/usr/sbin/policy-rc.d
# Says whether PostgreSQL's package makes a database of its own.
clusters=/etc/postgresql-common/createcluster.conf
made_policy=
saved_clusters=

restore() {
    [ -z "$made_policy" ] || rm -f "$policy"
    [ -z "$saved_clusters" ] || mv -f "$clusters.dendron" "$clusters"
}
trap restore EXIT
trap 'exit 130' INT TERM HUP

if [ ! -e "$policy" ]; then
    made_policy=yes
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi

apt-get update
case " $* " in
    *" postgresql "*)
        apt-get install --yes --no-install-recommends postgresql-common
        cp -p "$clusters" "$clusters.dendron"
        saved_clusters=yes
        echo "create_main_cluster = false" >>"$clusters"
        ;;
esac
apt-get install --yes --no-install-recommends "$@"

for package in "$@"; do
    case $package in
        haproxy | nginx | prometheus | redis-server) update-rc.d "$package" disable ;;
    esac
done
