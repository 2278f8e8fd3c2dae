include(${CMAKE_CURRENT_LIST_DIR}/TernFindByFiles.cmake)
tern_find_by_files(lz4 lz4.h)
