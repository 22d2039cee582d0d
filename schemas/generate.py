"""`python -m schemas.generate`: each .proto → the Python modules beside it, which are committed.

So that whoever installs Headwater needs no compiler. A test holds that the committed files are what this
gives.
"""

import sys
import tempfile
from importlib import resources
from pathlib import Path

SERVICES = ("headwater", "inference")
FILES = tuple(f"{name}_{kind}" for name in SERVICES for kind in ("pb2.py", "pb2.pyi", "pb2_grpc.py"))
_FOLDER = Path(__file__).parent


def generate() -> dict[str, bytes]:
    """The content of FILES. Raises RuntimeError when the compiler refuses a .proto."""
    from grpc_tools import protoc  # type: ignore[import-untyped]  # only developers have it

    with tempfile.TemporaryDirectory() as out:
        code = protoc.main(
            [
                "protoc",
                f"--proto_path={_FOLDER.parent}",
                f"--proto_path={resources.files('grpc_tools') / '_proto'}",
                f"--python_out={out}",
                f"--pyi_out={out}",
                f"--grpc_python_out={out}",
                *(f"schemas/{name}.proto" for name in SERVICES),
            ]
        )
        if code != 0:
            raise RuntimeError(f"protoc ended with {code}")
        return {name: (Path(out) / "schemas" / name).read_bytes() for name in FILES}


def main() -> int:
    """Write the files."""
    for name, body in generate().items():
        (_FOLDER / name).write_bytes(body)
        print(_FOLDER / name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
