#!/usr/bin/env python3
"""What the tree promises about itself, checked: where things lie, who includes whom, one door for each dependency,
no file that nothing uses, no system call outside the platform interface, both sides of each memory-order edge.

    structure_test.py ROOT
    structure_test.py --self-test     each check finds the fault that is planted for it
"""
import pathlib
import re
import sys
import tempfile

LINES_MAX = 800
ENTRIES = {
    "CMakeLists.txt", "CMakePresets.json", "LICENSE", "README.md", ".ci", ".clang-format", ".gitignore",
    "engine", "simd", "alloc", "persist", "tests", "bench", "tools",
}
LIBRARY = ("alloc", "simd", "engine", "persist")
# Dependencies point one way.
MAY_INCLUDE = {
    "alloc": {"alloc"},
    "simd": {"simd"},
    "engine": {"engine", "alloc", "simd"},
    "persist": {"persist", "engine", "alloc", "simd"},
    "bench": {"bench", "persist", "engine", "alloc", "simd"},
    "tools": {"tools", "bench", "persist", "engine", "alloc", "simd"},
    "tests": {"tests", "tools", "bench", "persist", "engine", "alloc", "simd"},
}
# One door for each third-party library inside the library: prefix of the include -> the part that may.
DOORS = {"hwy/": "simd", "mimalloc": "alloc", "tbb/": "engine", "oneapi/": "engine", "xxhash.h": "simd",
         "re2/": "engine", "lz4.h": "persist", "zstd.h": "persist", "sys/sdt.h": "alloc"}
INTRINSICS = {"immintrin.h", "emmintrin.h", "xmmintrin.h", "nmmintrin.h", "smmintrin.h", "arm_neon.h", "arm_acle.h",
              "x86intrin.h"}
STANDARD = set("""
algorithm any array assert.h atomic barrier bit bitset cassert cctype cerrno cfenv cfloat charconv chrono cinttypes
climits clocale cmath compare complex concepts condition_variable coroutine csetjmp csignal cstdarg cstddef cstdint
cstdio cstdlib cstring ctime cuchar cwchar cwctype deque errno.h exception execution filesystem float.h format
forward_list fstream functional future initializer_list inttypes.h iomanip ios iosfwd iostream istream iterator latch
limits limits.h list locale map math.h memory memory_resource mutex new numbers numeric optional ostream queue random
ranges ratio regex scoped_allocator semaphore set shared_mutex source_location span sstream stack stddef.h stdexcept
stdint.h stdio.h stdlib.h stop_token streambuf string string.h string_view syncstream system_error thread tuple
type_traits typeindex typeinfo unordered_map unordered_set utility valarray variant vector version
""".split())
SANITIZER = {"sanitizer/asan_interface.h", "sanitizer/tsan_interface.h", "sanitizer/lsan_interface.h"}
# System calls and what wraps them. Names that are also methods (open, read, close) only with a leading `::`.
SYSTEM_CALL = re.compile(
    r"(?<![\w.>:])(?:::)?(mmap|munmap|mremap|madvise|mprotect|mlock|msync|clock_gettime|gettimeofday|nanosleep|usleep|"
    r"getrandom|getentropy|syscall|sysconf|getpid|gettid|fork|sched_\w+|pthread_\w+|memfd_create|ftruncate|fsync|"
    r"fdatasync|futex|membarrier|fopen|getenv|secure_getenv)\s*\("
    r"|(?<![\w>)])::(open|openat|close|read|write|pread|pwrite|rename|unlink|time|clock|abort)\s*\("
    r"|\bstd::(random_device|ifstream|ofstream|fstream|fopen|getenv|this_thread::sleep_\w+)\b"
    r"|\b(steady_clock|system_clock|high_resolution_clock)::now\b")
PLATFORM_FILE = re.compile(r"^alloc/platform[^/]*$")
# mimalloc is taken by dlopen, so that it can't replace the host's allocator: its door is its own file.
LOADER_FILE = re.compile(r"^alloc/(platform|private_memory)[^/]*$")

