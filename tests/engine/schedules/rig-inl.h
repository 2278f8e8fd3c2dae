// The members of RigOf (rig.h), for those who compile them: rig.cc and weak_rig.cc.
#ifndef TERN_TESTS_ENGINE_SCHEDULES_RIG_INL_H_
#define TERN_TESTS_ENGINE_SCHEDULES_RIG_INL_H_

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/audit.h"
#include "engine/reads.h"
#include "engine/writes.h"
#include "tests/engine/schedules/private_arena.h"
#include "tests/engine/schedules/rig.h"

namespace tern::concurrency {

template <class S>
RigOf<S>::RigOf(Mutant planted, int threads, std::size_t memory_bytes,
                const std::function<void(tern::detail::CoreOptions&)>& with) {
  Sync::mutant = planted;
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

template <class S>
RigOf<S>::~RigOf() {
  Sync::mutant = Mutant::kNone;
}

template <class S>
void RigOf<S>::freeze() {
  for (auto& call : recorder_->take()) before_.push_back(std::move(call));
  saved_.clear();
  auto& heap = core().space.heap;
  tern::alloc::unpoison(region_, kRegionBytes);  // blocks in magazines are copied too
  if (core().evicts) {
    // What the policy remembers: the first extent, from the top, is above the next, until there are others.
    if (policy_ == nullptr) {
      const std::uint64_t next = heap.allocate_extent(1);
      heap.free_extent(next, 1);
      tern::alloc::unpoison(region_, kRegionBytes);
      policy_ = heap.at(next) + tern::alloc::BasicHeap<Sync>::kGranuleBytes;
    }
    save(policy_,
         tern::detail::EvictionPolicy<Sync>::words(core().bound.max) * sizeof(std::uint64_t));
  }
  if (tern::detail::Events<Sync> events(core().space); events.ring(0) != nullptr) {
    save(events.ring(0), events.ring(0)->bytes_for(events.ring(0)->cells()) * events.rings());
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
  if (at_freeze) {
    at_freeze();
    save_bitmaps();
  }
  save(core_memory_, sizeof(Core));
  private_used_ = PrivateArena::used();
  save(PrivateArena::begin(), private_used_);
  save(heap.base(), 4096);  // the first 64 buckets
  save(heap.base() + core().table_bytes_, heap.stats().overhead_bytes);
  now_at_freeze_ = now_ms;
}

template <class S>
void RigOf<S>::restore() {
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
}

template <class S>
void RigOf<S>::hold_for_a_step(int t, const Key& key) {
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

template <class S>
void RigOf<S>::evicted(std::uint32_t key, bool pending, int by) {
  const int t = by >= 0 ? by : t_scheduler != nullptr ? current_thread() : own_;
  RegisterOp op;
  op.kind = Kind::kEvict;
  op.key = key;
  op.now_ms = now_ms;
  auto& call = recorder_->begin(static_cast<unsigned>(t), std::move(op));
  if (open_[t] != nullptr) call.begin = open_[t]->begin;
  if (!pending) recorder_->end(call);
}

template <class S>
std::uint64_t RigOf<S>::set(int t, const Key& key, std::string_view value) {
  auto& call = begin(t, Kind::kSet, key, value);
  return end(call, tern::detail::base::put(core(), thread(t), key.hash, key.view(), value));
}

template <class S>
std::uint64_t RigOf<S>::set(int t, const Key& key, std::string_view value,
                  const tern::detail::SetTerms& terms) {
  auto& call = begin(t, terms.if_absent ? Kind::kSetNx : Kind::kSet, key, value);
  if (terms.has_deadline) call.op.deadline_ms = terms.deadline_ms;
  tern::detail::SetChange<Sync> change(core().space, thread(t), key.view(), value, terms);
  return end(call, core().write(thread(t), key.hash, key.view(), change));
}

template <class S>
bool RigOf<S>::del(int t, const Key& key) {
  auto& call = begin(t, Kind::kDel, key);
  tern::detail::RemoveChange<Sync> change(core().space, thread(t), key.view());
  const auto c = core().write(thread(t), key.hash, key.view(), change, true);
  call.op.refused = c.outcome == Outcome::kOutOfMemory;
  call.op.ok = c.outcome == Outcome::kRemoved && change.existed;
  finish(call);
  return call.op.ok;
}

template <class S>
bool RigOf<S>::cas(int t, const Key& key, std::string_view expected, std::string_view desired) {
  auto& call = begin(t, Kind::kCompareAndSwap, key, desired);
  call.op.expected = expected;
  tern::detail::SwapChange<Sync> change(core().space, thread(t), key.view(), desired);
  change.expect_value(expected);
  end(call, core().write(thread(t), key.hash, key.view(), change));
  return call.op.ok;
}

template <class S>
std::string RigOf<S>::get_and_set(int t, const Key& key, std::string_view value) {
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

template <class S>
bool RigOf<S>::expire(int t, const Key& key, std::uint64_t deadline_ms) {
  auto& call = begin(t, Kind::kExpire, key);
  call.op.deadline_ms = deadline_ms;
  const auto touched = core().set_deadline(thread(t), key.hash, key.view(), deadline_ms);
  call.op.refused = touched.outcome == Outcome::kOutOfMemory;
  call.op.ok = touched.existed;
  finish(call);
  return call.op.ok;
}

template <class S>
std::string RigOf<S>::get(int t, const Key& key) {
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

template <class S>
std::string RigOf<S>::copy(int t, const Key& key) {
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

template <class S>
typename RigOf<S>::Opened RigOf<S>::open_view(int t, std::initializer_list<const Key*> keys,
                 std::vector<Call<RegisterOp>*>& calls) {
  for (const Key* key : keys) calls.push_back(&begin(t, Kind::kGet, *key));
  return core().space.views.open(tern::detail::ViewOwner::kUser);
}

template <class S>
std::string RigOf<S>::read_at(int t, const Key& key, const Opened& view, bool& present) {
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

template <class S>
std::vector<std::string> RigOf<S>::look(int t, std::initializer_list<const Key*> keys) {
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

template <class S>
std::string RigOf<S>::view_get(int t, const View& view, const Key& key) {
  std::string value = "-";
  const auto outcome = Views(core()).read(thread(t), view, key.hash, key.view(), [&](const auto& head) {
    step(nullptr);
    value.assign(head.value, std::min<std::uint64_t>(head.value_size, 15));
  });
  return outcome == Views::Outcome::kEnded ? "!" : value;
}

template <class S>
std::vector<std::string> RigOf<S>::view_walk(int t, const View& view) {
  std::vector<std::string> all;
  tern::detail::ViewCursor cursor;
  bool ended = false;
  for (;;) {
    tern::detail::Guard<Sync> guard(core().space, thread(t));
    if (!(walks_whole ? Views(core()).template step<Views::PlainRecords::kWhole>(view, cursor, step_, ended)
                      : Views(core()).step(view, cursor, step_, ended))) {
      break;
    }
    for (unsigned i = 0; i != step_.count; ++i) {
      const auto* whole = step_.whole[i];
      const std::string_view value = whole == nullptr ? step_.head[i].bytes()
                                                      : std::string_view(step_.key[i].data() + step_.key[i].size(), whole->link_word().length18());
      all.push_back(std::string(step_.key[i]) + "=" + std::string(value));
    }
  }
  std::sort(all.begin(), all.end());
  if (ended) return {"!"};
  return all;
}

template <class S>
std::vector<std::string> RigOf<S>::moment(int t, std::initializer_list<const Key*> keys) {
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

template <class S>
bool RigOf<S>::grow(int t) {
  tern::detail::Guard<Sync> guard(core().space, thread(t));
  return Growth::grow_one(core().table, thread(t), shard());
}

template <class S>
bool RigOf<S>::help_split(int t, std::uint32_t bucket) {
  tern::detail::Guard<Sync> guard(core().space, thread(t));
  return Growth::help_split(core().table, thread(t), shard(), bucket);
}

template <class S>
void RigOf<S>::reclaim(int t) {
  core().space.epoch.reclaim(core().space, thread(t));
}

template <class S>
std::string RigOf<S>::check() {
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

template <class S>
std::string RigOf<S>::check_stopped() {
  for (int t = 0; core().evicts && t != own_; ++t) {
    if ((frozen_threads() >> t & 1) == 0 || open_[t] == nullptr) continue;
    for (std::uint32_t key = 1; key <= keys_told; ++key) evicted(key, true, t);
  }
  if (complaint_.empty()) check_histories();
  return complaint_;
}

template <class S>
void RigOf<S>::check_histories() {
  const History<RegisterOp> all = recorder_->take();
  std::map<std::uint32_t, History<RegisterOp>> by_key;
  for (const auto& call : all) by_key[call.op.key].push_back(call);
  for (const auto& [key, history] : by_key) {
    if (checker_.check(history) == Verdict::kIllegal)
      complain("not linearizable:\n" + checker_.explain(history));
  }
}

template <class S>
void RigOf<S>::save_bitmaps() {
  auto& heap = core().space.heap;
  const std::uint64_t units = heap.span_bytes() / tern::alloc::kUnitBytes;
  std::byte* next = nullptr;  // behind the last block, in the span that ends at `end`
  std::byte* end = nullptr;
  const auto save_up_to = [&](std::byte* at) {
    if (next != at) save(next, static_cast<std::size_t>(at - next));
  };
  heap.for_each_block([&](std::uint64_t offset, std::size_t bytes, bool) {
    std::byte* const span = heap.at(offset / units * units);
    if (span + heap.span_bytes() != end) {
      save_up_to(end);
      next = span;
      end = span + heap.span_bytes();
    }
    save_up_to(heap.at(offset));
    next = heap.at(offset) + bytes;
  });
  save_up_to(end);
}

template <class S>
void RigOf<S>::save(void* at, std::size_t bytes) {
  if (saved_.empty()) saved_bytes_.clear();
  saved_.push_back({at, bytes});
  const auto* from = static_cast<const unsigned char*>(at);
  saved_bytes_.insert(saved_bytes_.end(), from, from + bytes);
}

template <class S>
Call<RegisterOp>& RigOf<S>::begin(int t, Kind kind, const Key& key, std::string_view argument) {
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

template <class S>
void RigOf<S>::finish(Call<RegisterOp>& call) {
  if (clock_orders) clock_.fetch_add(1, std::memory_order_acq_rel);
  recorder_->end(call);
}

template <class S>
std::uint64_t RigOf<S>::end(Call<RegisterOp>& call, const tern::detail::Committed& c) {
  call.op.refused = c.outcome == Outcome::kOutOfMemory;
  call.op.ok = c.outcome == Outcome::kPut;
  call.op.version = call.op.ok ? c.version : 0;
  finish(call);
  return call.op.ok ? c.version : 0;
}

template <class S>
void RigOf<S>::check_table() {
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

}  // namespace tern::concurrency

#endif  // TERN_TESTS_ENGINE_SCHEDULES_RIG_INL_H_
