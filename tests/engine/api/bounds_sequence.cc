#include "tests/engine/api/bounds_sequence.h"

#include <tern/store.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/engine/api/bounds_model.h"

namespace tern::test {
namespace {

using State = BoundsModel::State;

constexpr std::size_t kMiB = std::size_t{1} << 20;
constexpr std::string_view kTags[] = {"t", "another tag"};
constexpr std::chrono::seconds kLong{60};  // until nothing is owed

class Run {
 public:
  explicit Run(std::span<const std::uint8_t> bytes) : in_(bytes) {
    const unsigned kind = in_.byte();
    constexpr unsigned kKeys[] = {8, 40, 400, 3'000};
    key_count_ = kKeys[kind % 4];
    Options o;
    o.memory_bytes = 4 * kMiB;
    o.memory_bytes_max = 8 * kMiB;
    constexpr std::size_t kEntries[] = {0, 0, 20, 300};
    o.entries_max = m_.entries_max = kEntries[kind / 4 % 4];
    if (o.entries_max != 0 && kind / 16 % 2 != 0) {
      m_.weighs = true;
      o.weigher = [](void*, std::string_view k, std::string_view v) { return BoundsModel::weigh(k, v); };
    }
    o.full = kind / 32 % 2 != 0 ? WhenFull::kDrop : WhenFull::kError;
    o.ordered = kind / 64 == 3;
    o.hash_seed = in_.byte();
    o.shard_count = 1u << in_.below(4);
    o.clock = &m_.clock;
    o.huge_pages = false;
    o.maintenance = Maintenance::kTick;
    asks_when_told_ = in_.byte() % 2 != 0;
    o.on_removed = [](void* run, std::string_view k, std::string_view v, RemovalCause cause) {
      static_cast<Run*>(run)->hear(k, v, cause);
    };
    o.on_removed_user = this;
    Result<Store> store = Store::open(o);
    if (store) {
      m_.store = std::move(*store);
    } else {
      m_.fail("open");
    }
  }

  BoundsResult run() {
    while (!in_.empty() && m_.difference.empty()) {
      operate(in_.byte());
      m_.settle_rest();
      if (++operations_ % 64 == 0) check_whole();
    }
    if (m_.difference.empty()) finish();
    held_.clear();
    locks_.clear();
    BoundsResult r;
    if (!m_.difference.empty()) r.difference = m_.difference + " (operation " + std::to_string(operations_) + ")";
    r.operations = operations_;
    std::copy_n(m_.told_count, 4, r.told);
    return r;
  }

 private:
  // Inside of a call: what was removed is not to be had any more, whoever has its key now.
  void hear(std::string_view k, std::string_view v, RemovalCause cause) {
    m_.hear(k, v, cause);
    if (!asks_when_told_ || is_ending_) return;
    m_.expect(m_.store.visit(k, [&](std::string_view now) { m_.expect(now != v, "told of what is there"); }).status() !=
                  Status::kClosed,
              "the store doesn't answer");
  }

  std::string key() {
    const unsigned n = in_.below(key_count_);
    std::string k = "k" + std::to_string(n);
    if (n % 16 == 3) k.resize(254 + n % 32 / 16, 'x');
    if (n % 64 == 12) k.resize(9'000, 'y');
    return k;
  }
  // Another one each time.
  std::string value() {
    const unsigned form = in_.byte();
    std::size_t size = form % 100;
    if (form >= 160) size = 8 * form;
    if (form >= 230) size = 200 * (form - 225);
    if (form >= 252) size = 70'000;
    return with_number(size, static_cast<char>('a' + form % 26));
  }
  std::string with_number(std::size_t size, char fill) {
    std::string v = std::to_string(++numbers_) + "#";
    if (v.size() < size) v.resize(size, fill);
    return v;
  }
  milliseconds span() { return milliseconds(1 + in_.byte() % 100); }

  void operate(unsigned code) {
    struct Entry {
      const char* name;
      void (Run::*run)();
    };
    static constexpr std::array<Entry, 32> kOperations = {{
        {"get", &Run::get},
        {"get", &Run::get},
        {"get_entry", &Run::get_entry},
        {"exists", &Run::exists},
        {"get_many", &Run::get_many},
        {"hold", &Run::hold},
        {"release", &Run::release},
        {"set", &Run::set},
        {"set", &Run::set},
        {"set", &Run::set},
        {"set with options", &Run::set_with_options},
        {"set with options", &Run::set_with_options},
        {"set with options", &Run::set_with_options},
        {"set_many", &Run::set_many},
        {"set_many", &Run::set_many},
        {"set_many", &Run::set_many},
        {"compare_and_swap", &Run::compare_and_swap},
        {"append", &Run::append},
        {"increment", &Run::increment},
        {"del", &Run::del},
        {"del_many", &Run::del_many},
        {"expire", &Run::expire},
        {"persist", &Run::persist},
        {"get_or_load", &Run::get_or_load},
        {"cleanup_expired", &Run::cleanup_expired},
        {"resize", &Run::resize},
        {"advance", &Run::advance},
        {"tick", &Run::tick},
        {"lease", &Run::lease},
        {"attach or revoke", &Run::attach_or_revoke},
        {"lock", &Run::lock},
        {"clear", &Run::clear},
    }};
    const Entry& e = kOperations[code % kOperations.size()];
    m_.op = e.name;
    (this->*e.run)();
  }

  // --- reads
  template <class L>
  void judge(const std::string& k, const L& r, std::string_view value) {
    m_.settle();
    m_.read(k, r.found());
    if (!r.found() && !r.missing()) m_.fail("a read failed");
    if (const BoundsRecord* e = m_.record(k); r.found() && e != nullptr) m_.expect(value == e->value, "another value");
  }
  void get() {
    const std::string k = key();
    const auto r = m_.store.get(k);
    judge(k, r, r.found() ? r->view() : std::string_view());
  }
  void get_entry() {
    const std::string k = key();
    const auto r = m_.store.get_entry(k);
    judge(k, r, r.found() ? r->value.view() : std::string_view());
    BoundsRecord* const e = m_.record(k);
    if (!r.found() || e == nullptr) return;
    m_.expect(r->ttl.has_value() == e->most.has_value(), "a deadline too many or too few");
    // What it tells is from before this read has moved it.
    if (r->ttl && e->most) m_.expect(m_.clock.at + *r->ttl <= *e->most, "a later deadline");
    if (r->ttl && e->most && e->idle.count() == 0) m_.expect(m_.clock.at + *r->ttl == *e->most, "another deadline");
  }
  void exists() {
    const std::string k = key();
    const auto r = m_.store.exists(k);
    m_.read(k, r.ok() && *r);
  }
  void get_many() {
    std::vector<std::string> keys(in_.byte() % 32);
    for (std::string& k : keys) k = key();
    const std::vector<std::string_view> asked(keys.begin(), keys.end());
    m_.expect(m_.store.get_many(asked, values_).ok() && values_.size() == keys.size(), "another number of answers");
    for (std::size_t i = 0; i < std::min(keys.size(), values_.size()); ++i) {
      const Lookup<std::string_view> v = values_[i];
      judge(keys[i], v, v.found() ? *v : std::string_view());
    }
  }
  void hold() {
    const std::string k = key();
    if (held_.size() == 6) let_go(0);
    auto r = m_.store.hold(k);
    judge(k, r, r.found() ? r->view() : std::string_view());
    BoundsRecord* const e = m_.record(k);
    if (!r.found() || e == nullptr) return;
    e->held = !r->copied() && e->idle.count() == 0;  // that may have been replaced by its like, as its deadline moved
    held_.push_back({std::move(*r), k, e->value});
  }
  void release() {
    if (!held_.empty()) let_go(in_.byte() % held_.size());
  }
  void let_go(std::size_t i) {
    m_.expect(held_[i].bytes.view() == held_[i].value, "a held value changed");
    const std::string k = held_[i].key, v = held_[i].value;
    held_.erase(held_.begin() + static_cast<std::ptrdiff_t>(i));
    BoundsRecord* const e = m_.record(k);
    if (e != nullptr && e->value == v) {
      e->held = std::any_of(held_.begin(), held_.end(), [&](const Held& h) { return h.key == k && h.value == v && !h.bytes.copied(); });
    }
  }

  // --- writes
  void set() {
    const std::string k = key(), v = value();
    const auto r = m_.store.set(k, v);
    if (m_.refused(r.status())) return;
    m_.expect(r.ok(), "a set failed");
    if (r.ok() && *r == 0) return was_dropped(k);
    m_.wrote(k, v, {});
  }
  // A full store has answered ok without keeping the value: the old one is gone, too.
  void was_dropped(const std::string& k) {
    m_.dropped.insert(k);
    m_.expect(m_.is_full(), "dropped in a store with room");
    m_.settle();
    m_.expect(m_.record(k) == nullptr, "what a dropped write replaces is still there");
  }
  void set_with_options() {
    const std::string k = key(), v = value();
    SetOptions o;
    BoundsRecord as;
    const unsigned how = in_.byte(), more = in_.byte();
    const BoundsRecord* before = m_.record(k);
    if (how % 4 == 0) o.ttl = as.least = as.most = span();
    if (how % 4 == 1) o.idle = as.idle = milliseconds(8 + in_.byte() % 112);
    if (how % 4 == 2) o.keep_ttl = true;
    if (as.idle.count() != 0) as.least = as.most = as.idle;
    if (as.least) {
      as.least = *as.least + m_.clock.at;
      as.most = *as.most + m_.clock.at;
    }
    o.evictable = as.evictable = how / 4 % 8 != 0;
    as.tag = more % 4 < 3 ? more % 4 : 0;
    if (as.tag != 0) o.tags = {&kTags[as.tag - 1], 1};
    if (more / 4 % 4 == 0 && !m_.leases.empty()) {
      as.lease = 1 + in_.byte() % m_.leases.size();
      o.lease = m_.leases[as.lease - 1].lease.id();
    }
    o.if_absent = more / 16 % 8 == 0;
    o.if_present = more / 16 % 8 == 1;
    const bool lease_is_over = as.lease != 0 && !m_.lives(m_.leases[as.lease - 1]);
    const auto r = m_.store.set(k, v, o);
    if (m_.refused(r.status())) return;
    m_.settle();
    before = m_.record(k);
    const State s = m_.state(k);
    if (lease_is_over) return m_.expect(!r.ok(), "a lease that is over took an entry");
    if (!r.ok()) {
      if (r.status() == Status::kExists) return m_.expect(o.if_absent && s != State::kDead, "exists");
      if (r.status() == Status::kNotFound) return m_.expect(o.if_present && s != State::kLive, "not found");
      return m_.fail("a set failed");
    }
    if (*r == 0) return was_dropped(k);
    if (o.if_absent) m_.expect(s != State::kLive, "set although it was there");
    if (o.if_present) m_.expect(s != State::kDead, "set although it wasn't there");
    if (o.keep_ttl && before != nullptr && s != State::kDead) {
      as.least = before->least;
      as.most = before->most;
      as.idle = before->idle;
      if (as.idle.count() != 0) as.most = std::max(*as.most, m_.clock.at + as.idle);
    }
    m_.wrote(k, v, as);
  }
  // Many new keys: what fills the store.
  void set_many() {
    const unsigned count = 1 + in_.byte() % 64, form = in_.byte();
    const std::size_t size = form < 128 ? form : (form - 120) * std::size_t{40};
    std::vector<std::string> keys(count), contents(count);
    std::vector<Item> items;
    for (unsigned i = 0; i != count; ++i) {
      keys[i] = "f" + std::to_string(fillers_++ % 20'000);
      contents[i] = with_number(size, 'f');
      items.push_back({keys[i], contents[i], {}});
      if (form % 8 == 0) items.back().ttl = milliseconds(1 + form % 64);
    }
    std::vector<Result<std::uint64_t>> answers(count);
    m_.expect(m_.store.set_many(items, answers).ok(), "set_many failed");
    for (unsigned i = 0; i != count; ++i) m_.written += m_.weight_of(keys[i], contents[i]);
    for (unsigned i = 0; i != count; ++i) {
      if (!answers[i].ok()) {
        m_.expect(answers[i].status() == Status::kOutOfMemory && m_.is_full(), "an item was refused");
        ++m_.refusals;
        continue;
      }
      if (*answers[i] == 0) {
        was_dropped(keys[i]);
        continue;
      }
      BoundsRecord as;
      if (items[i].ttl) as.least = as.most = m_.clock.at + *items[i].ttl;
      m_.wrote(keys[i], contents[i], as);
    }
  }
  void compare_and_swap() {
    const std::string k = key(), v = value();
    const BoundsRecord* const e = m_.record(k);
    const std::string expected = e != nullptr && in_.byte() % 4 != 0 ? e->value : "another";
    const auto r = m_.store.compare_and_swap(k, expected, v);
    if (m_.refused(r.status())) return;
    m_.settle();
    const BoundsRecord* const now = m_.record(k);
    const bool equal = now != nullptr && now->value == expected;
    if (r.ok() && *r) {
      m_.expect(equal, "swapped another value");
      m_.expect(m_.state(k) != State::kDead, "swapped what was dead");
      m_.changed(k, v);
    } else {
      m_.expect(r.ok() && (!equal || m_.state(k) != State::kLive), "not swapped");
    }
  }
  void append() {
    const std::string k = key(), v = value();
    const auto r = m_.store.append(k, v);
    if (m_.refused(r.status())) return;
    m_.settle();
    const BoundsRecord* const e = m_.record(k);
    const std::size_t with = e != nullptr ? e->value.size() + v.size() : 0;
    if (!r.ok()) return m_.expect(r.status() == Status::kTooLarge && with > kMiB, "append failed");
    const bool appended = e != nullptr && m_.state(k) != State::kDead && *r == with;
    if (!appended) m_.expect(m_.state(k) != State::kLive && *r == v.size(), "another size");
    m_.changed(k, appended ? e->value + v : v);
  }
  // Of keys of its own, so that each number is another one.
  void increment() {
    const std::string k = "n" + std::to_string(in_.below(8));
    const std::int64_t first = 1'000'000 + static_cast<std::int64_t>(++numbers_) * 1'000;
    const auto r = m_.store.increment(k, 1, first);
    if (m_.refused(r.status())) return;
    m_.settle();
    const BoundsRecord* const e = m_.record(k);
    const std::int64_t expected = (e != nullptr && m_.state(k) != State::kDead ? std::stoll(e->value) : first) + 1;
    if (m_.state(k) == State::kEither) {
      m_.expect(r.ok() && (*r == expected || *r == first + 1), "another sum");
    } else {
      m_.expect(r.ok() && *r == expected, "another sum");
    }
    if (r.ok()) m_.changed(k, std::to_string(*r));
  }
  void del() {
    const std::string k = key();
    const auto r = m_.store.del(k);
    m_.expect(r.ok(), "del failed");
    m_.removed(k, r.ok() && *r);
  }
  void del_many() {
    std::vector<std::string> keys(in_.byte() % 32);
    for (std::string& k : keys) k = key();
    const std::vector<std::string_view> asked(keys.begin(), keys.end());
    std::vector<Result<bool>> answers(keys.size());
    m_.expect(m_.store.del_many(asked, answers).ok(), "del_many failed");
    // Told one after the other, as one call: each key that was there once.
    std::set<std::string> gone;
    for (std::size_t i = 0; i != keys.size(); ++i) {
      m_.expect(answers[i].ok(), "an item of del_many failed");
      if (answers[i].ok() && *answers[i]) m_.expect(gone.insert(keys[i]).second, "deleted twice");
    }
    for (const std::string& k : keys) m_.deleted.insert(k);
    const std::uint64_t before = m_.told_count[static_cast<std::size_t>(RemovalCause::kDeleted)];
    m_.settle();
    m_.expect(m_.told_count[static_cast<std::size_t>(RemovalCause::kDeleted)] - before == gone.size(),
              "another number was told than was deleted");
    for (const std::string& k : keys) m_.expect(m_.state(k) != State::kLive, "not deleted");
  }
  void expire() {
    const std::string k = key();
    const bool now = in_.byte() % 8 == 0;
    const milliseconds by = now ? milliseconds(0) : span();
    const auto r = m_.store.expire(k, by);
    if (m_.refused(r.status())) return;
    m_.settle_expired(k, now);
    m_.settle();
    m_.expect(r.ok(), "expire failed");
    BoundsRecord* const e = m_.record(k);
    if (now || !r.ok()) return m_.expect(e == nullptr || m_.state(k) != State::kLive, "it lives on");
    if (!*r) return m_.expect(m_.state(k) != State::kLive, "a key is gone");
    m_.expect(m_.state(k) != State::kDead, "what is dead lives on");
    if (e == nullptr) return;
    e->least = e->most = m_.clock.at + by;
    e->idle = milliseconds(0);
    e->held = false;  // its record may be another one
  }
  void persist() {
    const std::string k = key();
    const auto r = m_.store.persist(k);
    if (m_.refused(r.status())) return;
    m_.settle();
    m_.expect(r.ok(), "persist failed");
    BoundsRecord* const e = m_.record(k);
    if (!r.ok() || !*r) return m_.expect(e == nullptr || !e->least || m_.state(k) != State::kLive, "not persisted");
    m_.expect(e != nullptr && e->least && m_.state(k) != State::kDead, "persisted what had no deadline, or was dead");
    if (e == nullptr) return;
    e->least = e->most = std::nullopt;
    e->idle = milliseconds(0);
    e->held = false;
  }
  void get_or_load() {
    const std::string k = key(), v = value();
    bool loaded = false;
    LoadOptions o;
    if (in_.byte() % 4 == 0) o.ttl = span();
    const auto r = m_.store.get_or_load(
        k,
        [&](std::string_view) {
          loaded = true;
          return Loaded{Status::kOk, Value(v), {}};
        },
        o);
    m_.expect(r.found(), "get_or_load failed");
    if (!r.found()) return;
    m_.settle();
    const BoundsRecord* const e = m_.record(k);
    if (!loaded) {
      m_.read(k, true);
      return m_.expect(e != nullptr && r->view() == e->value, "another value");
    }
    m_.saw(k, false);
    m_.expect(r->view() == v, "another value than was loaded");
    // Not kept if there is no room for it.
    const bool kept = m_.store.visit(k, [](std::string_view) {}).found();
    m_.expect(kept || m_.is_full(), "wasn't kept");
    BoundsRecord as;
    if (o.ttl) as.least = as.most = m_.clock.at + *o.ttl;
    const bool went = std::any_of(m_.told.begin(), m_.told.end(), [&](const auto& t) { return t.value == v; });
    if (kept || went) m_.wrote(k, v, as);
  }

  // --- maintenance
  void cleanup_expired() {
    const std::uint64_t before = m_.told_count[static_cast<std::size_t>(RemovalCause::kExpired)];
    const std::uint64_t due_before = m_.told_due;
    const auto r = m_.store.cleanup_expired();
    m_.settle();
    // Members of a lease that has ended may be swept by the way, and aren't counted.
    const std::uint64_t told = m_.told_count[static_cast<std::size_t>(RemovalCause::kExpired)] - before;
    const std::uint64_t due = m_.told_due - due_before;
    m_.expect(r.ok() && *r >= due && *r <= told + m_.own_max(),
              "counts " + std::to_string(r.ok() ? *r : 0) + ", told of " + std::to_string(due) + " to " + std::to_string(told));
    for (auto& [k, e] : m_.records) {
      if (e.least && m_.clock.at >= *e.most && !e.cleared) m_.fail("expired and still there: " + BoundsModel::name(k));
      if (e.least && !e.cleared && m_.state_of(e) == State::kEither) e.least = std::min(*e.most, m_.clock.at + milliseconds(1));
    }
  }
  void resize() {
    const std::size_t bytes = 4 * kMiB + std::size_t{in_.byte()} * (4 * kMiB / 255);
    const Stats s = m_.store.stats();
    const auto r = m_.store.resize(bytes);
    if (!r.ok()) m_.expect(r.status() == Status::kOutOfRange && s.memory_used_bytes > bytes / 2, "resize failed");
  }
  void advance() { m_.clock.at += milliseconds(in_.byte() % 64); }
  void tick() {
    const unsigned b = in_.byte();
    // Nothing, or all there is: a budget in between makes what follows depend on the machine's speed.
    m_.expect(m_.store.tick(b % 2 == 0 ? std::chrono::microseconds(0) : std::chrono::microseconds(kLong)).ok(), "tick failed");
  }

  // --- what goes together
  void lease() {
    const milliseconds t = span();
    const auto r = m_.store.lease(t);
    if (m_.refused(r.status())) return;
    m_.expect(r.ok(), "lease failed");
    if (!r.ok()) return;
    ++m_.leases_given;
    m_.leases.push_back({*r, t, m_.clock.at + t, false});
  }
  void attach_or_revoke() {
    const std::string k = key();
    const unsigned how = in_.byte();
    if (m_.leases.empty()) return;
    const std::size_t n = m_.leases.size() - 1 - how / 4 % m_.leases.size();
    BoundsLease& l = m_.leases[n];
    if (how % 4 == 0) {
      const auto r = l.lease.revoke();
      m_.expect(r.ok() && *r == m_.lives(l), "another answer");
      l.revoked = true;
      return;
    }
    const auto r = l.lease.attach(k);
    if (m_.refused(r.status())) return;
    m_.settle();
    if (!m_.lives(l)) return m_.expect(!r.ok(), "a lease that is over took an entry");
    m_.expect(r.ok(), "attach failed");
    if (!r.ok()) return;
    if (!*r) return m_.expect(m_.state(k) != State::kLive, "a key is gone");
    m_.expect(m_.state(k) != State::kDead, "attached what is dead");
    if (BoundsRecord* const e = m_.record(k)) {
      e->lease = n + 1;
      e->held = false;
    }
  }
  void lock() {
    const unsigned how = in_.byte();
    if (how % 2 == 0 && !locks_.empty()) return locks_.erase(locks_.begin()), void();
    auto r = m_.store.try_lock("lock" + std::to_string(how / 2 % 4), {.ttl = span()});
    if (m_.refused(r.status())) return;
    if (!r.ok()) return m_.expect(r.status() == Status::kTimedOut, "lock failed");
    ++m_.leases_given;
    locks_.push_back(std::move(*r));
    if (locks_.size() > 4) locks_.erase(locks_.begin());
  }
  // Seldom everything, or nothing would live to be met again.
  void clear() {
    const unsigned how = in_.byte();
    if (how >= 240) {
      if (!m_.store.clear().ok()) return m_.expect(m_.is_full(), "clear failed");
      for (BoundsLease& l : m_.leases) l.revoked = true;
      return mark([](std::string_view, const BoundsRecord&) { return true; });
    }
    if (how >= 200) {
      const std::string prefix = "k" + std::to_string(how % 10);
      if (!m_.store.del_prefix(prefix).ok()) return m_.expect(m_.is_full(), "del_prefix failed");
      return mark([&](std::string_view k, const BoundsRecord&) { return k.starts_with(prefix); });
    }
    const unsigned tag = 1 + how % 2;
    if (!m_.store.del_tag(kTags[tag - 1]).ok()) return m_.expect(m_.is_full(), "del_tag failed");
    mark([&](std::string_view, const BoundsRecord& r) { return r.tag == tag; });
  }
  template <class Matches>
  void mark(Matches matches) {
    for (auto& [k, r] : m_.records) {
      if (matches(k, r)) r.cleared = true;
    }
  }

  void check_whole() {
    m_.op = "stats";
    const Stats s = m_.store.stats();
    m_.expect(s.entries >= m_.records.size() && s.entries <= m_.records.size() + m_.own_max(),
              "has " + std::to_string(s.entries) + " entries, the model " + std::to_string(m_.records.size()));
    m_.expect(m_.entries_max == 0 || m_.weight <= m_.entries_max, "more entries than entries_max");
    m_.expect(s.evicted == m_.told_count[0] - m_.dropped_count, "evicted but not told");
    m_.expect(s.memory_used_bytes <= s.memory_bytes, "more in use than the budget");
    std::uint64_t kept = 0;
    for (const auto& [k, r] : m_.records) kept += !r.evictable;
    m_.expect(s.unevictable >= kept && s.unevictable <= kept + m_.own_max(), "counts what is never evicted otherwise");
    verify();
  }
  void verify() {
    std::string why;
    const auto collect = [](void* to, const char* line) { *static_cast<std::string*>(to) += std::string("\n  ") + line; };
    if (!m_.store.verify(collect, &why)) m_.fail("verify" + why);
  }
  void finish() {
    check_whole();
    m_.op = "at the end";
    is_ending_ = true;
    while (!held_.empty() && m_.difference.empty()) let_go(0);
    locks_.clear();
    for (const BoundsLease& l : m_.leases) (void)l.lease.revoke();
    for (BoundsLease& l : m_.leases) l.revoked = true;
    std::vector<std::string> keys;
    for (const auto& [k, r] : m_.records) keys.push_back(k);
    for (const std::string& k : keys) {
      const auto r = m_.store.del(k);
      m_.expect(r.ok(), "del failed");
      m_.removed(k, r.ok() && *r);
      m_.settle_rest();
    }
    for (int i = 0; i != 100 && !m_.records.empty(); ++i) {
      (void)m_.store.tick(kLong);
      m_.settle();
    }
    m_.settle_rest();
    for (const auto& [k, r] : m_.records) m_.fail("is left, and was never told: " + BoundsModel::name(k));
    check_whole();
  }

  struct Held {
    HeldValue bytes;
    std::string key, value;
  };

  Bytes in_;
  unsigned key_count_ = 8;
  bool asks_when_told_ = false, is_ending_ = false;
  BoundsModel m_;
  Values values_;
  std::vector<Held> held_;
  std::vector<Lock> locks_;
  std::uint64_t numbers_ = 0;   // of values
  std::uint64_t fillers_ = 0;
  std::uint64_t operations_ = 0;
};

}  // namespace

BoundsResult run_bounds(std::span<const std::uint8_t> bytes) { return Run(bytes).run(); }

}  // namespace tern::test
