include(${CMAKE_CURRENT_LIST_DIR}/TernFindByFiles.cmake)
tern_find_by_files(tbb tbb/task_arena.h)
