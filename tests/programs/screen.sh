#!/bin/bash
# A screen session with a shell that has a stopped job.
. "$(dirname "$0")/common.sh"
have() { need screen; }
run() {
    export SCREENDIR=$PWD/d TERM=vt100
    mkdir -m 700 d
    exec screen -D -m -S w -s /bin/sh -c /dev/null bash --norc --noprofile -i
}
up() { SCREENDIR=$PWD/d screen -ls | grep -q Detached; }
type_() { SCREENDIR=$PWD/d screen -S w -p 0 -X stuff "$1^M"; }
shown() { SCREENDIR=$PWD/d screen -S w -p 0 -X hardcopy "$PWD/copy"; grep -q "$1" copy; }
before() {
    await test -d d
    await type_ 'x=5; echo start-$((x + 1))'
    start() { shown '^start-6'; }
    await start
    type_ 'cat > typed'
    await test -e typed
    type_ '^Z'
    stopped() { type_ 'jobs > j.new; mv j.new j'; await test -e j; mv j seen; grep -q Stopped seen; }
    await stopped
}
after() {
    n=$RANDOM
    type_ "fg"
    type_ "line-$n"
    # ^Z throws away what cat has not read yet.
    await grep -q "line-$n" typed
    type_ "^Z"
    type_ "echo again-\$((x + $n))"
    again() { shown "^again-$((n + 5))"; }
    await again
}
stop() { SCREENDIR=$PWD/d screen -S w -X quit; }
phase "$1"
