#!/bin/bash
# OpenLDAP's server on LMDB: entries are added and searched.
. "$(dirname "$0")/common.sh"
have() { need slapd ldapadd ldapsearch; }
run() {
    mkdir -p db
    cat > s.conf <<C
include /etc/ldap/schema/core.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile $PWD/pid
database mdb
maxsize 16777216
suffix "dc=test"
rootdn "cn=root,dc=test"
rootpw secret
directory $PWD/db
C
    slapd -d 0 -f s.conf -h "ldap://127.0.0.1:$port/" > s.log 2>&1 & s=$!
    await test -e stop
    kill $s
    wait || true
}
l() { local c=$1; shift; "$c" -x -H "ldap://127.0.0.1:$port" -D cn=root,dc=test -w secret "$@"; }
up() { l ldapsearch -LLL -b "" -s base > up.log 2>&1; }
before() { await up; printf 'dn: dc=test\nobjectClass: dcObject\nobjectClass: organization\no: t\ndc: test\n' | l ldapadd > add.log; }
after() {
    n=$RANDOM$RANDOM
    printf 'dn: ou=n%s,dc=test\nobjectClass: organizationalUnit\nou: n%s\n' $n $n | l ldapadd >> add.log
    echo $n >> names
    while read -r k; do l ldapsearch -LLL -b dc=test "ou=n$k" | grep -q "^dn: ou=n$k" || fail "n$k is lost"; done < names
}
phase "$1"
