#!/bin/bash
# A local sshd (or dropbear) with an ssh client that runs a command through it.
. "$(dirname "$0")/common.sh"
have() {
    need sshd ssh ssh-keygen
    [ "$(id -u)" = 0 ] || skip "sshd lets nobody in but its own user, and nobody has no shell"
    [ -d /run/sshd ] || mkdir /run/sshd
}
run() {
    ssh-keygen -q -t ed25519 -N '' -f host
    ssh-keygen -q -t ed25519 -N '' -f key
    cp key.pub keys
    cat > sshd_config <<C
Port $port
ListenAddress 127.0.0.1
HostKey $PWD/host
AuthorizedKeysFile $PWD/keys
StrictModes no
UsePAM no
PidFile none
C
    "$(command -v sshd)" -D -f sshd_config -E sshd.log &
    server=$!
    listening() { (exec 9<> "/dev/tcp/127.0.0.1/$port"); }
    await listening
    n=0
    ssh -F none -p "$port" -i key -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR \
        127.0.0.1 "cd $PWD; while read -r n; do echo got \$n; done" < <(n=0; until [ -e stop ]; do n=$((n + 1)); echo $n; sleep 0.01; done) |
        while read -r got n; do
            [ "$got" = got ] || exit 1
            reached "$n"
        done
    kill $server
    wait $server || true
}
phase "$1"
