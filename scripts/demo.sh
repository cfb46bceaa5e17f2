#!/bin/sh
# The whole way of a job on this machine: start the platform, convert a STEP assembly to GLB through the REST API, stop.
# Everything it makes lies in .demo; a platform that runs already is left alone.
set -eu
cd "$(dirname "$0")/.."
mkdir -p .demo
PIXYZ_HOME="$PWD/.demo/home"
export PIXYZ_HOME
port=$(python -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')

say() { printf '\n\033[1m$ %s\033[0m\n' "$*"; }

trap 'pixyz down >/dev/null 2>&1 || true' EXIT INT TERM
say pixyz up --detach
pixyz up --detach --port "$port"

say pixyz exec -s scripts/tutorial/00_convert_a_file.py -i samples/bracket_assembly.step -p "'{\"extension\": \"glb\"}'" -rw
pixyz exec -s scripts/tutorial/00_convert_a_file.py -i samples/bracket_assembly.step -p '{"extension": "glb"}' -rw \
    | tee .demo/exec.txt
job=$(sed -n 's/^Job \[ \([0-9a-f-]*\) \] started$/\1/p' .demo/exec.txt | head -n 1)

say pixyz outputs -j "$job"
pixyz outputs -j "$job"

say pixyz download -j "$job" -f output.glb -o .demo/bracket_assembly.glb
pixyz download -j "$job" -f output.glb -o .demo/bracket_assembly.glb

say pixyz down
trap - EXIT INT TERM
pixyz down
printf '\nThe GLB is at %s (open it in any viewer), the job'"'"'s folder is %s\n' \
    "$PWD/.demo/bracket_assembly.glb" "$PIXYZ_HOME/share/$job"
