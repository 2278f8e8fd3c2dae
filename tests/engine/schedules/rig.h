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

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "engine/audit.h"
#include "engine/changes.h"
#include "engine/core.h"
#include "engine/growth.h"
#include "engine/moment.h"
#include "engine/reads.h"
#include "engine/versions.h"
#include "engine/views.h"
#include "tests/engine/schedules/engine_sync.h"
#include "tests/engine/schedules/private_arena.h"
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
inline Result explore(Options options, const Body& body) {
  WrittenAddresses& written = WrittenAddresses::instance();
  written.clear();
  const std::string name = options.name;
  const unsigned bound = options.preemptions;
  std::uint64_t schedules = 0;
  {
    Options random = options;
    random.name = name + ".learn";
    random.strategy = Strategy::kRandom;
    random.max_schedules = std::min<std::uint64_t>(300, options.max_schedules);
    random.quiet = true;
    const Result r = Explorer(random).explore(body);
    if (!r.ok) return r;
    written.merge();
    schedules += r.schedules;
    if (options.strategy == Strategy::kDfs) options.preemptions = std::min(bound, 1u);
  }
  for (int round = 1;; ++round) {
    options.name = name + (round == 1 ? "" : "." + std::to_string(round));
    Options quiet = options;
    quiet.quiet = true;
    quiet.max_schedules = options.max_schedules - std::min(schedules, options.max_schedules - 1);
    Result r = Explorer(quiet).explore(body);
    schedules += r.schedules;
    const bool learnt = written.merge() && options.strategy == Strategy::kDfs;
    const bool deeper = options.strategy == Strategy::kDfs && options.preemptions < bound;
    if (!r.ok || schedules >= options.max_schedules || (!learnt && !deeper)) {
      r.schedules = schedules;
      if (!options.quiet) {
        std::printf("[tern] %s: %s%s%s\n", name.c_str(), r.summary().c_str(), r.ok ? "" : ": ",
                    r.ok ? "" : r.failure.substr(0, r.failure.find('\n')).c_str());
        std::fflush(stdout);
      }
      return r;
    }
    if (!learnt) ++options.preemptions;
  }
}

// --- the store
// ------------------------------------------------------------------------------------

template <Mutant M = Mutant::kNone, template <Mutant> class Policy = EngineSync>
class Rig {
 public:
  using Sync = Policy<M>;
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
  explicit Rig(int threads, std::size_t memory_bytes = std::size_t{4} << 20,
               const std::function<void(tern::detail::CoreOptions&)>& with = {}) {
    if constexpr (!kIsWeak) Sync::mutant = M;
    PrivateArena::rewind(0);
    std::memset(PrivateArena::begin(), 0, std::size_t{1} << 20);
    tern::alloc::unpoison(region_, kRegionBytes);
    std::memset(region_, 0, kRegionBytes);
    now_ms = 0;
    new (core_memory_) Core;
    tern::detail::CoreOptions o;
    o.memory_bytes = memory_bytes;
    o.region = region_;
    o.region_bytes = kRegionBytes;
    o.seed = kSeed;
    o.huge_pages = false;
    o.time = {[](const void* ms) { return *static_cast<const std::uint64_t*>(ms); }, &now_ms};
    if (with) with(o);
    if (core().open(o) != tern::alloc::Error::kNone) std::abort();
    // The last is the test's own: for filling, and for looking afterwards.
    for (int i = 0; i <= threads; ++i)
      thread_[i] = core().space.register_thread(static_cast<std::uint64_t>(i) + 1);
    own_ = threads;
    recorder_ = std::make_unique<Recorder<RegisterOp>>(static_cast<unsigned>(threads + 1), 4096);
  }
  Rig(const Rig&) = delete;
  Rig& operator=(const Rig&) = delete;
  ~Rig() {
    if constexpr (!kIsWeak) Sync::mutant = Mutant::kNone;
  }

  static Core& core() { return *std::launder(reinterpret_cast<Core*>(core_memory_)); }
  static Thr& thread(int i) { return *thread_[i]; }
  Thr& own() { return *thread_[own_]; }
  int own_index() const { return own_; }
  static tern::detail::Shard<Sync>& shard() { return core().table.shard(0); }

