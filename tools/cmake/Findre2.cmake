include(${CMAKE_CURRENT_LIST_DIR}/TernFindByFiles.cmake)
tern_find_by_files(re2 re2/re2.h)
