// Subscription: one listener's place in the rings: a position in each, and the stamp from which on changes are its own.
//
//   begin   enter, read the tails, move the clock: s. A change past s is stamped by somebody who saw the listener, and
//           lies behind the tails; one that isn't past s is passed over. Nothing is lost between, nothing comes twice.
//   begin with a view       the view's stamp is s: what the view has, then every later change
//   begin at a token        positions and s of another one of the same session, if the rings still go back so far
//   next    the next change of some ring; a few of one in a row, then the next one's
//   take    several at once: a writer's changes lie in as many rings, and each record is a miss
// Both come to an end when each ring was found empty, one behind the other: one round over them for what there was, and not a
// second one to see that there is nothing more.
//
// One thread at a time. next(), take() and the records that they answer are inside the caller's guard.
#ifndef TERN_ENGINE_SUBSCRIPTION_H_
#define TERN_ENGINE_SUBSCRIPTION_H_

#include <cstdint>

#include "engine/core.h"
#include "engine/events.h"
#include "engine/prefetch.h"

namespace tern::detail {

template <class Sync>
class Subscription {
 public:
  using Rec = Record<Sync>;
  using Thr = Thread<Sync>;
  static constexpr unsigned kInARow = 64;
  static constexpr unsigned kGroup = 32;  // changes taken together, so that their records are on their way at once

  struct Next {
    EventSeen::What what = EventSeen::kNothing;
    unsigned ring = 0;
    std::uint64_t sequence = 0;
    std::uint64_t lost = 0;
    std::uint64_t record = 0;
    Stamp stamp{0};
  };

  explicit Subscription(Core<Sync>& core) noexcept : core_(core), events_(core.space) {}

  // Of `count` rings from `first` on; `positions` has room for them. False: nothing has begun.
  bool enter(unsigned first, unsigned count, std::uint64_t* positions) noexcept {
    first_ = first;
    count_ = count;
    positions_ = positions;
    cells_ = events_.cells();
    arrived_ = 0;
    left_ = count;
    if (!events_.enter()) return false;
    rings_ = reinterpret_cast<const std::byte*>(events_.ring(first_));
    ring_bytes_ = EventRing<Sync>::bytes_for(cells_);
    read_ = 0;
    for (unsigned i = 0; i != count_; ++i) read_ += positions_[i] = events_.ring(first_ + i)->tail();
    Sync::point("event.subscribed");
    return true;
  }
  void begin() noexcept { stamp_ = core_.space.views.move(); }
  void begin_with(std::uint64_t view_stamp) noexcept { stamp_ = view_stamp; }
  // False: what lay between is gone, or nobody has kept it.
  bool begin_at(std::uint64_t session, std::uint64_t stamp, const std::uint64_t* positions) noexcept {
    if (session != events_.session()) return false;
    for (unsigned i = 0; i != count_; ++i) {
      const auto* const ring = events_.ring(first_ + i);
      if (ring == nullptr || positions[i] < ring->floor() || positions[i] > ring->end()) return false;
      read_ += positions[i] - positions_[i];
      positions_[i] = positions[i];
    }
    stamp_ = stamp;
    return true;
  }
  // The last one empties the rings.
  void end(Thr& t) noexcept {
    events_.rounds().leave(arrived_);
    if (!events_.leave()) return;
    for (unsigned i = 0; i != events_.rings(); ++i) {
      for (bool more = true; more;) {
        Guard<Sync> guard(core_.space, t);
        more = events_.drain(t, i, kInARow) == kInARow;
      }
    }
    core_.space.epoch.reclaim(core_.space, t);
  }

  // Before a poll; to be given to read_all() if it comes to the end of the rings.
  std::uint64_t begin_poll() noexcept {
    // Each lap of a ring retires as many holds as it has cells: the epoch has moved far before laps come round.
    const std::uint64_t epoch = core_.space.epoch.current();
    is_far_ = epoch - epoch_ > kFarEpochs;
    epoch_ = epoch;
    left_ = count_;
    return events_.rounds().number();
  }
  // Nothing is left of what was told before that.
  void read_all(std::uint64_t round) noexcept {
    if (events_.rounds().come_to_end(round, arrived_, events_.listeners(), taken_ * events_.rings() >= kOpensAfter * count_)) taken_ = 0;
  }