  static inline std::uint64_t now_ms = 0;
  std::vector<std::size_t> more_sizes;  // of blocks that the schedules ask for

  // The state that each schedule begins from is the present one.
  void freeze() {
    for (auto& call : recorder_->take()) before_.push_back(std::move(call));
    saved_.clear();
    auto& heap = core().space.heap;
    tern::alloc::unpoison(region_, kRegionBytes);  // blocks in magazines are copied too
    if (core().evicts) {
      // What the policy remembers: the first extent, from the top, is above the next.
      const std::uint64_t next = heap.allocate_extent(1);
      heap.free_extent(next, 1);
      tern::alloc::unpoison(region_, kRegionBytes);
      save(heap.at(next) + tern::alloc::BasicHeap<Sync>::kGranuleBytes,
           tern::detail::EvictionPolicy<Sync>::words(core().bound.max) * sizeof(std::uint64_t));
    }
    if (tern::detail::Events<Sync> events(core().space); events.ring(0) != nullptr) {
      save(events.ring(0), events.ring(0)->bytes_for(events.ring(0)->cells()) * events.shards());
    }
    std::byte* from = nullptr;
    std::byte* to = nullptr;
    heap.for_each_block([&](std::uint64_t offset, std::size_t bytes, bool free) {
      if (free) return;
      std::byte* at = heap.at(offset);
      if (at != to) {
        if (from != nullptr) save(from, static_cast<std::size_t>(to - from));
        from = at;
      }
      to = at + bytes;
    });
    if (from != nullptr) save(from, static_cast<std::size_t>(to - from));
    // A batch of each size that the tests use into each thread's magazines; what lies in a free
    // block is nobody's.
    for (int i = 0; i <= own_; ++i) {
      for (std::size_t bytes = 16; bytes <= 72; bytes += 8) {
        heap.free(thread(i).cache, heap.allocate(thread(i).cache, bytes));
      }
      if (core().evicts) heap.free(thread(i).cache, heap.allocate(thread(i).cache, 512));  // a segment of its queues
      for (std::size_t bytes : more_sizes) heap.free(thread(i).cache, heap.allocate(thread(i).cache, bytes));
    }
    save(core_memory_, sizeof(Core));
    private_used_ = PrivateArena::used();
    save(PrivateArena::begin(), private_used_);
    save(heap.base(), 4096);  // the first 64 buckets
    save(heap.base() + core().table_bytes_, heap.stats().overhead_bytes);
    now_at_freeze_ = now_ms;
  }

  void restore() {
    tern::alloc::unpoison(region_, kRegionBytes);
    const unsigned char* copy = saved_bytes_.data();
    for (const Saved& s : saved_) {
      std::memcpy(s.at, copy, s.bytes);
      copy += s.bytes;
    }
    PrivateArena::rewind(private_used_);
    now_ms = now_at_freeze_;
    (void)recorder_->take();
    for (const auto& call : before_) {
      auto& again = recorder_->begin(call.thread, call.op);
      recorder_->end(again);
    }
    complaint_.clear();
    for (auto& call : open_) call = nullptr;
    EngineEngine::skipped = 0;
  }

  // Holds the key's record, if there is one, over a step outside of any guard: it must stay as it is.
  void hold_for_a_step(int t, const Key& key) {
    std::uint64_t offset = 0;
    {
      tern::detail::Guard<Sync> guard(core().space, thread(t));
      const auto found = core().table.find(key.hash, key.view());
      if (!found || !core().space.try_hold(*found.record)) return;
      offset = found.word.offset();
    }
    step(nullptr);
    const auto& r = *core().space.record(offset);
    if (!core().space.has_key(r, r.stamp_word(), key.view())) complain("a held record has changed");
    core().space.drop_hold(thread(t), offset);
  }

  // --- recorded operations ---

  // A removal that the hook was told of, by the thread that removed: somewhere in its call.
  void evicted(std::uint32_t key, bool pending = false, int by = -1) {
    const int t = by >= 0 ? by : t_scheduler != nullptr ? current_thread() : own_;
    RegisterOp op;
    op.kind = Kind::kEvict;
    op.key = key;
    op.now_ms = now_ms;
    auto& call = recorder_->begin(static_cast<unsigned>(t), std::move(op));
    if (open_[t] != nullptr) call.begin = open_[t]->begin;
    if (!pending) recorder_->end(call);
  }

