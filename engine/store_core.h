// StoreCore: a store as a process sees it: the engine's core, its handles, the threads that use it, and its end.
//
// Lifetime. Handles and sessions are counted in `handles`; held values in `held`, one word with their bytes and a
// mark. The last handle sets the mark; memory goes back with the last of both. A thread finds its state by a store id
// that is never used twice, in a small thread-local cache (initial-exec: as fast as a Session), and gives it back when
// it ends, through the process's list of live stores. The thread that does maintenance (keeper.h) is stopped with the last
// handle, whatever is held. In a forked child every store that was open is closed: other
// threads' operations stopped half-way there.
//
// The list's mutex is taken when a store is opened or destroyed, when a thread ends, and around fork: never by a read
// or a write.
#ifndef TERN_ENGINE_STORE_CORE_H_
#define TERN_ENGINE_STORE_CORE_H_

#include <atomic>
#include <cstdint>
#include <string_view>

#include <tern/store.h>

#include "alloc/platform.h"
#include "engine/batch_descriptor.h"
#include "engine/bus.h"
#include "engine/core.h"
#include "engine/flights.h"
#include "engine/groups.h"
#include "engine/keeper.h"
#include "engine/lock_queue.h"
#include "engine/pressure.h"
#include "engine/reads.h"

namespace tern::detail {

// What a Context's second word is beside a thread's state: a namespace's rules, or a thread (or none) whose call has a
// stored key (names.h) already.
inline constexpr std::uintptr_t kHasStoredKey = 1, kHasRules = 2;
inline std::uintptr_t bits_of(const Context& c) noexcept { return reinterpret_cast<std::uintptr_t>(c.thread); }
inline bool has_stored_key(const Context& c) noexcept { return (bits_of(c) & kHasStoredKey) != 0; }
inline const NameRules* rules_of(const Context& c) noexcept {
  return (bits_of(c) & kHasRules) != 0 ? reinterpret_cast<const NameRules*>(bits_of(c) & ~kHasRules) : nullptr;
}
inline Thread<StdSync>* thread_of(const Context& c) noexcept {
  return (bits_of(c) & kHasRules) != 0 ? nullptr : reinterpret_cast<Thread<StdSync>*>(bits_of(c) & ~kHasStoredKey);
}
inline Context with_rules(StoreCore* core, const NameRules* rules) noexcept {
  static_assert(alignof(NameRules) > kHasRules);
  return {core, rules == nullptr ? nullptr : reinterpret_cast<ThreadState*>(reinterpret_cast<std::uintptr_t>(rules) | kHasRules)};
}
inline Context with_stored_key(const Context& c) noexcept {
  return {c.core, reinterpret_cast<ThreadState*>(reinterpret_cast<std::uintptr_t>(thread_of(c)) | kHasStoredKey)};
}
// Whose keys the call is about.
inline unsigned name_of(const Context& c) noexcept {
  const NameRules* const rules = rules_of(c);
  return rules != nullptr ? rules->number : kDefaultName;
}
inline constexpr std::size_t kStoredKeyBytesMax = kKeyBytesMax + kNameBytes;

// Values up to this size are copied inside the guard; a longer copy holds the record instead.
inline constexpr std::uint64_t kCopyInGuardMax = 64 << 10;

// What one thread has registered, by store id; the rest of its stores are found in its list.
struct ThreadCache {
  static constexpr unsigned kEntries = 4;
  std::uint64_t id[kEntries];
  Thread<StdSync>* state[kEntries];
};

// What a part above the engine hangs on a store: destroyed when the last handle goes, before the memory does.
class Attachment {
 public:
  virtual ~Attachment() = default;
  virtual void tell(Stats&) const noexcept {}
};

// The file that a store lies in (persist/arena_file.h): goes after the store's memory.
class Backing {
 public:
  virtual ~Backing() = default;
  virtual alloc::platform::File file() const noexcept = 0;
  virtual std::uint64_t heap_at() const noexcept = 0;
  // Room for Roots<StdSync>::bytes(shards), zero; null: there is none.
  virtual std::byte* roots(unsigned shards) noexcept = 0;
  // In a forked child: nothing that is done here reaches the parent's.
  virtual void in_forked_child() noexcept = 0;
};

// Entries that the store is to have and has not yet: a snapshot that serves while it is loaded (persist/). A call on one
// key brings what concerns that key; a call on more than one, all of it. Safe from any thread; waits, if another thread is at
// the same piece, for that thread: only calls made before everything has come do.
class Incoming {
 public:
  virtual ~Incoming() = default;
  // After ok, what the store says about the hash's keys is so.
  virtual Error bring(Thread<StdSync>& t, std::uint64_t hash) noexcept = 0;
  virtual Error bring_all(Thread<StdSync>& t) noexcept = 0;
  // A bounded piece. False: nothing was left that could be brought.
  virtual bool bring_some(Thread<StdSync>& t) noexcept = 0;
  virtual std::uint64_t pieces_left() const noexcept = 0;
};

class StoreCore {
 public:
  using Sync = StdSync;
  using Thr = Thread<Sync>;

