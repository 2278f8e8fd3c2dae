// A sequence of operations told by bytes, on a small full store and on a model of its eviction: two std::deque, a map
// and the same decisions (eviction_policy.h). One thread, one group of queues: the model says exactly which key goes at
// which moment and what the queues hold in the end.
#ifndef TERN_TESTS_ENGINE_PARTS_EVICTION_SEQUENCE_H_
#define TERN_TESTS_ENGINE_PARTS_EVICTION_SEQUENCE_H_

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/audit.h"
#include "engine/core.h"
#include "engine/reads.h"
#include "tests/engine/parts/planted_sync.h"

namespace tern::test {

template <class Sync>
class EvictionSequence {
 public:
  // Where store and model differ; empty if nowhere.
  std::string run(std::span<const std::uint8_t> bytes) {
    std::size_t at = 0;
    const auto next = [&]() -> unsigned { return at < bytes.size() ? bytes[at++] : 0; };
    constexpr unsigned kEntries[] = {1, 2, 3, 8, 20, 48};
    open(kEntries[next() % 6], next() % detail::kEvictionSettingCount);
    while (at < bytes.size() && difference_.empty()) {
      const unsigned code = next();
      operate(code & 15, code >> 4, next());
      compare(code & 15);
      // More void entries than in life: beyond, the store sweeps its queues at each push.
      if (small_.size() + main_.size() > 1'000) break;
    }
    if (difference_.empty()) compare_queues();
    for (const std::uint64_t record : held_) core_->space.drop_hold(*thread_, record);
    held_.clear();
    if (difference_.empty()) {
      detail::Audit<Sync>(*core_, [&](const char* what) { differs(what); });
    }
    return difference_;
  }
  std::uint64_t evictions() const { return evictions_; }

 private:
  using Policy = detail::EvictionPolicy<detail::StdSync>;
  static constexpr std::size_t kMemory = std::size_t{8} << 20;

  struct Entry {
    unsigned key;
    unsigned gen;
    bool counted = true;  // by the policy, as an arrival
  };
  struct Known {
    unsigned gen = 0;
    unsigned access = 0;
    unsigned holds = 0;
    bool keep = false;
    std::optional<std::uint64_t> deadline;
    std::string value;
  };

  void open(unsigned entries_max, unsigned setting) {
    entries_max_ = entries_max;
    core_ = std::make_unique<detail::Core<Sync>>();
    detail::CoreOptions o;
    o.memory_bytes = kMemory;
    o.seed = 1;
    o.huge_pages = false;
    o.eviction = true;
    o.entries_max = entries_max;
    o.eviction_setting = setting;
    o.removal_hook = {[](void* user, std::string_view key, std::string_view, RemovalCause cause) {
                        static_cast<EvictionSequence*>(user)->told_.push_back({std::string(key), cause});
                      },
                      this};
    o.time = {[](const void* ms) { return *static_cast<const std::uint64_t*>(ms); }, &now_ms_};
    if (core_->open(o) != alloc::Error::kNone) std::abort();
    thread_ = core_->space.register_thread(1);
    words_ = std::vector<std::atomic<std::uint64_t>>(Policy::words(entries_max));
    policy_.open(words_.data(), entries_max, setting);
  }

  // --- operations ----------------------------------------------------------------------------------------------

  static std::string name(unsigned key) { return "key" + std::to_string(key); }
  std::uint64_t hash(unsigned key) const { return core_->hash_of(name(key)); }
  bool expired(const Known& k) const { return k.deadline && now_ms_ >= *k.deadline; }
  const Known* present(unsigned key) const {
    const auto it = known_.find(key);
    return it == known_.end() || expired(it->second) ? nullptr : &it->second;
  }

  void operate(unsigned kind, unsigned detail, unsigned argument) {
    const unsigned key = argument % 64;
    switch (kind) {
      case 0: case 1: case 2: case 3: case 4:
        return set(key, {});
      case 5: {
        detail::SetTerms terms;
        terms.keep = detail % 2 == 0;
        terms.has_deadline = detail % 4 >= 2;
        terms.deadline_ms = now_ms_ + 1 + detail * 4;
        return set(key, terms);
      }
      case 6: {
        detail::SetTerms terms;
        terms.has_deadline = true;
        terms.deadline_ms = now_ms_ + 1 + detail * 4;
        return set(key, terms);
      }
      case 7:
        return remove(key);
      case 8:
        return swap(key);
      case 9:
        return hold(key);
      case 10:
        return release(argument);
      case 11:
        now_ms_ += detail;
        return;
      case 12:
        return evict();
      case 13: case 14:
        for (unsigned i = 0; i <= detail % 8; ++i) get_shortly((key + i * (detail / 8)) % 64);
        return;
      default:
        for (unsigned i = 0; i <= detail % 4; ++i) get(key);
        return;
    }
  }

  void set(unsigned key, const detail::SetTerms& terms) {
    const std::string text = name(key), value = std::to_string(++values_);
    if (!known_.contains(key) && !model_room()) {
      detail::SetChange<Sync> change(core_->space, *thread_, text, value, terms);
      if (core_->write(*thread_, hash(key), text, change).outcome == detail::Committed::Outcome::kPut) {
        differs("a set found room where there is none");
      }
      return;
    }
    detail::SetChange<Sync> change(core_->space, *thread_, text, value, terms);
    const auto done = core_->write(*thread_, hash(key), text, change);
    if (done.outcome != detail::Committed::Outcome::kPut) return differs("a set was refused");
    const auto it = known_.find(key);
    const bool enters = it == known_.end() || (it->second.keep && !terms.keep);
    Known& k = known_[key];
    k.keep = terms.keep;
    k.holds = 0;
    k.value = value;
    k.deadline.reset();
    if (terms.has_deadline) k.deadline = terms.deadline_ms;
    if (!enters) return;
    k.gen = gen_of(key);
    if (terms.keep) return;
    entering_.push_back({key, k.gen});
    if (!evicts_) model_count();
    settle();  // a small store holds nothing back
  }
  // Keeps lifetime and KEEP.
  void swap(unsigned key) {
    const Known* k = present(key);
    const std::string text = name(key), value = std::to_string(++values_);
    detail::SwapChange<Sync> change(core_->space, *thread_, text, value);
    change.expect_value(k != nullptr ? std::string_view(k->value) : std::string_view("none"));
    const bool put = core_->write(*thread_, hash(key), text, change).outcome == detail::Committed::Outcome::kPut;
    if (put != (k != nullptr)) return differs("a swap answers otherwise");
    if (!put) return;
    known_[key].value = value;
    known_[key].holds = 0;
  }
  void remove(unsigned key) {
    const std::string text = name(key);
    detail::RemoveChange<Sync> change(core_->space, *thread_, text);
    (void)core_->write(*thread_, hash(key), text, change, true);
    known_.erase(key);
  }
  void get(unsigned key) {
    char out[16];
    const std::string text = name(key);
    const std::uint64_t size = core_->copy(*thread_, hash(key), text, out, sizeof out);
    const Known* k = present(key);
    if ((size != detail::kMissing) != (k != nullptr)) return differs("a get finds otherwise");
    if (k == nullptr) return;
    if (std::string_view(out, size) != k->value) differs("another value");
    Known& mine = known_[key];
    if (mine.access != detail::kAccessMax) model_hit(key, mine);
  }
  // The short way, which notes where it has found the key and counts later.
  void get_shortly(unsigned key) {
    namespace base = detail::base;
    char out[16];
    const std::string text = name(key);
    const Known* const k = present(key);
    const auto found = [&] {
      const detail::Guard<Sync> guard(core_->space, *thread_);
      return core_->table.find(hash(key), text);
    }();
    const std::uint64_t before = thread_->short_hits.get();
    std::uint64_t size = base::copy_plain<base::KeySize::kAny>(*thread_, hash(key), text, out, sizeof out);
    if (size == base::kOtherLength) size = base::copy_other(*thread_, text, out, sizeof out);
    const bool is_noted = thread_->short_hits.get() != before;
    if (is_noted) noted_.push_back({key, found.slot, known_[key].access});
    if (size == base::kUncounted) {
      size = base::count_hits(*core_, *thread_);
      model_count();
    }
    if (!is_noted) return get(key);  // what isn't ordinary goes the long way
    if (k == nullptr || std::string_view(out, size) != k->value) return differs("a short get finds otherwise");
    if (noted_.size() == detail::kHitsACount) differs("sixteen hits are noted and not counted");
  }
  void hold(unsigned key) {
    if (present(key) == nullptr || held_.size() == 8) return;
    const std::string text = name(key);
    const detail::Guard<Sync> guard(core_->space, *thread_);
    const auto found = core_->table.find(hash(key), text);
    if (!found || !core_->space.try_hold(*found.record)) return differs("no hold");
    held_.push_back(found.word.offset());
    ++known_[key].holds;
  }
  void release(unsigned argument) {
    if (held_.empty()) return;
    const std::uint64_t record = held_[argument % held_.size()];
    std::erase_if(held_, [&, one = true](std::uint64_t r) mutable { return r == record && std::exchange(one, false); });
    for (auto& [key, k] : known_) {
      if (k.holds != 0 && record_of(key) == record) --k.holds;
    }
    core_->space.drop_hold(*thread_, record);
  }
  void evict() {
    model_evict();
    {
      const detail::Guard<Sync> guard(core_->space, *thread_);
      (void)core_->eviction.evict_one(*thread_);
    }
    core_->hand_out_removals(*thread_);
  }

  // --- the model -----------------------------------------------------------------------------------------------

  // What the policy knows a key by: shard, tag and bucket of its hash, mixed.
  std::uint64_t policy_key(unsigned key) const {
    const auto& format = core_->eviction.queues().format();
    const std::uint64_t x = format.hash(format.pack(hash(key), 0)) * 0x9E3779B97F4A7C15u;
    return (x ^ x >> 32) * 0xD6E8FEB86659FD93u;
  }
  // The hits that were noted: of keys that are in the slots where they were found, unless all were full then.
  void model_count() {
    const std::vector<Noted> noted = std::exchange(noted_, {});
    if (std::all_of(noted.begin(), noted.end(), [](const Noted& n) { return n.access == detail::kAccessMax; })) return;
    std::vector<Known*> counted;
    for (const Noted& n : noted) {
      const auto it = known_.find(n.key);
      const bool is_there = it != known_.end() && slot_of(n.key) == n.slot;
      if (is_there && it->second.access != detail::kAccessMax) {
        counted.push_back(&it->second);
      } else {
        counted.push_back(nullptr);
      }
    }
    for (std::size_t i = 0; i != noted.size(); ++i) {
      if (counted[i] != nullptr) model_hit(noted[i].key, *counted[i]);
    }
  }
  void model_hit(unsigned key, Known& k) {
    const bool sampled = policy_.sampled(policy_key(key));
    if (sampled) policy_.offer(policy_key(key));
    if (k.access < detail::kAccessMax - (sampled ? 1 : 0)) ++k.access;
  }
  const void* slot_of(unsigned key) {
    const std::string text = name(key);
    const detail::Guard<Sync> guard(core_->space, *thread_);
    const auto found = core_->table.find(hash(key), text);
    return found ? found.slot : nullptr;
  }

  // What the thread has held back. Until somebody has to go, arrivals aren't counted: that is made up for at the head.
  void settle() {
    for (Entry e : entering_) {
      e.counted = evicts_;
      const auto queue = evicts_ ? policy_.missed(policy_key(e.key)) : policy_.entered_first(policy_key(e.key));
      (queue == detail::EvictionQueue::kMain ? main_ : small_).push_back(e);
    }
    entering_.clear();
  }

  bool model_room() {
    while (known_.size() >= entries_max_) {
      if (!model_evict()) return false;
    }
    return true;
  }
  bool model_evict() {
    evicts_ = true;
    model_count();
    settle();
    unsigned empty = 0;
    for (unsigned n = 0; n != 128; ++n) {
      const std::uint64_t small = small_.size(), main = main_.size() + aside_.has_value();
      const bool from_small = policy_.next(small, main) == detail::EvictionQueue::kSmall;
      const std::optional<Entry> entry = from_small ? pop(small_) : take_main();
      if (!entry) {
        if (++empty == 4) break;
        continue;
      }
      const bool whatever = n >= 64;
      if (from_small ? visit_small(*entry, small, main, whatever) : visit_main(*entry, whatever)) return true;
    }
    // The sweep: in the order of buckets, which the model doesn't have. If there was somebody, somebody goes.
    swept_ = true;
    return std::any_of(known_.begin(), known_.end(), [](const auto& k) { return !k.second.keep && k.second.holds == 0; });
  }
  std::optional<Entry> pop(std::deque<Entry>& queue) {
    if (queue.empty()) return {};
    Entry e = queue.front();
    queue.pop_front();
    if (!e.counted) policy_.count(policy_key(e.key));
    e.counted = true;
    return e;
  }
  std::optional<Entry> take_main() { return aside_ ? std::exchange(aside_, std::nullopt) : pop(main_); }

  Known* named(Entry e) {
    const auto it = known_.find(e.key);
    return it == known_.end() || it->second.gen != e.gen || it->second.keep ? nullptr : &it->second;
  }
  bool visit_small(Entry e, std::uint64_t small, std::uint64_t main, bool whatever) {
    using Kind = detail::EvictionVerdict::Kind;
    Known* const k = named(e);
    if (k == nullptr) return false;
    if (k->holds != 0) {
      main_.push_back(e);
      return false;
    }
    if (expired(*k) || whatever) return leaves(e);
    // What it was when it was judged: it may meet an entry of its own key, if that has come back under the same number.
    const unsigned seen = k->access;
    const std::uint64_t slack = std::min(small - 1, 1 + (small + main) / 128);
    const auto verdict = policy_.leave_small(policy_key(e.key), seen, small - 1 - slack, main + slack);
    if (verdict.kind == Kind::kEvict) return leaves(e);
    if (verdict.kind == Kind::kPromote) {
      k->access = verdict.access;
      main_.push_back(e);
      return false;
    }
    for (unsigned n = 0; n != detail::kDuelSteps; ++n) {
      const std::optional<Entry> other = take_main();
      if (!other) break;
      Known* const o = named(*other);
      if (o == nullptr) continue;
      if (o->holds != 0) {
        main_.push_back(*other);
        continue;
      }
      if (!expired(*o)) {
        const auto again = policy_.leave_main(policy_key(other->key), o->access);
        if (again.kind == Kind::kAgain) {
          o->access = again.access;
          main_.push_back(*other);
          continue;
        }
        if (!policy_.wins(policy_key(e.key), seen, policy_key(other->key))) {
          aside_ = other;
          break;
        }
      }
      if (k->access == seen) k->access = 0;
      main_.push_back(e);
      return leaves(*other);
    }
    return leaves(e);
  }
  bool visit_main(Entry e, bool whatever) {
    Known* const k = named(e);
    if (k == nullptr) return false;
    if (k->holds != 0) {
      main_.push_back(e);
      return false;
    }
    if (!expired(*k) && !whatever) {
      const auto verdict = policy_.leave_main(policy_key(e.key), k->access);
      if (verdict.kind == detail::EvictionVerdict::kAgain) {
        k->access = verdict.access;
        main_.push_back(e);
        return false;
      }
    }
    return leaves(e);
  }
  bool leaves(Entry e) {
    if (!expired(known_[e.key])) {
      policy_.evicted(policy_key(e.key));
      expected_.push_back(name(e.key));
    }
    known_.erase(e.key);
    return true;
  }

  // --- comparing -----------------------------------------------------------------------------------------------

  void differs(const std::string& what) {
    if (difference_.empty()) difference_ = what;
  }
  std::uint64_t record_of(unsigned key) {
    const std::string text = name(key);
    const detail::Guard<Sync> guard(core_->space, *thread_);
    const auto found = core_->table.find(hash(key), text);
    return found ? found.word.offset() : 0;
  }
  unsigned gen_of(unsigned key) {
    const std::string text = name(key);
    const detail::Guard<Sync> guard(core_->space, *thread_);
    const auto found = core_->table.find(hash(key), text);
    return found ? found.word.gen() : 0;
  }
  void compare(unsigned kind) {
    const std::string after = " after operation " + std::to_string(kind);
    std::vector<std::string> evicted;
    for (const auto& [key, cause] : told_) {
      if (cause == RemovalCause::kEvicted) evicted.push_back(key);
    }
    told_.clear();
    evictions_ += evicted.size();
    std::sort(evicted.begin(), evicted.end());
    std::sort(expected_.begin(), expected_.end());
    if (swept_) {
      // Whom it took is learnt; the counts that it lowered too.
      for (const std::string& key : evicted) {
        if (std::binary_search(expected_.begin(), expected_.end(), key)) continue;
        const auto it = known_.find(static_cast<unsigned>(std::stoul(key.substr(3))));
        if (it == known_.end()) continue;
        if (it->second.keep || it->second.holds != 0) differs(key + " was swept away" + after);
        known_.erase(it);
      }
      std::erase_if(known_, [&](const auto& k) { return expired(k.second) && record_of(k.first) == 0; });
    } else if (evicted != expected_) {
      std::string what = "evicted:";
      for (const std::string& key : evicted) what += " " + key;
      what += ", not:";
      for (const std::string& key : expected_) what += " " + key;
      differs(what + after);
    }
    expected_.clear();
    if (core_->live_entries() != known_.size()) {
      differs(std::to_string(core_->live_entries()) + " entries instead of " + std::to_string(known_.size()) + after);
    }
    for (auto& [key, k] : known_) {
      const std::uint64_t at = record_of(key);
      if (at == 0) return differs(name(key) + " is missing" + after);
      if (swept_) k.access = core_->space.record(at)->hold_word().access();
      if (core_->space.record(at)->hold_word().access() != k.access) {
        return differs(name(key) + " counts " + std::to_string(core_->space.record(at)->hold_word().access()) +
                       " reads instead of " + std::to_string(k.access) + after);
      }
    }
    swept_ = false;
  }
  void compare_queues() {
    settle();
    {
      const detail::Guard<Sync> guard(core_->space, *thread_);
      core_->eviction.settle(*thread_);
    }
    std::vector<std::uint64_t> wanted, got;
    const auto& format = core_->eviction.queues().format();
    const auto entry = [&](Entry e) { return format.pack(hash(e.key), e.gen); };
    for (const Entry e : small_) wanted.push_back(entry(e));
    for (const Entry e : main_) wanted.push_back(entry(e));
    if (aside_) wanted.push_back(entry(*aside_));
    core_->eviction.queues().walk([&](std::uint64_t e, bool) { got.push_back(format.pack(format.hash(e), format.gen(e))); });
    if (got != wanted) {
      differs("the queues hold " + std::to_string(got.size()) + " entries instead of " + std::to_string(wanted.size()) +
              ", or others");
    }
  }

  struct Noted {
    unsigned key;
    const void* slot;
    unsigned access;  // when it was hit
  };
  struct Told {
    std::string key;
    RemovalCause cause;
  };
  std::uint64_t now_ms_ = 1'000;
  unsigned entries_max_ = 0;
  std::unique_ptr<detail::Core<Sync>> core_;
  detail::Thread<Sync>* thread_ = nullptr;
  std::vector<Told> told_;
  std::vector<std::uint64_t> held_;
  std::map<unsigned, Known> known_;
  std::deque<Entry> small_, main_;
  std::vector<Entry> entering_;
  std::vector<Noted> noted_;
  bool evicts_ = false;
  std::optional<Entry> aside_;
  std::vector<std::atomic<std::uint64_t>> words_;
  Policy policy_;
  std::vector<std::string> expected_;
  std::uint64_t values_ = 0, evictions_ = 0;
  bool swept_ = false;
  std::string difference_;
};

}  // namespace tern::test

#endif  // TERN_TESTS_ENGINE_PARTS_EVICTION_SEQUENCE_H_
