// Rig: a small store of the engine's real code under the scheduler, put back to its first state
// before each schedule.
//
// The whole store lies in static memory: the Core object, a region for its heap, an arena for
// private memory. begin() opens it and lets the test fill it; freeze() takes a copy of all that is
// in use (some 100 KiB); restore() puts it back in a few microseconds. Each fiber has a thread
// state of its own, with blocks in its magazines, so that the heap's slow paths (which have tests
// of their own) stay out of the schedules.
//
// Operations record what they were answered; check() lets the linearizability checker judge each
// key's history, looks for a record that was retired twice or while it is still linked, and runs
// the engine's Audit.
#ifndef TERN_TESTS_ENGINE_SCHEDULES_RIG_H_
#define TERN_TESTS_ENGINE_SCHEDULES_RIG_H_

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "engine/changes.h"
#include "engine/core.h"
#include "engine/growth.h"
#include "engine/moment.h"
#include "engine/versions.h"
#include "engine/views.h"
#include "tests/engine/schedules/engine_sync.h"
#include "tests/sync/history.h"
#include "tests/sync/linearizability.h"
#include "tests/sync/register_spec.h"

namespace tern::concurrency {

using tern::detail::Mutant;
using Kind = RegisterOp::Kind;

struct Key {
  std::uint32_t id = 0;
  std::string bytes;
  std::uint64_t hash = 0;
  std::string_view view() const { return bytes; }
};

// --- keys that meet in one bucket ----------------------------------------------------------------

inline constexpr std::uint64_t kSeed = 7;

// Keys in order of search whose hash answers `wanted` with true; each call gives another.
class KeyFinder {
 public:
  KeyFinder() : keys_(tern::simd::derive_keys(kSeed)) {}
  template <class Wanted>
  Key next(Wanted&& wanted) {
    for (;;) {
      Key key;
      key.bytes = "k" + std::to_string(1'000'000 + at_++);
      key.hash = tern::simd::hash_bytes(key.bytes.data(), key.bytes.size(), keys_);
      if (!wanted(key.hash)) continue;
      key.id = ++found_;
      return key;
    }
  }
  // With this bucket among `buckets` (a power of two).
  Key in_bucket(std::uint32_t bucket, std::uint32_t buckets = 32) {
    return next([=](std::uint64_t h) { return (h & (buckets - 1)) == bucket; });
  }
  // ... and the tag of another key.
  Key twin_of(const Key& other, std::uint32_t bucket, std::uint32_t buckets = 32) {
    return next([&](std::uint64_t h) {
      return (h & (buckets - 1)) == bucket &&
             tern::detail::tag_of(h) == tern::detail::tag_of(other.hash);
    });
  }

 private:
  decltype(tern::simd::derive_keys(kSeed)) keys_;
  std::uint64_t at_ = 0;
  std::uint32_t found_ = 0;
};

// --- exploring
// ------------------------------------------------------------------------------------

// Explores until nothing new is learnt about which addresses are written. For kDfs with a rising
// bound, as what is learnt late costs all that went before.
Result explore(Options options, const Body& body);

// --- the store
// ------------------------------------------------------------------------------------

// Its members are in rig-inl.h, and for the scheduler's sync they are compiled once for all tests (rig.cc).
template <class S>
class RigOf {
 public:
  using Sync = S;
  using Core = tern::detail::Core<Sync>;
  using Thr = tern::detail::Thread<Sync>;
  using Rec = tern::detail::Record<Sync>;
  using Versions = tern::detail::Versions<Sync>;
  using Growth = tern::detail::Growth<Sync>;
  using Moment = tern::detail::Moment<Sync>;
  using Views = tern::detail::Views<Sync>;
  using View = tern::detail::ViewHandle<Sync>;
  using Outcome = tern::detail::Committed::Outcome;
  using Opened = typename tern::detail::ViewClock<Sync>::Opened;

  // One store exists at a time; it is made anew, not destroyed: nothing in it owns anything
  // outside.
  // `with` may change the options.
  explicit RigOf(Mutant planted, int threads, std::size_t memory_bytes = std::size_t{4} << 20,
                 const std::function<void(tern::detail::CoreOptions&)>& with = {});
  RigOf(const RigOf&) = delete;
  RigOf& operator=(const RigOf&) = delete;
  ~RigOf();

  static Core& core() { return *std::launder(reinterpret_cast<Core*>(core_memory_)); }
  static Thr& thread(int i) { return *thread_[i]; }
  Thr& own() { return *thread_[own_]; }
  int own_index() const { return own_; }
  static tern::detail::Shard<Sync>& shard() { return core().table.shard(0); }

  static inline std::uint64_t now_ms = 0;
  std::vector<std::size_t> more_sizes;  // of blocks that the schedules ask for

  std::function<void()> at_freeze;      // the last change before that: the threads have their blocks

  // The state that each schedule begins from is the present one.
  void freeze();

  void restore();

  // Holds the key's record, if there is one, over a step outside of any guard: it must stay as it is.
  void hold_for_a_step(int t, const Key& key);

  // --- recorded operations ---

  // A removal that the hook was told of, by the thread that removed: somewhere in its call.
  void evicted(std::uint32_t key, bool pending = false, int by = -1);