  enum class FirstTable : std::uint8_t { kOfExpectedEntries, kSmall };
  // `backing`, in private memory, is the store's if it opens.
  static Result<StoreCore*> open(const Options& options, FirstTable table = FirstTable::kOfExpectedEntries,
                                 Backing* backing = nullptr) noexcept;
  // In a forked child, of a store in a file: it is closed, its memory is a copy, and nothing of it goes back.
  void leave_to_parent() noexcept;
  bool is_parents() const noexcept { return is_parents_; }

  // What a call meets. On a line that a read has loaded.
  enum class Mode : std::uint8_t { kServing, kIncoming, kComplete /* on its way to serving */, kClosed };
  Mode mode() const noexcept { return mode_.load(std::memory_order_acquire); }  // [close] acquire
  bool is_serving() const noexcept { return mode() == Mode::kServing; }
  bool is_closed() const noexcept { return mode() == Mode::kClosed; }
  void close() noexcept;
  // Before anybody else has a handle. `incoming` is the attachment's.
  void expect(Incoming& incoming) noexcept {
    incoming_ = &incoming;
    core.space.leases.incoming.store(1, std::memory_order_relaxed);  // nobody else is here
    short_ways_open_.store(false, std::memory_order_relaxed);  // nobody else is here
    mode_.store(Mode::kIncoming, std::memory_order_relaxed);  // as above
  }
  // All has come: the short ways are open. Once.
  void complete() noexcept;
  // Of a snapshot all is there: leases that ended meanwhile have left their entries, and namespaces have shares.
  void sweep_what_came() noexcept;
  void learn_names() noexcept;
  // Null: there is nothing to wait for.
  Incoming* incoming() const noexcept { return is_serving() ? nullptr : incoming_; }
  // Whether gets may go the short way: the store is serving.
  bool short_ways_open() const noexcept { return short_ways_open_.load(std::memory_order_acquire); }  // [close] acquire

  void add_handle() noexcept { handles_.fetch_add(1, std::memory_order_relaxed); }  // the caller has one
  void drop_handle() noexcept;

  // The calling thread's state; null: no memory for one.
  Thr* thread() noexcept;
  Thr* thread(const Context& c) noexcept {
    Thr* const t = c.thread != nullptr ? thread_of(c) : nullptr;
    return t != nullptr ? t : thread();
  }

  // The same, if it is at hand and the call's key is nothing but a key; null: it may have to be registered.
  Thr* known_thread(const Context& c) const noexcept {
    if (c.thread == nullptr) return thread_cache_hit();
    return (bits_of(c) & (kHasStoredKey | kHasRules)) == 0 ? reinterpret_cast<Thr*>(c.thread) : nullptr;
  }

