#include "tests/engine/schedules/batch_rig.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <map>
#include <memory>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/point_events.h"
#include "engine/reads.h"
#include "engine/writes.h"

namespace tern::concurrency {

BatchRigBase::BatchRigBase(Mutant planted, int threads, Chains chains, StoreKind kind)
    : rig(planted, threads, std::size_t{4} << 20, [&](tern::detail::CoreOptions& o) {
        o.ring_cells = 16;
        o.ring_bytes = 1 << 20;
        o.ordered = kind == StoreKind::kOrdered;
        if (kind != StoreKind::kFull) return;
        o.eviction = true;
        o.entries_max = 3;
        o.eviction_setting = 0;  // newcomers fight no duels
        o.removal_hook = {&BatchRigBase::told_of, this};
      }) {
  KeyFinder finder;
  std::uint64_t least = 0;
  const unsigned first = kind == StoreKind::kSplitting ? 21 : 5;
  for (unsigned i = 0; i != 4; ++i) {
    keys[i] = finder.next([&](std::uint64_t h) {
      return (h & 31) == first + i % 3 && h > least && h - least < ~std::uint64_t{0} / 4;
    });
    least = keys[i].hash;
  }
  const int own = rig.own_index();
  for (unsigned n = tern::detail::kFirstBuckets; kind == StoreKind::kSplitting && n != first; ++n) rig.grow(own);
  digit_.set(kDigit);
  letter_.set(kLetter);
  for (unsigned k : {0u, 1u}) {
    if (kind == StoreKind::kTagged) {
      rig.set(own, keys[k], "0", {.tags = digit_.block()});
    } else {
      rig.set(own, keys[k], "0");
    }
  }
  if (kind == StoreKind::kDue) {
    rig.now_ms = 50;
    for (const std::uint64_t ms : {5000, 100, 60}) rig.set(own, keys[3], "x", {.has_deadline = true, .deadline_ms = ms});
    fire(own, 50);
    rig.del(own, keys[3]);
  }
  rig.set(own, keys[2], "0", {.has_deadline = true, .deadline_ms = kind == StoreKind::kDue ? kDueMs : 1000});
  if (kind == StoreKind::kDue) fire(own, 130);
  // The clock has moved since: what is replaced first has to be trimmed. With a view that stays open, a version is left
  // below what is trimmed.
  view_ = rig.core().space.views.open(tern::detail::ViewOwner::kUser);
  if (chains == Chains::kKeptByAView) {
    rig.set(own, keys[0], "0");
    rig.set(own, keys[1], "0");
    rig.core().space.views.close(rig.core().space.views.open(tern::detail::ViewOwner::kUser));
  } else {
    rig.core().space.views.close(view_);
  }
  chains_ = chains;
  rig.more_sizes = {80, 152, 176, 192, 216, 232, 296};  // descriptors
  if (kind == StoreKind::kOrdered) rig.more_sizes.insert(rig.more_sizes.end(), {96, 112, 128, 144, 160, 184});  // nodes
  if (kind == StoreKind::kFull) {
    rig.core().space.epoch.set_limits(1 << 18, 64);
    settle_queues();
  }
  rig.freeze();
  recorder_ = std::make_unique<Recorder<MapOp>>(static_cast<unsigned>(threads + 1), 256);
  rig.check_accounts = false;
}

void BatchRigBase::begin_without(unsigned key) {
  rig.del(rig.own_index(), keys[key]);
  initial_[key] = 0;
  rig.freeze();
}

void BatchRigBase::restore() {
  rig.restore();
  (void)recorder_->take();
  touched_ = false;
  judged_ = true;
  told_.clear();
  open_.fill(nullptr);
  if (sub_ == nullptr) return;
  std::memcpy(static_cast<void*>(listener_), listener_at_freeze_, sizeof listener_);
  position_[0] = position_at_freeze_;
  heard_ = heard_at_freeze_;
}

bool BatchRigBase::is_digit(const R::Rec& r, tern::detail::Stamp s) const {
  return s.has_ext() && tern::detail::has_tag(rig.core().space.tags_of(r, s), kDigit[0]);
}

void BatchRigBase::listen() {
  sub_ = new (listener_) Sub(rig.core());
  if (!sub_->enter(0, 1, position_)) rig.complain("nobody may listen");
  sub_->begin();
  {
    tern::detail::Guard<Sync> guard(rig.core().space, rig.own());
    for (unsigned k = 0; k != 4; ++k) {
      const auto head = rig.core().head(keys[k].hash, keys[k].view());
      if (!head.present) continue;
      heard_[k] = {head.value[0], head.version, is_digit(*head.record, head.record->stamp_word())};
    }
  }
  rig.freeze();
  std::memcpy(listener_at_freeze_, listener_, sizeof listener_);
  position_at_freeze_ = position_[0];
  heard_at_freeze_ = heard_;
}

void BatchRigBase::hear() {
  tern::detail::Guard<Sync> guard(rig.core().space, rig.own());
  for (Sub::Next next; sub_->next(next);) {
    if (next.what == tern::detail::EventSeen::What::kGap) return;  // a scene of more changes than the ring has cells
    hear_of(next);
  }
  for (unsigned k = 0; k != 4; ++k) {
    const auto head = rig.core().head(keys[k].hash, keys[k].view());
    const Heard& heard = heard_[k];
    // A touch takes a version and isn't told.
    if (head.present && (heard.value != head.value[0] || heard.version > head.version || (heard.version != head.version && !keeps_mortal_))) {
      rig.complain("a change isn't told");
    }
    if (head.present || heard.value == 0) continue;
    const auto found = rig.core().table.find(keys[k].hash, keys[k].view());  // what is over is told when it goes
    if (!found || found.stamp.tomb()) rig.complain("a removal isn't told");
  }
}

void BatchRigBase::hear_of(const Sub::Next& next) {
  using tern::detail::PointScope;
  const auto& space = rig.core().space;
  const auto& r = *space.record(next.record);
  const auto k = space.key_of(r, next.stamp);
  const std::string_view name(k.data, static_cast<std::size_t>(k.size));
  const auto v = space.value_of(r, next.stamp, k.size);
  if (next.stamp.tomb() && r.link_word().reason() == tern::detail::TombReason::kInvalidated) {
    tern::detail::PointEventScope scope;
    std::memcpy(&scope, v.data, sizeof scope);
    const bool by_tag = scope.kind == static_cast<std::uint32_t>(PointScope::Kind::kTag);
    for (unsigned n = 0; n != 4; ++n) {
      if (by_tag ? heard_[n].is_digit : keys[n].view().starts_with(name)) heard_[n] = {0, heard_[n].version, false, true};
    }
    return;
  }
  for (unsigned n = 0; n != 4; ++n) {
    if (keys[n].view() != name) continue;
    const std::uint64_t version = r.hold_word().version();
    if (version <= heard_[n].version) rig.complain("a key's changes are told out of order, or twice");
    if (next.stamp.tomb()) {
      // A removal that was under way when its key was cleared may come behind the clearing, which is told for the value, too.
      if (heard_[n].value == 0 && !heard_[n].was_cleared) rig.complain("a removal is told of what wasn't there");
      heard_[n] = {0, version, false};
    } else {
      heard_[n] = {v.data[0], version, is_digit(r, next.stamp)};
    }
  }
}

std::string BatchRigBase::check() {
  if (sub_ != nullptr) hear();
  // Once more by the own thread, when all is over: the last state counts, too.
  read(rig.own_index(), {0, 1, 2, 3});
  // A version that a batch was told is the record's.
  {
    tern::detail::Guard<Sync> guard(rig.core().space, rig.own());
    for (unsigned k = 0; k != 4; ++k) {
      const auto head = rig.core().head(keys[k].hash, keys[k].view());
      if (!head.present) continue;
      const auto told = told_.find({k, head.value[0]});
      if (told != told_.end() && told->second != head.version && !touched_ && values_differ) rig.complain("a batch was told another version");
    }
  }
  {
    tern::detail::Guard<Sync> guard(rig.core().space, rig.own());
    // The view that was open all the while needs nothing any more.
    if (chains_ == Chains::kKeptByAView) rig.core().space.views.close(view_);
    for (int round = 0; round != 2; ++round) rig.core().kept_keys()->review(rig.own(), rig.shard(), 64);  // one may be under way
    for (const Key& key : keys) {
      const auto found = rig.core().table.find(key.hash, key.view());
      if (!found) continue;
      if (found.stamp.tomb()) rig.complain("a tomb is left");
      if (!R::Versions::alone(*found.record, found.stamp)) rig.complain("an older version is left, and nobody needs it");
    }
  }
  std::string complaint = rig.check();
  return complaint.empty() && judged_ ? judge() : complaint;
}

void BatchRigBase::settle_queues() {
  tern::detail::Guard<Sync> guard(rig.core().space, rig.own());
  rig.core().space.for_each_thread_state([&](auto& t) { rig.core().eviction.settle(t); });
}

std::string BatchRigBase::check_stopped() {
  const std::string complaint = rig.check_stopped();
  return complaint.empty() ? judge() : complaint;
}

bool BatchRigBase::batch(int t, std::span<const Ask> asked, bool judged) {
  MapOp op;
  for (const Ask& a : asked) op.add(a.keep_ttl && keeps_mortal_ ? What::kSetKept : a.what, a.key, a.value);
  auto& call = begin(t, op);
  struct List {
    const Ask* asked;
    std::size_t size;
    BatchRigBase* self;
    std::uint32_t count() const { return static_cast<std::uint32_t>(size); }
    std::string_view key(std::uint32_t i) const { return self->keys[asked[i].key].view(); }
    bool all_plain() const {
      return std::all_of(asked, asked + size, [&](const Ask& a) { return plain(static_cast<std::uint32_t>(&a - asked)); });
    }
    bool plain(std::uint32_t i) const {
      return asked[i].what == What::kDel || (asked[i].what == What::kSet && !asked[i].keep_ttl && !asked[i].keep_metadata);
    }
    void read_plain(std::uint32_t i, tern::detail::BatchOperation::Kind& kind, std::string_view& value) const {
      kind = asked[i].what == What::kSet ? tern::detail::BatchOperation::Kind::kSet : tern::detail::BatchOperation::Kind::kDel;
      value = kind == tern::detail::BatchOperation::Kind::kSet ? std::string_view{&asked[i].value, 1} : std::string_view{};
    }
    void read(std::uint32_t i, tern::detail::BatchOperation& out) const {
      using Is = tern::detail::BatchOperation::Kind;
      using Require = tern::detail::BatchCondition::Kind;
      const Ask& a = asked[i];
      out = {};
      out.kind = a.what == What::kSet ? Is::kSet : a.what == What::kDel ? Is::kDel : Is::kRequire;
      out.require = a.what == What::kRequireAbsent    ? Require::kAbsent
                    : a.what == What::kRequirePresent ? Require::kPresent
                                                      : Require::kValue;
      if (out.kind == Is::kSet || a.what == What::kRequireValue) out.value = {&a.value, 1};
      out.terms.keep_deadline = a.keep_ttl;
      out.terms.keep_metadata = a.keep_metadata;
    }
    void tell(std::uint32_t i, std::uint64_t version) {
      for (const auto& [of, told] : self->told_) {
        if (of.first == asked[i].key && told == version) self->rig.complain("two batches were told one version");
      }
      self->told_[{asked[i].key, asked[i].value}] = version;
    }
  } list{asked.data(), asked.size(), this};
  using Writer = tern::detail::BatchWriter<Sync, List>;
  const auto answer = Writer(rig.core(), rig.thread(t), list).write();
  call.op.ok = answer.what == Writer::Answer::kDone;
  call.op.failed = answer.operation;
  call.op.refused = answer.what == Writer::Answer::kOutOfMemory;
  recorder_->end(call);
  judged_ = judged_ && judged;
  return call.op.ok;
}

bool BatchRigBase::set(int t, unsigned key, char value) {
  MapOp op;
  op.add(What::kSet, key, value);
  auto& call = begin(t, op);
  finish(call, tern::detail::base::put(rig.core(), rig.thread(t), keys[key].hash, keys[key].view(), {&value, 1}).outcome);
  return !call.op.refused;
}

bool BatchRigBase::set_metadata(int t, unsigned key, std::string_view metadata) {
  touched_ = true;
  tern::detail::MetadataChange<Sync> change(rig.core().space, rig.thread(t), keys[key].view(), metadata);
  return rig.core().write(rig.thread(t), keys[key].hash, keys[key].view(), change).outcome == Outcome::kPut;
}

bool BatchRigBase::del(int t, unsigned key) {
  MapOp op;
  op.add(What::kDel, key);
  op.asks = true;
  auto& call = begin(t, op);
  tern::detail::RemoveChange<Sync> change(rig.core().space, rig.thread(t), keys[key].view());
  const auto c = rig.core().write(rig.thread(t), keys[key].hash, keys[key].view(), change, true);
  call.op.ok = c.outcome == Outcome::kRemoved && change.existed;
  finish(call, c.outcome);
  return !call.op.refused;
}

bool BatchRigBase::swap(int t, unsigned key, char from, char to) {
  MapOp op;
  op.add(What::kRequireValue, key, from);
  op.add(What::kSetKept, key, to);
  auto& call = begin(t, op);
  tern::detail::SwapChange<Sync> change(rig.core().space, rig.thread(t), keys[key].view(), {&to, 1});
  change.expect_value({&from, 1});
  const auto c = rig.core().write(rig.thread(t), keys[key].hash, keys[key].view(), change);
  call.op.ok = c.outcome == Outcome::kPut;
  finish(call, c.outcome);
  return call.op.ok;
}

void BatchRigBase::add(int t, unsigned key) {
  MapOp op;
  op.add(What::kAdd, key);
  auto& call = begin(t, op);
  tern::detail::AddChange<Sync, std::int64_t> change(rig.core().space, rig.thread(t), keys[key].view(), 1, 0);
  const auto c = rig.core().write(rig.thread(t), keys[key].hash, keys[key].view(), change);
  call.op.parts[0].value = static_cast<char>('0' + change.sum);
  finish(call, c.outcome);
}

char BatchRigBase::get(int t, unsigned key) {
  MapOp op;
  op.add(What::kRead, key);
  auto& call = begin(t, op);
  char out[16] = {};
  namespace base = tern::detail::base;
  auto& core = rig.core();
  auto& thread = rig.thread(t);
  std::uint64_t size = base::copy_plain<base::KeySize::kAny>(thread, keys[key].hash, keys[key].view(), out, 15);
  if (size == base::kOtherLength) size = base::copy_other(thread, keys[key].view(), out, 15);
  if (size == base::kUncounted) size = base::count_hits(core, thread);
  if (size == base::kNoMatch && base::is_missing(thread.geometry, keys[key].hash)) size = tern::detail::kMissing;
  if (size == base::kNoMatch || size == tern::detail::kUndecided)
    size = core.copy(thread, keys[key].hash, keys[key].view(), out, 15);
  call.op.parts[0].value = size <= 15 ? out[0] : 0;
  recorder_->end(call);
  return call.op.parts[0].value;
}

void BatchRigBase::read(int t, std::initializer_list<unsigned> which) {
  MapOp op;
  std::string_view names[4];
  for (unsigned k : which) {
    names[op.count] = keys[k].view();
    op.add(What::kRead, k);
  }
  auto& call = begin(t, op);
  R::Moment::Cell cells[4];
  (void)R::Moment::read(rig.core(), rig.thread(t), names, op.count, cells,
                        [&](std::size_t i, const char* value, std::uint64_t) {
                          call.op.parts[i].value = value == nullptr ? '\0' : value[0];
                        });
  recorder_->end(call);
}

void BatchRigBase::view(int t, std::initializer_list<unsigned> which, const std::function<void()>& between) {
  MapOp op;
  for (unsigned k : which) op.add(What::kRead, k);
  auto& call = begin(t, op);
  R::Views views(rig.core());
  const R::View view = views.open();
  recorder_->end(call);
  const std::uint64_t end = std::exchange(call.end, Call<MapOp>::kPending);
  for (int pass = 0; pass != 2; ++pass) {
    for (unsigned i = 0; i != op.count; ++i) {
      const std::string value = rig.view_get(t, view, keys[op.parts[i].key]);
      if (value == "!") rig.complain("a view has ended, and nobody wanted room");
      const char now = value == "-" ? '\0' : value[0];
      if (pass == 1 && now != call.op.parts[i].value) rig.complain("a view changed under its reader");
      call.op.parts[i].value = now;
    }
    if (pass == 0) call.end = end;
    if (pass == 0 && between) between();
  }
  views.close(&rig.thread(t), view);
}

void BatchRigBase::clear(int t) {
  MapOp op;
  for (unsigned k = 0; k != 4; ++k) op.add(What::kDel, k);
  if (leased_) op.add(What::kEnd, 0);
  invalidate(t, op, {});
}

void BatchRigBase::clear_one(int t, unsigned key) {
  MapOp op;
  op.add(What::kDel, key);
  invalidate(t, op, {tern::detail::PointScope::Kind::kPrefix, keys[key].view()});
}

void BatchRigBase::clear_digits(int t) {
  MapOp op;
  for (unsigned k : {0u, 1u}) op.add(What::kDelDigit, k);
  invalidate(t, op, {tern::detail::PointScope::Kind::kTag, kDigit[0]});
}

void BatchRigBase::set_letter(int t, unsigned key, char value) {
  MapOp op;
  op.add(What::kRequirePresent, key);
  op.add(What::kSet, key, value);
  auto& call = begin(t, op);
  const Outcome outcome = put(rig.thread(t), key, value, {.if_present = true, .tags = letter_.block()});
  call.op.ok = outcome == Outcome::kPut;
  finish(call, outcome);
}

void BatchRigBase::sweep(int t) {
  for (int slice = 0; slice != 8; ++slice) rig.core().sweep_points(rig.thread(t), 8);
}

void BatchRigBase::lease_two(std::uint64_t deadline_ms) {
  touched_ = leased_ = true;
  if (deadline_ms == kDueMs) rig.now_ms = 130;
  const tern::detail::LeaseKey lease(1);
  char terms[tern::detail::LeaseTerms::kBytes];
  tern::detail::LeaseTerms{deadline_ms, false}.write(terms);
  tern::detail::SetTerms how;
  how.has_deadline = how.keep = true;
  how.deadline_ms = deadline_ms;
  auto& own = rig.own();
  tern::detail::SetChange<Sync> change(rig.core().space, own, lease.view(), {terms, sizeof terms}, how);
  rig.core().write(own, rig.core().hash_of(lease.view()), lease.view(), change);
  put_member(own, 0, '4');
  put_member(own, 1, '4');
  initial_ = {MapSpec::mortal('4'), MapSpec::mortal('4'), '0', 0, 0};
  for (const std::size_t size : {40, 48, 56, 64}) rig.more_sizes.push_back(size);
  rig.freeze();
}

void BatchRigBase::mortal_two() {
  rig.now_ms = 130;
  keeps_mortal_ = true;
  put_mortal(rig.own(), 0, '4');
  put_mortal(rig.own(), 1, '4');
  initial_ = {MapSpec::mortal('4'), MapSpec::mortal('4'), '0', 0, 0};
  rig.freeze();
}

void BatchRigBase::set_mortal(int t, unsigned key, char value) {
  MapOp op;
  op.add(What::kSetMortal, key, value);
  auto& call = begin(t, op);
  finish(call, put_mortal(rig.thread(t), key, value));
}

void BatchRigBase::touch(int t, unsigned key, bool mortal) {
  MapOp op;
  op.add(mortal ? What::kMakeMortal : What::kMakeImmortal, key);
  op.asks = true;
  auto& call = begin(t, op);
  const auto touched = rig.core().set_deadline(rig.thread(t), keys[key].hash, keys[key].view(), mortal ? kDueMs : 1000);
  call.op.ok = touched.existed;
  finish(call, touched.outcome);
}

void BatchRigBase::pass(int t) {
  MapOp op;
  op.add(What::kPass, 0);
  auto& call = begin(t, op);
  rig.now_ms = 150;
  recorder_->end(call);
  fire(t, 150);
}

void BatchRigBase::move(int t, unsigned key) {
  tern::detail::Guard<Sync> guard(rig.core().space, rig.thread(t));
  const auto found = rig.core().table.find(keys[key].hash, keys[key].view());
  if (found) (void)rig.core().mover().move(rig.thread(t), found);
}

void BatchRigBase::set_member(int t, unsigned key, char value) {
  MapOp op;
  op.add(What::kSetMortal, key, value);
  auto& call = recorder_->begin(static_cast<unsigned>(t), op);
  finish(call, put_member(rig.thread(t), key, value));
}

void BatchRigBase::revoke(int t) {
  MapOp op;
  op.add(What::kEnd, 0);
  auto& call = recorder_->begin(static_cast<unsigned>(t), op);
  const tern::detail::LeaseKey lease(1);
  tern::detail::RemoveChange<Sync> change(rig.core().space, rig.thread(t), lease.view());
  finish(call, rig.core().write(rig.thread(t), rig.core().hash_of(lease.view()), lease.view(), change, true).outcome);
}

bool BatchRigBase::keep_alive(int t, std::uint64_t deadline_ms) {
  const tern::detail::LeaseKey lease(1);
  return rig.core().set_deadline(rig.thread(t), rig.core().hash_of(lease.view()), lease.view(), deadline_ms).existed;
}

void BatchRigBase::put_off(int t) {
  MapOp op;
  op.add(What::kPutOff, 0);
  op.asks = true;
  auto& call = begin(t, op);
  call.op.ok = keep_alive(t, 1000);
  recorder_->end(call);
}

void BatchRigBase::sweep_leases(int t) {
  for (int slice = 0; slice != 5; ++slice) rig.core().sweep_leases(rig.thread(t), 8);
}

bool BatchRigBase::expire(int t, unsigned key, std::uint64_t deadline_ms) {
  touched_ = true;
  return rig.core().set_deadline(rig.thread(t), keys[key].hash, keys[key].view(), deadline_ms).existed;
}

void BatchRigBase::fire(int t, std::uint64_t now) {
  rig.now_ms = std::max(rig.now_ms, now);
  tern::detail::Guard<Sync> guard(rig.core().space, rig.thread(t));
  tern::detail::Expiry<Sync> expiry(rig.core().table, rig.core().committer(), rig.thread(t), rig.shard(), now);
  while (expiry.step(64) != 0) {
  }
}

void BatchRigBase::evict(int t) {
  auto& call = begin(t, {});
  {
    tern::detail::Guard<Sync> guard(rig.core().space, rig.thread(t));
    (void)rig.core().eviction.evict_one(rig.thread(t));
  }
  rig.core().hand_out_removals(rig.thread(t));
  recorder_->end(call);
}

void BatchRigBase::scan(int t) {
  MapOp op;
  for (unsigned k = 0; k != 4; ++k) op.add(What::kRead, k);
  auto& call = begin(t, op);
  const R::View view{rig.core().space.views.open(tern::detail::ViewOwner::kUser), 0};
  recorder_->end(call);
  const std::uint64_t end = std::exchange(call.end, Call<MapOp>::kPending);
  tern::detail::Scans<Sync> scans(rig.core(), view);
  using Stepped = tern::detail::Scans<Sync>::Outcome;
  auto& step = step_[t];
  std::string last;
  for (Stepped outcome = Stepped::kMore; outcome == Stepped::kMore;) {
    tern::detail::Guard<Sync> guard(rig.core().space, rig.thread(t));
    outcome = scans.step({}, nullptr, 2, step);
    for (unsigned i = 0; i != step.count; ++i) {
      if (step.key[i] <= last) rig.complain("a scan isn't in order");
      last = step.key[i];
      for (unsigned k = 0; k != 4; ++k) {
        if (keys[k].view() == last) call.op.parts[k].value = step.value(i)[0];
      }
    }
  }
  call.end = end;
  rig.core().space.views.close(view.opened);
  tern::detail::Guard<Sync> guard(rig.core().space, rig.thread(t));
  rig.core().kept_keys()->review(rig.thread(t), rig.shard(), 16);
}

BatchRigBase::Outcome BatchRigBase::put(R::Thr& t, unsigned key, char value, const tern::detail::SetTerms& terms) {
  tern::detail::SetChange<Sync> change(rig.core().space, t, keys[key].view(), {&value, 1}, terms);
  return rig.core().write(t, keys[key].hash, keys[key].view(), change).outcome;
}

BatchRigBase::Outcome BatchRigBase::put_mortal(R::Thr& t, unsigned key, char value) {
  return put(t, key, value, {.has_deadline = true, .deadline_ms = kDueMs});
}

BatchRigBase::Outcome BatchRigBase::put_member(R::Thr& t, unsigned key, char value) {
  tern::detail::TagBlock block;
  (void)block.set({}, 1);
  return put(t, key, value, {.tags = block.block()});
}

Call<MapOp>& BatchRigBase::begin(int t, const MapOp& op) {
  auto& call = recorder_->begin(static_cast<unsigned>(t), op);
  open_[t] = &call;
  return call;
}

void BatchRigBase::told_of(void* user, std::string_view key, std::string_view, tern::RemovalCause cause) {
  auto& self = *static_cast<BatchRigBase*>(user);
  if (cause != tern::RemovalCause::kEvicted || self.recorder_ == nullptr) return;
  const int t = t_scheduler != nullptr ? current_thread() : self.rig.own_index();
  MapOp op;
  for (unsigned k = 0; k != 4; ++k) {
    if (self.keys[k].view() == key) op.add(What::kDel, k);
  }
  auto& call = self.recorder_->begin(static_cast<unsigned>(t), op);
  if (self.open_[t] != nullptr) call.begin = self.open_[t]->begin;
  self.recorder_->end(call);
}

void BatchRigBase::finish(Call<MapOp>& call, Outcome outcome) {
  call.op.refused = outcome == Outcome::kOutOfMemory;
  recorder_->end(call);
}

void BatchRigBase::invalidate(int t, const MapOp& op, const tern::detail::PointScope& scope) {
  auto& call = begin(t, op);
  std::uint64_t stamp = 0;
  call.op.refused = !rig.core().invalidate(rig.thread(t), scope, stamp);
  recorder_->end(call);
}

std::string BatchRigBase::judge() {
  const History<MapOp> history = recorder_->take();
  switch (checker_.check(history, initial_)) {
    case Verdict::kLinearizable: return {};
    case Verdict::kAborted: return "a history that is too long to be judged";
    case Verdict::kIllegal: break;
  }
  return "not strictly serialisable:\n" + checker_.explain(history);
}

}  // namespace tern::concurrency
