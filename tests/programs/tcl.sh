#!/bin/bash
# tclsh with its event loop: a socket server, a client, a timer and a child.
. "$(dirname "$0")/common.sh"
have() { need tclsh; }
run() {
    cat > job.tcl <<'T'
proc accept {c a p} { fconfigure $c -buffering line; fileevent $c readable [list echo $c] }
proc echo {c} { if {[gets $c l] >= 0} { puts $c [string toupper $l] } elseif {[eof $c]} { close $c } }
set s [socket -server accept -myaddr 127.0.0.1 0]
set c [socket 127.0.0.1 [lindex [fconfigure $s -sockname] 2]]
fconfigure $c -buffering line
fileevent $c readable back
set n 0
proc say {} { puts $::c "a$::n" }
proc back {} {
    if {[gets $::c l] < 0} { exit 1 }
    if {$l ne "A$::n"} { puts stderr "expected A$::n, got $l"; exit 1 }
    incr ::n
    if {$::n % 20 == 0 && [exec echo $::n] != $::n} { exit 2 }
    set f [open count.new w]; puts -nonewline $f $::n; close $f
    file rename -force count.new count
    if {[file exists stop]} { exit 0 }
    after 1 say
}
say
vwait forever
T
    exec tclsh job.tcl
}
phase "$1"