  std::uint64_t set(int t, const Key& key, std::string_view value) {
    auto& call = begin(t, Kind::kSet, key, value);
    tern::detail::PutChange<Sync> change(core().space, thread(t), key.view(), value);
    return end(call, core().write(thread(t), key.hash, key.view(), change));
  }
  // A condition, a lifetime.
  std::uint64_t set(int t, const Key& key, std::string_view value,
                    const tern::detail::SetTerms& terms) {
    auto& call = begin(t, terms.if_absent ? Kind::kSetNx : Kind::kSet, key, value);
    if (terms.has_deadline) call.op.deadline_ms = terms.deadline_ms;
    tern::detail::SetChange<Sync> change(core().space, thread(t), key.view(), value, terms);
    return end(call, core().write(thread(t), key.hash, key.view(), change));
  }
  std::uint64_t set_nx(int t, const Key& key, std::string_view value) {
    return set(t, key, value, {.if_absent = true});
  }
  bool del(int t, const Key& key) {
    auto& call = begin(t, Kind::kDel, key);
    tern::detail::RemoveChange<Sync> change(core().space, thread(t), key.view());
    const auto c = core().write(thread(t), key.hash, key.view(), change, true);
    call.op.refused = c.outcome == Outcome::kOutOfMemory;
    call.op.ok = c.outcome == Outcome::kRemoved && change.existed;
    finish(call);
    return call.op.ok;
  }
  bool cas(int t, const Key& key, std::string_view expected, std::string_view desired) {
    auto& call = begin(t, Kind::kCompareAndSwap, key, desired);
    call.op.expected = expected;
    tern::detail::SwapChange<Sync> change(core().space, thread(t), key.view(), desired);
    change.expect_value(expected);
    end(call, core().write(thread(t), key.hash, key.view(), change));
    return call.op.ok;
  }
  std::string get_and_set(int t, const Key& key, std::string_view value) {
    auto& call = begin(t, Kind::kGetAndSet, key, value);
    tern::detail::SetChange<Sync> change(core().space, thread(t), key.view(), value, {});
    change.copy_previous(
        [](void* to, std::string_view previous) {
          static_cast<std::string*>(to)->assign(previous);
          return true;
        },
        &call.op.value);
    const auto c = core().write(thread(t), key.hash, key.view(), change);
    end(call, c);
    call.op.ok = change.existed;
    return call.op.value;
  }
  bool expire(int t, const Key& key, std::uint64_t deadline_ms) {
    auto& call = begin(t, Kind::kExpire, key);
    call.op.deadline_ms = deadline_ms;
    const auto touched = core().set_deadline(thread(t), key.hash, key.view(), deadline_ms);
    call.op.refused = touched.outcome == Outcome::kOutOfMemory;
    call.op.ok = touched.existed;
    finish(call);
    return call.op.ok;
  }
  // With the version; by way of find and head.
  std::string get(int t, const Key& key) {
    auto& call = begin(t, Kind::kGet, key);
    {
      tern::detail::Guard<Sync> guard(core().space, thread(t));
      const auto head = core().head(key.hash, key.view());
      call.op.ok = head.present;
      if (head.present) {
        step(nullptr);  // the reader may stand here, inside its guard, with the value in hand
        call.op.version = head.version;
        call.op.value.assign(head.value, std::min<std::size_t>(head.value_size, 15));
      }
    }
    finish(call);
    return call.op.value;
  }
  // The shortest way, without the version.
  std::string copy(int t, const Key& key) {
    auto& call = begin(t, Kind::kGet, key);
    char out[16];
    namespace base = tern::detail::base;
    std::uint64_t size = base::copy_plain<base::KeySize::kAny>(thread(t), key.hash, key.view(), out, sizeof out);
    if (size == base::kOtherLength) size = base::copy_other(thread(t), key.view(), out, sizeof out);
    if (size == base::kUncounted) size = base::count_hits(core(), thread(t));
    if (size == base::kNoMatch && base::is_missing(thread(t).geometry, key.hash)) size = tern::detail::kMissing;
    if (size == base::kNoMatch || size == tern::detail::kUndecided)
      size = core().copy(thread(t), key.hash, key.view(), out, sizeof out);
    call.op.ok = size <= sizeof out;
    if (call.op.ok) call.op.value.assign(out, size);
    finish(call);
    return call.op.value;
  }

