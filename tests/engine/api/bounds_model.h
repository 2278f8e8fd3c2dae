// What a store that evicts has, as far as its answers and on_removed have said.
//
// Every value that is written is another one, so that a value names the record. A record that nobody was told of is in the
// store, alive or not: that depends on its deadline, its lease, and on what was cleared. A time to idle has a third state: how
// far a read has moved it is the store's choice within an eighth, so that between the least and the most that it may be either
// answer is right, and says which it is.
#ifndef TERN_TESTS_ENGINE_API_BOUNDS_MODEL_H_
#define TERN_TESTS_ENGINE_API_BOUNDS_MODEL_H_

#include <tern/store.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "tests/engine/api/sequence_bytes.h"

namespace tern::test {

using std::chrono::milliseconds;

struct BoundsLease {
  Lease lease;
  milliseconds ttl{0}, deadline{0};
  bool revoked = false;
};

struct BoundsRecord {
  std::string value;
  std::optional<milliseconds> least{}, most{};  // its deadline: no sooner, no later
  milliseconds idle{0};                          // 0: none
  bool evictable = true;
  bool cleared = false;
  unsigned tag = 0;        // 0: none
  std::size_t lease = 0;   // its place in `leases`, plus one
  bool held = false;       // by a HeldValue, which isn't a copy
};

class BoundsModel {
 public:
  enum class State : std::uint8_t { kLive, kEither, kDead };
  struct Told {
    std::string key, value;
    RemovalCause cause;
  };

  // A shutdown of the run: the first is kept.
  void fail(const std::string& what) {
    if (difference.empty()) difference = std::string(op) + ": " + what;
  }
  void expect(bool as_the_model, const std::string& what) {
    if (!as_the_model) fail(what);
  }

  BoundsRecord* record(std::string_view key) {
    const auto it = records.find(key);
    return it == records.end() ? nullptr : &it->second;
  }
  State state_of(const BoundsRecord& r) const {
    if (r.cleared || (r.lease != 0 && !lives(leases[r.lease - 1]))) return State::kDead;
    if (!r.least || clock.at < *r.least) return State::kLive;
    return clock.at >= *r.most ? State::kDead : State::kEither;
  }
  State state(std::string_view key) {
    const BoundsRecord* const r = record(key);
    return r == nullptr ? State::kDead : state_of(*r);
  }
  bool lives(const BoundsLease& lease) const { return !lease.revoked && clock.at < lease.deadline; }
  std::uint64_t weight_of(std::string_view key, std::string_view value) const { return weighs ? weigh(key, value) : 1; }
  static std::uint32_t weigh(std::string_view, std::string_view value) { return static_cast<std::uint32_t>(1 + value.size() % 4); }

  // An answer about a key that was read: whether it was there.
  void saw(std::string_view key, bool found) {
    BoundsRecord* const r = record(key);
    switch (state(key)) {
      case State::kLive: return expect(found, "a key is gone: " + name(key));
      case State::kDead: return expect(!found, "a key that isn't there: " + name(key));
      case State::kEither: break;
    }
    if (!found) r->most = clock.at;  // dead from now on
    if (found) r->least = std::min(*r->most, clock.at + milliseconds(1));
  }
  // The same by one of the calls that begin an idle time anew. In a full store it may find no room to do so.
  void read(std::string_view key, bool found) {
    saw(key, found);
    BoundsRecord* const r = record(key);
    if (!found || r == nullptr || r->idle.count() == 0) return;
    if (!is_full()) r->least = std::max(*r->least, clock.at + r->idle - r->idle / 8);
    r->most = std::max(*r->most, clock.at + r->idle);
  }

  // --- what on_removed tells. Heard during a call, judged when the model knows what the call has done.

  void hear(std::string_view key, std::string_view value, RemovalCause cause) {
    expect(!key.starts_with('\1'), "told of an entry of the store's own");
    told.push_back({std::string(key), std::string(value), cause});
  }
  // Of the records that there were.
  void settle() {
    std::erase_if(told, [&](const Told& t) {
      BoundsRecord* const r = record(t.key);
      if (r == nullptr || r->value != t.value) return false;
      judge(t, *r);
      weight -= weight_of(t.key, r->value);
      records.erase(records.find(t.key));
      return true;
    });
  }
  // And nothing else was told.
  void settle_rest() {
    settle();
    for (const Told& t : told) {
      fail("told of what isn't there, or was told before: " + name(t.key) + ", cause " +
           std::to_string(static_cast<int>(t.cause)) + ", value of " + std::to_string(t.value.size()) + " bytes");
    }
    told.clear();
    deleted.clear();
    dropped.clear();
    written = 0;
    weight_before = weight;
  }
  void judge(const Told& t, const BoundsRecord& r) {
    ++told_count[static_cast<std::size_t>(t.cause)];
    const State s = state_of(r);
    switch (t.cause) {
      case RemovalCause::kEvicted:
        if (dropped.contains(t.key)) {
          ++dropped_count;
          return;
        }
        expect(s != State::kDead, "evicted what was dead: " + name(t.key) + (r.cleared ? ", cleared" : "") +
                                      (r.lease != 0 ? ", with a lease" : "") + (r.most ? ", with a lifetime" : ""));
        expect(r.evictable, "evicted what may not be: " + name(t.key));
        expect(!r.held, "evicted what is held: " + name(t.key));
        expect(is_full(), "evicted in a store with room: " + name(t.key));
        return;
      case RemovalCause::kExpired:
        expect(s != State::kLive && (r.least || r.lease != 0), "expired before its time: " + name(t.key));
        if (!r.cleared && r.least && clock.at >= *r.least && (r.lease == 0 || lives(leases[r.lease - 1]))) ++told_due;
        return;
      case RemovalCause::kDeleted:
        expect(deleted.contains(t.key), "deleted by nobody: " + name(t.key));
        expect(s != State::kDead, "deleted what was dead: " + what(t.key, r));
        return;
      case RemovalCause::kCleared:
        expect(r.cleared, "cleared by nobody: " + name(t.key));
        return;
    }
  }

