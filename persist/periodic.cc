// Periodic saves: a thread that sleeps, looks at how much was changed, and saves. It hangs on the store, and ends before
// the store's memory goes.
#include <new>

#include <tern/store.h>

#include "alloc/platform.h"
#include "alloc/platform_worker.h"
#include "alloc/private_memory.h"
#include "engine/store_core.h"
#include "persist/generations.h"
#include "persist/save.h"

namespace tern::persist {
namespace {

namespace platform = alloc::platform;

constexpr std::chrono::milliseconds kEveryMin{10};
constexpr std::chrono::hours kEveryMax{24 * 365};

class PeriodicSaves final : public detail::Attachment {
 public:
  PeriodicSaves(detail::StoreCore& store, std::string_view path, const PeriodicSave& how) noexcept
      : store_(store), files_(path), changes_wanted_(how.changes), every_ns_(static_cast<std::uint64_t>(how.every.count()) * 1'000'000) {
    options_.keep = how.keep;
    options_.threads = how.threads;
    options_.bytes_per_second = how.bytes_per_second;
    options_.codec = how.codec;
  }
  bool start() noexcept {
    const auto turn = [](void* me) noexcept { return static_cast<PeriodicSaves*>(me)->take_turn(); };
    return worker_.start(turn, this, "tern-saves");
  }

  void tell(Stats& s) const noexcept override {
    s.periodic_saves = saves_.load(std::memory_order_relaxed);  // figures, as those below
    s.periodic_save_errors = errors_.load(std::memory_order_relaxed);
    s.periodic_save_status = status_.load(std::memory_order_relaxed);
    s.periodic_saved_at = std::chrono::milliseconds(saved_at_ms_.load(std::memory_order_relaxed));
  }

 private:
  std::uint64_t take_turn() noexcept {
    if (store_.is_closed()) return platform::Worker::kEnd;
    if (!std::exchange(has_slept_, true)) return every_ns_;
    const std::uint64_t now = changes();
    if (now - changes_saved_ < changes_wanted_) return every_ns_;
    SaveReport report;
    Trouble trouble;
    // As any call, it first brings what a snapshot that serves hasn't brought yet.
    const detail::Call call(detail::Context{&store_, nullptr});
    const Error e = call.ok() ? save(store_, files_.path(), options_, report, trouble) : call.error();
    if (store_.is_closed()) return platform::Worker::kEnd;
    status_.store(e.status, std::memory_order_relaxed);  // a figure, as those below
    if (e.status == Status::kOk) {
      changes_saved_ = now;
      saved_at_ms_.store(static_cast<std::int64_t>(platform::wall_ns() / 1'000'000), std::memory_order_relaxed);
      saves_.fetch_add(1, std::memory_order_relaxed);
    } else {
      errors_.fetch_add(1, std::memory_order_relaxed);
    }
    return every_ns_;
  }

  // Sets and removals in the life of the store.
  std::uint64_t changes() const noexcept {
    std::uint64_t n = 0;
    store_.core.space.for_each_thread_state([&](detail::Thread<detail::StdSync>& t) {
      n += t.counters.sets.get() + t.counters.deletes.get() + t.counters.expired.get() + t.counters.evicted.get() + t.counters.cleared.get();
    });
    return n;
  }

  detail::StoreCore& store_;
  const Generations files_;
  SaveOptions options_;
  const std::uint64_t changes_wanted_;
  const std::uint64_t every_ns_;
  std::uint64_t changes_saved_ = 0;
  bool has_slept_ = false;
  std::atomic<std::uint64_t> saves_{0};
  std::atomic<std::uint64_t> errors_{0};
  std::atomic<Status> status_{Status::kOk};
  std::atomic<std::int64_t> saved_at_ms_{0};
  platform::Worker worker_;  // the first to go
};

}  // namespace
}  // namespace tern::persist

namespace tern {

Result<void> Store::save_periodically(std::string_view path, const PeriodicSave& how) const noexcept {
  using persist::PeriodicSaves;
  const detail::Call call(context(), detail::Call::Keys::kNone);
  if (!call.ok()) return call.error();
  SaveOptions options;
  options.keep = how.keep;
  options.threads = how.threads;
  options.codec = how.codec;
  if (const Error e = persist::check_save(path, options); e.status != Status::kOk) return e;
  if (how.every < persist::kEveryMin || how.every > persist::kEveryMax) return Error{Status::kOutOfRange, Field::kEvery};
  void* memory = alloc::private_allocate_aligned(sizeof(PeriodicSaves), alignof(PeriodicSaves));
  if (memory == nullptr) return Error{Status::kOutOfMemory, Field::kNone};
  auto* saves = new (memory) PeriodicSaves(call.store(), path, how);
  detail::Attachment* none = nullptr;
  Error e{Status::kExists, Field::kNone};
  if (call.store().periodic.load(std::memory_order_relaxed) == nullptr) {  // the swap decides
    e = {};
    if (!saves->start()) {
      e = {Status::kUnavailable, Field::kThreads};
    } else if (!call.store().periodic.compare_exchange_strong(none, saves, std::memory_order_release,  // [periodic] release
                                                              std::memory_order_relaxed)) {
      e = {Status::kExists, Field::kNone};
    }
  }
  if (e.status != Status::kOk) {
    saves->~PeriodicSaves();
    alloc::private_free(memory);
    return e;
  }
  return {};
}

}  // namespace tern
