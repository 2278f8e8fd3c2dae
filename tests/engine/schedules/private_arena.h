// The library's process-private memory in these tests: a fixed piece of static memory, handed out
// in order. So that everything a store consists of has the same address in each schedule and can be
// put back by a copy. Linking private_arena.cc replaces alloc/private_memory.cc.
#ifndef TERN_TESTS_ENGINE_SCHEDULES_PRIVATE_ARENA_H_
#define TERN_TESTS_ENGINE_SCHEDULES_PRIVATE_ARENA_H_

#include <cstddef>

namespace tern::concurrency {

struct PrivateArena {
  static std::byte* begin();
  static std::size_t used();
  // Forgets what was handed out past `bytes`.
  static void rewind(std::size_t bytes);
};

}  // namespace tern::concurrency

#endif  // TERN_TESTS_ENGINE_SCHEDULES_PRIVATE_ARENA_H_