  std::uint64_t set(int t, const Key& key, std::string_view value);
  // A condition, a lifetime.
  std::uint64_t set(int t, const Key& key, std::string_view value,
                    const tern::detail::SetTerms& terms);
  std::uint64_t set_nx(int t, const Key& key, std::string_view value) {
    return set(t, key, value, {.if_absent = true});
  }
  bool del(int t, const Key& key);
  bool cas(int t, const Key& key, std::string_view expected, std::string_view desired);
  std::string get_and_set(int t, const Key& key, std::string_view value);
  bool expire(int t, const Key& key, std::uint64_t deadline_ms);
  // With the version; by way of find and head.
  std::string get(int t, const Key& key);
  // The shortest way, without the version.
  std::string copy(int t, const Key& key);

  // A view, read twice for each key. Each reading is a get at the moment of open().
  Opened open_view(int t, std::initializer_list<const Key*> keys,
                   std::vector<Call<RegisterOp>*>& calls);
  std::string read_at(int t, const Key& key, const Opened& view, bool& present);
  // Opens, reads each key, and again, and closes. Answers what the keys had, "-" for absent.
  std::vector<std::string> look(int t, std::initializer_list<const Key*> keys);
  // What a view answers for one key: "-" for absent, "!" once it has ended.
  std::string view_get(int t, const View& view, const Key& key);
  // All of it, "key=value" in order of the keys; "!" if it has ended.
  std::vector<std::string> view_walk(int t, const View& view);
  // Many keys at one moment, by Moment::read.
  std::vector<std::string> moment(int t, std::initializer_list<const Key*> keys);

  bool grow(int t);
  bool help_split(int t, std::uint32_t bucket);
  // Outside a guard: frees what no other thread protects.
  void reclaim(int t);

  // --- judging ---

  void complain(std::string what) {
    if (complaint_.empty()) complaint_ = std::move(what);
  }

  std::function<void()> at_end;  // recorded operations of the own thread, after all others

  // After a schedule in which nobody was stopped for ever.
  std::string check();
  // After one in which somebody was: the answers that were given. What a stopped thread has evicted, it didn't tell.
  std::string check_stopped();
  bool check_accounts = true;
  std::uint32_t keys_told = 0;  // the greatest number of a key that can be evicted
  // "Ended before the other began" means something under a weak memory model only if the later call
  // happens after the earlier: the history's clock is then part of the machine. Without it (where
  // it would hide what is looked for), and under such a model, histories aren't judged. Under a
  // sequentially consistent one it would only add steps.
  static constexpr bool kIsWeak = !std::is_same_v<Sync, OneEngineSync>;
  bool clock_orders = kIsWeak;
  bool walks_whole = false;   // a walk as a save's
  bool audit_always = false;  // the whole walk, heap included, takes longer than the schedule

  // All keys' histories, with those calls that a stopped thread left pending.
  void check_histories();

 private:
  struct Saved {
    void* at;
    std::size_t bytes;
  };

  void save(void* at, std::size_t bytes);
  // What lies in the spans beside their blocks: it changes only where blocks come from there, and go back.
  void save_bitmaps();

  Call<RegisterOp>& begin(int t, Kind kind, const Key& key, std::string_view argument = {});
  void finish(Call<RegisterOp>& call);
  std::uint64_t end(Call<RegisterOp>& call, const tern::detail::Committed& c);

  // Each key has one live record, in its home; what is in limbo is there once, and in no slot and
  // no chain.
  void check_table();

  static inline typename Sync::template Atomic<std::uint64_t> clock_{0};

  static constexpr std::size_t kRegionBytes = std::size_t{4} << 20;
  alignas(65536) static inline std::byte region_[kRegionBytes];
  alignas(Core) static inline unsigned char core_memory_[sizeof(Core)];
  static inline Thr* thread_[kThreadsMax + 1];
  Call<RegisterOp>* open_[kThreadsMax + 1] = {};  // each thread's last call

  int own_ = 0;
  static inline typename Views::Step step_;  // by one thread of a test
  std::vector<Saved> saved_;
  std::vector<unsigned char> saved_bytes_;
  std::size_t private_used_ = 0;
  std::uint64_t now_at_freeze_ = 0;
  std::byte* policy_ = nullptr;  // eviction's, in an extent of its own
  std::unique_ptr<Recorder<RegisterOp>> recorder_;
  History<RegisterOp> before_;
  std::string complaint_;
  std::uint64_t checks_ = 0;
  std::vector<std::uint64_t> retired_;
  std::vector<std::uint64_t> hashes_;
  LinearizabilityChecker<RegisterSpec> checker_;
};

extern template class RigOf<OneEngineSync>;

// With a bug planted.
template <Mutant M = Mutant::kNone, template <Mutant> class Policy = EngineSync>
class Rig : public RigOf<Policy<M>> {
 public:
  template <class... Args>
  explicit Rig(int threads, Args&&... args) : RigOf<Policy<M>>(M, threads, std::forward<Args>(args)...) {}
};

}  // namespace tern::concurrency

#endif  // TERN_TESTS_ENGINE_SCHEDULES_RIG_H_
