#!/usr/bin/env python3
"""Every public header compiles alone under g++, and all of them together after the macros that hosts are known to define
under g++ and clang; with all warnings as errors, without exceptions and type information. Alone under one compiler: which
names a header has without another is the standard library's doing, and both have the same one.

    headers_test.py ROOT
    headers_test.py --self-test
"""
import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

COMPILERS = ("g++", "clang++-19")
FLAGS = ("-std=c++20 -fsyntax-only -O1 -fno-exceptions -fno-rtti -Wall -Wextra -Wpedantic -Wshadow -Wconversion "
         "-Wno-sign-conversion -Werror").split()

# Unreal, Windows, X11, Qt, termios, complex.h, old Unix. Not X11's `Status`: Tern has a type of that name, and a
# program that includes both must say #undef Status, as every program that includes Xlib.h with anything else does.
HOSTILE = """
#define check(x) static_assert(false)
#define verify(x) static_assert(false)
#define ensure(x) static_assert(false)
#define min(a, b) (((a) < (b)) ? (a) : (b))
#define max(a, b) (((a) > (b)) ? (a) : (b))
#define TEXT(x) L##x
#define small char
#define near
#define far
#define interface struct
#define Bool int
#define None 0L
#define True 1
#define False 0
#define Success 0
#define Always 2
#define Yield()
#define IN
#define OUT
#define OPTIONAL
#define ERROR 0
#define NO_ERROR 0
#define DELETE 1
#define TRUE 1
#define FALSE 0
#define CONST const
#define VOID void
#define PI 3.14f
#define DEBUG 1
#define slots
#define signals public
#define emit
#define foreach for
#define assert(x) static_assert(false)
#define major(x) 0
#define minor(x) 0
#define I 1.0fi
#define B0 0
#define unix 1
#define linux 1
"""


def compile_one(compiler, include, name, source):
    result = subprocess.run([compiler, *FLAGS, "-I", str(include), "-x", "c++", "-"], input=source, text=True,
                            capture_output=True)
    return None if result.returncode == 0 else f"{compiler}: {name}\n{result.stderr}"


def standard_headers(texts):
    return sorted({h for text in texts for h in re.findall(r"^#include (<[a-z0-9_.]+>)", text, re.MULTILINE)})


def sources(include, programs):
    headers = sorted(include.rglob("*.h"))
    spelled = [f"<{h.relative_to(include)}>" for h in headers]
    for name in spelled:
        yield COMPILERS[:1], f"{name} alone, twice", f"#include {name}\n#include {name}\n"
    texts = [h.read_text(encoding="utf-8") for h in headers]
    programs = [p.read_text(encoding="utf-8") for p in programs]
    # Standard headers come first: they aren't ours to defend.
    before = "".join(f"#include {h}\n" for h in standard_headers(texts + programs))
    hostile = before + HOSTILE + "".join(f"#include {name}\n" for name in spelled)
    yield COMPILERS, "all headers after hostile macros", hostile
    for program in programs:
        yield COMPILERS, "a user's program", program
        yield COMPILERS, "a user's program after hostile macros", hostile + program


def failures(include, programs):
    jobs = [(c, include, n, s) for compilers, n, s in sources(include, programs) for c in compilers]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        found = [f for f in pool.map(lambda job: compile_one(*job), jobs) if f]
    return found, len(jobs)


def self_test():
    good = "#include <cstddef>\nnamespace tern { inline std::size_t f(std::size_t x) noexcept { return x; } }\n"
    planted = {
        "not self-contained": "namespace tern { inline std::size_t f() { return 1; } }",
        "throws": "namespace tern { inline void f() { throw 1; } }",
        "narrows": "namespace tern { inline char f(int x) { return x; } }",
        "shadows": "namespace tern { inline int f(int x) { { int x = 2; (void)x; } return x; } }",
        "uses a hostile name": "namespace tern { struct S { bool check(int) const; }; }",
        "calls a hostile name": "#include <algorithm>\nnamespace tern { inline int f(int a) { return std::max(a, 1); } }",
        "lacks a guard": "namespace tern { struct S {}; }",
    }
    with tempfile.TemporaryDirectory() as directory:
        include = pathlib.Path(directory)
        (include / "tern").mkdir()
        header = include / "tern" / "x.h"
        header.write_text("#pragma once\n" + good)
        found, _ = failures(include, [])
        assert not found, found
        for name, text in planted.items():
            header.write_text(("" if name == "lacks a guard" else "#pragma once\n") + text + "\n")
            found, count = failures(include, [])
            assert found, f"a planted fault was not found: {name}"
    return 0


def main(root):
    missing = [c for c in COMPILERS if shutil.which(c) is None]
    if missing:
        print(f"missing {', '.join(missing)}; install with:\n  apt-get install g++ clang-19")
        return 1
    if root == "--self-test":
        return self_test()
    root = pathlib.Path(root)
    found, count = failures(root / "engine" / "include", [root / "tests" / "package" / "consumer" / "main.cc"])
    print("\n".join(found) if found else f"{count} compilations without a warning")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
