// Feed, where the changes of a batch come together: what is read waits in a Gather, held, until it is to be told.
#include "engine/feed.h"

namespace tern::detail {

void Feed::let_go_gathered(Thr& t, std::uint64_t record, bool drops) noexcept {
  auto& space = store_.core.space;
  gathered_bytes_ -= space.bytes_of(record);
  space.events.pinned.fetch_sub(1, std::memory_order_relaxed);  // a figure
  if (drops) space.drop_hold(t, record);
}

// False: not now. Inside the guard that read it.
bool Feed::put_aside(const Subscription<Sync>::Next& next) noexcept {
  auto& space = store_.core.space;
  if (gather_->is_full()) {
    gather_->give_up(space.views.now());
    return false;
  }
  if (next.what == EventSeen::kGap) {
    if (!gather_->add_last(next)) return false;
    gather_->give_up(space.views.now());
    return true;
  }
  Change c;
  const bool wanted = is_wanted(next, c);
  if (wanted) {
    auto& r = *space.record(next.record);
    if (!space.try_hold(r)) return false;
    if (!gather_->add(next)) {
      space.drop_hold(*store_.thread(), next.record);
      return false;
    }
    space.events.pinned.fetch_add(1, std::memory_order_relaxed);  // a figure
    gathered_bytes_ += space.bytes_of(next.record);
  }
  if (c.kind == ChangeKind::kInvalidate) gather_->give_up(next.stamp.stamp());
  if (c.batch != 0) gather_->see(c.batch, c.batch_size);
  if (gathered_bytes_ > gathered_bytes_max_) gather_->give_up(space.views.now());
  return true;
}

// Some of what is new. False: there is nothing. `stuck`: there is, and it can't be taken now.
bool Feed::collect(Thr& t, unsigned& scanned, bool& stuck) noexcept {
  Subscription<Sync>::Next group[Subscription<Sync>::kGroup];
  const Guard<Sync> guard(store_.core.space, t);
  const unsigned taken = place_.take(group, Subscription<Sync>::kGroup);
  scanned += taken;
  for (unsigned i = 0; i != taken; ++i) {
    if (!place_.is_own(group[i]) || put_aside(group[i])) continue;
    for (unsigned back = taken; back-- != i;) place_.step_back(group[back]);
    stuck = gather_->ready() == nullptr;
    return true;
  }
  return taken != 0;
}

void Feed::tell_gathered(Thr& t, std::span<Change> out, std::size_t& n) noexcept {
  while (n != out.size()) {
    const auto* const ready = gather_->ready();
    if (ready == nullptr) return;
    const Subscription<Sync>::Next next = *ready;
    gather_->pop();
    const bool is_told = is_for_it(next, out[n]);
    if (next.what == EventSeen::kGap) {
      note_gap(next.lost);
    } else {
      let_go_gathered(t, next.record, !is_told);
      if (!is_told) continue;
      kept_[kept_count_++] = next.record;
      if (out[n].kind == ChangeKind::kInvalidate) {
        forget(out[n]);
      } else {
        remember(out[n]);
      }
    }
    ++n;
  }
}

// True: it stopped before the end.
bool Feed::follow_gathered(Thr& t, std::span<Change> out, std::size_t& n) noexcept {
  for (unsigned scanned = 0; scanned < kScannedMax;) {
    tell_gathered(t, out, n);
    if (n == out.size()) return gather_->ready() != nullptr || place_.has_more();
    bool stuck = false;
    if (!collect(t, scanned, stuck)) return false;
    if (stuck) return true;
  }
  return true;
}

// True: something is ready, or there is too much to look at now.
bool Feed::skip_gathered(Thr& t) noexcept {
  for (unsigned scanned = 0; scanned < kScannedMax;) {
    if (gather_->ready() != nullptr) return true;
    bool stuck = false;
    if (!collect(t, scanned, stuck)) return false;
    if (stuck) return true;
  }
  return true;
}

}  // namespace tern::detail
