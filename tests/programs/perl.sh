#!/bin/bash
# A parent and a forked child talking over pipes, with hashes and signals.
. "$(dirname "$0")/common.sh"
have() { need perl; }
run() {
    cat > job.pl <<'P'
use strict; use IO::Handle;
pipe(my $ar, my $aw); pipe(my $br, my $bw);
my $pid = fork();
if (!$pid) { close $aw; close $br; $bw->autoflush(1); while (<$ar>) { chomp; print $bw scalar(reverse $_), "\n"; } exit 0; }
close $ar; close $bw; $aw->autoflush(1);
my (%seen, $n);
local $SIG{ALRM} = sub { $seen{alarm}++ };
while (!-e "stop") {
    $n++;
    print $aw "word$n\n"; my $back = <$br>; chomp $back;
    die "got $back" unless $back eq reverse "word$n";
    $seen{$n} = $back;
    open my $f, ">", "count.new"; print $f $n; close $f; rename "count.new", "count";
}
die "lost words" unless keys(%seen) >= $n;
close $aw; waitpid $pid, 0; exit $? >> 8;
P
    exec perl job.pl
}
phase "$1"
