#!/bin/sh
# crash STORY POINT tells a story of the agent's life, kills it at POINT of the
# first life, and lets a second life take over. It prints what is left as JSON.
# POINT "none" kills nothing, and logs the points passed in /run/crash.log.
#
#   service   Redis is found, closed and proved; the outdated system is flagged;
#             both are undone
#   process   a listener started by hand is blocked, ended and proved
#   isolate   the host is isolated and released
set -u
story=$1 point=$2
dirs="--config /etc/crash-$story --state /var/lib/crash --socket /run/crash/agent.sock"
fb="/usr/local/bin/firebreak"
json() { $fb "$@" $dirs --json 2>/dev/null || true; }
alive() { systemctl is-active --quiet crash-agent; }

# The host as it was: nothing of an earlier story is left.
systemctl stop crash-agent 2>/dev/null
systemctl reset-failed crash-agent 2>/dev/null
rm -rf /var/lib/crash /run/crash /run/crash.log
mkdir -p /run/crash
nft delete table inet firebreak 2>/dev/null
systemctl unmask --quiet redis-server
systemctl enable --quiet redis-server 2>/dev/null
case $story in
service) systemctl start redis-server ;;
*) systemctl stop redis-server ;;
esac
if [ "$story" = process ]; then
	(
		# Only a process that does not want to end is killed.
		case $point in none | processes.terminated*) trap '' TERM ;; esac
		exec systemd-run --quiet --scope --collect nc -l -k 0.0.0.0 7001
	) >/dev/null 2>&1 </dev/null &
	until ss -Hltn | grep -q :7001; do sleep 0.02; done
fi

life() { # life NAME=VALUE ...: start an agent
	systemd-run --quiet --unit=crash-agent --property=Type=notify "$@" --setenv=HOME=/root $fb run $dirs >&2
}
settled() { # every threat that the story is about is at its end
	json threats --all | tr -d ' \n' | awk -v story="$story" '{
		open = gsub(/"stage":"(identified|mitigated|remediated)"/, "&")
		os = gsub(/"detector":"outdated-os"/, "&"); port = gsub(/"detector":"open-port"/, "&")
		exit !(open == 0 && os > 0 && (port > 0 || story == "isolate")) }'
}
wait_for() { # wait_for COMMAND...: until it is so, or the agent is dead, or 20 s are over
	i=0
	until "$@"; do
		alive || return 1
		i=$((i + 1)); [ $i -lt 100 ] || return 1
		sleep 0.2
	done
}
threat() { $fb threats --all $dirs --json | tr -d ' \n' | grep -o "\"id\":\"T-[^\"]*\",[^{}]*\"detector\":\"$1\"" | grep -o 'T-[0-9A-Z]*' | head -1; }

if [ "$point" = none ]; then life --setenv=FIREBREAK_FAULT_LOG=/run/crash.log; else life "--setenv=FIREBREAK_FAULT=$point"; fi
if wait_for settled; then
	case $story in
	service)
		for detector in open-port outdated-os; do
			id=$(threat $detector)
			[ -z "$id" ] || $fb undo "$id" $dirs >&2
		done
		;;
	isolate)
		$fb isolate --reason crash --cut-me-off $dirs >&2
		$fb release $dirs >&2
		;;
	esac
fi
# systemd takes a moment to notice a death.
sleep 0.3
killed=false
if ! alive; then killed=true; fi
systemctl stop crash-agent 2>/dev/null
systemctl reset-failed crash-agent 2>/dev/null

life
wait_for settled || echo "the second life does not settle" >&2
$fb recheck $dirs >&2
[ "$story" != isolate ] || $fb release $dirs >&2
$fb history $dirs >&2
unit=$(systemctl show -P ActiveState redis-server; systemctl show -P UnitFileState redis-server)
printf '{"killed": %s, "status": %s, "threats": %s, "unit": "%s", "tables": "%s", "history": "%s"}\n' \
	$killed "$(json status)" "$(json threats --all)" "$(echo $unit)" "$(echo $(nft list tables))" \
	"$($fb history $dirs | grep -c redis-server)"
systemctl stop crash-agent
