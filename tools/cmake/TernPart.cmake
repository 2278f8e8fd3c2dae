# tern_part(NAME SOURCES... [LIBRARIES...])
# One part of the library (simd, alloc, the engine) as an OBJECT library. libtern takes the objects of all
# parts, so that a static libtern.a is complete and exports no internal target; tests link a part directly and
# reach what the shared library hides. No exception leaves Tern, and none is thrown inside.
option(TERN_JOINED "For builds from scratch: sources of a part compiled together, test headers precompiled" OFF)

# With TERN_JOINED, a third of the time that one by one takes. Not for what is measured: the compiler sees more at once.
function(tern_join target)
  if(TERN_JOINED)
    set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 12)
  endif()
endfunction()

function(tern_part name)
  cmake_parse_arguments(P "" "" "SOURCES;LIBRARIES" ${ARGN})
  add_library(${name} OBJECT ${P_SOURCES})
  target_include_directories(${name} PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}>)
  target_compile_features(${name} PUBLIC cxx_std_20)
  target_compile_options(${name} PRIVATE -fno-exceptions -fno-rtti)
  tern_join(${name})
  if(P_LIBRARIES)
    target_link_libraries(${name} PUBLIC ${P_LIBRARIES})
  endif()
endfunction()

# tern_optional(NAME PACKAGE DEBIAN_PACKAGE WHAT): the option TERN_WITH_NAME, AUTO, ON or OFF. Sets TERN_HAS_NAME, and adds what was found to
# TERN_OPTIONAL_PACKAGES.
macro(tern_optional name package debian_package what)
  set(TERN_WITH_${name} "AUTO" CACHE STRING "${what}: AUTO (if it is found), ON or OFF")
  set_property(CACHE TERN_WITH_${name} PROPERTY STRINGS AUTO ON OFF)
  set(${package}_FOUND FALSE)
  if(NOT TERN_WITH_${name} MATCHES "^(AUTO|ON|OFF)$")
    message(FATAL_ERROR "TERN_WITH_${name} is '${TERN_WITH_${name}}'; it must be AUTO, ON or OFF")
  elseif(TERN_WITH_${name} STREQUAL "ON")
    tern_require(${package} ${debian_package} MODULE)
  elseif(TERN_WITH_${name} STREQUAL "AUTO")
    find_package(${package} QUIET MODULE)
  endif()
  set(TERN_HAS_${name} ${${package}_FOUND})
  set(tern_${package}_found "no")
  if(TERN_HAS_${name})
    set(tern_${package}_found "yes")
    list(APPEND TERN_OPTIONAL_PACKAGES ${package})
  endif()
endmacro()

# tern_require(PACKAGE DEBIAN_PACKAGE [find_package arguments...])
# A missing package is an error that says what to install; nothing is ever downloaded.
macro(tern_require package debian_package)
  find_package(${package} QUIET ${ARGN})
  if(NOT ${package}_FOUND)
    message(FATAL_ERROR "${package} was not found. Install it with:\n"
                        "  apt-get install ${debian_package}\n"
                        "or everything that Tern needs with: tools/dev packages | xargs apt-get install -y")
  endif()
endmacro()
