#!/bin/bash
#SBATCH --job-name=long
#SBATCH --time=04:00:00
#SBATCH --signal=B:USR1@300
#SBATCH --requeue
#SBATCH --open-mode=append
# A program that takes longer than a job may:   sbatch job.sh ./a.out
# Five minutes before the time is up it is checkpointed and ended, and the job queued again; it goes on where it was. Every
# half an hour it is checkpointed anyway, for a node that fails. Images lie beside the job's output.
images=$PWD/images-$SLURM_JOB_ID port=$PWD/port-$SLURM_JOB_ID
common=(--new-coordinator --coord-port 0 --port-file "$port" --ckptdir "$images")

stopped=
later() {
    # A checkpoint that fails leaves the program running: the last complete one counts then, and the time that is left.
    ckpt_command --coord-port "$(cat "$port")" --checkpoint --kill && stopped=1
}
trap later USR1

rm -f "$port"
if [ -e "$images/ckpt_restart_script.sh" ]; then
    ckpt_restart "${common[@]}" "$images" &
else
    ckpt_launch "${common[@]}" --interval 1800 "$@" &
fi
# A signal ends the wait, not the program.
while wait $!; status=$?; [ -z "$stopped" ] && kill -0 $! 2> /dev/null; do :; done
rm -f "$port"
if [ -n "$stopped" ]; then
    scontrol requeue "$SLURM_JOB_ID"
    exit
fi
[ "$status" != 0 ] || rm -rf "$images"
exit "$status"
