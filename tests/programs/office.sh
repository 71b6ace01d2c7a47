#!/bin/bash
# LibreOffice without a display, which converts one sheet after the other.
. "$(dirname "$0")/common.sh"
have() { need soffice; }
run() {
    printf 'a,b\n1,2\n3,=A2*14\n' > t.csv
    until [ -e stop ]; do
        rm -f t.pdf t.ods
        soffice "-env:UserInstallation=file://$PWD/u" --headless --convert-to ods t.csv > o.log 2>&1 || fail "soffice: $(tail -1 o.log)"
        [ -s t.ods ] || fail "no sheet: $(tail -1 o.log)"
        n=$((${n:-0} + 1))
        reached $n
    done
}
phase "$1"
