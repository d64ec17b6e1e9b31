#!/usr/bin/env bash
# One MLflow server for a cluster: runs in PostgreSQL, artifacts in an object store, both reached by the server alone.
#
#   MLFLOW_BACKEND_STORE_URI      postgresql+psycopg2://mlflow@db.example.org:5432/mlflow
#   PGPASSFILE                    a file with its password, mode 600: host:port:database:user:password
#   MLFLOW_ARTIFACTS_DESTINATION  s3://bucket/mlflow, or a folder; credentials of the store as boto3 finds them
#   MLFLOW_S3_ENDPOINT_URL        only for a store that is not AWS
#   MLFLOW_HOST, MLFLOW_PORT      127.0.0.1 and 5000 unless set
#   MLFLOW_SERVER_ALLOWED_HOSTS   names by which others reach it, needed with another host: mlflow.example.org:*
#
# Needs: pip install mlflow psycopg2-binary boto3
set -euo pipefail

: "${MLFLOW_BACKEND_STORE_URI:?name the database, e.g. postgresql+psycopg2://mlflow@db.example.org:5432/mlflow}"
: "${MLFLOW_ARTIFACTS_DESTINATION:?name where artifacts go, e.g. s3://bucket/mlflow}"

host=${MLFLOW_HOST:-127.0.0.1}
if [[ $host != 127.0.0.1 && $host != localhost && -z ${MLFLOW_SERVER_ALLOWED_HOSTS:-} ]]; then
    echo "MLFLOW_HOST=$host: set MLFLOW_SERVER_ALLOWED_HOSTS to the names by which others reach this server." >&2
    exit 2
fi

# Database and destination stay in the environment: command lines are visible to every user of the machine.
export MLFLOW_BACKEND_STORE_URI MLFLOW_ARTIFACTS_DESTINATION
# Jobs of MLflow's own, which a study has no use for: four processes.
export MLFLOW_SERVER_ENABLE_JOB_EXECUTION=${MLFLOW_SERVER_ENABLE_JOB_EXECUTION:-false}
exec mlflow server --host "$host" --port "${MLFLOW_PORT:-5000}" --workers "${MLFLOW_WORKERS:-2}"
