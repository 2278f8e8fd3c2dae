#!/usr/bin/env python3
"""The shared library exports Tern's public names and nothing else, and needs no library that it should hide.

    exports_test.py LIBTERN.SO
"""
import re
import subprocess
import sys

PUBLIC = re.compile(r"(vtable for |typeinfo for |typeinfo name for |non-virtual thunk to )?tern::")
PRIVATE = re.compile(r"tern::(alloc|simd)::")
FORBIDDEN_NEEDED = ("libmimalloc",)


def names(library):
    text = subprocess.run(["nm", "-D", "--defined-only", "-C", library], check=True, capture_output=True, text=True).stdout
    return [line.split(" ", 2)[2] for line in text.splitlines() if line.count(" ") >= 2]


def is_public(name):
    return bool(PUBLIC.match(name)) and not PRIVATE.search(name)


def main(library):
    exported = names(library)
    found = [f"exported, but not public: {name}" for name in exported if not is_public(name)]
    if not any(name.startswith("tern::Store::open") for name in exported):
        found.append("tern::Store::open is not exported: was this the right file?")
    dynamic = subprocess.run(["readelf", "-d", library], check=True, capture_output=True, text=True).stdout
    for needed in re.findall(r"NEEDED.*\[(.*)\]", dynamic):
        if needed.startswith(FORBIDDEN_NEEDED):
            found.append(f"needs {needed}, which would replace the host's operator new")
    if not re.search(r"SONAME.*\[libtern\.so\.\d", dynamic):
        found.append("has no versioned SONAME")
    # The judgement itself, on names that must not pass.
    for planted in ("std::vector<int>::push_back(int)", "hwy::GetChosenTarget()", "mi_malloc", "tern::alloc::Arena::f()"):
        if is_public(planted):
            found.append(f"this test would let '{planted}' pass")
    print("\n".join(found) if found else f"{len(exported)} public symbols")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