  // A view, read twice for each key. Each reading is a get at the moment of open().
  Opened open_view(int t, std::initializer_list<const Key*> keys,
                   std::vector<Call<RegisterOp>*>& calls) {
    for (const Key* key : keys) calls.push_back(&begin(t, Kind::kGet, *key));
    return core().space.views.open(tern::detail::ViewOwner::kUser);
  }
  std::string read_at(int t, const Key& key, const Opened& view, bool& present) {
    tern::detail::Guard<Sync> guard(core().space, thread(t));
    const auto found = core().table.find(key.hash, key.view());
    const std::uint64_t at =
        found ? Versions::at_view(core().space, found.word.offset(), view.stamp) : 0;
    present = false;
    if (at == 0 || Versions::is_dead_at(core().space, at, view.stamp)) return {};
    const Rec& r = *core().space.record(at);
    const auto s = r.stamp_word();
    if (s.tomb()) return {};
    using Leases = tern::detail::Leases<Sync>;
    const std::uint64_t lease = Leases::of(core().space, r, s);
    if (lease != 0 && Leases::is_over_at(core().table, lease, view.stamp, now_ms)) return {};
    present = true;
    const auto v = core().space.value_of(r, s, key.bytes.size());
    step(nullptr);
    return std::string(v.data, std::min<std::uint64_t>(v.size, 15));
  }
  // Opens, reads each key, and again, and closes. Answers what the keys had, "-" for absent.
  std::vector<std::string> look(int t, std::initializer_list<const Key*> keys) {
    std::vector<Call<RegisterOp>*> calls;
    calls.reserve(keys.size());
    const Opened view = open_view(t, keys, calls);
    // The call ends here, but it has no answer yet, and never has if the thread stops before it
    // reads.
    std::vector<std::uint64_t> ends;
    for (auto* call : calls) {
      finish(*call);
      ends.push_back(std::exchange(call->end, Call<RegisterOp>::kPending));
    }
    std::vector<std::string> values;
    for (int pass = 0; pass != 2; ++pass) {
      std::size_t i = 0;
      for (const Key* key : keys) {
        bool present;
        std::string value = read_at(t, *key, view, present);
        if (!present) value = "-";
        if (pass == 0) {
          calls[i]->op.ok = present;
          calls[i]->op.value = present ? value : "";
          calls[i]->end = ends[i];
          values.push_back(value);
        } else if (values[i] != value) {
          complain("a view changed under its reader: '" + values[i] + "', then '" + value + "'");
        }
        ++i;
      }
    }
    core().space.views.close(view);
    {
      tern::detail::Guard<Sync> guard(core().space, thread(t));
      core().kept_keys()->review(thread(t), shard(), 16);
    }
    return values;
  }
  // What a view answers for one key: "-" for absent, "!" once it has ended.
  std::string view_get(int t, const View& view, const Key& key) {
    std::string value = "-";
    const auto outcome = Views(core()).read(thread(t), view, key.hash, key.view(), [&](const auto& head) {
      step(nullptr);
      value.assign(head.value, std::min<std::uint64_t>(head.value_size, 15));
    });
    return outcome == Views::Outcome::kEnded ? "!" : value;
  }
  // All of it, "key=value" in order of the keys; "!" if it has ended.
  std::vector<std::string> view_walk(int t, const View& view) {
    std::vector<std::string> all;
    tern::detail::ViewCursor cursor;
    bool ended = false;
    for (;;) {
      tern::detail::Guard<Sync> guard(core().space, thread(t));
      if (!Views(core()).step(view, cursor, step_, ended)) break;
      for (unsigned i = 0; i != step_.count; ++i) {
        all.push_back(std::string(step_.key[i]) + "=" + std::string(step_.head[i].bytes()));
      }
    }
    std::sort(all.begin(), all.end());
    if (ended) return {"!"};
    return all;
  }
  // Many keys at one moment, by Moment::read.
  std::vector<std::string> moment(int t, std::initializer_list<const Key*> keys) {
    std::vector<Call<RegisterOp>*> calls;
    std::vector<std::string_view> names;
    for (const Key* key : keys) {
      names.push_back(key->view());
      calls.push_back(&begin(t, Kind::kGet, *key));
    }
    std::vector<typename Moment::Cell> cells(names.size());
    std::vector<std::string> values(names.size());
    (void)Moment::read(core(), thread(t), names.data(), names.size(), cells.data(),
                       [&](std::size_t i, const char* value, std::uint64_t size) {
                         values[i] = value == nullptr
                                         ? "-"
                                         : std::string(value, std::min<std::uint64_t>(size, 15));
                       });
    for (std::size_t i = 0; i != values.size(); ++i) {
      calls[i]->op.ok = values[i] != "-";
      calls[i]->op.value = values[i] == "-" ? "" : values[i];
      recorder_->end(*calls[i]);
    }
    return values;
  }

