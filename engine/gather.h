// Gather: what a watch has read and not told yet, where the changes of a batch are to come together (WatchOptions::gather). As long as
// some of a batch are missing, the others wait, and so does what may have come after them.
//
//   order    by stamp, those with equal ones as they came. A batch's stamp is nobody else's (view_clock.h): what came to one of its keys
//            before it has a smaller one, what came after it a greater one.
//   ready    what lies before the first change of a batch of which some are missing
//
// A batch is whole when as many of its changes were seen as it consists of, whoever they are for. Where some may never come (after a
// gap; where an invalidation point was told in place of them, point_events.h; past kMax changes) it is given up: what is
// known of it is told as it is, and the rest as it comes.
//
// Next has std::uint64_t record and a Stamp stamp. Private memory; one thread at a time.
#ifndef TERN_ENGINE_GATHER_H_
#define TERN_ENGINE_GATHER_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <utility>

#include "alloc/private_memory.h"
#include "engine/view_clock.h"

namespace tern::detail {

template <class Next>
class Gather {
 public:
  static constexpr std::size_t kMax = 8'192;    // changes that wait
  static constexpr std::size_t kBatchesMax = 65'536;  // of which some were seen, and not all

  // Null: no memory.
  static Gather* make() noexcept {
    void* memory = alloc::private_allocate(sizeof(Gather));
    return memory == nullptr ? nullptr : new (memory) Gather;
  }
  // What waits is the caller's to let go.
  static void destroy(Gather* gather) noexcept {
    if (gather == nullptr) return;
    alloc::private_free(gather->list_);
    alloc::private_free(gather->batches_);
    gather->~Gather();
    alloc::private_free(gather);
  }

  bool is_empty() const noexcept { return first_ == end_; }
  bool is_full() const noexcept { return end_ - first_ == kMax; }
  // What is to be told next; null: nothing is ready.
  const Next* ready() noexcept {
    if (is_empty()) return nullptr;
    const std::uint64_t stamp = list_[first_].stamp.stamp();
    const Batch* const batch = at_or_after(stamp);
    const bool is_whole = batch == batches_ + missing_ || batch->batch != stamp;
    return first_ < sealed_ || is_whole ? &list_[first_] : nullptr;
  }
  // The same, whether it is ready or not.
  const Next* front() const noexcept { return is_empty() ? nullptr : &list_[first_]; }
  void pop() noexcept {
    const std::uint64_t stamp = list_[first_].stamp.stamp();
    telling_ = is_batch_stamp(stamp) ? stamp : 0;
    if (++first_ == end_) first_ = end_ = sealed_ = 0;
  }

  // A change of a batch was seen that consists of so many.
  void see(std::uint64_t batch, std::uint64_t size) noexcept {
    if (batch <= given_up_ || size <= 1) return;
    Batch* const at = at_or_after(batch);
    if (at != batches_ + missing_ && at->batch == batch) {
      if (--at->left == 0) {
        std::copy(at + 1, batches_ + missing_, at);
        --missing_;
      }
      return;
    }
    const std::size_t index = static_cast<std::size_t>(at - batches_);
    if (missing_ == kBatchesMax || (missing_ == batches_room_ && !grow(batches_, batches_room_, missing_))) return give_up(batch);
    std::copy_backward(batches_ + index, batches_ + missing_, batches_ + missing_ + 1);
    batches_[index] = {batch, size - 1};
    ++missing_;
  }
  // At its place. False: no memory. While it isn't full.
  bool add(const Next& next) noexcept {
    if (!make_room()) return false;
    std::size_t at = end_++;
    for (; at > std::max(first_, sealed_); --at) {
      const std::uint64_t before = list_[at - 1].stamp.stamp();
      if (before <= next.stamp.stamp() || before == telling_) break;
      list_[at] = list_[at - 1];
    }
    list_[at] = next;
    return true;
  }
  // Behind all that is there; nothing comes before it any more. As above.
  bool add_last(const Next& next) noexcept {
    if (!make_room()) return false;
    list_[end_++] = next;
    sealed_ = end_;
    return true;
  }
  // Batches up to this one are waited for no more.
  void give_up(std::uint64_t upto) noexcept {
    given_up_ = std::max(given_up_, upto);
    Batch* const kept = at_or_after(upto + 1);
    const auto gone = static_cast<std::size_t>(kept - batches_);
    std::copy(kept, batches_ + missing_, batches_);
    missing_ -= gone;
  }

 private:
  struct Batch {
    std::uint64_t batch;
    std::uint64_t left;
  };

  Gather() noexcept = default;
  ~Gather() = default;
  Batch* at_or_after(std::uint64_t batch) noexcept {
    return std::lower_bound(batches_, batches_ + missing_, batch, [](const Batch& b, std::uint64_t wanted) { return b.batch < wanted; });
  }
  template <class T>
  static bool grow(T*& list, std::size_t& room, std::size_t count) noexcept {
    const std::size_t to = room == 0 ? 64 : room * 2;
    auto* const larger = static_cast<T*>(alloc::private_allocate(to * sizeof(T)));
    if (larger == nullptr) return false;
    std::uninitialized_default_construct_n(larger, to);
    std::copy(list, list + count, larger);
    alloc::private_free(std::exchange(list, larger));
    room = to;
    return true;
  }
  bool make_room() noexcept {
    if (end_ != room_) return true;
    if (first_ != 0) {
      std::copy(list_ + first_, list_ + end_, list_);
      end_ -= first_;
      sealed_ -= std::min(sealed_, first_);
      first_ = 0;
      return true;
    }
    return grow(list_, room_, end_);
  }

  Next* list_ = nullptr;  // first_ to end_ wait
  std::size_t room_ = 0;
  std::size_t first_ = 0, end_ = 0;
  std::size_t sealed_ = 0;  // up to here in the order in which it is
  std::uint64_t telling_ = 0;  // the batch that is being told: nothing comes between. 0: none (others share their stamps)
  std::uint64_t given_up_ = 0;
  Batch* batches_ = nullptr;  // of which some are missing, by number
  std::size_t batches_room_ = 0, missing_ = 0;
};

}  // namespace tern::detail

#endif  // TERN_ENGINE_GATHER_H_
