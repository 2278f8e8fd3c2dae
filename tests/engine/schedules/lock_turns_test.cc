// Who waits for a lock, under the scheduler: one at a time, nobody overtakes, everybody is woken, and no bell is rung once its
// owner has gone. A waiter that isn't woken waits for ever, which is the scheduler's step limit.
#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "engine/lock_queue.h"
#include "tests/engine/schedules/exploring.h"

namespace tern::concurrency {
namespace {

struct ScheduledWaiting {
  using Sync = OneEngineSync;
  template <class T>
  using Atomic = Sync::Atomic<T>;

  class Mutex {
   public:
    void lock() noexcept {
      while (taken_.exchange(1, std::memory_order_seq_cst) != 0) yield();
    }
    void unlock() noexcept { taken_.store(0, std::memory_order_seq_cst); }

   private:
    Atomic<std::uint32_t> taken_{0};
  };

  class Bell {
   public:
    std::uint32_t rung() const noexcept { return rings_.load(std::memory_order_seq_cst); }
    void sleep(std::uint32_t seen, std::uint64_t) const noexcept {
      while (rung() == seen) yield();
    }
    void ring() noexcept {
      if (gone_.load(std::memory_order_seq_cst) != 0) fail("the bell of a waiter is rung that has gone");
      rings_.fetch_add(1, std::memory_order_seq_cst);
    }
    void go() noexcept { gone_.store(1, std::memory_order_seq_cst); }

   private:
    Atomic<std::uint32_t> rings_{0};
    Atomic<std::uint32_t> gone_{0};
  };

  static std::uint64_t now_ns() noexcept { return 1; }
};

struct Turns {
  using Queue = tern::detail::BasicLockQueue<ScheduledWaiting>;
  static constexpr unsigned kWaiters = 4;
  static constexpr std::uint64_t kForEver = ~std::uint64_t{0}, kNotAtAll = 0;

  explicit Turns(Mutant planted) { OneEngineSync::mutant = planted; }
  ~Turns() { OneEngineSync::mutant = Mutant::kNone; }

  void restore() {
    queue = new (queue_storage) Queue;
    for (unsigned i = 0; i != kWaiters; ++i) {
      waiter[i] = new (waiter_storage[i]) Queue::Waiter{"one", 1, nullptr, {}};
      entered[i].store(0, std::memory_order_relaxed);
      left[i].store(0, std::memory_order_relaxed);
    }
    inside.store(0, std::memory_order_relaxed);
    turns.store(0, std::memory_order_relaxed);
    complaint.clear();
  }
  void complain(const char* what) {
    if (complaint.empty()) complaint = what;
  }

  // Of the lock's name, or of another one of its group and hash, which nobody else waits for.
  void wait(unsigned me, std::uint64_t end_ns, bool for_another = false) {
    Queue::Waiter& w = *waiter[me];
    if (for_another) w.key = "other";
    unsigned before = 0;
    for (unsigned i = 0; i != kWaiters; ++i) {
      if (i != me && entered[i].load(std::memory_order_seq_cst) != 0) before |= 1u << i;
    }
    queue->enter(w);
    if (!for_another) entered[me].store(1, std::memory_order_seq_cst);
    const bool mine = queue->wait_for_turn(w, end_ns);
    if (for_another && !mine) complain("a name waits for another one");
    if (mine && !for_another) {
      turns.fetch_add(1, std::memory_order_seq_cst);
      if (inside.fetch_add(1, std::memory_order_seq_cst) != 0) complain("two have their turn");
      for (unsigned i = 0; i != kWaiters; ++i) {
        if ((before >> i & 1) != 0 && left[i].load(std::memory_order_seq_cst) == 0) complain("who came later goes first");
      }
      inside.fetch_sub(1, std::memory_order_seq_cst);
    }
    if (!for_another) left[me].store(1, std::memory_order_seq_cst);
    queue->leave(w);
    w.bell.go();
  }

  Body body(const Threads& threads, unsigned turns_least) {
    return {[this] { restore(); }, threads,
            [this, turns_least] {
              if (frozen_threads() == 0 && turns.load(std::memory_order_relaxed) < turns_least) complain("somebody had no turn");
              if (queue->has_any("one", 1) || queue->has_any("other", 1)) complain("somebody is still in the queue");
              return complaint;
            }};
  }
  Threads in_turn() {
    return {[this] { wait(0, kForEver); }, [this] { wait(1, kForEver); }, [this] { wait(2, kForEver); }};
  }
  Threads beside_who_gives_up() {
    return {[this] { wait(0, kForEver); }, [this] { wait(1, kNotAtAll); }, [this] { wait(2, kForEver); }};
  }
  Threads beside_another_name() {
    return {[this] { wait(0, kForEver); }, [this] { wait(1, kNotAtAll, true); }, [this] { wait(2, kForEver); }};
  }

  alignas(64) static inline unsigned char queue_storage[sizeof(Queue)];
  alignas(64) static inline unsigned char waiter_storage[kWaiters][sizeof(Queue::Waiter)];
  Queue* queue = nullptr;
  Queue::Waiter* waiter[kWaiters] = {};
  static inline OneEngineSync::Atomic<std::uint32_t> entered[kWaiters], left[kWaiters], inside, turns;
  std::string complaint;
};

constexpr Bounds kTurnBounds{.preemptions = 3, .schedules = 6'000, .random = 500};

TEST(LockTurns, OneAfterAnother) {
  Turns t(Mutant::kNone);
  expect_body_holds("lock turns", t.body(t.in_turn(), 3), kTurnBounds);
}
TEST(LockTurns, BesideOneWhoGivesUp) {
  Turns t(Mutant::kNone);
  expect_body_holds("lock turns, beside who gives up", t.body(t.beside_who_gives_up(), 2), kTurnBounds);
}
TEST(LockTurns, BesideAnotherName) {
  Turns t(Mutant::kNone);
  expect_body_holds("lock turns, beside another name", t.body(t.beside_another_name(), 2), kTurnBounds);
}
TEST(LockTurnMutants, NobodyIsWoken) {
  Turns t(Mutant::kLockTurnUnrung);
  expect_body_fails("lock turns, kLockTurnUnrung", t.body(t.in_turn(), 3), kTurnBounds);
}
TEST(LockTurnMutants, TheBellIsReadLate) {
  Turns t(Mutant::kLockBellReadLate);
  expect_body_fails("lock turns, kLockBellReadLate", t.body(t.in_turn(), 3), kTurnBounds);
}
TEST(LockTurnMutants, TheBellIsRungOutside) {
  Turns t(Mutant::kLockRungOutside);
  expect_body_fails("lock turns, kLockRungOutside", t.body(t.in_turn(), 3), kTurnBounds);
}

}  // namespace
}  // namespace tern::concurrency
