#!/bin/sh
# Stop a cluster of own machines: `sh cluster/onprem-down.sh [FILE]`, by default cluster/onprem.yaml.
# `ray down` stops Ray on the head alone, and the workers notice that only later. This stops the head, its MLflow and then
# every worker by ssh, and says which hosts did not answer. Python with PyYAML must be on the path (the project's is).
set -u

file="${1:-$(dirname "$0")/onprem.yaml}"
values=$(python - "$file" << 'PYTHON'
import pathlib
import sys

import yaml

config = yaml.safe_load(pathlib.Path(sys.argv[1]).read_text())
print(config["auth"]["ssh_user"])
print(pathlib.Path(config["auth"]["ssh_private_key"]).expanduser())
print(*[config["provider"]["head_ip"], *config["provider"]["worker_ips"]])
PYTHON
) || exit 2
user=$(printf '%s\n' "$values" | sed -n 1p)
key=$(printf '%s\n' "$values" | sed -n 2p)
hosts=$(printf '%s\n' "$values" | sed -n 3p)

# The head's monitor would start a worker again that ends before it, so `ray down` comes first.
ray down --yes "$file"

failed=
for host in $hosts; do
    # shellcheck disable=SC2016  # $HOME is the other host's
    if ssh -n -i "$key" -o BatchMode=yes -o ConnectTimeout=10 -o StrictHostKeyChecking=accept-new "$user@$host" \
        'sh "$HOME/ibml/cluster/head-mlflow.sh" stop; "$HOME/ibml/.venv/bin/ray" stop'; then
        echo "$host: stopped"
    else
        echo "$host: not stopped (no answer by ssh, or no ray there)" >&2
        failed=1
    fi
done
[ -z "$failed" ]