ORDERS = "relaxed|acquire|release|acq_rel|seq_cst"
RELEASES = {"release", "acq_rel", "seq_cst"}
ACQUIRES = {"acquire", "acq_rel", "seq_cst"}
# `// [publish] release`, `// [span-state] acquire, release`; a tag alone takes the orders of the code on its line.
EDGE = re.compile(r"\[([a-z][a-z0-9_-]*)\](?:\s+((?:" + ORDERS + r")(?:(?:,| and|/)\s*(?:" + ORDERS + r"))*)\b)?")
ORDER = re.compile(r"memory_order(?:_|::)(" + ORDERS + r")\b")
ATOMIC = re.compile(r"(memory_order|\b(load|store|exchange|compare_exchange_(weak|strong)|fetch_\w+|test_and_set|wait)\s*\()")
EDGE_REACH = 6  # lines between an edge's comment and its operation: a statement may be long

SOURCE = {".h", ".cc", ".c", ".cpp"}
SCRIPTS = {".py", ".sh", ".cmake", ".in", ".map", ".pml"}


class Tree:
    """The files of a checkout: path relative to the root -> text."""

    def __init__(self, root):
        self.root = pathlib.Path(root)
        ignored = self.ignored()
        self.entries = {p.name for p in self.root.iterdir() if p.name != ".git" and p.name not in ignored}
        self.files = {}
        for path in sorted(self.root.rglob("*")):
            relative = path.relative_to(self.root)
            if relative.parts[0] in ignored | {".git"} or "__pycache__" in relative.parts or not path.is_file():
                continue
            try:
                self.files[relative.as_posix()] = path.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                self.files[relative.as_posix()] = ""  # data

    def ignored(self):
        file = self.root / ".gitignore"
        lines = file.read_text(encoding="utf-8").split() if file.exists() else []
        return {line.strip("/") for line in lines if line.startswith("/")}

    def sources(self, parts=None):
        for name, text in self.files.items():
            if pathlib.PurePosixPath(name).suffix in SOURCE and (parts is None or name.split("/")[0] in parts):
                yield name, text


def without_comments(text):
    """The code alone, line for line: comments and the insides of strings are blanked."""
    def blank(match):
        token = match.group(0)
        if token.startswith(("//", "/*")):
            return re.sub(r"[^\n]", " ", token)
        return token[0] + token[-1]
    return re.sub(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|(?<!\w)\'(?:\\.|[^\'\\\n])+\'', blank, text, flags=re.DOTALL)


def includes(text):
    for number, line in enumerate(text.splitlines(), 1):
        match = re.match(r'\s*#\s*include\s+(<[^>]+>|"[^"]+")', line)
        if match:
            yield number, match.group(1)[0] == "<", match.group(1)[1:-1]


def check_entries(tree):
    for name in sorted(tree.entries - ENTRIES):
        yield f"{name}: the top level has no such entry"
    for name in sorted(ENTRIES - tree.entries):
        yield f"{name}: is missing from the top level"


def check_sizes(tree):
    for name, text in tree.files.items():
        suffix = pathlib.PurePosixPath(name).suffix
        lines = text.count("\n")
        if (suffix in SOURCE | SCRIPTS | {".md", ".txt"} or not suffix) and lines > LINES_MAX:
            yield f"{name}: {lines} lines, at most {LINES_MAX}: it hides two concepts"


def check_includes(tree):
    for name, text in tree.sources():
        part = name.split("/")[0]
        public = name.startswith("engine/include/")
        for line, angled, target in includes(text):
            where = f"{name}:{line}: "
            if target.startswith(tuple(DOORS)):
                angled = True  # another library's header, however it is quoted
            if not angled:
                if public:
                    yield where + f'a public header includes "{target}": only <...> of the standard library and <tern/...>'
                elif target.split("/")[0] not in MAY_INCLUDE.get(part, set()):
                    yield where + f'{part} must not include "{target}"'
                elif target not in tree.files:
                    yield where + f'"{target}" is no path from the root'
                elif target.startswith("engine/include/"):
                    yield where + "public headers are spelled <tern/...>"
            elif target.startswith("tern/"):
                if part in ("alloc", "simd"):
                    yield where + f"{part} knows nothing of the engine"
                if f"engine/include/{target}" not in tree.files:
                    yield where + f"<{target}> does not exist"
            elif part in LIBRARY and target not in STANDARD:
                door = next((p for prefix, p in DOORS.items() if target.startswith(prefix)), None)
                if public:
                    yield where + f"<{target}> in a public header"
                elif door is not None:
                    if door != part:
                        yield where + f"<{target}> belongs behind the door of {door}/"
                elif target in INTRINSICS:
                    if part != "simd":
                        yield where + f"<{target}>: intrinsics belong in simd/"
                elif target in SANITIZER:
                    continue
                elif target == "dlfcn.h" and LOADER_FILE.match(name):
                    continue
                elif not PLATFORM_FILE.match(name):
                    yield where + f"<{target}>: system headers belong in alloc/platform*"


