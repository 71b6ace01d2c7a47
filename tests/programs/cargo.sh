#!/bin/bash
# cargo building a small workspace again and again, with rustc's threads and the jobserver's pipe.
. "$(dirname "$0")/common.sh"
# rustup's proxies would look for a folder of its own in every user's home.
tool=$(ls -d "${RUSTUP_HOME:-/root/.rustup}"/toolchains/*/bin 2>/dev/null | head -1 || true)
have() {
    need cc
    [ -x "$tool/cargo" ] || skip "no Rust"
}
run() {
    export PATH=$tool:$PATH CARGO_HOME=$PWD/ch
    for c in a b c d; do
        mkdir -p $c/src
        printf '[package]\nname = "%s"\nversion = "0.1.0"\nedition = "2021"\n' $c > $c/Cargo.toml
        echo "fn main() { let v: Vec<u64> = (0..100).map(|x| x * x).collect(); println!(\"$c {}\", v.iter().sum::<u64>()); }" > $c/src/main.rs
    done
    printf '[workspace]\nmembers = ["a", "b", "c", "d"]\nresolver = "2"\n' > Cargo.toml
    until [ -e stop ]; do
        touch ./*/src/main.rs
        cargo build --offline -q -j 4 > b.log 2>&1 || fail "cargo: $(tail -1 b.log)"
        [ "$(target/debug/c)" = "c 328350" ] || fail "a wrong sum"
        n=$((${n:-0} + 1))
        reached $n
    done
}
phase "$1"
