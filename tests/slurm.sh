#!/bin/bash
# Slurm on one node, jobs of it under ckpt_launch: srun, several tasks, a terminal, and examples/slurm/job.sh, which lives
# longer than its jobs. As root, with Debian's slurmctld, slurmd, slurm-client and munge. Usage: tests/slurm.sh [BIN]
set -u
root=$(cd "$(dirname "$0")/.." && pwd)
bin=$(cd "${1:-$root/target/release}" && pwd) || exit 1
passed=0 failed=0
skip() { echo "skipped: $*"; echo "0 passed, 0 failed, 1 skipped"; exit 0; }
[ "$(id -u)" = 0 ] || skip "Slurm's daemons need root"
for tool in slurmctld slurmd srun sbatch munged script; do command -v $tool > /dev/null || skip "$tool is not installed"; done

dir=$(mktemp -d /tmp/ckpt-slurm-XXXXXX)
host=$(hostname -s)
mkdir -m 755 "$dir"/{munge,spool,state,log,job}
chmod 755 "$dir"
head -c 64 /dev/urandom > "$dir/munge/key"
chmod 400 "$dir/munge/key"
cat > "$dir/slurm.conf" <<EOF
ClusterName=c
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$dir/munge/socket,cred_expire=5
CryptoType=crypto/munge
CredType=cred/munge
SlurmctldPort=16817
SlurmdPort=16818
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool
SlurmctldPidFile=$dir/ctld.pid
SlurmdPidFile=$dir/slurmd.pid
SlurmctldLogFile=$dir/log/ctld
SlurmdLogFile=$dir/log/slurmd
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MailProg=/bin/true
KillWait=5
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(nproc) State=UNKNOWN
PartitionName=p Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=YES
EOF
export SLURM_CONF=$dir/slurm.conf PATH=$bin:$PATH
munged -F --key-file="$dir/munge/key" --socket="$dir/munge/socket" --pid-file="$dir/munge/pid" --log-file="$dir/munge/log" \
    --seed-file="$dir/munge/seed" --force > "$dir/log/munge.out" 2>&1 &
daemons=$!
slurmctld -D -f "$SLURM_CONF" > "$dir/log/ctld.out" 2>&1 &
daemons="$daemons $!"
slurmd -D -f "$SLURM_CONF" > "$dir/log/slurmd.out" 2>&1 &
daemons="$! $daemons"
end() {
    scancel --quiet --user=root 2> /dev/null
    kill $daemons 2> /dev/null
    wait
    [ $failed != 0 ] || rm -rf "$dir"
}
trap end EXIT

within() { # SECONDS COMMAND...: until it succeeds
    local end=$((SECONDS + $1))
    shift
    until "$@" 2> /dev/null; do
        [ $SECONDS -lt $end ] || return 1
        sleep 0.1
    done
}
count() { cat "$1/count" 2> /dev/null || echo 0; }
above() { [ "$(count "$1")" -gt "$2" ]; }
grows() { within 60 above "$1" $(($(count "$1") + 5)); }
gone() { ! kill -0 "$1" 2> /dev/null; }
asked() { ckpt_command --coord-port "$(cat "$dir/job/port")" "$@"; }
row() { # NAME: runs the function of that name in an empty folder
    rm -rf "$dir/job"
    mkdir "$dir/job"
    if (set -e; cd "$dir/job"; "$1") > "$dir/log/$1" 2>&1; then
        passed=$((passed + 1))
        echo "ok     $1"
    else
        failed=$((failed + 1))
        echo "FAILED $1: $dir/log/$1"
        tail -n 5 "$dir/log/$1"
        scancel --quiet --user=root
    fi
}

cat > "$dir/program.py" <<'EOF'
import os, threading, time
n = 0
def tick():
    global n
    while True:
        n += 1
        time.sleep(0.02)
threading.Thread(target=tick, daemon=True).start()
while not os.path.exists("stop"):
    with open("count.new", "w") as f:
        f.write(str(n))
    os.rename("count.new", "count")
    time.sleep(0.05)
EOF
coordinator="--quiet --new-coordinator --coord-port 0 --port-file $dir/job/port"
launch="ckpt_launch $coordinator --ckptdir $dir/job/images"
restart="ckpt_restart $coordinator $dir/job/images"

srun_of_one() {
    srun -n1 $launch python3 "$dir/program.py" &
    grows .
    asked --checkpoint
    grows .
    asked --checkpoint --kill
    within 30 gone $!
    for round in 1 2; do
        rm port
        srun -n1 $restart &
        grows .
        [ $round = 2 ] || asked --checkpoint --kill
        [ $round = 1 ] || touch stop
        within 30 gone $!
    done
    wait $!
}

two_tasks() {
    cat > task <<EOF
#!/bin/bash
mkdir -p $dir/job/\$SLURM_PROCID
cd $dir/job/\$SLURM_PROCID
[ \$SLURM_PROCID = 1 ] || exec $launch python3 $dir/program.py
until [ -s $dir/job/port ]; do sleep 0.1; done
exec ckpt_launch --quiet --coord-port \$(cat $dir/job/port) --ckptdir $dir/job/images python3 $dir/program.py
EOF
    chmod +x task
    srun -n2 --overcommit ./task &
    grows 0
    grows 1
    asked --checkpoint --kill
    within 30 gone $!
    rm port
    srun -n1 $restart &
    grows 0
    grows 1
    touch 0/stop 1/stop
    within 30 gone $!
    wait $!
}

terminal() {
    script -qec "srun --pty -n1 $launch python3 $dir/program.py" /dev/null < /dev/null &
    grows .
    asked --checkpoint --kill
    within 30 gone $!
    rm port
    script -qec "srun --pty -n1 $restart" /dev/null < /dev/null &
    grows .
    touch stop
    within 30 gone $!
    wait $!
}

# Its time is never up here: the signal that Slurm would send before is sent by hand.
requeued() {
    local job was
    job=$(sbatch --parsable --time=10 --output=output "$root/examples/slurm/job.sh" python3 "$dir/program.py")
    for round in 1 2; do
        grows .
        was=$(count .)
        scancel --batch --signal=USR1 "$job"
        within 60 test ! -e "port-$job"
        within 60 test -e "images-$job/ckpt_restart_script.sh"
        # Slurm holds a job back until its old credential has expired.
        within 60 above . $((was + 5))
    done
    touch stop
    within 60 test ! -e "images-$job"
    ! grep -i error output | grep -v "JOB REQUEUE"
}

idle() { sinfo -h -o %T | grep -q idle; }
within 60 idle || { cat "$dir"/log/*.out; failed=1; }
for name in srun_of_one two_tasks terminal requeued; do row $name; done
echo "$passed passed, $failed failed, 0 skipped"
[ $failed = 0 ]
