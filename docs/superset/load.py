"""Brings an import into Superset, over what an earlier one left, which `superset import-dashboards` would keep.

Runs in Superset's environment: load.py FILE.zip USER
"""

import sys
from zipfile import ZipFile

from superset.app import create_app


def main(path: str, user: str) -> None:
    with create_app().app_context():
        from superset import security_manager
        from superset.commands.importers.v1.assets import ImportAssetsCommand
        from superset.commands.importers.v1.utils import get_contents_from_bundle
        from superset.utils.core import override_user

        with ZipFile(path) as bundle, override_user(security_manager.find_user(username=user)):
            ImportAssetsCommand(get_contents_from_bundle(bundle)).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
