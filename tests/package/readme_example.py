#!/usr/bin/env python3
"""Writes the first whole program of a README (a ```cpp block with a main function) to a file.

    readme_example.py README.md OUT.cc
"""
import re
import sys


def first_program(text):
    for block in re.findall(r"^```cpp\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        if re.search(r"^int main\(", block, re.MULTILINE):
            return block
    return None


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as file:
        program = first_program(file.read())
    if program is None:
        sys.exit(f"{sys.argv[1]} shows no whole program: a ```cpp block with 'int main('")
    with open(sys.argv[2], "w", encoding="utf-8") as file:
        file.write(program)
