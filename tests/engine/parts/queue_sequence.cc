#include "tests/engine/parts/queue_sequence.h"

#include <deque>
#include <iterator>
#include <vector>

#include "engine/audit.h"
#include "engine/seg_queue.h"
#include "tests/engine/parts/bare_core.h"

namespace tern::test {

std::string run_queue_operations(std::span<const std::uint8_t> bytes) {
  using Sync = BareCore::Sync;
  using Queue = detail::SegQueue<Sync>;
  static BareCore
      bare;  // one heap for all runs: what a run doesn't give back is found by the audit
  auto& space = bare.space();
  Queue queue;
  std::deque<std::uint64_t> model;
  std::vector<std::uint64_t> taken;  // all memory, while the heap is full
  std::uint64_t last = 0;
  std::string difference;
  const auto differs = [&](const std::string& what) {
    if (difference.empty()) difference = what + " after entry " + std::to_string(last);
  };
  const auto pop = [&](Queue::WhenEmpty when_empty) {
    const detail::Guard<Sync> guard(space, *bare.thread);
    const std::uint64_t got = queue.pop(space, *bare.thread, when_empty);
    const std::uint64_t wanted = model.empty() ? 0 : model.front();
    if (!model.empty()) model.pop_front();
    if (got != wanted)
      differs("pop answers " + std::to_string(got) + " instead of " + std::to_string(wanted));
    return got;
  };
  const auto free_memory = [&] {
    for (const std::uint64_t block : taken) space.heap.free(bare.thread->cache, block);
    taken.clear();
  };
  for (std::size_t i = 0; i != bytes.size() && difference.empty(); ++i) {
    const unsigned count = (bytes[i] >> 3) * (bytes[i] >> 3);  // up to 961
    switch (bytes[i] & 7) {
      case 0:
        for (unsigned n = 0; n != (count & 7) + 1; ++n) {
          const detail::Guard<Sync> guard(space, *bare.thread);
          std::uint64_t run[Queue::List::kRunEntries];
          for (std::uint64_t& entry : run) entry = ++last;
          if (queue.push_run(space, *bare.thread, run)) {
            model.insert(model.end(), std::begin(run), std::end(run));
          } else if (taken.empty()) {
            differs("a run is refused with memory at hand");
          }
        }
        break;
      case 1:
      case 2:
        for (unsigned n = 0; n != count + 1; ++n) {
          const detail::Guard<Sync> guard(space, *bare.thread);
          if (queue.push(space, *bare.thread, ++last)) {
            model.push_back(last);
          } else if (taken.empty()) {
            differs("push is refused with memory at hand");
          }
        }
        break;
      case 3:
      case 4:
        for (unsigned n = 0; n != count + 1; ++n) pop(Queue::WhenEmpty::kKeep);
        break;
      case 5: {  // all of it, after which it holds nothing
        while (pop(Queue::WhenEmpty::kRelease) != 0) {
        }
        if (queue.walk(space, [](std::uint64_t) {}) != 0) differs("an emptied queue holds memory");
        break;
      }
      case 6:
        if (taken.empty()) {
          for (std::size_t size = 4096; size >= 64; size /= 2) {
            while (const std::uint64_t block = space.heap.allocate(bare.thread->cache, size))
              taken.push_back(block);
          }
        } else {
          free_memory();
        }
        break;
      default:
        space.epoch.reclaim(space, *bare.thread);
        break;
    }
    if (queue.count() != model.size()) differs("the count is " + std::to_string(queue.count()));
  }
  std::size_t at = 0;
  queue.walk(space, [&](std::uint64_t entry) {
    if (at == model.size() || model[at] != entry)
      differs("the walk meets " + std::to_string(entry));
    ++at;
  });
  if (at != model.size()) differs("the walk ends early");
  free_memory();
  while (pop(Queue::WhenEmpty::kRelease) != 0) {
  }
  space.epoch.reclaim(space, *bare.thread);
  detail::Audit<Sync> audit(*bare.core, [&](const char* what) { differs(what); });
  if (!audit.accounts_agree())
    differs("memory is neither in the queue nor in limbo nor in a magazine");
  return difference;
}

}  // namespace tern::test
