#!/bin/sh
# Stop a cluster of own machines: `sh cluster/onprem-down.sh [FILE]`, by default cluster/onprem.yaml.
# `ray down` stops Ray on the head only, which the workers notice later. This script stops the head,
# its MLflow and then every worker by ssh, and reports hosts that did not respond. Python with PyYAML
# must be on the PATH (for example the project's).
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

# `ray down` comes first: the head's monitor would restart a worker that ends before the head.
ray down --yes "$file"

failed=
for host in $hosts; do
    # shellcheck disable=SC2016  # $HOME is expanded on the other host
    if ssh -n -i "$key" -o BatchMode=yes -o ConnectTimeout=10 -o StrictHostKeyChecking=accept-new "$user@$host" \
        'sh "$HOME/ibml/cluster/head-mlflow.sh" stop; "$HOME/ibml/.venv/bin/ray" stop'; then
        echo "$host: stopped"
    else
        echo "$host: not stopped (no answer by ssh, or no ray there)" >&2
        failed=1
    fi
done
[ -z "$failed" ]
