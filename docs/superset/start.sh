#!/bin/sh
# Apache Superset over the current release, on 127.0.0.1, with a dashboard for each schema.
#
#     SUPERSET_ADMIN_PASSWORD=... docs/superset/start.sh
#     SUPERSET_ADMIN_PASSWORD=... docs/superset/start.sh --database postgresql+psycopg2://reader@host/sales
#
# Options go to export.py beside this file. The first start makes an environment of Superset's own and downloads it (0.9 GB
# on disk); later ones download nothing. Ctrl-C ends it.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
port=${SUPERSET_PORT:-8088}
admin=${SUPERSET_ADMIN_USER:-admin}
if [ -z "${SUPERSET_ADMIN_PASSWORD:-}" ]; then
    echo "Set SUPERSET_ADMIN_PASSWORD, the password of the user $admin, and start again." >&2
    exit 2
fi
SUPERSET_HOME=${SUPERSET_HOME:-${SIGHTLINE_HOME:-$root/var}/superset}
mkdir -p "$SUPERSET_HOME"
SUPERSET_HOME=$(cd "$SUPERSET_HOME" && pwd)
venv=${SUPERSET_VENV:-$SUPERSET_HOME/venv}
export SUPERSET_HOME
export SUPERSET_CONFIG_PATH="$here/superset_config.py"
export FLASK_APP=superset SCARF_ANALYTICS=false DO_NOT_TRACK=1

if [ ! -x "$venv/bin/superset" ]; then
    echo "Installing Superset into $venv"
    "${PYTHON:-python3.11}" -m venv "$venv"
    "$venv/bin/pip" install --quiet -r "$here/requirements.txt"
fi
if [ ! -f "$SUPERSET_HOME/secret_key" ]; then
    (umask 077 && "$venv/bin/python" -c "import secrets; print(secrets.token_urlsafe(48))" >"$SUPERSET_HOME/secret_key")
fi

"${SIGHTLINE_PYTHON:-$root/.venv/bin/python}" "$here/export.py" "$SUPERSET_HOME/sightline.zip" "$@"

log=$SUPERSET_HOME/start.log
quietly() {
    "$venv/bin/python" "$@" >"$log" 2>&1 || { tail -n 20 "$log" >&2; exit 3; }
}
echo "Preparing Superset in $SUPERSET_HOME"
quietly "$venv/bin/superset" db upgrade
# The password goes through the environment: what is on a command line everybody on the machine can read.
FLASK_FAB_CREATE_ADMIN_PASSWORD=$SUPERSET_ADMIN_PASSWORD \
    quietly "$venv/bin/superset" fab create-admin --username "$admin" --firstname Sightline --lastname Admin \
    --email "$admin@localhost"
quietly "$venv/bin/superset" init
quietly "$here/load.py" "$SUPERSET_HOME/sightline.zip" "$admin"
unset SUPERSET_ADMIN_PASSWORD

echo "http://127.0.0.1:$port/dashboard/list/"
exec "$venv/bin/gunicorn" --workers 2 --timeout 120 --bind "127.0.0.1:$port" "superset.app:create_app()"