def check_system_calls(tree):
    for name, text in tree.sources(LIBRARY):
        if PLATFORM_FILE.match(name):
            continue
        for number, line in enumerate(without_comments(text).splitlines(), 1):
            match = SYSTEM_CALL.search(line)
            if match:
                yield f"{name}:{number}: '{match.group(0).strip('( ')}' outside alloc/platform*"


def check_dead_files(tree):
    included = {target for _, text in tree.sources() for _, _, target in includes(text)}
    build = {name: text for name, text in tree.files.items()
             if name.endswith(("CMakeLists.txt", ".cmake", ".json")) or name in ("tools/dev", ".ci/run")}
    prose = {name: text for name, text in tree.files.items() if name.endswith((".md", ".py", ".in"))}
    for name in tree.files:
        path = pathlib.PurePosixPath(name)
        if name.startswith("engine/include/") and name.removeprefix("engine/include/") in included:
            continue
        if path.suffix in (".h", ".inc"):
            listed = name.startswith("engine/include/") and f"include/tern/{path.name}" in build.get("engine/CMakeLists.txt", "")
            if name not in included and not listed:
                yield f"{name}: nothing includes it"
        elif path.suffix in SOURCE | SCRIPTS:
            # A build file above it names it by its path from there; a document or a script may too.
            spelled = [(other, text) for other, text in (build | prose).items() if other != name]
            if not any((path.name in text and re.search(r"(?<![\w-])" + re.escape(path.name) + r"(?![\w-])", text))
                       or (path.suffix == ".cmake" and re.search(r"include\(" + re.escape(path.stem) + r"\)", text))
                       for _, text in spelled):
                yield f"{name}: no build file, script or document names it"
        elif path.name == "CMakeLists.txt" and len(path.parts) > 1:
            parent = path.parent
            if str(parent.parent) != "." and not mentioned_directory(tree, parent):
                yield f"{name}: no build file adds it"


def mentioned_directory(tree, directory):
    """Whether a build file above it, or beside those, names the directory."""
    for name, text in tree.files.items():
        path = pathlib.PurePosixPath(name)
        if path.suffix in (".txt", ".cmake") and path.parent == directory.parent:
            if re.search(r"\b" + re.escape(directory.name) + r"\b", text):
                return True
    return False


def edges_in(line, code):
    """The (edge, orders) that the comment on one line names; `code` is the line without its comment."""
    if "//" not in line:
        return
    for match in EDGE.finditer(line[line.index("//"):]):
        orders = set(re.findall(ORDERS, match.group(2) or "")) or set(ORDER.findall(code))
        if orders:
            yield match.group(1), orders


def edges_of(tree):
    for name, text in tree.sources(LIBRARY):
        for number, (line, code) in enumerate(zip(text.splitlines(), without_comments(text).splitlines()), 1):
            for edge, orders in edges_in(line, code):
                yield name, number, edge, orders


