#!/bin/bash
# Dovecot's master with its processes, and an IMAP login from outside.
. "$(dirname "$0")/common.sh"
have() {
    need dovecot
    [ "$(id -u)" = 0 ] || skip "dovecot needs root"
}
run() {
    mkdir -p run mail
    chmod 755 .
    chown nobody mail
    echo "u:{PLAIN}p:65534:65534::$PWD/mail::" > users
    cat > d.conf <<C
base_dir = $PWD/run
log_path = $PWD/d.log
protocols = imap
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
first_valid_uid = 1
mail_location = maildir:$PWD/mail/Maildir
default_login_user = nobody
default_internal_user = nobody
default_internal_group = nogroup
passdb {
  driver = passwd-file
  args = $PWD/users
}
userdb {
  driver = passwd-file
  args = $PWD/users
}
service imap-login {
  chroot =
  inet_listener imap {
    port = $port
  }
}
service anvil {
  chroot =
}
service stats {
  chroot =
}
C
    dovecot -F -c "$PWD/d.conf" &
    end_with_test $!
}
imap() {
    exec 9<>"/dev/tcp/127.0.0.1/$port" || return 1
    printf 'a login u p\r\nb list "" *\r\nc logout\r\n' >&9
    timeout 20 cat <&9 > imap.log
    exec 9>&-
    grep -q '^a OK' imap.log
}
up() { imap; }
before() { await up; }
after() { for _ in 1 2 3; do imap || fail "no login"; done; }
phase "$1"