  // --- held values ---------------------------------------------------------------------------------------------
  // One word: 63 LAST_HANDLE_GONE | 62..40 count | 39..0 bytes in units of 8.
  bool take_held(std::uint64_t bytes) noexcept;
  void drop_held(std::uint64_t bytes) noexcept;
  std::uint64_t held_count() const noexcept { return held_.load(std::memory_order_relaxed) >> 40 & 0x7FFFFF; }
  std::uint64_t held_bytes() const noexcept { return (held_.load(std::memory_order_relaxed) & kHeldBytes) * 8; }

  Lookup<HeldValue> hold(Thr& t, std::string_view key) noexcept;
  void release(HeldValue& value) noexcept;

  // --- the answers of a multi-key read -------------------------------------------------------------------------
  struct Answers {
    Values& values;
    // False: no memory.
    bool begin(std::size_t count) noexcept;
    void set(std::size_t i, Error error) noexcept { values.answers_[i] = {0, 0, error}; }
    bool add(std::size_t i, const char* value, std::uint64_t size) noexcept;
  };

  // --- the memory around (pressure.h) --------------------------------------------------------------------------
  void watch_memory(const Options& options, std::size_t floor_bytes) noexcept {
    pressure.open(options.memory_bytes, floor_bytes);
    gauge_ = options.memory_gauge;
  }
  // In maintenance: looks if it is time, and moves the budget.
  void heed_pressure(Thr& t) noexcept;
  Pressure<Sync> pressure;

  // --- maintenance ---------------------------------------------------------------------------------------------
  struct Ticked {
    bool worked = false;       // something was done
    bool out_of_time = false;  // and there may be more
  };
  // Bounded steps (chores.h) until nothing is left to do or the time is `end_ns`. A thread that `waits` for the kernel when it
  // touches fresh memory, so that others needn't: the keeper; a host's tick doesn't begin that if it may not fit.
  static constexpr unsigned kIdleStepsALook = 8;
  static constexpr std::uint64_t kStepNsMax = 32'000;  // what took longer was the system's, and says nothing of the next
  // What the kernel clears in some 10 us; a huge page, and the time without which the first isn't begun.
  static constexpr std::size_t kTouchedAtOnce = std::size_t{64} << 10;
  static constexpr std::size_t kHugeTouchBytes = std::size_t{2} << 20;
  static constexpr std::uint64_t kHugeTouchNs = 400'000;
  static constexpr unsigned kTouchShift = 10;  // a slow touch is forgotten in some thousand ticks
  Ticked tick(Thr& t, std::uint64_t end_ns, bool waits) noexcept;
  Owed owed() const noexcept;
  // Whether a keeper has to look by itself.
  bool is_watching() const noexcept { return pressure.is_open() || core.awaits_upkeep() || mode() == Mode::kIncoming; }

  // A set found no room: out_of_memory, or ok with version 0 if the store drops such writes.
  Result<std::uint64_t> refuse_or_drop(Thr& t, std::uint64_t hash, std::string_view key) noexcept;

  void log(const char* message) const noexcept {
    if (log_ != nullptr) log_(log_user_, message);
  }

  Core<Sync> core;
  Keeper keeper{*this};
  Flights flights;
  LockQueue locks;
  Bus bus;
  // Of this opening of the store: what tokens of watches are good for.
  std::uint64_t incarnation() const noexcept { return incarnation_; }
  std::size_t value_bytes_max = 0;
  std::size_t held_bytes_max = 0;
  std::size_t batch_max = kBatchMax;
  WhenFull full = WhenFull::kError;
  unsigned scan_threads = 1;
  std::atomic<std::uint64_t> drafts{0};
  std::uint64_t id = 0;
  char name[64] = {};
  Backing* backing = nullptr;  // in private memory; null: the store is the process's alone
  // Of snapshots (persist/).
  Attachment* attachment = nullptr;  // in private memory
  std::uint32_t buckets_expected = 0;  // of each shard: Options::entries_expected
  std::uint64_t birth_wall_ms = 0;   // 0: of a store that was opened empty and never saved
  std::atomic<Attachment*> periodic{nullptr};  // saves that it makes by itself; in private memory

  // Of the list of live stores; under its mutex.
  StoreCore* previous_live = nullptr;
  StoreCore* next_live = nullptr;

