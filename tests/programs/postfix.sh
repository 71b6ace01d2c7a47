#!/bin/bash
# Postfix's master, its queue manager and SMTP server; a mail is taken and stays in the queue.
. "$(dirname "$0")/common.sh"
have() {
    need postfix
    [ "$(id -u)" = 0 ] || skip "postfix needs root"
}
run() {
    mkdir -p etc queue data
    cp /usr/share/postfix/master.cf.dist etc/master.cf
    # No service in a chroot; SMTP at our port; nothing that postfix writes outside of this folder.
    awk -v port="127.0.0.1:$port" '
        $1 == "smtp" && $2 == "inet" { $1 = port }
        /^[a-z0-9]/ && $2 ~ /inet|unix|fifo/ { $5 = "n" }
        { print }' etc/master.cf > etc/new
    mv etc/new etc/master.cf
    cat > etc/main.cf <<C
compatibility_level = 3.6
queue_directory = $PWD/queue
data_directory = $PWD/data
mail_owner = postfix
setgid_group = postdrop
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mydestination =
relayhost = [127.0.0.1]:1
mynetworks = 127.0.0.0/8
maillog_file = $PWD/log
maillog_file_prefixes = $PWD
C
    chown postfix data
    chmod 755 . etc
    postfix -c "$PWD/etc" check > check.log 2>&1 || true
    /usr/lib/postfix/sbin/master -d -c "$PWD/etc" > master.log 2>&1 &
    end_with_test $!
}
smtp() {
    exec 9<>"/dev/tcp/127.0.0.1/$port" || return 1
    for word in 'HELO x' 'MAIL FROM:<a@test>' 'RCPT TO:<b@test>' DATA; do
        read -r -t 20 _ <&9
        printf '%s\r\n' "$word" >&9
    done
    read -r -t 20 _ <&9
    printf 'Subject: x\r\n\r\nhi\r\n.\r\nQUIT\r\n' >&9
    timeout 20 cat <&9 > smtp.log
    exec 9>&-
    grep -q '^250.*queued' smtp.log
}
up() { smtp; }
before() { await up; }
after() { for _ in 1 2 3; do smtp || fail "no mail is taken"; done; }
phase "$1"
