#!/bin/sh
# Installs what the tests need beside Go and Node, where it is not there yet, from
# Debian's packages: a PostgreSQL server, Prometheus, Chromium, and what the
# examples in Python and Java need. No service is started; tests start their own,
# and end them.
set -eu
sudo=
[ "$(id -u)" = 0 ] || sudo=sudo
missing=
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing="$missing postgresql"
command -v prometheus >/dev/null 2>&1 || missing="$missing prometheus"
command -v chromium >/dev/null 2>&1 || missing="$missing chromium"
command -v python3 >/dev/null 2>&1 || missing="$missing python3"
command -v javac >/dev/null 2>&1 || missing="$missing default-jdk-headless"
[ -e /usr/share/java/gson.jar ] || missing="$missing libgoogle-gson-java"
[ -n "$missing" ] || exit 0
command -v apt-get >/dev/null 2>&1 || { echo "install these, and run this again:$missing" >&2; exit 1; }
echo "installing$missing from Debian's packages" >&2
if [ ! -e /etc/postgresql-common/createcluster.conf ]; then # no cluster of the system's own
	$sudo mkdir -p /etc/postgresql-common
	echo 'create_main_cluster = false' | $sudo tee /etc/postgresql-common/createcluster.conf >/dev/null
fi
if [ ! -e /etc/systemd/system/prometheus.service ]; then # nor a Prometheus; "systemctl unmask prometheus" allows one
	$sudo mkdir -p /etc/systemd/system
	case $missing in *prometheus*) $sudo ln -s /dev/null /etc/systemd/system/prometheus.service ;; esac
fi
$sudo apt-get update -qq
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends $missing >/dev/null
