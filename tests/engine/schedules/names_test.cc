// Namespaces under the scheduler: made by several at once, looked up meanwhile, up to as many as there may be and to the
// whole of the budget; their queues, which come while others insert and evict. What a name means is one thing for
// everybody, a refusal is right, and each entry stands in one queue.
#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "engine/directory.h"
#include "tests/engine/schedules/exploring.h"

namespace tern::concurrency {
namespace {

using tern::detail::NameRules;

struct Named {
  using R = RigOf<OneEngineSync>;
  using Sync = typename R::Sync;
  using Names = tern::detail::Names<Sync>;

  struct Door {
    Named* self;
    int t;
    typename R::Core& core() const { return self->rig.core(); }
    Error get(std::string_view key, char* out, std::size_t room, std::size_t& size) const {
      tern::detail::Guard<Sync> guard(core().space, self->rig.thread(t));
      const auto head = core().head(core().hash_of(key), key);
      if (!head.present) return {Status::kNotFound, Field::kNone};
      size = head.value_size;
      std::memcpy(out, head.value, std::min<std::size_t>(size, room));
      return {};
    }
    Error begin_write(typename R::Thr*& thread, std::string_view) const {
      thread = &self->rig.thread(t);
      return {};
    }
  };
  using Directory = tern::detail::Directory<Sync, Door>;

  // `room`: as many entries as there may be, those of the directory among them; 0: nothing is evicted.
  explicit Named(Mutant planted, int threads, unsigned room = 0)
      : rig(planted, threads, std::size_t{4} << 20, [&](tern::detail::CoreOptions& o) {
          o.eviction = room != 0;
          o.entries_max = room;
          o.eviction_setting = 0;  // newcomers fight no duels
        }) {
    KeyFinder finder;
    for (Key& key : fresh) key = finder.in_bucket(16);
    rig.more_sizes = {80, 88, 96, 104, 152, 176, 192, 200, 208, 216, 232, 240, 248, 256, 296};  // descriptors
    rig.check_accounts = false;  // a batch's blocks, until its thread takes them back
    rig.core().space.epoch.set_limits(1 << 18, 64);
  }
  void begin() {
    if (rig.core().evicts) settle();
    rig.freeze();
  }
  void restore() {
    rig.restore();
    opens.clear();
  }

  // --- what threads do ---

  struct Open {
    std::string name;
    unsigned percent = 0;
    const NameRules* rules = nullptr;
    Error error{};
  };
  const NameRules* open(int t, const char* name, unsigned percent = 0) {
    NameRules wanted;
    wanted.share_percent = percent;
    const auto opened = Directory(Door{this, t}).open(name, wanted);
    opens.push_back({name, percent, opened.rules, opened.error});
    return opened.rules;
  }
  // An entry of it.
  void put(int t, const NameRules* of, std::string_view own_key) {
    if (of == nullptr) return rig.complain("no namespace to write to");
    const std::string key = stored(*of, own_key);
    tern::detail::PutChange<Sync> change(rig.core().space, rig.thread(t), key, "v");
    const auto done = rig.core().write(rig.thread(t), rig.core().hash_of(key), key, change);
    if (done.outcome != R::Outcome::kPut) rig.complain("a set was refused");
  }
  void put_default(int t, unsigned k) {
    if (rig.set(t, fresh[k], "v") == 0) rig.complain("a set was refused");
  }
  static std::string stored(const NameRules& of, std::string_view own_key) {
    return std::string(std::string_view(tern::detail::NameMark(of.number))) + std::string(own_key);
  }
  bool has(const NameRules& of, std::string_view own_key) {
    tern::detail::Guard<Sync> guard(rig.core().space, rig.own());
    const std::string key = stored(of, own_key);
    return rig.core().head(rig.core().hash_of(key), key).present;
  }

  // What a snapshot brings, as its intake enters it: nobody has opened anything yet.
  void bring(std::string_view key, std::string_view value) {
    tern::detail::SetTerms keep;
    keep.keep = true;
    tern::detail::SetChange<Sync> change(rig.core().space, rig.own(), key, value, keep);
    rig.core().write(rig.own(), rig.core().hash_of(key), key, change);
  }
  void bring_totals(unsigned count, unsigned percent) {
    char bytes[tern::detail::NameTotals::kBytes];
    tern::detail::NameTotals{count, percent}.write(bytes);
    bring(tern::detail::DirectoryKey::of_totals().view(), {bytes, sizeof bytes});
  }
  // With an entry of its own, "x".
  void bring_namespace(unsigned number, std::string_view name, unsigned percent) {
    NameRules rules;
    rules.number = number;
    rules.share_percent = percent;
    bring(tern::detail::DirectoryKey::of(number).view(), name);
    bring(tern::detail::DirectoryKey::of(name).view(), tern::detail::RulesBytes(rules).view());
    if (rig.core().space.names.find_or_add(number) == nullptr) rig.complain("no memory");
    put(rig.own_index(), &rules, "x");
  }

