# Installs Tern, moves the installation, and builds and runs a project that finds it there. Run by ctest with
# -D KIND=shared|static and the paths below. The static library is built with Tern as a subdirectory of that same
# project, so that this way of taking it is tested too.
cmake_minimum_required(VERSION 3.25)

function(run)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT result EQUAL 0)
    string(REPLACE ";" " " line "${ARGN}")
    message(FATAL_ERROR "failed (${result}): ${line}\n${output}")
  endif()
endfunction()

function(run_must_fail expected)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(result EQUAL 0)
    message(FATAL_ERROR "succeeded, but should have failed with '${expected}': ${ARGN}")
  endif()
  if(NOT output MATCHES "${expected}")
    message(FATAL_ERROR "failed as it should, but without saying '${expected}':\n${output}")
  endif()
endfunction()

file(REMOVE_RECURSE ${WORK_DIR})
file(MAKE_DIRECTORY ${WORK_DIR})
set(common -G ${GENERATOR} -D CMAKE_CXX_COMPILER=${CXX} -D CMAKE_BUILD_TYPE=${BUILD_TYPE}
           -D CMAKE_CXX_COMPILER_LAUNCHER=${CXX_LAUNCHER})
set(here ${SOURCE_DIR}/tests/package)

set(strict "-Wall -Wextra -Wpedantic -Werror")  # people copy programs into such projects

# Install: this build's library where it is of the kind asked for, else one built for the purpose.
if(KIND STREQUAL "shared")
  set(shared ON)
else()
  set(shared OFF)
endif()
if((shared AND BUILD_IS_SHARED) OR (NOT shared AND NOT BUILD_IS_SHARED))
  set(library_build ${BUILD_DIR})
else()
  # Not optimised: it is how the library is taken that is tested here, and the optimiser is most of what a build takes.
  run(${CMAKE_COMMAND} ${common} -S ${here}/consumer -B ${WORK_DIR}/subdirectory -D CMAKE_BUILD_TYPE=None
      -D TERN_JOINED=${JOINED} -D TERN_SOURCE_DIR=${SOURCE_DIR} -D TERN_ALLOCATOR=${ALLOCATOR} -D BUILD_SHARED_LIBS=${shared})
  run(${CMAKE_COMMAND} --build ${WORK_DIR}/subdirectory --parallel)
  run(${WORK_DIR}/subdirectory/consumer)
  set(library_build ${WORK_DIR}/subdirectory/tern)
endif()
run(${CMAKE_COMMAND} --install ${library_build} --prefix ${WORK_DIR}/first)
file(RENAME ${WORK_DIR}/first ${WORK_DIR}/prefix)

# Nothing but Tern's own public files is installed, and each public header is.
file(GLOB_RECURSE public RELATIVE ${SOURCE_DIR}/engine/include ${SOURCE_DIR}/engine/include/*)
file(GLOB_RECURSE installed RELATIVE ${WORK_DIR}/prefix/include ${WORK_DIR}/prefix/include/*)
list(SORT public)
list(SORT installed)
if(NOT public STREQUAL installed)
  message(FATAL_ERROR "public headers: ${public}\ninstalled: ${installed}")
endif()

# The README's first whole program is a user's program too.
run(${PYTHON} ${here}/readme_example.py ${SOURCE_DIR}/README.md ${WORK_DIR}/readme_example.cc)
set(consume ${CMAKE_COMMAND} ${common} -S ${here}/consumer -D CMAKE_PREFIX_PATH=${WORK_DIR}/prefix
            -D CMAKE_CXX_FLAGS=${strict})
run(${consume} -B ${WORK_DIR}/build
    -D HOST_MALLOC_SOURCE=${here}/host_malloc_test.cc -D HOST_MALLOC_INCLUDE=${SOURCE_DIR}
    -D README_EXAMPLE=${WORK_DIR}/readme_example.cc)
run(${CMAKE_COMMAND} --build ${WORK_DIR}/build --parallel)
run(${WORK_DIR}/build/consumer)
run(${WORK_DIR}/build/host_malloc)
run(${WORK_DIR}/build/readme_example)

# A component that this installation lacks is a clear error at configure time.
run_must_fail("has no component[ \n]+'rocksdb'" ${consume} -B ${WORK_DIR}/unknown -D TERN_COMPONENTS=rocksdb)

# The same program by pkg-config.
find_program(pkg_config pkg-config REQUIRED)
file(GLOB_RECURSE pc ${WORK_DIR}/prefix/tern.pc)
get_filename_component(pc_dir ${pc} DIRECTORY)
set(static_flag)
if(NOT shared)
  set(static_flag --static)
endif()
set(ENV{PKG_CONFIG_PATH} ${pc_dir})
execute_process(COMMAND ${pkg_config} ${static_flag} --cflags --libs tern
                OUTPUT_VARIABLE flags OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
separate_arguments(flags UNIX_COMMAND "${flags}")
run(${CXX} -std=c++20 ${here}/consumer/main.cc -o ${WORK_DIR}/by_pkg_config ${flags})
get_filename_component(library_dir ${pc_dir} DIRECTORY)
set(ENV{LD_LIBRARY_PATH} ${library_dir})
run(${WORK_DIR}/by_pkg_config)
