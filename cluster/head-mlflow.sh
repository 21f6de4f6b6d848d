#!/bin/sh
# MLflow server of a cluster's head, on the loopback address only: `head-mlflow.sh start` or `stop`.
# Database and artifacts are in ~/ibml-results, as is Optuna's database. A second start has no effect.
set -eu

results="$HOME/ibml-results"
pid_file="$results/mlflow.pid"
mlflow="$HOME/ibml/.venv/bin/mlflow"

running() {
    [ -s "$pid_file" ] && pgrep -F "$pid_file" -f 'mlflow server' > /dev/null 2>&1
}

case "${1:-}" in
start)
    umask 077
    mkdir -p "$results/artifacts"
    running && exit 0
    rm -f "$pid_file"
    # A separate session survives the end of the ssh connection, and `stop` ends it with its workers.
    # MLflow's processes for jobs, which ibml does not use, would take more memory than the server.
    RESULTS="$results" MLFLOW="$mlflow" MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false setsid sh -c '
        echo $$ > "$RESULTS/mlflow.pid"
        exec "$MLFLOW" server --host 127.0.0.1 --port "${MLFLOW_PORT:-5000}" --workers 2 \
            --backend-store-uri "sqlite:///$RESULTS/mlflow.db" --artifacts-destination "$RESULTS/artifacts"
    ' > "$results/mlflow.log" 2>&1 < /dev/null &
    while [ ! -s "$pid_file" ]; do sleep 0.1; done
    ;;
stop)
    if running; then
        kill -s TERM -- "-$(cat "$pid_file")"
    fi
    rm -f "$pid_file"
    ;;
*)
    echo "usage: $0 start|stop" >&2
    exit 2
    ;;
esac