  void settle() {
    tern::detail::Guard<Sync> guard(rig.core().space, rig.own());
    rig.core().space.for_each_thread_state([&](auto& t) { rig.core().eviction.settle(t); });
  }

  // --- what must be so in the end ---

  std::string check() {
    check_opens();
    if (rig.core().evicts) check_queues();
    return rig.check();
  }
  std::string check_stopped() {
    check_opens();
    return rig.check_stopped();
  }
  void check_opens() {
    const tern::detail::NameTotals totals = totals_now();
    unsigned percent = percent_before, count = count_before;
    std::vector<const NameRules*> all;
    for (const Open& o : opens) {
      if (o.rules == nullptr) continue;
      if (o.rules->name_view() != o.name) rig.complain("a namespace has another's name");
      bool known = false;
      for (const NameRules* r : all) {
        known = known || r == o.rules;
        if (r != o.rules && r->number == o.rules->number) rig.complain("two namespaces have one number");
        if (r != o.rules && r->name_view() == o.name) rig.complain("a name means two things");
      }
      if (known) continue;
      all.push_back(o.rules);
      percent += o.rules->share_percent;
      ++count;
      if (rig.core().space.names.find(o.rules->number)->rules_or_null() != o.rules) rig.complain("rules that nobody finds again");
    }
    // A stopped thread has perhaps made one more.
    if (totals.percent < percent || totals.count < count) rig.complain("the totals don't say what there is");
    if (frozen_threads() == 0 && (totals.percent != percent || totals.count != count)) rig.complain("the totals are wrong");
    if (totals.percent > 100) rig.complain("the shares are more than there is");
    if (totals.count > tern::detail::kNamesMax) rig.complain("there are too many");
    for (const Open& o : opens) {
      if (o.rules != nullptr) continue;
      if (o.error.status == Status::kTooLarge && totals.count == tern::detail::kNamesMax && !has_name(o.name)) continue;
      if (o.error.status == Status::kOutOfRange && totals.percent + o.percent > 100 && !has_name(o.name)) continue;
      rig.complain(o.name + " was refused for no reason");
    }
  }
  tern::detail::NameTotals totals_now() {
    char bytes[tern::detail::NameTotals::kBytes];
    std::size_t size = 0;
    tern::detail::NameTotals totals;
    if (Door{this, rig.own_index()}.get(tern::detail::DirectoryKey::of_totals().view(), bytes, sizeof bytes, size).status == Status::kOk &&
        !tern::detail::NameTotals::read({bytes, size}, totals)) {
      rig.complain("the totals are no totals");
    }
    return totals;
  }
  bool has_name(std::string_view name) {
    char bytes[8];
    std::size_t size = 0;
    return Door{this, rig.own_index()}.get(tern::detail::DirectoryKey::of(name).view(), bytes, sizeof bytes, size).status == Status::kOk;
  }
  void check_queues() {
    auto& core = rig.core();
    core.space.names.for_each([&](unsigned number, auto& slot) {
      const NameRules* const r = slot.rules_or_null();
      unsigned pools = 0;
      core.eviction.queues().pools().for_each([&](const auto& pool) { pools += pool.name == number; });
      const bool known = r != nullptr && r->share_percent != 0;
      if (pools != (known ? 1u : 0u)) rig.complain("a namespace has " + std::to_string(pools) + " pools");
    });
    settle();
    const auto& format = core.eviction.queues().format();
    std::vector<std::uint64_t> entries;
    core.eviction.queues().walk([&](std::uint64_t e, bool) { entries.push_back(format.pack(format.hash(e), format.gen(e))); });
    tern::detail::Guard<Sync> guard(core.space, rig.own());
    const auto size = core.table.size_of(rig.shard());
    for (std::uint32_t b = 0; b != size.buckets(); ++b) {
      core.table.for_each_slot(core.table.bucket(rig.shard(), b), [&](auto&, tern::detail::SlotWord w) {
        if (!w.is_current()) return true;
        const auto& r = *core.space.record(w.offset());
        if (r.stamp_word().tomb() || r.hold_word().keep()) return true;
        const auto key = core.space.key_of(r, r.stamp_word());
        const std::uint64_t wanted = format.pack(core.hash_of({key.data, key.size}), w.gen());
        const auto count = std::count(entries.begin(), entries.end(), wanted);
        if (count != 1) rig.complain("an entry stands in " + std::to_string(count) + " queues");
        return true;
      });
    }
  }

  // --- bodies ---

