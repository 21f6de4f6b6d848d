# ~/.bashrc of every host of `ray up` sources this file, for `ray start`, jobs and `ray exec`.
export PATH="$HOME/ibml/.venv/bin:$PATH"
export RAY_AUTH_MODE=token
export RAY_USAGE_STATS_ENABLED=0

# Folder that all hosts share: trials of a lost host resume from their checkpoints in it.
export IBML_CHECKPOINTS="$HOME/shared/checkpoints"
export IBML_DATA="$HOME/shared/data"

# Only the driver, on the head, uses these. The default is the head's own server. For another one,
# ~/.ibml-secrets of the head (chmod 600) exports MLFLOW_TRACKING_URI, MLFLOW_TRACKING_USERNAME,
# MLFLOW_TRACKING_PASSWORD and OPTUNA_STORAGE.
if [ -r "$HOME/.ibml-secrets" ]; then
    . "$HOME/.ibml-secrets"
fi
export MLFLOW_TRACKING_URI="${MLFLOW_TRACKING_URI:-http://127.0.0.1:5000}"
export OPTUNA_STORAGE="${OPTUNA_STORAGE:-sqlite:///$HOME/ibml-results/optuna.db}"
