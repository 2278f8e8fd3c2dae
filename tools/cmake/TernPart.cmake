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

# tern_joined_sources(RESULT NAME BATCH FILES...): copies of the files, BATCH in each, so that what they all include, and the
# templates that they all use, are compiled once for that many. Each file's anonymous namespace is put into one of its own,
# and its macros end with it, so that no file sees another's names.
function(tern_joined_sources result name batch)
  set(sources)
  set(joined "")
  set(count 0)
  foreach(file IN LISTS ARGN)
    get_filename_component(file ${file} ABSOLUTE)
    get_filename_component(own ${file} NAME_WE)
    file(READ ${file} text)
    string(REGEX MATCHALL "#define [A-Za-z_0-9]+" macros "${text}")
    string(REPLACE "\nnamespace {\n" "\nnamespace ${own}_cc { namespace {\n" text "${text}")
    set(end "\n} }  // namespace\n")
    if(NOT text MATCHES "\n}  // namespace\n}[^\n]*\n$")  # what follows knows its names, too
      set(end "\n} }  using namespace ${own}_cc;\n")
    endif()
    string(REPLACE "\n}  // namespace\n" "${end}" text "${text}")
    string(APPEND joined "#line 1 \"${file}\"\n${text}")
    foreach(macro IN LISTS macros)
      string(REPLACE "#define" "#undef" macro ${macro})
      string(APPEND joined "${macro}\n")
    endforeach()
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${file})
    math(EXPR count "${count} + 1")
    math(EXPR rest "${count} % ${batch}")
    list(LENGTH ARGN all)
    if(rest EQUAL 0 OR count EQUAL all)
      file(CONFIGURE OUTPUT ${name}_${count}.cc CONTENT "@joined@" @ONLY)
      list(APPEND sources ${CMAKE_CURRENT_BINARY_DIR}/${name}_${count}.cc)
      set(joined "")
    endif()
  endforeach()
  # g++ takes what is written in a file of another name for a header.
  set_source_files_properties(${sources} PROPERTIES COMPILE_OPTIONS $<$<CXX_COMPILER_ID:GNU>:-Wno-subobject-linkage>)
  set(${result} ${sources} PARENT_SCOPE)
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
