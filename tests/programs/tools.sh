#!/bin/bash
# ffmpeg, ImageMagick, gnuplot, git, rsync and openssl at work in parallel; those that are installed.
. "$(dirname "$0")/common.sh"
have() { need git; }
loop() { # NAME: the function of that name, over and over
    n=0
    until [ -e stop ]; do
        "$1" > "$1.log" 2>&1 || { echo "$1: $(tail -1 "$1.log")" >&2; touch failed; return 1; }
        n=$((n + 1))
        echo $n > "$1.new"
        mv "$1.new" "$1.count"
    done
}
ffmpeg_() { ffmpeg -nostdin -v error -y -f lavfi -i testsrc=d=2:s=160x120 -threads 2 -c:v mpeg4 out.avi && ffprobe -v error out.avi; }
magick_() { convert -size 200x200 gradient:red-blue -blur 0x3 a.png && convert a.png -rotate 90 -rotate 270 b.png && [ "$(compare -metric AE a.png b.png null: 2>&1)" = 0 ]; }
gnuplot_() { echo 'set term dumb; plot sin(x)' | gnuplot > plot && grep -q 0.8 plot; }
git_() {
    rm -rf repo clone
    git init -q repo && seq 2000 > repo/f && git -C repo add f && git -C repo -c user.name=a -c user.email=b commit -qm one || return
    git clone -q repo clone && git -C clone gc -q && git -C clone fsck 2>&1 && cmp repo/f clone/f
}
rsync_() { rm -rf to && rsync -a from/ to && diff -r from to; }
openssl_() { openssl genrsa -out key 2048 && echo text > t && openssl dgst -sha256 -sign key -out sig t && openssl rsa -in key -pubout -out pub && openssl dgst -sha256 -verify pub -signature sig t; }
run() {
    mkdir from
    for i in $(seq 50); do seq $i 1000 > from/$i; done
    for t in ffmpeg compare:magick gnuplot git rsync openssl; do
        ! command -v "${t%:*}" > /dev/null || { echo "${t#*:}_" >> jobs; loop "${t#*:}_" & }
    done
    wait
    [ ! -e failed ]
}
counted() { [ -s jobs ] && for j in $(cat jobs); do [ -s "$j.count" ] || [ -e failed ] || return 1; done; }
before() { await counted; }
after() { for j in $(cat jobs); do [ ! -e failed ] || fail "$(tail -n 1 ./*_.log)"; grows "$j.count"; done; }
phase "$1"
