# 64-bit ARM: Debian's cross compiler, the libraries that `tools/dev aarch64` unpacks under build/aarch64-sysroot
# (a private apt state, so that the machine's own packages stay as they are), and qemu to run what was built.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)

set(tern_sysroot ${CMAKE_CURRENT_LIST_DIR}/../../build/aarch64-sysroot)
get_filename_component(tern_sysroot ${tern_sysroot} ABSOLUTE)
set(CMAKE_FIND_ROOT_PATH ${tern_sysroot})
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
set(CMAKE_CROSSCOMPILING_EMULATOR
    qemu-aarch64 -L /usr/aarch64-linux-gnu -E LD_LIBRARY_PATH=${tern_sysroot}/usr/lib/aarch64-linux-gnu)