  bool grow(int t) {
    tern::detail::Guard<Sync> guard(core().space, thread(t));
    return Growth::grow_one(core().table, thread(t), shard());
  }
  bool help_split(int t, std::uint32_t bucket) {
    tern::detail::Guard<Sync> guard(core().space, thread(t));
    return Growth::help_split(core().table, thread(t), shard(), bucket);
  }
  // Outside a guard: frees what no other thread protects.
  void reclaim(int t) { core().space.epoch.reclaim(core().space, thread(t)); }

  // --- judging ---

  void complain(std::string what) {
    if (complaint_.empty()) complaint_ = std::move(what);
  }

  std::function<void()> at_end;  // recorded operations of the own thread, after all others

  // After a schedule in which nobody was stopped for ever.
  std::string check() {
    if (at_end) at_end();
    if (complaint_.empty()) check_table();
    if (complaint_.empty() && (audit_always || checks_++ % 16 == 0)) {
      tern::detail::Audit<Sync> audit(
          core(), [this](const char* what) { complain(std::string("audit: ") + what); });
      if (complaint_.empty() && check_accounts && !audit.accounts_agree()) {
        complain("accounts: " + std::to_string(audit.allocated_bytes) + " bytes handed out, " +
                 std::to_string(audit.table_bytes) + " in the table, " +
                 std::to_string(audit.limbo_bytes) + " in limbo, " +
                 std::to_string(audit.cached_bytes) + " in magazines");
      }
    }
    if (complaint_.empty() && clock_orders == kIsWeak) check_histories();
    return complaint_;
  }
  // After one in which somebody was: the answers that were given. What a stopped thread has evicted, it didn't tell.
  std::string check_stopped() {
    for (int t = 0; core().evicts && t != own_; ++t) {
      if ((frozen_threads() >> t & 1) == 0 || open_[t] == nullptr) continue;
      for (std::uint32_t key = 1; key <= keys_told; ++key) evicted(key, true, t);
    }
    if (complaint_.empty()) check_histories();
    return complaint_;
  }
  bool check_accounts = true;
  std::uint32_t keys_told = 0;  // the greatest number of a key that can be evicted
  // "Ended before the other began" means something under a weak memory model only if the later call
  // happens after the earlier: the history's clock is then part of the machine. Without it (where
  // it would hide what is looked for), and under such a model, histories aren't judged. Under a
  // sequentially consistent one it would only add steps.
  static constexpr bool kIsWeak = !std::is_same_v<Sync, EngineSync<M>>;
  bool clock_orders = kIsWeak;
  bool audit_always = false;  // the whole walk, heap included, takes longer than the schedule

  // All keys' histories, with those calls that a stopped thread left pending.
  void check_histories() {
    const History<RegisterOp> all = recorder_->take();
    std::map<std::uint32_t, History<RegisterOp>> by_key;
    for (const auto& call : all) by_key[call.op.key].push_back(call);
    for (const auto& [key, history] : by_key) {
      if (checker_.check(history) == Verdict::kIllegal)
        complain("not linearizable:\n" + checker_.explain(history));
    }
  }

 private:
  struct Saved {
    void* at;
    std::size_t bytes;
  };

  void save(void* at, std::size_t bytes) {
    if (saved_.empty()) saved_bytes_.clear();
    saved_.push_back({at, bytes});
    const auto* from = static_cast<const unsigned char*>(at);
    saved_bytes_.insert(saved_bytes_.end(), from, from + bytes);
  }