  Threads one_name() {
    begin();
    return {[this] { put(0, open(0, "a", 60), "x"); }, [this] { put(1, open(1, "a", 60), "y"); }};
  }
  Threads two_names() {
    bring_totals(count_before = 1, percent_before = 10);
    begin();
    return {[this] { open(0, "a", 60); }, [this] { open(1, "b", 60); }};
  }
  Threads made_and_looked_up() {
    begin();
    return {[this] { open(0, "a", 30), open(0, "b", 30); }, [this] { open(1, "b", 30), open(1, "a", 30); }};
  }
  // What two have not met yet.
  Threads both_meet() {
    bring_namespace(1, "a", 0);
    bring_totals(1, 0);
    begin();
    return {[this] { put(0, open(0, "a"), "x"); }, [this] { put(1, open(1, "a"), "y"); }};
  }
  Threads up_to_the_last() {
    bring_totals(count_before = tern::detail::kNamesMax - 1, 0);
    begin();
    return {[this] { open(0, "a"); }, [this] { open(1, "b"); }, [this] { open(2, "a"); }};
  }
  Threads queues_come() {
    bring_namespace(1, "a", 60);
    bring_namespace(2, "b", 30);
    bring_totals(2, 90);
    begin();
    return {[this] { open(0, "a", 60); }, [this] { open(1, "a", 60), put_default(1, 0); }, [this] { open(2, "b", 30); }};
  }
  // In a full store, with an entry that came before its namespace's queues.
  Threads queues_come_beside_eviction() {
    bring_namespace(1, "a", 60);
    bring_totals(1, 60);
    begin();
    return {[this] { put(0, open(0, "a", 60), "y"); }, [this] { put_default(1, 0), put_default(1, 1); }};
  }
  // Nobody has opened it yet; those without a share insert and insert.
  Threads within_its_share() {
    bring_namespace(1, "a", 60);
    bring_totals(count_before = 1, percent_before = 60);
    if (Directory(Door{this, rig.own_index()}).load().status != Status::kOk) rig.complain("the names aren't known");
    begin();
    rig.at_end = [this] {
      const auto* rules = rig.core().space.names.find(1)->rules_or_null();
      if (rules == nullptr || !has(*rules, "x")) rig.complain("an entry within its namespace's share is gone");
    };
    return {[this] { put_default(0, 0), put_default(0, 1); }, [this] { put_default(1, 2), put_default(1, 3); }};
  }

  R rig;
  Key fresh[4];
  std::vector<Open> opens;
  unsigned count_before = 0, percent_before = 0;
};

constexpr Bounds kTwo{.preemptions = 2, .schedules = 3'000, .random = 1'000};

#define TERN_HOLDS(test, scene, threads, room)           \
  TEST(Names, test) {                                    \
    Named n(Mutant::kNone, threads, room);               \
    expect_holds("names, " #scene, n, n.scene(), kTwo);  \
  }

TERN_HOLDS(OneNameIsOneThingForTwoWhoMakeIt, one_name, 2, 0)
TERN_HOLDS(TwoNamesHaveTwoNumbersAndNoMoreThanThereIs, two_names, 2, 0)
TERN_HOLDS(ALookUpFindsItOrMakesIt, made_and_looked_up, 2, 0)
TERN_HOLDS(TwoMeetWhatASnapshotHas, both_meet, 2, 0)
TERN_HOLDS(OneGetsTheLastNumber, up_to_the_last, 3, 0)
TERN_HOLDS(QueuesAreMadeOnce, queues_come, 3, 8)
TERN_HOLDS(QueuesComeBesideEviction, queues_come_beside_eviction, 2, 6)
TERN_HOLDS(WhatIsWithinItsShareStays, within_its_share, 2, 6)

TEST(Names, NobodyWaitsForAStoppedThread) {
  constexpr Bounds stopped{.preemptions = 1, .schedules = 2'000, .random = 0, .freeze = Freeze::kAllButOne};
  Named n(Mutant::kNone, 2);
  expect_holds("names, stopped", n, n.two_names(), stopped);
  Named m(Mutant::kNone, 2);
  expect_holds("names, stopped, one", m, m.one_name(), stopped);
}

#define TERN_FOUND(test, mutant, scene, threads, room)                 \
  TEST(NameMutants, test) {                                            \
    Named n(mutant, threads, room);                                    \
    expect_found("names, planted " #test, n, n.scene(), kTwo);         \
  }

TERN_FOUND(NameTotalsUnasked, Mutant::kNameTotalsUnasked, two_names, 2, 0)
TERN_FOUND(NameLookedForFirst, Mutant::kNameLookedForFirst, one_name, 2, 0)
TERN_FOUND(NameLinkedByStore, Mutant::kNameLinkedByStore, both_meet, 2, 0)
TERN_FOUND(ShareGivenTwice, Mutant::kShareGivenTwice, queues_come, 3, 8)
TERN_FOUND(ShareLinkedByStore, Mutant::kShareLinkedByStore, queues_come, 3, 8)
TERN_FOUND(ShareNotMoved, Mutant::kShareNotMoved, within_its_share, 2, 6)

}  // namespace
}  // namespace tern::concurrency