  // After the last handle, and the keeper's last turn: memory goes back unless values are held.
  void let_go() noexcept;

 private:
  static constexpr std::uint64_t kHeldOne = std::uint64_t{1} << 40;
  static constexpr std::uint64_t kHeldBytes = kHeldOne - 1;
  static constexpr std::uint64_t kLastHandleGone = std::uint64_t{1} << 63;

  void destroy() noexcept;
  Thr* register_thread() noexcept;
  Thr* thread_cache_hit() const noexcept;

  bool is_parents_ = false;
  alignas(128) std::atomic<bool> short_ways_open_{true};
  std::atomic<Mode> mode_{Mode::kServing};
  Incoming* incoming_ = nullptr;  // as long as the store lives
  alignas(128) std::atomic<std::uint64_t> handles_{1};
  std::atomic<std::uint64_t> held_{0};
  static constexpr std::uint64_t kBusyLookNs = 50'000'000;
  std::uint64_t incarnation_ = 0;
  std::atomic<unsigned> next_chore_{0};  // where the next tick begins
  std::atomic<std::uint64_t> next_busy_look_ns_{0};
  const MemoryGauge* gauge_ = nullptr;
  LogHook log_ = nullptr;
  void* log_user_ = nullptr;
  std::atomic<std::uint64_t> step_ns_{0};               // of the longest steps of the last ticks
  std::atomic<std::uint64_t> touch_ns_{kHugeTouchNs};  // of those that touched fresh memory
};

extern thread_local constinit ThreadCache thread_cache __attribute__((tls_model("initial-exec")));

inline StoreCore::Thr* StoreCore::thread_cache_hit() const noexcept {
  for (unsigned i = 0; i != ThreadCache::kEntries; ++i) {
    if (thread_cache.id[i] == id) [[likely]] return thread_cache.state[i];
  }
  return nullptr;
}

inline StoreCore::Thr* StoreCore::thread() noexcept {
  Thr* t = thread_cache_hit();
  return t != nullptr ? t : register_thread();
}

// Of the short ways: the thread's state in c.thread; false: the call is for none of them.
[[gnu::always_inline]] inline bool may_be_plain(Context& c) noexcept {
  if (c.core == nullptr || !c.core->short_ways_open()) [[unlikely]] return false;
  auto* const t = c.core->known_thread(c);
  if (t == nullptr || t->epoch.nest != 0) [[unlikely]] return false;
  c.thread = reinterpret_cast<ThreadState*>(t);
  return true;
}

// The beginning of each call: is the store open, is the key one, which thread is this.
class Call {
 public:
  explicit Call(const Context& c) noexcept : core_(c.core) {
    if (core_ != nullptr && core_->is_serving()) [[likely]] {
      thread_ = core_->thread(c);
    } else {
      begin_slowly(c);
    }
  }
  [[gnu::always_inline]] Call(const Context& c, std::string_view key) noexcept : core_(c.core) {
    if (core_ != nullptr && core_->is_serving() && key.size() - 1 < kKeyBytesMax && !is_named(key)) [[likely]] {
      if (c.thread == nullptr) [[likely]] {
        thread_ = core_->thread();
        return;
      }
      if ((bits_of(c) & (kHasStoredKey | kHasRules)) == 0) [[likely]] {
        thread_ = reinterpret_cast<Thread<StdSync>*>(c.thread);
        return;
      }
    }
    begin_slowly(c, key);
  }
  // Of a call that asks nothing about keys: what hasn't come yet needn't.
  enum class Keys : std::uint8_t { kNone };
  Call(const Context& c, Keys) noexcept : core_(c.core) {
    if (core_ != nullptr && !core_->is_closed()) [[likely]] thread_ = core_->thread(c);
  }
  bool ok() const noexcept { return thread_ != nullptr; }
  // What a call answers that isn't ok: why; or, where the key is to be stored as another one (stored_key.h), what
  // again(Context, std::string_view stored_key) answers.
  template <class Again>
  [[gnu::noinline, gnu::cold]] auto otherwise(const Context& c, std::string_view key, Again&& again) const noexcept
      -> decltype(again(c, key));
  // The same of a read, which a namespace counts.
  template <class Again>
  [[gnu::noinline, gnu::cold]] auto read_otherwise(const Context& c, std::string_view key, Again&& again) const noexcept
      -> decltype(again(c, key));
  // Why it isn't; `key` is the one that the call was made with.
  [[gnu::noinline, gnu::cold]] static Error error(const StoreCore* core, std::size_t key_size) noexcept {
    if (core == nullptr || core->is_closed()) return {Status::kClosed, Field::kNone};
    if (key_size == 0) return {Status::kInvalidKey, Field::kKey};
    if (key_size > kKeyBytesMax) return {Status::kTooLarge, Field::kKey};
    return {Status::kOutOfMemory, Field::kNone};
  }
  Error error(std::string_view key) const noexcept {
    return incoming_error_.status != Status::kOk ? incoming_error_ : error(core_, key.size());
  }
  Error error() const noexcept { return error("-"); }
  StoreCore& store() const noexcept { return *core_; }
  Core<StdSync>& core() const noexcept { return core_->core; }
  Thread<StdSync>& thread() const noexcept { return *thread_; }

