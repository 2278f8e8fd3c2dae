// Namespaces, leases, locks, fences, batches, tags, clears, views, watches and snapshots at once, each answer beside a model's.
// What a watch tells, put together, is what is there; what a view shows, or a snapshot has, is what was there.
#include <tern/namespace.h>
#include <tern/snapshot.h>
#include <tern/store.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <filesystem>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "tests/engine/api/store_fixture.h"

namespace tern::test {
namespace {

constexpr unsigned kNamespaces = 3;  // the default one is the first
constexpr std::int64_t kNever = std::int64_t{1} << 60;
const Error kOk{}, kBusy{Status::kTimedOut, Field::kLock}, kLost{Status::kMismatch, Field::kToken}, kFenced{Status::kMismatch, Field::kFence},
    kOver{Status::kNotFound, Field::kLease};

struct ModelEntry {
  std::string value;
  std::string tag;  // empty: none
  std::int64_t deadline = kNever;
  LeaseId lease = 0;
};
struct ModelLease {
  std::int64_t ttl = 0, deadline = 0;
  bool ended = false;
};
struct ModelLock {
  std::uint64_t token = 0;
  LeaseId lease = 0;
  bool own = false;
};
using Contents = std::map<std::string, std::string>;

// What a watch has told, put together.
struct Mirror {
  struct Told {
    std::string value, tags;
    std::uint64_t stamp = 0;
  };
  Watch watch;
  unsigned ns = 0;
  std::map<std::string, Told> told;
  bool has_gap = false;

  void take(const Change& c) {
    switch (c.kind) {
      case ChangeKind::kPut: told[std::string(c.key)] = {std::string(c.value), std::string(c.tags), c.stamp}; break;
      case ChangeKind::kDelete:
      case ChangeKind::kExpire:
      case ChangeKind::kEvict: told.erase(std::string(c.key)); break;
      case ChangeKind::kInvalidate:
        std::erase_if(told, [&](const auto& t) {
          if (t.second.stamp > c.stamp) return false;
          if (c.scope == ChangeScope::kPrefix) return t.first.starts_with(c.key);
          Change of;
          of.tags = t.second.tags;
          return c.scope != ChangeScope::kTag || of.has_tag(c.key);
        });
        break;
      case ChangeKind::kGap: has_gap = true; break;
      case ChangeKind::kSynced:
      case ChangeKind::kProgress: break;
    }
  }
};
struct Shown {
  View view;
  unsigned ns = 0;
  Contents contents;
};

class Together {
 public:
  explicit Together(unsigned seed) : draw_(seed) {
    store_ = open_or_fail(options_of_a_life());
    open_names();
  }
  ~Together() { remove_files(); }

  void run(unsigned steps) {
    using Step = void (Together::*)();
    static constexpr Step kSteps[] = {
        &Together::set,        &Together::set,    &Together::set,     &Together::set,        &Together::del,    &Together::append,
        &Together::expire,     &Together::attach, &Together::batch,   &Together::batch,      &Together::grant,  &Together::keep_alive,
        &Together::revoke,     &Together::lock,   &Together::lock,    &Together::unlock,     &Together::unlock, &Together::keep_lock,
        &Together::invalidate, &Together::pass,   &Together::pass,    &Together::tick,       &Together::tick,   &Together::watch,
        &Together::poll,       &Together::poll,   &Together::view,    &Together::close_view, &Together::look,   &Together::look,
        &Together::fenced,     &Together::fenced, &Together::members, &Together::settle, &Together::restart,
    };
    for (unsigned n = 0; n != steps && !testing::Test::HasFailure(); ++n) (this->*kSteps[below(std::size(kSteps))])();
    settle();
    look_at_all();
    views_.clear();
    mirrors_.clear();
    EXPECT_TRUE(whole(store_)) << "at the end";
  }

  unsigned compared = 0, restarts = 0;  // watches with what is there

 private:
  unsigned below(std::size_t n) { return static_cast<unsigned>(draw_() % n); }
  bool one_in(unsigned n) { return below(n) == 0; }
  std::string key() {
    static const std::vector<std::string> kKeys = {"a",  "b",      "a.b", "a.c", "\xFF", std::string("\xFF\x80\0n", 4), "\xFF\xFF\xFD",
                                                   "\1", "\1lock\1n", "z",   std::string(200, 'l'), std::string(70'000 % 65'000, 'm')};
    return kKeys[below(kKeys.size())];
  }
  std::string value() { return one_in(40) ? pattern(1'000 + below(100'000), below(1'000)) : pattern(below(60), below(1'000)); }
  std::int64_t now() const { return clock_.now().count(); }
  // The call with the namespace's handle, or with the store.
  template <class Fn>
  auto with(unsigned ns, Fn&& fn) {
    return ns == 0 ? fn(store_) : fn(named_[ns - 1]);
  }