def check_edges(tree):
    sides, where = {}, {}
    for name, number, edge, orders in edges_of(tree):
        sides.setdefault(edge, set()).update(orders)
        where.setdefault(edge, f"{name}:{number}")
    for edge, orders in sorted(sides.items()):
        if not orders & RELEASES:
            yield f"{where[edge]}: edge [{edge}] has no release side"
        if not orders & ACQUIRES:
            yield f"{where[edge]}: edge [{edge}] has no acquire side"
    listed = {edge for part in ("engine", "alloc") for edge in edge_table(tree.files.get(f"{part}/README.md", ""))}
    for edge in sorted(set(sides) - listed):
        yield f"{where[edge]}: edge [{edge}] is in no table of engine/README.md or alloc/README.md"
    for edge in sorted(listed - set(sides)):
        yield f"edge `{edge}` is in a table, but nowhere in the code"


def edge_table(text):
    """The first column of each Markdown table that begins with a column named edge."""
    inside = False
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not line.lstrip().startswith("|"):
            inside = False
        elif cells[0].lower() == "edge":
            inside = True
        elif inside and set(cells[0]) - set("-: "):
            yield cells[0].strip("`[]")


def provides(order):
    """The orders that a comment may claim of an operation with this one."""
    strength = {"relaxed": set(), "acquire": {"acquire"}, "release": {"release"},
                "acq_rel": {"acquire", "release", "acq_rel"}, "seq_cst": {"acquire", "release", "acq_rel", "seq_cst"}}
    return strength[order] | {"relaxed"}


def check_edge_operations(tree):
    """Each edge's comment stands at an atomic operation of the order that it claims, and each operation stronger
    than relaxed names its edge. (alloc/sync.h is the policy itself: it has operations, but no protocol.)"""
    for name, text in tree.sources(LIBRARY):
        if name == "alloc/sync.h":
            continue
        code = without_comments(text).splitlines()
        tagged = set()
        for n, line in enumerate(text.splitlines()):
            for edge, orders in edges_in(line, code[n]):
                tagged.add(n)
                if not any(ATOMIC.search(c) for c in code[max(0, n - EDGE_REACH):n + EDGE_REACH + 1]):
                    yield f"{name}:{n + 1}: [{edge}] is named, but no atomic operation is near"
                given = set().union(*map(provides, ORDER.findall(code[n])))
                if given and not orders <= given:
                    yield f"{name}:{n + 1}: [{edge}] claims {', '.join(sorted(orders - given))}, the operation gives less"
        for n, line in enumerate(code):
            strong = [order for order in ORDER.findall(line) if order != "relaxed"]
            if strong and "signal_fence" not in line and not tagged & set(range(n - EDGE_REACH, n + EDGE_REACH + 1)):
                yield f"{name}:{n + 1}: {strong[0]}, but no edge is named"


def check_words(tree):
    """What a finished tree doesn't hold."""
    unfinished = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b|SCAFFOLD " r"GUARD")
    skip = re.compile(r"\bGTEST_" r"SKIP\(\)\s*;")
    machine = re.compile(r"(?<![\w.])/(home|work|root)/\w")
    for name, text in tree.files.items():
        for number, line in enumerate(text.splitlines(), 1):
            if unfinished.search(line):
                yield f"{name}:{number}: unfinished: {line.strip()}"
            if skip.search(line):
                yield f"{name}:{number}: a test that skips must say why"
            if machine.search(line):
                yield f"{name}:{number}: a path of one machine"


def check_mutants(tree):
    """Each bug of the catalogue is planted somewhere in the library, and some test asks for it."""
    match = re.search(r"enum class Mutant[^{]*\{(.*?)\};", without_comments(tree.files.get("alloc/sync.h", "")), re.DOTALL)
    use = re.compile(r"\bMutant::(\w+)")
    planted = {m for name, text in tree.sources(LIBRARY) if name != "alloc/sync.h" for m in use.findall(text)}
    asked = {m for _, text in tree.sources({"tests"}) for m in use.findall(text)}
    for mutant in re.findall(r"\bk\w+", match.group(1)) if match else []:
        if mutant == "kNone":
            continue
        if mutant not in planted:
            yield f"Mutant::{mutant} is in the catalogue, but planted nowhere"
        if mutant not in asked:
            yield f"Mutant::{mutant} is in the catalogue, but no test has to catch it"


