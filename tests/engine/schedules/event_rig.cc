#include "tests/engine/schedules/event_rig.h"

#include <cstdint>
#include <cstring>
#include <new>
#include <string>
#include <string_view>

#include "engine/reads.h"
#include "engine/tags.h"

namespace tern::concurrency {

EventRigBase::EventRigBase(Mutant planted, int threads, unsigned cells, bool listening, std::uint64_t ring_bytes)
    : rig(planted, threads, std::size_t{4} << 20,
          [=](auto& o) {
            o.ring_cells = cells;
            o.ring_bytes = ring_bytes;
          }),
      cells_(cells) {
  KeyFinder finder;
  key = finder.in_bucket(16);  // bucket 0 until there are 17
  other = finder.in_bucket(16);
  absent = finder.in_bucket(16);
  const int own = rig.own_index();
  rig.now_ms = 50;
  rig.set(own, key, "0");
  rig.set(own, other, "0");
  rig.core().space.epoch.set_limits(1 << 18, 64);
  sub_ = new (storage_) Sub(rig.core());
  if (listening) {
    listen();
  } else {
    sub_->enter(0, 1, positions_);  // the rings are there
    sub_->end(rig.own());
  }
  rig.freeze();
  std::memcpy(saved_, storage_, sizeof storage_);
  saved_position_ = positions_[0];
  saved_listening_ = listening_;
}

void EventRigBase::listen() {
  if (!sub_->enter(0, 1, positions_)) rig.complain("nobody may listen");
  sub_->begin();
  listening_ = true;
}

void EventRigBase::listen_with(const R::View& view) {
  sub_->begin_with(view.opened.stamp);
  listening_ = true;
}

void EventRigBase::another_listens() {
  (void)Events(rig.core().space).enter();
  rig.core().space.views.move();
  rig.freeze();
}

void EventRigBase::leave(int t) {
  sub_->end(rig.thread(t));
  listening_ = false;
}

void EventRigBase::restore() {
  rig.restore();
  std::memcpy(static_cast<void*>(storage_), saved_, sizeof storage_);
  positions_[0] = saved_position_;
  listening_ = saved_listening_;
  told_count_ = 0;
  lost_ = gaps_ = 0;
  for (auto& d : done_) d.count = 0;
  complete_ = true;
  from_version_[0] = from_version_[1] = from_version_[2] = 0;
}

void EventRigBase::set_tagged(int t, const Key& k, const char* value) {
  const std::string tag(kTagBytes, value[0]);
  const std::string_view tags[] = {tag};
  tern::detail::TagBlock block;
  (void)block.set(tags);
  tern::detail::SetTerms terms;
  terms.tags = block.block();
  tern::detail::SetChange<Sync> change(rig.core().space, rig.thread(t), k.view(), value, terms);
  const auto done = rig.core().write(rig.thread(t), k.hash, k.view(), change);
  note(t, k, 'p', value[0], done.version);
}

void EventRigBase::del(int t, const Key& k) {
  if (rig.del(t, k)) note(t, k, 'd', 0, ~std::uint64_t{0});
}

void EventRigBase::move(int t) {
  tern::detail::Guard<Sync> guard(rig.core().space, rig.thread(t));
  const auto found = rig.core().table.find(key.hash, key.view());
  if (found) (void)rig.core().mover().move(rig.thread(t), found);
}

void EventRigBase::pass(int t, unsigned count) {
  tern::detail::Guard<Sync> guard(rig.core().space, rig.thread(t));
  (void)Events(rig.core().space).shorten(rig.thread(t), count);
}

void EventRigBase::poll(int t, unsigned most) {
  tern::detail::Guard<Sync> guard(rig.core().space, rig.thread(t));
  Sub::Next next;
  for (; most != 0 && sub_->next(next); --most) {
    if (next.what == What::kGap) {
      lost_ += next.lost;
      ++gaps_;
      if (next.lost == 0) rig.complain("an empty gap");
      continue;
    }
    Rec& r = *rig.core().space.record(next.record);
    const auto k = rig.core().space.key_of(r, next.stamp);
    Told e;
    e.key = number_of({k.data, static_cast<std::size_t>(k.size)});
    e.kind = next.stamp.tomb() ? 'd' : 'p';
    e.version = r.hold_word().version();
    e.lost_before = lost_;
    if (!next.stamp.tomb()) {
      const auto v = rig.core().space.value_of(r, next.stamp, k.size);
      step(nullptr);  // the reader may stand here
      e.value = v.size == 0 ? '\0' : v.data[0];
    }
    if (e.key == 3) {
      rig.complain("an event of no key: its record was reused");
      return;
    }
    // A get can read the change, or a later one.
    const auto head = rig.core().head(key_of(e.key).hash, key_of(e.key).view());
    if (head.record != nullptr && head.version < e.version) rig.complain("told before it can be read");
    if (head.record == nullptr && e.kind == 'p' && rig.shard().version_floor.load(std::memory_order_relaxed) < e.version) {
      rig.complain("told before it can be read");
    }
    if (told_count_ < kChangesMax) told_[told_count_++] = e;
  }
}

void EventRigBase::poll_tag(int t) {
  tern::detail::Guard<Sync> guard(rig.core().space, rig.thread(t));
  Sub::Next next;
  if (!sub_->next(next) || next.what == What::kGap || !next.stamp.has_ext()) return;
  const Rec& r = *rig.core().space.record(next.record);
  const auto k = rig.core().space.key_of(r, next.stamp);
  const char value = rig.core().space.value_of(r, next.stamp, k.size).data[0];
  const std::string_view block = rig.core().space.tags_of(r, next.stamp);
  step(nullptr);  // the reader may stand here
  if (block.substr(tern::detail::tags_begin(block) + 1) != std::string(kTagBytes, value)) rig.complain("tags of a record that was reused");
}

std::string EventRigBase::check() {
  if (listening_ && frozen_threads() == 0) poll(rig.own_index());
  judge();
  if (frozen_threads() == 0) check_holds();
  std::string complaint = frozen_threads() == 0 ? rig.check() : rig.check_stopped();
  return complaint;
}

unsigned EventRigBase::changes() const {
  unsigned n = 0;
  for (const auto& d : done_) n += d.count;
  return n;
}

unsigned EventRigBase::number_of(std::string_view k) const {
  return k == key.view() ? 0 : k == other.view() ? 1 : k == absent.view() ? 2 : 3;
}

void EventRigBase::note(int t, const Key& k, char kind, char value, std::uint64_t version) {
  if (version == 0) return;
  Log& log = done_[t];
  log.list[log.count++] = {number_of(k.view()), kind, value, version};
}

void EventRigBase::check_holds() {
  auto& core = rig.core();
  auto& ring = *Events(core.space).ring(0);
  ring.for_each([&](std::uint64_t record) {
    if (core.space.record(record)->hold_word().holds() != 1) rig.complain("a record in the ring has more holds than its cell's");
  });
}

void EventRigBase::judge() {
  for (unsigned k = 0; k != 3; ++k) {
    std::uint64_t last = 0;
    for (unsigned i = 0; i != told_count_; ++i) {
      if (told_[i].key != k) continue;
      if (told_[i].version <= last) return rig.complain("a key's changes are told out of order, or twice");
      last = told_[i].version;
    }
  }
  // Each that is told was done, with this value.
  for (unsigned i = 0; i != told_count_; ++i) {
    const Told& e = told_[i];
    bool found = frozen_threads() != 0;  // what a stopped thread has done isn't noted
    for (const Log& log : done_) {
      for (unsigned n = 0; n != log.count; ++n) {
        const Done& d = log.list[n];
        if (d.key == e.key && d.kind == e.kind && (d.kind == 'd' || (d.version == e.version && d.value == e.value))) found = true;
      }
    }
    if (!found) return rig.complain("what is told was never done");
  }
  if (!listening_ || frozen_threads() != 0 || !complete_) return;
  // Each that was done is told, or in a gap.
  unsigned told = 0, done = 0;
  for (unsigned i = 0; i != told_count_; ++i) {
    if (told_[i].version <= from_version_[told_[i].key]) return rig.complain("a change is told that the view has");
    ++told;
  }
  for (const Log& log : done_) {
    for (unsigned n = 0; n != log.count; ++n) {
      const Done& d = log.list[n];
      if (d.version <= from_version_[d.key]) continue;
      ++done;
      bool found = lost_ != 0 || d.kind == 'd';
      for (unsigned i = 0; i != told_count_; ++i) found = found || (told_[i].key == d.key && told_[i].version == d.version);
      if (!found) return rig.complain("a change isn't told");
    }
  }
  if (told + lost_ != done) {
    return rig.complain(std::to_string(told) + " changes are told and " + std::to_string(lost_) + " lost, of " + std::to_string(done));
  }
  if (cells_ > done && gaps_ != 0 && !may_lose) rig.complain("a gap in a ring that has room for everything");
}

}  // namespace tern::concurrency
