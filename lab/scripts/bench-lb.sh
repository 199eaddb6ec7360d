#!/bin/bash
# quiz-lb beside HAProxy, nginx and a bare Pingora, in front of the same backends.
# Usage: bench-lb.sh PROGRAM BARE [ROUNDS] [SECONDS].
#
# Each proxy has one worker on one core; the client (wrk) and the backends (nginx) share another. Rounds are interleaved,
# so that a busy machine is busy for all of them. Everything is in namespaces of its own, which have no way out and end
# with this script, however it ends. That needs root.
set -euo pipefail

program=$(realpath "$1") bare=$(realpath "$2") rounds=${3:-5} seconds=${4:-2}

if [ "${QUIZSTACK_BENCH_INSIDE:-}" = "" ]; then
    if [ "$(id -u)" != 0 ]; then
        echo "The namespaces of this need root: sudo env PATH=\"\$PATH\" HOME=\"\$HOME\" make bench-lb" >&2
        exit 1
    fi
    missing=()
    for each in haproxy:haproxy nginx:nginx-light wrk:wrk; do
        command -v "${each%:*}" >/dev/null || missing+=("${each#*:}")
    done
    if [ ${#missing[@]} -gt 0 ]; then
        echo "Installing ${missing[*]}: the peers of this measurement. They are not started outside of it."
        # Debian starts what it installs unless this says no.
        policy=/usr/sbin/policy-rc.d
        if [ ! -e "$policy" ]; then
            trap 'rm -f "$policy"' EXIT
            printf '#!/bin/sh\nexit 101\n' >"$policy"
            chmod +x "$policy"
        else
            policy=
        fi
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -q
        apt-get install -qy --no-install-recommends "${missing[@]}"
        trap - EXIT
        [ "$policy" = "" ] || rm -f "$policy"
    fi
    QUIZSTACK_BENCH_INSIDE=$(mktemp -d /var/tmp/quizstack-bench-XXXXXX)
    export QUIZSTACK_BENCH_INSIDE
    trap 'rm -rf "$QUIZSTACK_BENCH_INSIDE"' EXIT
    # All processes end with the first of the process namespace.
    setpriv --pdeathsig KILL unshare --net --mount --pid --fork --kill-child --mount-proc \
        timeout --kill-after 5 3600 bash "$0" "$@"
    exit
fi

dir=$QUIZSTACK_BENCH_INSIDE
# "0-3,7" -> the first two cores that we may use.
cores=$(sed -n 's/^Cpus_allowed_list:\s*//p' /proc/self/status | tr ',' '\n' |
    awk -F- '{ for (core = $1; core <= ($2 == "" ? $1 : $2); core++) print core }' | head -2 | xargs)
read -r client_core proxy_core <<<"$cores"
if [ "${proxy_core:-}" = "" ]; then
    echo "This needs two cores: one for the proxies, one for the rest." >&2
    exit 1
fi
ip link set lo up
# In a network of their own all ports are free.
backends="9001 9002 9003"
declare -A port=([haproxy]=8001 [nginx]=8002 [quiz-lb]=8003 [quiz-lb-cache]=8004 [pingora]=8005)

mkdir -p "$dir/www/static" "$dir/logs"
head -c 5120 /dev/urandom | base64 -w 0 | head -c 5120 >"$dir/www/5k"
head -c 100 "$dir/www/5k" >"$dir/www/100"
cp "$dir/www/5k" "$dir/www/100" "$dir/www/static/"
echo ready >"$dir/www/ready"

# What both nginx have: one worker, no files but their own.
nginx_common() {
    echo "user root; worker_processes 1; daemon off; pid $dir/$1.pid; error_log $dir/logs/$1.log;"
    echo "events { worker_connections 4096; }"
    echo "http { access_log off; keepalive_requests 1000000; sendfile on; tcp_nopush on; open_file_cache max=100; types { } default_type text/plain;"
    for kind in client_body proxy fastcgi uwsgi scgi; do echo "${kind}_temp_path $dir/$1-$kind;"; done
}
{
    nginx_common backends
    # Each has a connection limit high enough to be of no concern.
    echo "server { root $dir/www; location /static/ { add_header Cache-Control 'public, max-age=3600'; }"
    for each in $backends; do echo "listen 127.0.0.1:$each backlog=4096;"; done
    echo "} }"
} >"$dir/backends.conf"
{
    nginx_common proxy
    echo "upstream all { keepalive 300;"
    for each in $backends; do echo "server 127.0.0.1:$each;"; done
    echo "} server { listen 127.0.0.1:${port[nginx]} backlog=4096; location / { proxy_pass http://all; proxy_http_version 1.1;"
    echo "proxy_set_header Connection ''; proxy_set_header Host \$http_host; proxy_set_header X-Forwarded-For \$remote_addr; } } }"
} >"$dir/proxy.conf"
{
    printf '%s\n' "global" " nbthread 1" " maxconn 4096" "defaults" " mode http" " option forwardfor" \
        " timeout connect 1s" " timeout client 30s" " timeout server 30s" " http-reuse always" \
        "frontend public" " bind 127.0.0.1:${port[haproxy]} backlog 4096" " default_backend all" "backend all" " balance roundrobin"
    for each in $backends; do echo " server s$each 127.0.0.1:$each"; done
} >"$dir/haproxy.cfg"

on_core() { taskset -c "$@" & pids+=($!); }
# The peers' limits are out of the way; so are ours.
quiz_lb() {
    on_core "$proxy_core" "$program" --listen "127.0.0.1:$1" --admin-listen "127.0.0.1:$2" --threads 1 --cache "$3" \
        --backends "$(printf '127.0.0.1:%s,' $backends | sed 's/,$//')" --slow-start 0 \
        --max-requests-per-connection 1000000 >"$dir/logs/quiz-lb-$1.log" 2>&1
}
pids=()
trap 'kill "${pids[@]}" 2>/dev/null || true' EXIT
on_core "$client_core" nginx -p "$dir" -c "$dir/backends.conf" 2>"$dir/logs/start"
on_core "$proxy_core" nginx -p "$dir" -c "$dir/proxy.conf" 2>>"$dir/logs/start"
on_core "$proxy_core" haproxy -db -f "$dir/haproxy.cfg" >>"$dir/logs/start" 2>&1
quiz_lb "${port[quiz-lb]}" 8103 false
quiz_lb "${port[quiz-lb-cache]}" 8104 true
# shellcheck disable=SC2046 # each backend is an argument
on_core "$proxy_core" "$bare" "127.0.0.1:${port[pingora]}" $(printf "127.0.0.1:%s " $backends) >"$dir/logs/pingora" 2>&1
declare -A pid=([nginx]=${pids[1]} [haproxy]=${pids[2]} [quiz-lb]=${pids[3]} [quiz-lb-cache]=${pids[4]} [pingora]=${pids[5]})

for name in "${!port[@]}"; do
    for try in $(seq 100) never; do
        [ "$try" != never ] || { echo "$name does not answer:" >&2; cat "$dir"/logs/* >&2; exit 1; }
        (exec 3<>"/dev/tcp/127.0.0.1/${port[$name]}" && printf 'GET /100 HTTP/1.0\r\nHost: bench\r\n\r\n' >&3 && grep -q '200 OK' <&3) 2>/dev/null && break
        sleep 0.1
    done
done

# Nanoseconds on a processor of this process and its children, all threads.
cpu() {
    local each
    for each in "$1" $(pgrep -P "$1" || true); do cat /proc/"$each"/task/*/schedstat; done | awk '{ sum += $1 } END { printf "%.0f", sum }'
}

# One line: point proxy round requests/s microseconds-of-processor-per-request p99-in-ms failures
measure() {
    local point=$1 name=$2 round=$3 path=$4 connections=$5 before after
    shift 5
    before=$(cpu "${pid[$name]}")
    taskset -c "$client_core" wrk -t1 -c"$connections" -d"${seconds}s" --latency "$@" "http://127.0.0.1:${port[$name]}$path" >"$dir/wrk"
    after=$(cpu "${pid[$name]}")
    awk -v point="$point" -v name="$name" -v round="$round" -v cpu=$((after - before)) '
        function ms(text) { return text ~ /us$/ ? text / 1000 : text ~ /ms$/ ? text + 0 : text * 1000 }
        $1 == "99%" { p99 = ms($2) }
        / requests in / { requests = $1 }
        /^Requests\/sec:/ { rate = $2 }
        /Non-2xx/ { failures += $NF }
        /Socket errors/ { gsub(",", ""); failures += $4 + $8 + $10 }
        END { print point, name, round, rate, requests ? cpu / requests / 1000 : 0, p99, failures + 0 }' "$dir/wrk" >>"$dir/results"
}

echo "$("$program" --version), $(haproxy -v | sed -n '1s/ 20.*//p'), $(nginx -v 2>&1 | sed 's/.*: //'); $rounds rounds of $seconds s; proxies on core $proxy_core, client and backends on core $client_core"
# The cache gets what it is to have, the others their connections.
for name in "${!port[@]}"; do
    taskset -c "$client_core" wrk -t1 -c32 -d1s "http://127.0.0.1:${port[$name]}/static/5k" >/dev/null
done
: >"$dir/results"
for round in $(seq "$rounds"); do
    for size in 5k 100; do
        for connections in 32 256; do
            for name in haproxy nginx pingora quiz-lb; do
                measure "$size,$connections,keep-alive" "$name" "$round" "/$size" "$connections"
            done
            for name in haproxy nginx pingora quiz-lb; do
                measure "$size,$connections,close" "$name" "$round" "/$size" "$connections" -H 'Connection: close'
            done
            # Beside the same rivals, who have no cache.
            measure "$size,$connections,keep-alive" quiz-lb-cache "$round" "/static/$size" "$connections"
        done
    done
    echo "round $round of $rounds is over" >&2
done

awk -v rounds="$rounds" '
    function sorted(values, count,   i, j, held) {
        for (i = 2; i <= count; i++) for (j = i; j > 1 && values[j - 1] > values[j]; j--) { held = values[j]; values[j] = values[j - 1]; values[j - 1] = held }
    }
    function median(values, count) { return count % 2 ? values[(count + 1) / 2] : (values[count / 2] + values[count / 2 + 1]) / 2 }
    # Of the rounds: what this proxy did in each, over what HAProxy did in the same.
    function ratio(point, name, field,   round, found, values, own, peer) {
        found = 0
        for (round = 1; round <= rounds; round++) {
            own = value[point, name, round, field]; peer = value[point, "haproxy", round, field]
            if (own > 0 && peer > 0) values[++found] = own / peer
        }
        sorted(values, found)
        middle = found ? median(values, found) : 0
        return found ? sprintf("%.2f-%.2f-%.2f", values[1], middle, values[found]) : "none"
    }
    function typical(point, name, field,   round, values) {
        for (round = 1; round <= rounds; round++) values[round] = value[point, name, round, field]
        sorted(values, rounds)
        return median(values, rounds)
    }
    function bar(what, holds) { printf "%s  %s\n", holds ? "met   " : "MISSED", what; missed += !holds }
    {
        value[$1, $2, $3, "rate"] = $4; value[$1, $2, $3, "cpu"] = $5; value[$1, $2, $3, "p99"] = $6; failures[$2] += $7
        if (!($1 in known)) { known[$1]; points[++count] = $1 }
    }
    END {
        printf "\n%-20s %-14s %10s %9s %8s   ratios to HAProxy, min-median-max over rounds:\n", "reply, connections", "proxy", "requests/s", "CPU us", "p99 ms"
        printf "%-20s %-14s %10s %9s %8s   %-16s %-16s %s\n", "", "", "", "/request", "", "requests/s", "CPU/request", "p99"
        split("haproxy nginx pingora quiz-lb quiz-lb-cache", names, " ")
        for (i = 1; i <= count; i++) for (j = 1; j <= 5; j++) {
            point = points[i]; name = names[j]
            if (!((point, name, 1, "rate") in value)) continue
            printf "%-20s %-14s %10.0f %9.1f %8.2f   %-16s %-16s %s\n", point, name, typical(point, name, "rate"), typical(point, name, "cpu"), typical(point, name, "p99"), \
                ratio(point, name, "rate"), ratio(point, name, "cpu"), ratio(point, name, "p99")
        }
        print ""
        point = "5k,32,keep-alive"
        ratio(point, "quiz-lb", "cpu"); bar(sprintf("without cache, CPU per request is at most 1.5 of that of HAProxy: %.2f", middle), middle > 0 && middle <= 1.5)
        ratio(point, "quiz-lb", "rate"); bar(sprintf("without cache, requests/s are at least 0.85 of those of HAProxy: %.2f", middle), middle >= 0.85)
        ratio(point, "quiz-lb-cache", "rate"); bar(sprintf("with the cache, requests/s are more than those of HAProxy: %.2f", middle), middle > 1)
        lost = failures["quiz-lb"] + failures["quiz-lb-cache"]
        bar(sprintf("quiz-lb failed no request: %d failed (HAProxy %d, nginx %d)", lost, failures["haproxy"], failures["nginx"]), lost == 0)
        exit missed > 0
    }' "$dir/results"
