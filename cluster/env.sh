# Read by ~/.bashrc of every host that `ray up` sets up, and so by `ray start`, by jobs and by `ray exec`.
export PATH="$HOME/ibml/.venv/bin:$PATH"
export RAY_AUTH_MODE=token
export RAY_USAGE_STATS_ENABLED=0

# The folder that all hosts see: trials of a lost host go on from their checkpoints in it.
export IBML_CHECKPOINTS="$HOME/shared/checkpoints"
export IBML_DATA="$HOME/shared/data"

# The driver alone, on the head, talks to these: the head's own server, unless ~/.ibml-secrets of the head (chmod 600)
# exports MLFLOW_TRACKING_URI, MLFLOW_TRACKING_USERNAME, MLFLOW_TRACKING_PASSWORD and OPTUNA_STORAGE of another.
if [ -r "$HOME/.ibml-secrets" ]; then
    . "$HOME/.ibml-secrets"
fi
export MLFLOW_TRACKING_URI="${MLFLOW_TRACKING_URI:-http://127.0.0.1:5000}"
export OPTUNA_STORAGE="${OPTUNA_STORAGE:-sqlite:///$HOME/ibml-results/optuna.db}"