  Call<RegisterOp>& begin(int t, Kind kind, const Key& key, std::string_view argument = {}) {
    RegisterOp op;
    op.kind = kind;
    op.key = key.id;
    op.argument = argument.substr(0, 15);  // and so are answers: no allocation in a schedule
    op.now_ms = now_ms;
    auto& call = recorder_->begin(static_cast<unsigned>(t), std::move(op));
    open_[t] = &call;
    if (clock_orders) clock_.fetch_add(1, std::memory_order_acq_rel);
    return call;
  }
  void finish(Call<RegisterOp>& call) {
    if (clock_orders) clock_.fetch_add(1, std::memory_order_acq_rel);
    recorder_->end(call);
  }
  std::uint64_t end(Call<RegisterOp>& call, const tern::detail::Committed& c) {
    call.op.refused = c.outcome == Outcome::kOutOfMemory;
    call.op.ok = c.outcome == Outcome::kPut;
    call.op.version = call.op.ok ? c.version : 0;
    finish(call);
    return call.op.ok ? c.version : 0;
  }

  // Each key has one live record, in its home; what is in limbo is there once, and in no slot and
  // no chain.
  void check_table() {
    retired_.clear();
    core().space.for_each_thread_state([&](Thr& t) {
      for (auto* ring = &t.epoch.ring; ring != nullptr;
           ring = ring->next.load(std::memory_order_relaxed)) {
        for (auto& bag : ring->bags) {
          using Bag = tern::detail::Bag<Sync>;
          const std::uint64_t state = bag.state.load(std::memory_order_relaxed);
          if (state != Bag::kFull && state != Bag::kOpen) continue;
          for (std::uint64_t i = 0; i != bag.end(); ++i) retired_.push_back(bag.records[i]);
        }
      }
    });
    std::sort(retired_.begin(), retired_.end());
    if (std::adjacent_find(retired_.begin(), retired_.end()) != retired_.end()) {
      return complain("a record was retired twice");
    }
    hashes_.clear();
    std::uint64_t live = 0;
    auto& table = core().table;
    const auto size = table.size_of(shard());
    for (std::uint32_t b = 0; b != size.buckets(); ++b) {
      const bool ready = table.bucket(shard(), b).control().ready();
      table.for_each_slot(table.bucket(shard(), b), [&](auto&, tern::detail::SlotWord w) {
        if (w.is_tentative()) complain("a tentative entry is left");
        if (!w.is_current()) return true;
        const Rec& head = *core().space.record(w.offset());
        const auto key = core().space.key_of(head, head.stamp_word());
        const std::uint64_t hash = core().hash_of({key.data, static_cast<std::size_t>(key.size)});
        hashes_.push_back(hash);
        if (size.home(hash) != b && !w.is_frozen()) complain("an entry is not in its home bucket");
        if (ready && w.is_frozen()) complain("a frozen entry is left in a finished bucket");
        if (!head.stamp_word().stamped()) complain("a record is left unstamped");
        if (!head.stamp_word().tomb()) ++live;
        std::uint64_t version = ~std::uint64_t{0};
        int length = 0;
        for (std::uint64_t at = w.offset(); at != 0 && ++length < 100;) {
          if (std::binary_search(retired_.begin(), retired_.end(), at))
            complain("a record that is linked was retired");
          const Rec& r = *core().space.record(at);
          if (r.hold_word().version() >= version) complain("versions don't fall along a chain");
          version = r.hold_word().version();
          at = r.stamp_word().nolink() ? 0 : r.link_word().older();
        }
        return true;
      });
    }
    std::sort(hashes_.begin(), hashes_.end());
    if (std::adjacent_find(hashes_.begin(), hashes_.end()) != hashes_.end())
      complain("a key has two live records");
    if (live != shard().live.load(std::memory_order_relaxed))
      complain("the count of entries is wrong");
  }

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
  std::unique_ptr<Recorder<RegisterOp>> recorder_;
  History<RegisterOp> before_;
  std::string complaint_;
  std::uint64_t checks_ = 0;
  std::vector<std::uint64_t> retired_;
  std::vector<std::uint64_t> hashes_;
  LinearizabilityChecker<RegisterSpec> checker_;
};

}  // namespace tern::concurrency

#endif  // TERN_TESTS_ENGINE_SCHEDULES_RIG_H_
