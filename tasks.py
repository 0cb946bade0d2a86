"""The entry point of a checkout: `./inv` runs this file; Invoke takes `ns` from it. The commands are in fabfile/cli."""

import sys
from importlib.machinery import ModuleSpec, PathFinder
from os.path import dirname, realpath

HERE = dirname(realpath(__file__))


class OurPackages:
    """Finds our own packages in the checkout, whose folder is not on sys.path: it may be the folder of hosts.yml, and a
    random.py there must not stand in for Python's own."""

    @staticmethod
    def find_spec(name: str, _path: object = None, _target: object = None) -> ModuleSpec | None:
        return PathFinder.find_spec(name, [HERE]) if name in ("fabfile", "bench") else None


sys.meta_path.insert(0, OurPackages)
sys.path[:] = [path for path in sys.path if path and realpath(path) != HERE]

if __name__ == "__main__":
    from fabfile.cli.program import main

    main("inv")
else:
    from fabfile.cli.namespace import namespace

    ns = namespace()
