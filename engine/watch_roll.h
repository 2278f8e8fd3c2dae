// WatchRoll: how far each watch is, for those who ask (Store::stats, Store::holders). A writer never comes here, and a watch
// only writes its own line.
//
//   chunk   used: a bit a line | next
//   line    number, 0: nobody's | which rings | positions read, of them together | when it read last
//
// Lines stay where they are until the store goes, so that anybody may look at them at any time; one that has become another watch's
// during the look is passed over: its number is read once more at the end.
//
// Edges
//   roll   claiming and giving back a line, telling a place, linking a chunk / whoever looks
// Lock-free. Coming is O(chunks) where all are full, else it begins where there was room last.
#ifndef TERN_ENGINE_WATCH_ROLL_H_
#define TERN_ENGINE_WATCH_ROLL_H_

#include <bit>
#include <cstdint>
#include <new>

#include "alloc/private_memory.h"
#include "alloc/sync.h"

namespace tern::detail {

template <class Sync>
class WatchRoll {
 public:
  using Word = typename Sync::template Atomic<std::uint64_t>;
  static constexpr unsigned kLines = Sync::kWordwise ? 2 : 64;  // the tests' chunks are short

  struct Chunk;
  // Written by its watch alone.
  struct alignas(64) Line {
    Word number{};
    Word shards{};  // first << 32 | count; 0: it hasn't begun
    Word read{};
    Word since_ms{};
    Chunk* chunk = nullptr;  // constant, as the next one
    unsigned index = 0;

    void begin(unsigned first, unsigned count, std::uint64_t read_so_far, std::uint64_t now_ms) noexcept {
      tell(read_so_far, now_ms);
      shards.store(std::uint64_t{first} << 32 | count, std::memory_order_release);  // [roll] release
    }
    bool is_told(std::uint64_t read_so_far) const noexcept { return read.load(std::memory_order_relaxed) == read_so_far; }  // its own
    void tell(std::uint64_t read_so_far, std::uint64_t now_ms) noexcept {
      since_ms.store(now_ms, std::memory_order_release);    // [roll] release
      read.store(read_so_far, std::memory_order_release);   // [roll] release
    }
    std::uint64_t id() const noexcept { return number.load(std::memory_order_relaxed); }  // its own
  };
  struct Chunk {
    Word used{};
    typename Sync::template Atomic<Chunk*> next{};
    Line lines[kLines];
  };
  struct Seen {
    std::uint64_t number = 0;
    unsigned first = 0, count = 0;
    std::uint64_t read = 0;
    std::uint64_t since_ms = 0;
  };

  WatchRoll() noexcept = default;
  WatchRoll(const WatchRoll&) = delete;
  WatchRoll& operator=(const WatchRoll&) = delete;
  ~WatchRoll() {
    for (Chunk* c = first_.load(std::memory_order_relaxed); c != nullptr;) {  // nobody is left
      Chunk* const next = c->next.load(std::memory_order_relaxed);            // as above
      c->~Chunk();
      alloc::private_free(c);
      c = next;
    }
  }

  // Null: no memory.
  Line* enter() noexcept {
    Chunk* const hint = has_room_.load(std::memory_order_acquire);  // [roll] acquire
    Line* line = hint != nullptr ? claim_in(*hint) : nullptr;
    for (auto* link = &first_; line == nullptr;) {
      Chunk* c = link->load(std::memory_order_acquire);  // [roll] acquire
      if (c == nullptr) c = add(*link);
      if (c == nullptr) return nullptr;
      line = claim_in(*c);
      link = &c->next;
    }
    if (line->chunk != hint) has_room_.store(line->chunk, std::memory_order_release);  // [roll] release
    line->number.store(last_.fetch_add(1, std::memory_order_relaxed) + 1, std::memory_order_release);  // [roll] release
    return line;
  }
  void leave(Line& line) noexcept {
    line.number.store(0, std::memory_order_release);  // [roll] release
    line.shards.store(0, std::memory_order_release);  // [roll] release
    Sync::point("roll.left");
    line.chunk->used.fetch_and(~(std::uint64_t{1} << line.index), std::memory_order_acq_rel);  // [roll] acq_rel
    has_room_.store(line.chunk, std::memory_order_release);                                    // [roll] release
  }

  // fn(const Seen&) for each that has begun.
  template <class Fn>
  void for_each(Fn&& fn) const noexcept {
    for (const Chunk* c = first_.load(std::memory_order_acquire); c != nullptr; c = c->next.load(std::memory_order_acquire)) {  // [roll]
      for (std::uint64_t used = c->used.load(std::memory_order_relaxed); used != 0; used &= used - 1) {  // the number says it
        const Line& line = c->lines[std::countr_zero(used)];
        Seen s;
        s.number = line.number.load(std::memory_order_acquire);                 // [roll] acquire
        const std::uint64_t shards = line.shards.load(std::memory_order_acquire);  // [roll] acquire
        if (s.number == 0 || shards == 0) continue;
        Sync::point("roll.look");
        s.read = line.read.load(std::memory_order_acquire);          // [roll] acquire
        s.since_ms = line.since_ms.load(std::memory_order_acquire);  // [roll] acquire
        // Whoever had it next wrote after the number was taken away.
        if (line.number.load(std::memory_order_relaxed) != s.number && !planted<Sync>(Mutant::kRollUnasked)) continue;
        s.first = static_cast<unsigned>(shards >> 32);
        s.count = static_cast<unsigned>(shards & 0xFFFFFFFF);
        fn(s);
      }
    }
  }

 private:
  static constexpr std::uint64_t kAll = ~std::uint64_t{0} >> (64 - kLines);
  Line* claim_in(Chunk& c) noexcept {
    std::uint64_t used = c.used.load(std::memory_order_relaxed);  // the swap decides
    while (used != kAll) {
      const auto i = static_cast<unsigned>(std::countr_one(used));
      Sync::point("roll.claim");
      if (planted<Sync>(Mutant::kRollClaimedBlindly)) {
        c.used.store(used | std::uint64_t{1} << i, std::memory_order_relaxed);
        return &c.lines[i];
      }
      if (c.used.compare_exchange_weak(used, used | std::uint64_t{1} << i, std::memory_order_acq_rel)) return &c.lines[i];  // [roll]
    }
    return nullptr;
  }
  // Behind what is the last chunk now; whichever was faster.
  Chunk* add(typename Sync::template Atomic<Chunk*>& link) noexcept {
    void* memory = alloc::private_allocate_aligned(sizeof(Chunk), alignof(Chunk));
    if (memory == nullptr) return nullptr;
    Chunk* const c = new (memory) Chunk;
    for (unsigned i = 0; i != kLines; ++i) {
      c->lines[i].chunk = c;
      c->lines[i].index = i;
    }
    Chunk* none = nullptr;
    if (link.compare_exchange_strong(none, c, std::memory_order_acq_rel)) return c;  // [roll] acq_rel
    c->~Chunk();
    alloc::private_free(c);
    return none;
  }

  typename Sync::template Atomic<Chunk*> first_{};
  typename Sync::template Atomic<Chunk*> has_room_{};
  Word last_{};
};

}  // namespace tern::detail

#endif  // TERN_ENGINE_WATCH_ROLL_H_