  // --- the model -----------------------------------------------------------------------------------------------
  bool lives(LeaseId id) const {
    const auto at = leases_.find(id);
    return at != leases_.end() && !at->second.ended && now() < at->second.deadline;
  }
  bool lives(const ModelEntry& e) const { return now() < e.deadline && (e.lease == 0 || lives(e.lease)); }
  ModelEntry* find(unsigned ns, const std::string& key) {
    const auto at = entries_[ns].find(key);
    return at != entries_[ns].end() && lives(at->second) ? &at->second : nullptr;
  }
  ModelLock* holder(unsigned ns, const std::string& name) {
    const auto at = locks_[ns].find(name);
    return at != locks_[ns].end() && lives(at->second.lease) ? &at->second : nullptr;
  }
  Contents contents(unsigned ns) const {
    Contents all;
    for (const auto& [key, e] : entries_[ns]) {
      if (lives(e)) all[key] = e.value;
    }
    return all;
  }
  // 0: none, or no such lease any more; else one that was given, dead or alive.
  LeaseId any_lease() {
    if (leases_.empty()) return 0;
    auto at = leases_.end();
    std::advance(at, -1 - static_cast<int>(below(std::min<std::size_t>(leases_.size(), 8))));
    return at->first;
  }

  Options options_of_a_life() {
    Options o = small_options(&clock_);
    o.memory_bytes = 32 * kMiB;
    o.shard_count = 1u << below(7);
    o.ordered = one_in(2);
    o.eviction = false;
    return o;
  }
  void open_names() {
    named_.clear();
    for (const char* name : {"a", "b"}) named_.push_back(*store_.ns(name));
  }
  void remove_files() const {
    for (const char* more : {"", ".1", ".lock", ".new"}) std::filesystem::remove(path_ + more);
  }
  milliseconds wall() const { return kWall + clock_.now(); }