  // Inside a guard. False: there is nothing now.
  bool next(Next& out) noexcept {
    while (take(&out, 1) != 0) {
      if (is_own(out)) return true;
    }
    return false;
  }
  // Up to `count` (at most kGroup) places at once, their records on their way: is_own() is yet to be asked, of each. Fewer: that
  // is all. What isn't handled is to be stepped back over, the last one first.
  unsigned take(Next* out, unsigned count) noexcept {
    unsigned n = 0, at = at_, left = left_;
    for (const auto* ring = ring_at(at); n != count;) {
      if (left == 0) {
        left = count_;
        break;
      }
      std::uint64_t& position = positions_[at];
      const EventSeen seen = is_far_ ? ring->read_far(position) : ring->read(position, cells_);
      const bool is_empty = seen.what == EventSeen::kNothing;
      if (is_empty || row_ == kInARow) {
        left = is_empty || planted<Sync>(Mutant::kRoundAfterARow) ? left - 1 : count_;
        row_ = 0;
        at = at + 1 == count_ ? 0 : at + 1;
        ring = ring_at(at);
        continue;
      }
      ++row_;
      ++taken_;
      if constexpr (!Sync::kWordwise) {
        const char* record = reinterpret_cast<const char*>(core_.space.record(seen.record));
        prefetch_near(record);
        prefetch_near(record + 64);
      }
      const std::uint64_t step = seen.what == EventSeen::kGap ? seen.lost : 1;
      out[n++] = {seen.what, first_ + at, position, seen.lost, seen.record, Stamp(0)};
      position += step;
      read_ += step;
    }
    at_ = at;
    left_ = left;
    return n;
  }
  // Whether what was taken is for this listener; then its stamp is known.
  bool is_own(Next& taken) const noexcept {
    if (taken.what == EventSeen::kGap) return !planted<Sync>(Mutant::kEventGapSwallowed);
    taken.stamp = core_.space.record(taken.record)->stamp_word();
    return taken.stamp.stamp() > stamp_ || planted<Sync>(Mutant::kEventOldDelivered);
  }
  // What was answered last comes again.
  void step_back(const Next& last) noexcept {
    std::uint64_t& position = positions_[last.ring - first_];
    read_ -= position - last.sequence;
    position = last.sequence;
    left_ = count_;
  }
  // Whether there may be something; outside of guards.
  bool has_more() const noexcept {
    const bool is_far = core_.space.epoch.current() - epoch_ > kFarEpochs;
    for (unsigned i = 0, at = at_; i != count_; ++i, at = at + 1 == count_ ? 0 : at + 1) {
      const auto& ring = *ring_at(at);
      if (is_far ? ring.has(positions_[at]) : ring.has_now(positions_[at], cells_)) return true;
    }
    return false;
  }
  // Where it stands in all of its rings together.
  std::uint64_t read() const noexcept { return read_; }
  // Positions that it is behind.
  std::uint64_t lag() const noexcept {
    std::uint64_t sum = 0;
    for (unsigned i = 0; i != count_; ++i) sum += ring_at(i)->end() - positions_[i];
    return sum;
  }

  Events<Sync>& events() noexcept { return events_; }
  unsigned first() const noexcept { return first_; }
  unsigned count() const noexcept { return count_; }
  std::uint64_t stamp() const noexcept { return stamp_; }
  const std::uint64_t* positions() const noexcept { return positions_; }

 private:
  static constexpr std::uint64_t kFarEpochs = 128;
  static constexpr std::uint64_t kOpensAfter = Sync::kWordwise ? 1 : EventRounds<Sync>::kEventsEach;  // the tests' rings are short

  const EventRing<Sync>* ring_at(unsigned i) const noexcept {
    return reinterpret_cast<const EventRing<Sync>*>(rings_ + i * ring_bytes_);
  }

  Core<Sync>& core_;
  Events<Sync> events_;
  unsigned first_ = 0;
  unsigned count_ = 0;
  unsigned at_ = 0;   // the ring whose turn it is
  unsigned row_ = 0;  // how many of it in a row
  unsigned left_ = 0;  // rings that are yet to be found empty
  bool is_far_ = false;          // it hasn't polled for long
  std::uint64_t epoch_ = 0;      // when it polled last
  std::uint64_t cells_ = 0;      // of each ring
  const std::byte* rings_ = nullptr;  // the first one's; where they lie is constant once there are some
  std::uint64_t ring_bytes_ = 0;
  std::uint64_t arrived_ = 0;    // the round in which it arrived last
  std::uint64_t taken_ = 0;      // changes, since it opened a round
  std::uint64_t stamp_ = 0;
  std::uint64_t read_ = 0;
  std::uint64_t* positions_ = nullptr;
};

}  // namespace tern::detail

#endif  // TERN_ENGINE_SUBSCRIPTION_H_
