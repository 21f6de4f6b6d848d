#!/bin/sh
# Run once by the image of PostgreSQL, when its volume is empty: a database for MLflow's users, and one for Optuna with a
# user of its own, who cannot read MLflow's.
set -eu
psql --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres --set optuna_password="$OPTUNA_PASSWORD" << 'SQL'
CREATE DATABASE mlflow_auth;
CREATE ROLE optuna LOGIN PASSWORD :'optuna_password';
CREATE DATABASE optuna OWNER optuna;
REVOKE CONNECT ON DATABASE mlflow, mlflow_auth FROM PUBLIC;
SQL
