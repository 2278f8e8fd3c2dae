// ShardLoad: the threads of an opening, which bring over what another store had, shard by shard, into a new one that nobody else
// has yet.
#ifndef TERN_PERSIST_SHARD_LOAD_H_
#define TERN_PERSIST_SHARD_LOAD_H_

#include <atomic>
#include <cstdint>

#include "alloc/platform.h"
#include "alloc/platform_worker.h"
#include "engine/store_core.h"
#include "persist/fault.h"

namespace tern::persist {

inline constexpr unsigned kLoadThreadsMax = 16;
inline constexpr unsigned kLoadThreadsByDefaultMax = 8;
inline unsigned load_threads(unsigned asked, const Options& options) noexcept {
  if (asked != 0) return asked;
  if (options.maintenance == Maintenance::kTick) return 1;
  const unsigned threads = alloc::platform::hardware_threads();
  return threads < kLoadThreadsByDefaultMax ? threads : kLoadThreadsByDefaultMax;
}

struct Loaded {
  std::uint64_t placed = 0;
  std::uint64_t expired = 0;
  std::uint64_t left_out = 0;
  std::uint64_t version_max = 0;  // of what was met, if the source says so
};

// Source::Taker, one for each thread, made from a const Source&:
//   bool take(Thread<StdSync>& t, unsigned shard, Loaded& loaded, Trouble& trouble) noexcept    false: `trouble` says why
template <class Source>
class ShardLoad {
 public:
  ShardLoad(const Source& source, unsigned shards, detail::StoreCore& store, const char* file) noexcept
      : source_(source), core_(store.core), file_(file) {
    // Shards of the source and of the store that hold the same keys, whichever are more: no two groups meet in one.
    groups_ = shards < core_.table.shard_count() ? shards : core_.table.shard_count();
    shards_a_group_ = shards / groups_;
  }

  Error run(unsigned threads, Loaded& all, Trouble& trouble) noexcept {
    if (threads > groups_) threads = groups_;
    alloc::platform::Worker workers[kLoadThreadsMax];
    for (unsigned i = 1; i < threads; ++i) {
      // The system may refuse one: the others do its part.
      workers[i].start([](void* load) noexcept {
        static_cast<ShardLoad*>(load)->work();
        return alloc::platform::Worker::kEnd;
      }, this, "tern-open");
    }
    work();
    for (auto& w : workers) w.stop();  // from here on this thread has seen what they did
    for (const Part& part : parts_) {
      all.placed += part.loaded.placed;
      all.expired += part.loaded.expired;
      all.left_out += part.loaded.left_out;
      if (part.loaded.version_max > all.version_max) all.version_max = part.loaded.version_max;
      if (!part.trouble.ok()) trouble = part.trouble;
    }
    return trouble.ok() ? Error{} : trouble.error;
  }

 private:
  // What one thread has done.
  struct Part {
    Loaded loaded;
    Trouble trouble;
  };

  void work() noexcept {
    Part& part = parts_[next_part_.fetch_add(1, std::memory_order_relaxed)];  // a number for each thread
    auto* t = core_.space.register_thread(alloc::platform::thread_id() + 1);
    if (t == nullptr) {
      part.trouble.refused(file_, {Status::kOutOfMemory, Field::kNone}, "no memory for a thread's state");
      return;
    }
    typename Source::Taker taker(source_);
    bool good = true;
    while (good && !stop_.load(std::memory_order_relaxed)) {  // a hint: the load has failed elsewhere
      const unsigned group = next_group_.fetch_add(1, std::memory_order_relaxed);  // whose turn it is; nothing else
      if (group >= groups_) break;
      for (unsigned i = 0; good && i != shards_a_group_; ++i) {
        good = taker.take(*t, group * shards_a_group_ + i, part.loaded, part.trouble);
      }
    }
    if (!good) stop_.store(true, std::memory_order_relaxed);  // as above
    core_.release_thread(*t);
  }

  const Source& source_;
  detail::Core<detail::StdSync>& core_;
  const char* file_;
  unsigned groups_ = 1;
  unsigned shards_a_group_ = 1;
  Part parts_[kLoadThreadsMax];
  std::atomic<unsigned> next_part_{0};
  std::atomic<unsigned> next_group_{0};
  std::atomic<bool> stop_{false};
};

}  // namespace tern::persist

#endif  // TERN_PERSIST_SHARD_LOAD_H_
