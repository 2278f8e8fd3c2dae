// What must be so of an ordered store between schedules, whoever wrote to it.
#ifndef TERN_TESTS_ENGINE_SCHEDULES_LEAF_CHECK_H_
#define TERN_TESTS_ENGINE_SCHEDULES_LEAF_CHECK_H_

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/ordered_index.h"
#include "tests/engine/schedules/rig.h"

namespace tern::concurrency {

// Each key of the table has a leaf, and where all have come to their end, each leaf has its key and says LIVE.
template <class R>
std::string check_leaves(R& rig, bool all_ended) {
  using Sync = typename R::Sync;
  using Cursor = typename tern::detail::OrderedIndex<Sync>::Cursor;
  auto& core = rig.core();
  tern::detail::Guard<Sync> guard(core.space, rig.own());
  std::vector<std::string> leaves, keys;
  Cursor c(core.index, Cursor::kForward);
  while (const auto* leaf = c.next()) {
    leaves.emplace_back(leaf->key());
    if (all_ended && leaf->seen().kind() != tern::detail::LeafState::kLive) return "a leaf is left dead";
  }
  auto& s = rig.shard();
  for (std::uint32_t b = 0; b != core.table.size_of(s).buckets(); ++b) {
    core.table.for_each_slot(core.table.bucket(s, b), [&](auto&, tern::detail::SlotWord w) {
      if (!w.is_current()) return true;
      const auto& r = *core.space.record(w.offset());
      const auto k = core.space.key_of(r, r.stamp_word());
      keys.emplace_back(k.data, k.size);
      return true;
    });
  }
  std::sort(keys.begin(), keys.end());
  keys.erase(std::unique(keys.begin(), keys.end()), keys.end());  // a split that stands half-way has one twice
  if (!std::includes(leaves.begin(), leaves.end(), keys.begin(), keys.end())) return "a key without its leaf";
  if (all_ended && leaves != keys) return "a leaf without its key";
  return {};
}

}  // namespace tern::concurrency

#endif  // TERN_TESTS_ENGINE_SCHEDULES_LEAF_CHECK_H_
