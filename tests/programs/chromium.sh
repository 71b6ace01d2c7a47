#!/bin/bash
# Chromium, headless and without its sandbox, asked over its debugging port.
. "$(dirname "$0")/common.sh"
have() { need chromium curl; }
run() {
    exec chromium --headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run --user-data-dir="$PWD/u" --remote-debugging-port="$port" "data:text/html,<title>t</title><script>n=0;setInterval(()=>{n++;document.title='n'+n},20)</script>" > c.log 2>&1
}
title() { curl -s --max-time 20 "http://127.0.0.1:$port/json/list" | sed -n 's/.*"title": "n\([0-9]*\)".*/\1/p' | head -1; }
up() { [ -n "$(title)" ]; }
before() { await up; }
after() { was=$(title); [ -n "$was" ] || fail "no title"; now=$was; until [ "${now:-0}" -gt "$was" ]; do sleep 0.05; now=$(title); done; }
stop() { kill "$(pgrep -o -f "chromium.*--user-data-dir=$PWD/u")"; }
phase "$1"
