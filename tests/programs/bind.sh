#!/bin/bash
# BIND with a zone, asked over UDP and TCP.
. "$(dirname "$0")/common.sh"
have() { need named dig; }
run() {
    cat > zone <<Z
\$TTL 60
@ IN SOA ns.test. me.test. 1 60 60 60 60
@ IN NS ns.test.
ns IN A 127.0.0.1
www IN A 10.1.2.3
Z
    cat > named.conf <<C
options { directory "$PWD"; listen-on port $port { 127.0.0.1; }; listen-on-v6 { none; }; pid-file "$PWD/pid"; session-keyfile "$PWD/sk"; recursion no; dnssec-validation no; };
controls { };
zone "test" { type master; file "$PWD/zone"; };
C
    named -g -c "$PWD/named.conf" > n.log 2>&1 & s=$!
    await test -e stop
    kill $s
    wait || true
}
up() { resolves +tries=1 +time=2; }
before() { await up; }
after() { answers_dns; }
phase "$1"