  // expire() with no time left: told as what has expired, although it lived.
  void settle_expired(std::string_view key, bool now) {
    if (BoundsRecord* const r = record(key); now && r != nullptr && state_of(*r) != State::kDead) {
      r->most = clock.at;
      r->least = r->least ? std::min(*r->least, clock.at) : clock.at;
    }
  }

  // A write of a value has succeeded. What it replaced is told if it was dead, and not if it lived.
  BoundsRecord& wrote(std::string_view key, std::string_view value, const BoundsRecord& as) {
    settle();
    if (BoundsRecord* const before = record(key)) {
      expect(state_of(*before) != State::kDead, "what was dead and was replaced wasn't told: " + name(key));
      weight -= weight_of(key, before->value);
    }
    weight += weight_of(key, value);
    written += weight_of(key, value);
    BoundsRecord& r = records.insert_or_assign(std::string(key), as).first->second;
    r.value = value;
    r.cleared = r.held = false;
    return r;
  }
  // By a call that keeps what the entry has beside its value.
  BoundsRecord& changed(std::string_view key, std::string_view value) {
    settle();
    const BoundsRecord* const before = record(key);
    BoundsRecord r = before != nullptr && state_of(*before) != State::kDead ? *before : BoundsRecord{};
    if (r.idle.count() != 0) r.most = std::max(*r.most, clock.at + r.idle);
    return wrote(key, value, r);
  }
  // A removal has answered whether there was something.
  void removed(std::string_view key, bool answer) {
    deleted.emplace(key);
    const bool was_there = record(key) != nullptr && state(key) == State::kLive;
    const std::uint64_t before = told_count[static_cast<std::size_t>(RemovalCause::kDeleted)];
    settle();
    const bool was_told = told_count[static_cast<std::size_t>(RemovalCause::kDeleted)] != before;
    expect(answer == was_told, "removed but not told, or the other way round: " + name(key));
    if (was_there && !answer) expect(record(key) == nullptr, "not removed: " + name(key));
  }

  // --- whether there is room

  bool is_full() const {
    if (entries_max != 0 && std::max(weight, weight_before) + written + own_max() + kHeaviest >= entries_max) return true;
    const Stats s = store.stats();
    return s.memory_used_bytes > s.memory_bytes / 2 || s.owed.shrink_bytes != 0;
  }
  // Entries of leases and locks.
  std::uint64_t own_max() const { return 2 * leases_given; }
  // True: refused for lack of room, which changes nothing and is plausible.
  bool refused(Status got) {
    if (got != Status::kOutOfMemory) return false;
    ++refusals;
    expect(is_full(), "refused in a store with room");
    settle_rest();
    return true;
  }

  std::string what(std::string_view key, const BoundsRecord& r) const {
    return name(key) + (r.cleared ? " cleared" : "") + (r.idle.count() != 0 ? " idle" : "") + (r.held ? " held" : "") +
           (r.least ? " deadline " + std::to_string((*r.least - clock.at).count()) + " to " + std::to_string((*r.most - clock.at).count()) : "") +
           (r.lease != 0 ? lives(leases[r.lease - 1]) ? " leased" : " lease over" : "");
  }
  static std::string name(std::string_view key) { return std::string(key.substr(0, 12)); }

  static constexpr std::uint64_t kHeaviest = 4;

  StillClock clock;
  Store store;
  std::map<std::string, BoundsRecord, std::less<>> records;  // that nobody was told of
  std::vector<BoundsLease> leases;
  std::vector<Told> told;                            // in this call, not judged yet
  std::set<std::string, std::less<>> deleted, dropped;  // keys, by this call
  std::uint64_t weight = 0;                          // of records
  std::uint64_t weight_before = 0;                   // the same before this call
  std::uint64_t written = 0;                         // by this call
  std::uint64_t entries_max = 0;
  bool weighs = false;
  std::uint64_t leases_given = 0;
  std::uint64_t refusals = 0;
  std::uint64_t told_count[4] = {};
  std::uint64_t told_due = 0;       // of them, expired by a deadline of their own
  std::uint64_t dropped_count = 0;  // of them, evicted by a write that gave up
  const char* op = "open";
  std::string difference;
};

}  // namespace tern::test

#endif  // TERN_TESTS_ENGINE_API_BOUNDS_MODEL_H_
