#!/bin/bash
# RabbitMQ: a broker in Erlang, asked over its management command and AMQP's port.
. "$(dirname "$0")/common.sh"
have() {
    need rabbitmqctl
    [ -x /usr/lib/rabbitmq/bin/rabbitmq-server ] || skip "rabbitmq is not installed"
}
vars() {
    # Its ports in 127.0.0.1 are kept from those of its kind by their distance.
    export RABBITMQ_NODENAME="r$port@localhost" RABBITMQ_NODE_PORT="$port" RABBITMQ_NODE_IP_ADDRESS=127.0.0.1 \
        RABBITMQ_DIST_PORT=$((port - 20000)) ERL_EPMD_PORT=$((port + 11000)) RABBITMQ_MNESIA_BASE="$PWD/m" \
        RABBITMQ_LOG_BASE="$PWD/l" RABBITMQ_CONFIG_FILE="$PWD/r" RABBITMQ_ENABLED_PLUGINS_FILE="$PWD/plugins" \
        RABBITMQ_PID_FILE="$PWD/pid" RABBITMQ_GENERATED_CONFIG_DIR="$PWD/g" HOME="$PWD"
}
run() {
    mkdir -p m l g
    echo '[].' > plugins
    vars
    # Its own epmd, which otherwise is a daemon that outlives it.
    epmd -port "$ERL_EPMD_PORT" &
    names=$!
    /usr/lib/rabbitmq/bin/rabbitmq-server > r.log 2>&1 &
    server=$!
    await test -e stop
    kill $server
    wait $server || true
    kill $names
    wait || true
}
amqp() {
    exec 9<>"/dev/tcp/127.0.0.1/$port" || return 1
    printf 'AMQP\0\0\11\1' >&9
    timeout 20 head -c 60 <&9 > amqp.log
    exec 9>&-
    grep -aq capabilities amqp.log
}
up() { amqp; }
before() { await up; }
after() {
    for _ in 1 2 3; do amqp || fail "no broker"; done
    vars
    /usr/lib/rabbitmq/bin/rabbitmqctl -t 60 list_queues > list.log 2>&1 || fail "rabbitmqctl: $(tail -1 list.log)"
}
phase "$1"