  // Calls with many keys have stored ones, if any of them is past what a caller's may be (StoredKeys).
  static Error key_error(std::string_view key, std::size_t key_bytes_max = kStoredKeyBytesMax) noexcept {
    if (key.empty()) return {Status::kInvalidKey, Field::kKey};
    if (key.size() > key_bytes_max) return {Status::kTooLarge, Field::kKey};
    return {};
  }
  // Of a key that wasn't found: it may not be one.
  static constexpr Error kMiss{Status::kNotFound, Field::kNone};
  static Error miss_or_bad(std::string_view key) noexcept {
    if (key.size() - 1 < kStoredKeyBytesMax) [[likely]] return kMiss;
    return key_error(key);
  }
  // Of a call with many keys.
  static Error count_error(std::size_t count, std::size_t count_max, std::size_t answers) noexcept {
    if (count > count_max) return {Status::kTooLarge, Field::kKeys};
    if (answers < count) return {Status::kInvalidArgument, Field::kAnswers};
    return {};
  }

 private:
  // The store isn't serving: closed, or it is still on its way.
  [[gnu::noinline, gnu::cold]] void begin_slowly(const Context& c) noexcept;
  [[gnu::noinline, gnu::cold]] void begin_slowly(const Context& c, std::string_view key) noexcept;

  StoreCore* core_;
  Thread<StdSync>* thread_ = nullptr;
  bool is_elsewhere_ = false;  // the key is to be stored as another one
  Error incoming_error_{};
};

// 139 years: a ttl past it is out of range, and so is a deadline that the 43 bits of X can't hold.
inline constexpr std::int64_t kTtlMsMax = std::int64_t{139} * 365 * 86'400'000;

struct DeadlineAt {
  std::uint64_t ms = 0;
  Error error;
};

// `ttl_ms` > 0.
inline DeadlineAt deadline_after(const Call& call, std::int64_t ttl_ms) noexcept {
  if (ttl_ms > kTtlMsMax) return {0, {Status::kOutOfRange, Field::kTtl}};
  const std::uint64_t now = call.core().time.now();
  const std::uint64_t ttl = static_cast<std::uint64_t>(ttl_ms);
  if (now >= Deadline::kNever || ttl >= Deadline::kNever - now) return {0, {Status::kOutOfRange, Field::kTtl}};
  return {now + ttl, {}};
}

// What a set's options ask for; an error names what can't be.
Error make_terms(const Call& call, const SetOptions& o, SetTerms& terms, TagBlock& tags) noexcept;
// Tags, lease and metadata. What is wrong with them.
Error fill(TagBlock& block, const SetOptions& o) noexcept;

// Of a transaction, before it gives up.
inline constexpr unsigned kTransactTurns = 16;

}  // namespace tern::detail

#endif  // TERN_ENGINE_STORE_CORE_H_
