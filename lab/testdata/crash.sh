#!/bin/sh
# crash POINT tells a whole story of the agent (find, block, close, prove, undo,
# isolate, release), kills it at POINT of the first life, and lets a second life
# take over. It prints what is left as JSON. POINT "none" kills nothing, and logs
# the points that were passed in /run/crash.log.
set -u
dirs="--config /etc/crash --state /var/lib/crash --socket /run/crash/agent.sock"
fb="/usr/local/bin/firebreak"
json() { $fb "$@" $dirs --json 2>/dev/null || true; }

# The host as it was: nothing of an earlier story is left.
systemctl stop crash-agent 2>/dev/null
systemctl reset-failed crash-agent 2>/dev/null
rm -rf /var/lib/crash /run/crash /run/crash.log
mkdir -p /run/crash
nft delete table inet firebreak 2>/dev/null
systemctl unmask --quiet redis-server
systemctl enable --quiet redis-server 2>/dev/null
systemctl start redis-server
(
	# Only a process that does not want to end is killed.
	case $1 in none | processes.terminated*) trap '' TERM ;; esac
	exec systemd-run --quiet --scope --collect nc -l -k 0.0.0.0 7001
) >/dev/null 2>&1 </dev/null &
until ss -Hltn | grep -q :7001; do sleep 0.02; done

life() { # life NAME=VALUE ...: start an agent
	set -- "$@" "--setenv=HOME=/root"
	systemd-run --quiet --unit=crash-agent --property=Type=exec "$@" $fb run $dirs >&2
}
alive() { systemctl is-active --quiet crash-agent; }
settled() { # settled N: at least N threats, and none of a port in the middle of something
	json threats --all | tr -d ' \n' | awk -v n="$1" '{
		all = gsub(/"id":"T-/, "&"); open = gsub(/"stage":"(identified|mitigated|remediated)"/, "&")
		exit !(all >= n && open == 0) }'
}
wait_for() { # wait_for COMMAND...: until it is so, or the agent is dead, or 15 s are over
	i=0
	until "$@"; do
		alive || return 1
		i=$((i + 1)); [ $i -lt 300 ] || return 1
		sleep 0.05
	done
}
threat() { json threats --all | tr -d ' \n' | grep -o "{\"id\":\"T-[^\"]*\",[^{]*\"detector\":\"$1\",\"subject\":{[^}]*$2" | grep -o 'T-[0-9A-Z]*' | head -1; }

if [ "$1" = none ]; then life --setenv=FIREBREAK_FAULT_LOG=/run/crash.log; else life "--setenv=FIREBREAK_FAULT=$1"; fi
if wait_for settled 3; then
	$fb isolate --reason crash --cut-me-off $dirs >&2
	$fb release $dirs >&2
	redis=$(threat open-port '"port":6379')
	os=$(threat outdated-os '"os"')
	[ -z "$redis" ] || $fb undo "$redis" $dirs >&2
	[ -z "$os" ] || $fb undo "$os" $dirs >&2
fi
killed=false
if ! alive; then killed=true; fi
systemctl stop crash-agent 2>/dev/null
systemctl reset-failed crash-agent 2>/dev/null

life
wait_for settled 3 || echo "the second life does not settle" >&2
$fb recheck $dirs >&2
json release >/dev/null
$fb history $dirs >&2
unit=$(systemctl show -P ActiveState redis-server; systemctl show -P UnitFileState redis-server)
printf '{"killed": %s, "status": %s, "threats": %s, "unit": "%s", "tables": "%s", "history": "%s", "held": "%s"}\n' \
	$killed "$(json status)" "$(json threats --all)" "$(echo $unit)" "$(echo $(nft list tables))" \
	"$($fb history $dirs | grep -c redis-server)" "$(ss -Hltn 'sport = 7001' | tr -d '\n' | tr -s ' ')"
systemctl stop crash-agent