# What STYLE and the memory model rule out inside the library, and why.
BANNED = [
    (re.compile(r"\batomic_thread_fence\b"), "stand-alone fences: ThreadSanitizer can't see them; order the operations"),
    (re.compile(r"\b(std::)?(printf|fprintf|puts|fputs|perror)\s*\(|std::(cout|cerr|clog)\b"), "the library never prints"),
    (re.compile(r"\b(std::)?(exit|_Exit|quick_exit)\s*\("), "the library never ends the process"),
    (re.compile(r"\b(throw|try|catch|dynamic_cast|typeid)\b\s*[\w({]"), "no exceptions and no type information"),
    (re.compile(r"\bstd::(jthread|thread|async)\b(?!::)"), "threads are the platform interface's"),
    (re.compile(r"^\s*#\s*define\s+(?!TERN_|HWY_|TBB_|XXH_|ZSTD_|NOMINMAX)"), "macros are named TERN_"),
]


def check_banned(tree):
    for name, text in tree.sources(LIBRARY):
        for number, line in enumerate(without_comments(text).splitlines(), 1):
            for pattern, reason in BANNED:
                if pattern.search(line) and not PLATFORM_FILE.match(name):
                    yield f"{name}:{number}: {line.strip()}: {reason}"


CHECKS = [check_entries, check_sizes, check_includes, check_system_calls, check_banned, check_dead_files, check_edges,
          check_edge_operations, check_mutants, check_words]


def problems(root):
    tree = Tree(root)
    return [(check.__name__, fault) for check in CHECKS for fault in check(tree)]


def write(root, files):
    for name, text in files.items():
        path = pathlib.Path(root) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


GOOD = {
    "CMakeLists.txt": "add_subdirectory(engine)\n", "CMakePresets.json": "{}\n", "LICENSE": "", "README.md": "",
    ".clang-format": "", ".gitignore": "/build/\n", ".ci/run": "", "persist/README.md": "",
    "build/junk.cc": "int unused;\n",
    "engine/README.md": "| edge | release |\n| `publish` | x |\n",
    "engine/CMakeLists.txt": "add_library(tern store.cc)\n",
    "engine/include/tern/store.h": "#include <cstddef>\n",
    "engine/store.cc": '#include <tern/store.h>\n#include "engine/core.h"\n',
    "engine/core.h": '#include "alloc/arena.h"\n#include "simd/tag.h"\n'
                     "void f() {\n  a.store(1, std::memory_order_release);  // [publish] release\n"
                     "  a.load(std::memory_order_acquire);  // [publish] acquire\n  store.open(1);\n}\n",
    "alloc/arena.h": "#include <atomic>\n", "alloc/CMakeLists.txt": "add_library(a platform.cc)\n",
    "alloc/platform.cc": '#include <sys/mman.h>\n#include "alloc/arena.h"\nvoid* p = mmap(0);\n',
    "alloc/sync.h": "enum class Mutant : unsigned char {\n  kNone,\n  kLate,  // kOther\n};\n",
    "alloc/uses.h": '#include "alloc/sync.h"\nbool b = planted(Mutant::kLate);\n',
    "simd/tag.h": "#include <hwy/highway.h>\n#include <emmintrin.h>\n", "simd/CMakeLists.txt": "",
    "tests/CMakeLists.txt": "add_subdirectory(x)\n", "tests/x/CMakeLists.txt": "add_executable(t t.cc)\n",
    "tests/x/t.cc": '#include <gtest/gtest.h>\n#include "alloc/uses.h"\nT<Mutant::kLate> t;\n', "bench/CMakeLists.txt": "", "tools/CMakeLists.txt": "",
}

