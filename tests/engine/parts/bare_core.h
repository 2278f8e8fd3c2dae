// A store's core without its public face, for tests of parts that need its heap, its epochs and
// threads.
#ifndef TERN_TESTS_ENGINE_PARTS_BARE_CORE_H_
#define TERN_TESTS_ENGINE_PARTS_BARE_CORE_H_

#include <cstdint>
#include <cstdlib>
#include <memory>

#include "engine/core.h"

namespace tern::test {

struct BareCore {
  using Sync = detail::StdSync;

  explicit BareCore(std::size_t memory_bytes = std::size_t{4} << 20, unsigned shards = 1)
      : core(std::make_unique<detail::Core<Sync>>()) {
    detail::CoreOptions o;
    o.memory_bytes = memory_bytes;
    o.shard_count = shards;
    o.seed = 1;
    o.huge_pages = false;
    o.time = {[](const void* ms) { return *static_cast<const std::uint64_t*>(ms); }, &now_ms};
    if (core->open(o) != alloc::Error::kNone) std::abort();
    thread = &new_thread();
  }
  detail::Thread<Sync>& new_thread() { return *core->space.register_thread(++threads); }
  detail::Space<Sync>& space() { return core->space; }

  std::uint64_t now_ms = 0;
  std::unique_ptr<detail::Core<Sync>> core;
  detail::Thread<Sync>* thread = nullptr;
  std::uint64_t threads = 0;
};

}  // namespace tern::test

#endif  // TERN_TESTS_ENGINE_PARTS_BARE_CORE_H_
