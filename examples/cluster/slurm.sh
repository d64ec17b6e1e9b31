#!/usr/bin/env bash
# A study on Slurm: one Ray over the job's nodes, stopped cleanly before the time is up and continued by the same job.
#
#   sbatch examples/cluster/slurm.sh run study.yaml --home /shared/home
#
# What follows the script goes to `stablesweep`. Home, data and the environment with stablesweep must be on a file system
# that every node has. Change the #SBATCH lines to your cluster.
#
#   HEAD_IP   the address of the first node by which the others reach it, if it is not the first one of `hostname -I`
#   PRIVATE   a folder that every node has, for the token; your home by default
#
#SBATCH --job-name=stablesweep
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=96
#SBATCH --mem=0
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --no-kill
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log
#SBATCH --signal=B:USR1@300
# The last line: 300 s before the time is up, this script gets SIGUSR1. A checkpoint of all packs must take less.
set -euo pipefail

[[ $# -gt 0 ]] || set -- run

nodes=${SLURM_JOB_NUM_NODES:-1}
mapfile -t hosts < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
head=${hosts[0]}
ip=${HEAD_IP:-$(hostname -I | awk '{print $1}')}
# Without --exclusive jobs share nodes: each has ports of its own, above those of Ray's workers and below those that the
# kernel gives away.
port=$((20000 + 2 * (SLURM_JOB_ID % 6000)))
temp=/tmp/ray-$SLURM_JOB_ID

# Whoever has the token can run anything on these nodes as you: it is in a file that only you can read.
private=$(mktemp -d "${PRIVATE:-$HOME}/.ray-$SLURM_JOB_ID.XXXXXX")
od -An -N32 -tx1 /dev/urandom | tr -d ' \n' >"$private/token"
unset RAY_AUTH_TOKEN
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=$private/token RAY_ADDRESS=$ip:$port
# Slurm 22.05 and newer do not hand --cpus-per-task on to srun.
export SRUN_CPUS_PER_TASK=${SLURM_CPUS_PER_TASK:-1}

started=()
study=""
requeue=no
status=1

end_all() {
    local pid
    for pid in "${started[@]}"; do kill -TERM "$pid" 2>/dev/null || true; done
    for pid in "${started[@]}"; do wait "$pid" 2>/dev/null || true; done
    rm -rf "$private"
    # Ray's logs are kept where something went wrong.
    if [[ $status -eq 0 || $status -eq 130 ]]; then
        srun --nodes="$nodes" --ntasks="$nodes" rm -rf "$temp" || true
    fi
}
trap end_all EXIT

stop_study() { # A clean stop: every pack writes a checkpoint first.
    [[ -n $study ]] || exit 143
    interrupted=yes
    kill -TERM "$study" 2>/dev/null || true
}
trap 'requeue=yes; stop_study' USR1
trap stop_study TERM INT

wait_for_nodes() { # All of them, or at least the head after two minutes: those that come later are used when they come.
    local try found=0
    for try in $(seq 60); do
        found=$(ray status 2>/dev/null | grep -c "^ 1 node_" || true)
        [[ $found -ge $nodes ]] && return 0
        sleep 2
    done
    echo "Only $found of $nodes Ray nodes after $((try * 2)) s." >&2
    [[ $found -ge 1 ]]
}

common=(--num-cpus "$SRUN_CPUS_PER_TASK" --temp-dir "$temp" --disable-usage-stats --block)
srun --nodes=1 --ntasks=1 --nodelist="$head" \
    ray start --head --node-ip-address="$ip" --port="$port" \
    --dashboard-host=127.0.0.1 --dashboard-port=$((port + 1)) "${common[@]}" &
started+=($!)
if [[ $nodes -gt 1 ]]; then
    srun --nodes=$((nodes - 1)) --ntasks=$((nodes - 1)) --exclude="$head" --no-kill \
        ray start --address="$RAY_ADDRESS" "${common[@]}" &
    started+=($!)
fi
wait_for_nodes

stablesweep "$@" &
study=$!
# A trapped signal ends `wait` before the study has ended.
while true; do
    interrupted=no
    status=0
    wait "$study" || status=$?
    [[ $interrupted = yes ]] || break
done
study=""

# 130: stopped with trials left. Running again continues.
if [[ $requeue = yes && $status -eq 130 ]]; then
    echo "The time is up: requeued."
    end_all
    trap - EXIT
    exec scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