# Which check must find it, the file that is added or replaced, its text.
PLANTED = [
    (check_entries, "util/x.md", ""),
    (check_entries, "CMakePresets.json", None),
    (check_sizes, "engine/core.h", "\n" * (LINES_MAX + 1)),
    (check_includes, "alloc/arena.h", '#include "simd/tag.h"\n'),
    (check_includes, "simd/tag.h", '#include "alloc/arena.h"\n'),
    (check_includes, "alloc/arena.h", "#include <tern/store.h>\n"),
    (check_includes, "engine/store.cc", '#include "tests/x/t.h"\n'),
    (check_includes, "engine/store.cc", '#include "core.h"\n'),
    (check_includes, "engine/store.cc", "#include <hwy/highway.h>\n"),
    (check_includes, "engine/store.cc", "#include <mimalloc.h>\n"),
    (check_includes, "engine/store.cc", "#include <emmintrin.h>\n"),
    (check_includes, "engine/store.cc", "#include <unistd.h>\n"),
    (check_includes, "alloc/arena.h", "#include <dlfcn.h>\n"),
    (check_includes, "engine/include/tern/store.h", '#include "engine/core.h"\n'),
    (check_includes, "engine/include/tern/store.h", "#include <hwy/highway.h>\n"),
    (check_includes, "engine/include/tern/store.h", "#include <tern/none.h>\n"),
    (check_system_calls, "engine/store.cc", "int f() { return madvise(a, b, c); }\n"),
    (check_system_calls, "engine/store.cc", "int f() { return ::open(a, b); }\n"),
    (check_system_calls, "alloc/arena.h", "auto t = std::chrono::steady_clock::now();\n"),
    (check_system_calls, "persist/save.cc", "std::ofstream f;\n"),
    (check_dead_files, "engine/orphan.h", ""),
    (check_dead_files, "engine/orphan.cc", ""),
    (check_dead_files, "tests/x/orphan.py", ""),
    (check_dead_files, "tests/y/CMakeLists.txt", ""),
    (check_edges, "engine/more.h", "a.store(1, memory_order_release);  // [lonely] release\n"),
    (check_edges, "engine/more.h", "a.load(memory_order_acquire);  // [lonely] acquire\n"),
    (check_edges, "engine/more.h", "a.load(memory_order_acquire);  // [lonely]\n"),
    (check_edges, "engine/README.md", "no table\n"),
    (check_edges, "alloc/README.md", "| edge |\n| --- |\n| `gone` |\n"),
    (check_edge_operations, "engine/more.h", "int x;  // [publish] release\n"),
    (check_edge_operations, "engine/more.h", "a.store(1, std::memory_order_release);\n"),
    (check_edge_operations, "engine/more.h", "a.store(1, std::memory_order_relaxed);  // [publish] release\n"),
    (check_banned, "engine/more.h", "std::atomic_thread_fence(std::memory_order_seq_cst);\n"),
    (check_banned, "engine/more.h", "void f() { std::printf(s); }\n"),
    (check_banned, "engine/more.h", "void f() { std::exit(1); }\n"),
    (check_banned, "engine/more.h", "void f() { throw 1; }\n"),
    (check_banned, "engine/more.h", "std::thread t;\n"),
    (check_banned, "engine/more.h", "#define MAX 1\n"),
    (check_mutants, "alloc/uses.h", '#include "alloc/sync.h"\n'),
    (check_mutants, "tests/x/t.cc", '#include "alloc/uses.h"\n'),
    (check_words, "engine/more.h", "// TO" "DO: later\n"),
    (check_words, "tests/x/t.cc", "GTEST_" "SKIP();\n"),
    (check_words, "README.md", "cd /ho" "me/someone\n"),
]


def self_test():
    with tempfile.TemporaryDirectory() as root:
        write(root, GOOD)
        assert not problems(root), problems(root)
    for check, name, text in PLANTED:
        with tempfile.TemporaryDirectory() as root:
            write(root, GOOD)
            if text is None:
                (pathlib.Path(root) / name).unlink()
            else:
                write(root, {name: text})
            found = [fault for by, fault in problems(root) if by == check.__name__]
            assert found, f"{check.__name__} did not find what was planted in {name}: {text!r}"
    planted = {check for check, _, _ in PLANTED}
    assert planted == set(CHECKS), "a check has no planted fault"
    print(f"{len(PLANTED)} planted faults found")


if __name__ == "__main__":
    if sys.argv[1] == "--self-test":
        self_test()
        sys.exit(0)
    faults = problems(sys.argv[1])
    for _, fault in faults:
        print(fault)
    print(f"{len(faults)} faults" if faults else "the tree is as it promises to be")
    sys.exit(1 if faults else 0)