  // --- steps ---------------------------------------------------------------------------------------------------
  // Options of a set, and what the model makes of them. `tag_view_` backs the tags.
  SetOptions options(ModelEntry& e) {
    SetOptions o;
    if (one_in(4)) {
      const auto ttl = 1 + below(4'000);
      o.ttl = milliseconds(ttl);
      e.deadline = now() + ttl;
    }
    if (one_in(3)) o.lease = e.lease = any_lease();
    if (one_in(4)) {
      e.tag = one_in(2) ? "red" : "blue";
      tag_view_ = e.tag;
      o.tags = {&tag_view_, 1};
    }
    return o;
  }
  void set() {
    const unsigned ns = below(kNamespaces);
    const std::string k = key();
    ModelEntry e{value(), {}, kNever, 0};
    SetOptions o = options(e);
    const bool there = find(ns, k) != nullptr;
    o.if_absent = one_in(6);
    o.if_present = !o.if_absent && one_in(6);
    const Error expected = o.lease != 0 && !lives(o.lease) ? kOver : o.if_absent && there ? Error{Status::kExists, Field::kNone}
                           : o.if_present && !there       ? Error{Status::kNotFound, Field::kNone} : kOk;
    const auto r = with(ns, [&](const auto& h) { return h.set(k, e.value, o); });
    ASSERT_EQ(r.error(), expected);
    if (r) entries_[ns][k] = e;
  }
  void del() {
    const unsigned ns = below(kNamespaces);
    const std::string k = key();
    ASSERT_EQ(*with(ns, [&](const auto& h) { return h.del(k); }), find(ns, k) != nullptr);
    entries_[ns].erase(k);
  }
  void append() {
    const unsigned ns = below(kNamespaces);
    const std::string k = key(), more = pattern(1 + below(20), below(100));
    ModelEntry* e = find(ns, k);
    if (e == nullptr) e = &(entries_[ns][k] = ModelEntry());
    e->value += more;
    ASSERT_EQ(*with(ns, [&](const auto& h) { return h.append(k, more); }), e->value.size());
  }
  void expire() {
    const unsigned ns = below(kNamespaces);
    const std::string k = key();
    ModelEntry* const e = find(ns, k);
    const auto ttl = static_cast<std::int64_t>(below(3'000));
    if (one_in(3)) {
      ASSERT_EQ(*with(ns, [&](const auto& h) { return h.persist(k); }), e != nullptr && e->deadline != kNever);
      if (e != nullptr) e->deadline = kNever;
      return;
    }
    ASSERT_EQ(*with(ns, [&](const auto& h) { return h.expire(k, milliseconds(ttl)); }), e != nullptr);
    if (e != nullptr) e->deadline = now() + ttl;
  }
  void attach() {
    const unsigned ns = below(kNamespaces);
    const std::string k = key();
    const LeaseId id = any_lease();
    const Lease lease = store_.lease_of(id);
    const Result<bool> r = ns == 0 ? lease.attach(k) : lease.attach(named_[ns - 1], k);
    if (!lives(id)) {
      ASSERT_EQ(r.error(), kOver);
      return;
    }
    ModelEntry* const e = find(ns, k);
    ASSERT_EQ(*r, e != nullptr);
    if (e != nullptr) e->lease = id;
  }
  void batch() {
    WriteBatch b;
    auto then = entries_;
    bool holds = true, over = false;
    for (unsigned n = 1 + below(6); n != 0; --n) {
      const unsigned ns = below(kNamespaces);
      const std::string k = key();
      ns == 0 ? b.in(store_) : b.in(named_[ns - 1]);
      switch (below(5)) {
        case 0:
        case 1: {
          ModelEntry e{value(), {}, kNever, 0};
          const SetOptions o = options(e);
          over = over || (o.lease != 0 && !lives(o.lease));
          b.set(k, e.value, o);
          then[ns][k] = e;
          break;
        }
        case 2:
          b.del(k);
          then[ns].erase(k);
          break;
        case 3:
          if (one_in(2)) {
            b.require_absent(k);
            holds = holds && find(ns, k) == nullptr;
          } else {
            b.require_present(k);
            holds = holds && find(ns, k) != nullptr;
          }
          break;
        default: {
          const std::string name = one_in(2) ? "n" : "m";
          ModelLock* const l = holder(ns, name);
          const std::uint64_t token = l != nullptr && !one_in(4) ? l->token : 1 + below(1'000);
          b.require_fence({name, token, static_cast<std::uint16_t>(ns)});
          holds = holds && l != nullptr && l->token == token;
        }
      }
    }
    const Result<void> r = with(below(kNamespaces), [&](const auto& h) { return h.write(b); });
    ASSERT_EQ(r.error(), over ? kOver : holds ? kOk : (Error{Status::kConflict, Field::kNone}));
    if (r) entries_ = then;
  }

  void grant() {
    const auto ttl = 1 + below(6'000);
    const auto lease = store_.lease(milliseconds(ttl));
    ASSERT_TRUE(lease);
    ASSERT_TRUE(leases_.empty() || lease->id() > leases_.rbegin()->first);
    leases_[lease->id()] = {ttl, now() + ttl, false};
  }
  void keep_alive() {
    const LeaseId id = any_lease();
    const auto r = store_.lease_of(id).keep_alive();
    ASSERT_EQ(r.error(), lives(id) ? kOk : kOver);
    if (r) leases_[id].deadline = now() + leases_[id].ttl;
    const auto rest = store_.lease_of(id).remaining();
    ASSERT_EQ(rest.found(), lives(id));
    if (rest) {
      ASSERT_EQ(rest->count(), leases_[id].deadline - now());
    }
  }
  void revoke() {
    if (one_in(2)) return;
    const LeaseId id = any_lease();
    ASSERT_EQ(*store_.lease_of(id).revoke(), lives(id));
    leases_[id].ended = true;
  }

  void lock() {
    const unsigned ns = below(kNamespaces);
    const std::string name = one_in(2) ? "n" : "m";
    LockOptions o;
    o.ttl = milliseconds(1 + below(6'000));
    if (one_in(2)) o.lease = any_lease();
    ModelLock* const l = holder(ns, name);
    auto r = with(ns, [&](const auto& h) { return h.try_lock(name, o); });
    ASSERT_EQ(r.error(), l != nullptr ? kBusy : o.lease != 0 && !lives(o.lease) ? kOver : kOk);
    if (!r) return;
    ASSERT_GT(r->token(), given_[ns][name]);
    last_token_ = given_[ns][name] = r->token();
    locks_[ns][name] = {r->token(), r->lease(), o.lease == 0};
    if (o.lease == 0) leases_[r->lease()] = {o.ttl.count(), now() + o.ttl.count(), false};
    r->release();
  }
  void unlock() {
    const unsigned ns = below(kNamespaces);
    const std::string name = one_in(2) ? "n" : "m";
    ModelLock* const l = holder(ns, name);
    const std::uint64_t token = l != nullptr && !one_in(3) ? l->token : last_token_ - below(5);
    const bool mine = l != nullptr && l->token == token;
    ASSERT_EQ(with(ns, [&](const auto& h) { return h.unlock(name, token); }).error(), mine ? kOk : kLost);
    if (!mine) return;
    if (l->own) leases_[l->lease].ended = true;
    locks_[ns].erase(name);
  }
  void keep_lock() {
    const unsigned ns = below(kNamespaces);
    const std::string name = one_in(2) ? "n" : "m";
    ModelLock* const l = holder(ns, name);
    const auto info = with(ns, [&](const auto& h) { return h.lock_info(name); });
    ASSERT_EQ(info.found(), l != nullptr);
    if (l == nullptr) return;
    ASSERT_EQ(info->token, l->token);
    ASSERT_EQ(info->lease, l->lease);
    ASSERT_EQ(info->remaining.count(), leases_[l->lease].deadline - now());
  }
  void fenced() {
    const unsigned of = below(kNamespaces), ns = below(kNamespaces);
    const std::string name = one_in(2) ? "n" : "m", k = key();
    ModelLock* const l = holder(of, name);
    ModelEntry e{value(), {}, kNever, 0};
    SetOptions o = options(e);
    const std::uint64_t token = l != nullptr && !one_in(3) ? l->token : last_token_ - below(3);
    o.if_fence = Fence{name, token, static_cast<std::uint16_t>(of)};
    const bool holds = l != nullptr && l->token == token;
    const auto r = with(ns, [&](const auto& h) { return h.set(k, e.value, o); });
    ASSERT_EQ(r.error(), o.lease != 0 && !lives(o.lease) ? kOver : holds ? kOk : kFenced);
    if (r) entries_[ns][k] = e;
  }

  void invalidate() {
    if (one_in(2)) return;
    const unsigned ns = below(kNamespaces);
    auto& entries = entries_[ns];
    switch (below(6)) {
      case 0: {
        const bool by_prefix = one_in(2);
        ASSERT_TRUE(with(ns, [&](const auto& h) { return by_prefix ? h.del_prefix("") : h.clear(); }));
        entries.clear();
        locks_[ns].clear();
        if (ns == 0) {
          for (auto& [id, l] : leases_) l.ended = true;
        }
        break;
      }
      case 1: {
        const std::string prefix = key().substr(0, 1 + below(3));
        ASSERT_TRUE(with(ns, [&](const auto& h) { return h.del_prefix(prefix); }));
        std::erase_if(entries, [&](const auto& e) { return e.first.starts_with(prefix); });
        break;
      }
      case 2: {
        const std::string tag = one_in(2) ? "red" : "blue";
        ASSERT_TRUE(with(ns, [&](const auto& h) { return h.del_tag(tag); }));
        std::erase_if(entries, [&](const auto& e) { return e.second.tag == tag; });
        break;
      }
      case 3: {
        const auto live = contents(ns);
        ASSERT_EQ(*with(ns, [&](const auto& h) { return h.del_pattern("**"); }), live.size());
        entries.clear();
        break;
      }
      default: {
        const auto live = contents(ns);
        const auto under = [](const std::string& k) { return k == "a" || k.starts_with("a."); };
        const auto count = std::count_if(live.begin(), live.end(), [&](const auto& e) { return under(e.first); });
        ASSERT_EQ(*with(ns, [&](const auto& h) { return h.del_subtree("a"); }), static_cast<std::uint64_t>(count));
        std::erase_if(entries, [&](const auto& e) { return under(e.first); });
      }
    }
  }

  void pass() { clock_.advance(milliseconds(below(one_in(10) ? 8'000 : 300))); }
  void tick() { ASSERT_TRUE(store_.tick(std::chrono::microseconds(below(200)))); }
  // Until nothing is owed: then what the watches have told is what is there, and leases that are over are gone.
  void settle() {
    for (int n = 0; n != 10'000; ++n) {
      ASSERT_TRUE(store_.cleanup_expired());
      ASSERT_TRUE(store_.tick(1ms));
      const auto owed = store_.stats().owed;
      if (owed.lease_ends == 0 && owed.snapshot_blocks == 0 && owed.shards_with_expired == 0 && n > 2) break;
      ASSERT_NE(n, 9'999) << "owed for ever";
    }
    ASSERT_EQ(store_.stats().leases, static_cast<std::uint64_t>(std::count_if(leases_.begin(), leases_.end(), [&](const auto& l) { return lives(l.first); })));
    for (Mirror& m : mirrors_) {
      poll(m);
      if (m.has_gap) continue;
      ++compared;
      Contents told;
      for (const auto& [k, t] : m.told) told[k] = t.value;
      ASSERT_EQ(told, contents(m.ns)) << "told";
    }
    std::erase_if(mirrors_, [](const Mirror& m) { return m.has_gap; });
    look_at_all();
  }
  // Into a file and out of it, with time going by between.
  void restart() {
    if (!one_in(8)) return;
    ++restarts;
    SaveOptions how;
    how.wall_now = wall();
    ASSERT_TRUE(store_.save(path_, how));
    mirrors_.clear();
    views_.clear();
    named_.clear();
    store_ = Store();
    pass();
    SnapshotOptions from;
    from.wall_now = wall();
    from.copy = one_in(2);
    Result<Store> again = Store::open(path_, options_of_a_life(), from);
    ASSERT_TRUE(again) << testing::PrintToString(again.error());
    store_ = std::move(*again);
    open_names();
  }
  void watch() {
    if (mirrors_.size() == 4) {
      mirrors_.erase(mirrors_.begin() + below(4));
      return;
    }
    const unsigned ns = below(kNamespaces);
    WatchOptions o;
    o.initial = true;
    o.coalesce = one_in(3);
    o.gather = !o.coalesce && one_in(3);
    auto w = with(ns, [&](const auto& h) { return h.watch_prefix("", o); });
    ASSERT_TRUE(w);
    mirrors_.push_back({std::move(*w), ns, {}, false});
  }
  void poll(Mirror& m) {
    Change changes[16];
    for (;;) {
      const auto n = m.watch.poll(std::span(changes, 1 + below(16)));
      ASSERT_TRUE(n) << testing::PrintToString(n.error());
      if (*n == 0) return;
      for (std::size_t i = 0; i != *n; ++i) m.take(changes[i]);
    }
  }
  void poll() {
    if (!mirrors_.empty()) poll(mirrors_[below(mirrors_.size())]);
  }
  void view() {
    if (views_.size() == 3) return;
    const unsigned ns = below(kNamespaces);
    auto v = with(ns, [](const auto& h) { return h.view(); });
    ASSERT_TRUE(v);
    views_.push_back({std::move(*v), ns, contents(ns)});
  }
  void close_view() {
    if (views_.empty()) return;
    const auto at = views_.begin() + below(views_.size());
    Contents seen;
    const Result<bool> all = at->view.for_each([&](std::string_view k, std::string_view v) { return seen.emplace(k, v).second; });
    ASSERT_TRUE(all && *all) << testing::PrintToString(all.error());
    ASSERT_EQ(seen, at->contents) << "a view";
    Contents in_order;
    ASSERT_TRUE(at->view.iterate("", [&](std::string_view k, std::string_view v) { return in_order.emplace(k, v).second; }));
    ASSERT_EQ(in_order, at->contents) << "a view, in order";
    views_.erase(at);
  }
  void look() {
    const unsigned ns = below(kNamespaces);
    const std::string k = key();
    ModelEntry* const e = find(ns, k);
    ASSERT_EQ(with(ns, [&](const auto& h) { return value_of(h, k); }), e != nullptr ? std::optional(e->value) : std::nullopt);
  }
  void look_at_all() {
    for (unsigned ns = 0; ns != kNamespaces; ++ns) {
      Contents seen;
      ASSERT_TRUE(with(ns, [&](const auto& h) { return h.iterate("", [&](std::string_view k, std::string_view v) { return seen.emplace(k, v).second; }); }));
      ASSERT_EQ(seen, contents(ns)) << "a scan of " << ns;
    }
  }
  void members() {
    const LeaseId id = any_lease();
    Contents seen, expected;
    ASSERT_TRUE(store_.lease_of(id).keys([&](std::string_view ns, std::string_view k) { ASSERT_TRUE(seen.emplace(std::string(ns) + "/" + std::string(k), "").second); }));
    for (unsigned ns = 0; ns != kNamespaces; ++ns) {
      for (const auto& [k, e] : entries_[ns]) {
        if (e.lease == id && id != 0 && lives(e)) expected[(ns == 0 ? "" : std::string(named_[ns - 1].name())) + "/" + k];
      }
    }
    ASSERT_EQ(seen, expected) << "members";
  }

  static constexpr milliseconds kWall{1'700'000'000'000};
  const std::string path_ = testing::TempDir() + "tern_together_" + std::to_string(::testing::UnitTest::GetInstance()->random_seed()) + ".snap";
  std::mt19937 draw_;
  ManualClock clock_;
  Store store_;
  std::vector<Namespace> named_;
  std::array<std::map<std::string, ModelEntry>, kNamespaces> entries_;
  std::map<LeaseId, ModelLease> leases_;
  std::map<std::string, ModelLock> locks_[kNamespaces];
  std::map<std::string, std::uint64_t> given_[kNamespaces];  // tokens
  std::uint64_t last_token_ = 0;
  std::string_view tag_view_;
  std::vector<Mirror> mirrors_;
  std::vector<Shown> views_;
};

TEST(TogetherTest, EachAnswerIsTheModels) {
  const char* const from = std::getenv("TERN_TEST_SEED");
  const unsigned first = from != nullptr ? static_cast<unsigned>(std::atoi(from)) : 1;
  const unsigned seeds = quick_or_long(kSanitized ? 8u : 30u, 2'000u);
  unsigned compared = 0, restarts = 0;
  for (unsigned seed = first; seed != first + seeds && !HasFailure(); ++seed) {
    SCOPED_TRACE("TERN_TEST_SEED=" + std::to_string(seed));
    Together together(seed);
    together.run(2'000);
    compared += together.compared;
    restarts += together.restarts;
  }
  EXPECT_GT(compared, 10 * seeds);
  EXPECT_GT(restarts, seeds);
}

// The same from several threads, where no single answer is known: at the end the watches that went on all the while have told
// what is there, nobody was inside a lock beside another, and the store is whole.
TEST(TogetherTest, ThreadsAtOnce) {
  constexpr unsigned kThreads = 3;
  const unsigned rounds = quick_or_long(kSanitized ? 1u : 3u, 300u), steps = kSanitized ? 1'000 : 4'000;
  for (unsigned round = 0; round != rounds && !HasFailure(); ++round) {
    Options o;
    o.memory_bytes = 64 * kMiB;
    o.shard_count = 1u << round % 7;
    o.ordered = round % 2 == 0;
    o.eviction = false;
    o.ring_bytes = 8 * kMiB;
    const Store store = open_or_fail(o);
    const Namespace named[] = {*store.ns("a"), *store.ns("b")};
    const auto with = [&](unsigned ns, auto&& fn) { return ns == 0 ? fn(store) : fn(named[ns - 1]); };
    std::atomic<bool> stop{false};
    std::atomic<int> inside[kNamespaces] = {};
    std::atomic<LeaseId> shared_lease{store.lease(10ms)->id()};
    std::vector<std::thread> threads;
    for (unsigned t = 0; t != kThreads; ++t) {
      threads.emplace_back([&, t] {
        std::mt19937 draw(round * kThreads + t);
        const auto below = [&](unsigned n) { return static_cast<unsigned>(draw() % n); };
        for (unsigned n = 0; n != steps; ++n) {
          const unsigned ns = below(kNamespaces);
          const std::string key = numbered(below(2) == 0 ? "k" : "\1lock\1", below(30)), value = pattern(below(200), n);
          SetOptions how;
          if (below(4) == 0) how.lease = shared_lease;
          if (below(4) == 0) how.ttl = milliseconds(1 + below(20));
          const std::string_view tag = "red";
          if (below(4) == 0) how.tags = {&tag, 1};
          switch (below(12)) {
            case 0: (void)with(ns, [&](const auto& h) { return h.del(key); }); break;
            case 1: (void)with(ns, [&](const auto& h) { return h.append(key, "+"); }); break;
            case 2: (void)store.lease_of(shared_lease).attach(key); break;
            case 3: {
              WriteBatch b;
              b.in(store).set(key, value, how);
              b.in(named[0]).set(key, value);
              b.in(named[1]).del(key);
              (void)store.write(b);
              break;
            }
            case 4:
              if (below(4) == 0) shared_lease = store.lease(milliseconds(1 + below(30)))->id();
              if (below(4) == 0) (void)store.lease_of(shared_lease).revoke();
              (void)store.lease_of(shared_lease).keep_alive();
              break;
            case 5: {
              // Nobody's clear takes it: of names that aren't this one's.
              auto lock = store.lock(numbered("l", ns), {.ttl = 1h, .wait = 1h});
              ASSERT_TRUE(lock) << testing::PrintToString(lock.error());
              EXPECT_EQ(inside[ns].fetch_add(1), 0) << "two owners";
              how.if_fence = lock->fence();
              const auto r = with(ns, [&](const auto& h) { return h.set(key, value, how); });
              EXPECT_NE(r.error(), kFenced);
              inside[ns].fetch_sub(1);
              break;
            }
            case 6: {
              const LeaseId under = below(2) == 0 ? LeaseId{0} : shared_lease.load();
              const auto lock = with(ns, [&](const auto& h) { return h.try_lock("m", {.ttl = milliseconds(1 + below(5)), .lease = under}); });
              if (!lock) break;
              EXPECT_TRUE(with(ns, [&](const auto& h) { return h.set(key, value, how); }).ok() || how.lease != 0);
              break;
            }
            case 7:
              if (ns != 0 && below(20) == 0) (void)with(ns, [&](const auto& h) { return h.clear(); });
              if (below(20) == 0) (void)with(ns, [&](const auto& h) { return h.del_prefix("k1"); });
              if (below(20) == 0) (void)with(ns, [&](const auto& h) { return h.del_tag("red"); });
              if (below(20) == 0) (void)with(ns, [&](const auto& h) { return h.del_pattern("**2"); });
              break;
            default: (void)with(ns, [&](const auto& h) { return h.set(key, value, how); });
          }
        }
      });
    }
    std::vector<Mirror> mirrors(kNamespaces);
    const auto poll = [&](Mirror& m) {
      Change changes[64];
      for (;;) {
        const auto n = m.watch.poll(changes);
        ASSERT_TRUE(n) << testing::PrintToString(n.error());
        if (*n == 0) return;
        for (std::size_t i = 0; i != *n; ++i) m.take(changes[i]);
      }
    };
    for (unsigned ns = 0; ns != kNamespaces; ++ns) {
      WatchOptions how;
      how.initial = true;
      how.coalesce = (round + ns) % 3 == 1;
      how.gather = (round + ns) % 3 == 2;
      mirrors[ns].watch = std::move(*with(ns, [&](const auto& h) { return h.watch_prefix("", how); }));
    }
    std::thread reader([&] {
      while (!stop) {
        for (Mirror& m : mirrors) poll(m);
        std::this_thread::yield();
      }
    });
    for (auto& t : threads) t.join();
    stop = true;
    reader.join();
    // Until all lifetimes, of up to 30 ms, are over and what they leave is swept.
    const auto enough = std::chrono::steady_clock::now() + 10s;
    for (bool is_over = false; !is_over && std::chrono::steady_clock::now() < enough;) {
      ASSERT_TRUE(store.cleanup_expired() && store.tick(1ms));
      const Stats s = store.stats();
      is_over = s.expiring == 0 && s.owed.lease_ends == 0 && s.owed.invalidations == 0 && s.owed.shards_with_expired == 0;
    }
    for (unsigned ns = 0; ns != kNamespaces; ++ns) {
      Mirror& m = mirrors[ns];
      poll(m);
      if (m.has_gap) continue;
      Contents told, there;
      for (const auto& [k, v] : m.told) told[k] = v.value;
      ASSERT_TRUE(with(ns, [&](const auto& h) { return h.iterate("", [&](std::string_view k, std::string_view v) { return there.emplace(k, v).second; }); }));
      EXPECT_EQ(told, there) << "namespace " << ns << " of round " << round;
    }
    EXPECT_TRUE(whole(store));
  }
}

}  // namespace
}  // namespace tern::test
