#!/bin/bash
# lighttpd with a file and a CGI script, used over TCP.
. "$(dirname "$0")/common.sh"
have() { need lighttpd; }
run() {
    mkdir -p www
    echo hello-from-lighttpd > www/index.html
    printf '#!/bin/sh\necho "Content-Type: text/plain"\necho\necho cgi-$((6 * 7))\n' > www/x.cgi
    chmod +x www/x.cgi
    cat > l.conf <<C
server.modules = ("mod_cgi")
server.document-root = "$PWD/www"
server.bind = "127.0.0.1"
server.port = $port
server.errorlog = "$PWD/error.log"
server.upload-dirs = ("$PWD")
index-file.names = ("index.html")
cgi.assign = (".cgi" => "/bin/sh")
C
    lighttpd -D -f l.conf &
    server=$!
    await test -e stop
    kill $server
    wait || true
}
up() { ask 'GET / HTTP/1.0\r\n\r\n' 30 | grep -q hello-from-lighttpd; }
before() { await up; }
after() { ask 'GET /x.cgi HTTP/1.0\r\n\r\n' 30 | grep -q cgi-42 || fail "no answer from the script"; }
phase "$1"
