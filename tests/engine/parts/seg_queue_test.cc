// A queue in the budget: order, memory, refusals; against a std::deque; many threads. (Every
// interleaving of a few steps: tests/engine/schedules/seg_queue_test.cc.)
#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <random>
#include <thread>
#include <vector>

#include "engine/seg_queue.h"
#include "tests/engine/parts/bare_core.h"
#include "tests/engine/parts/queue_sequence.h"

namespace tern::test {
namespace {

using Sync = BareCore::Sync;
using Queue = detail::SegQueue<Sync>;
using Guard = detail::Guard<Sync>;
using WhenEmpty = Queue::WhenEmpty;

std::uint64_t memory_of(BareCore& bare, const Queue& queue) {
  return queue.walk(bare.space(), [](std::uint64_t) {});
}

TEST(SegQueue, AnUnusedQueueHoldsNoMemory) {
  BareCore bare;
  Queue queue;
  const Guard guard(bare.space(), *bare.thread);
  EXPECT_EQ(memory_of(bare, queue), 0u);
  EXPECT_EQ(queue.pop(bare.space(), *bare.thread), 0u);
  EXPECT_EQ(memory_of(bare, queue), 0u);
  EXPECT_EQ(queue.count(), 0u);
}

TEST(SegQueue, FirstInFirstOut) {
  BareCore bare;
  Queue queue;
  const Guard guard(bare.space(), *bare.thread);
  for (std::uint64_t n = 1; n <= 5'000; ++n) ASSERT_TRUE(queue.push(bare.space(), *bare.thread, n));
  EXPECT_EQ(queue.count(), 5'000u);
  for (std::uint64_t n = 1; n <= 5'000; ++n) ASSERT_EQ(queue.pop(bare.space(), *bare.thread), n);
  EXPECT_EQ(queue.pop(bare.space(), *bare.thread), 0u);
}

TEST(SegQueue, SegmentsGrowFromOneLineToAPage) {
  BareCore bare;
  Queue queue;
  const Guard guard(bare.space(), *bare.thread);
  std::vector<std::uint64_t> grew;
  for (std::uint64_t n = 1, before = 0; n <= 3'000; ++n) {
    ASSERT_TRUE(queue.push(bare.space(), *bare.thread, n));
    const std::uint64_t bytes = memory_of(bare, queue);
    if (bytes != before) grew.push_back(bytes - before);
    before = bytes;
  }
  grew.resize(9);  // a page and 128 bytes: past 2 KiB blocks are for round values with their headers (size_classes.h)
  EXPECT_EQ(grew, (std::vector<std::uint64_t>{64, 128, 256, 512, 1024, 2048, 4224, 4224, 4224}));
}

TEST(SegQueue, TheExtremeEntriesPass) {
  BareCore bare;
  Queue queue;
  const Guard guard(bare.space(), *bare.thread);
  ASSERT_TRUE(queue.push(bare.space(), *bare.thread, 1));
  ASSERT_TRUE(queue.push(bare.space(), *bare.thread, Queue::List::kTaken - 1));
  EXPECT_EQ(queue.pop(bare.space(), *bare.thread), 1u);
  EXPECT_EQ(queue.pop(bare.space(), *bare.thread), Queue::List::kTaken - 1);
}

TEST(SegQueue, AnEmptiedQueueCanGiveItsMemoryBack) {
  BareCore bare;
  Queue queue;
  const Guard guard(bare.space(), *bare.thread);
  for (const std::uint64_t entries : {1u, 3u, 4u, 5u, 16u, 17u, 1000u}) {
    for (std::uint64_t n = 1; n <= entries; ++n)
      ASSERT_TRUE(queue.push(bare.space(), *bare.thread, n));
    for (std::uint64_t n = 1; n <= entries; ++n) {
      ASSERT_EQ(queue.pop(bare.space(), *bare.thread, WhenEmpty::kRelease), n);
    }
    EXPECT_EQ(queue.pop(bare.space(), *bare.thread, WhenEmpty::kRelease), 0u);
    EXPECT_EQ(memory_of(bare, queue), 0u) << entries;
  }
}

TEST(SegQueue, WithoutMemoryAPushIsRefusedAndChangesNothing) {
  BareCore bare;
  Queue queue;
  const Guard guard(bare.space(), *bare.thread);
  std::uint64_t pushed = 0;
  while (queue.push(bare.space(), *bare.thread, pushed + 1)) ++pushed;
  EXPECT_GT(pushed, 300'000u);  // of 4 MiB
  EXPECT_EQ(queue.count(), pushed);
  EXPECT_FALSE(queue.push(bare.space(), *bare.thread, 7));
  for (std::uint64_t n = 1; n <= pushed; ++n) ASSERT_EQ(queue.pop(bare.space(), *bare.thread), n);
  EXPECT_EQ(queue.pop(bare.space(), *bare.thread), 0u);
  EXPECT_EQ(queue.count(), 0u);
}

TEST(SegQueue, InAFullHeapItsSegmentsAreOfWhateverSizeIsThere) {
  BareCore bare;
  Queue queue;
  auto& heap = bare.space().heap;
  auto& cache = bare.thread->cache;
  const Guard guard(bare.space(), *bare.thread);
  std::vector<std::uint64_t> blocks;
  while (const std::uint64_t block = heap.allocate(cache, 120)) blocks.push_back(block);
  for (int i = 0; i != 50; ++i, blocks.pop_back()) heap.free(cache, blocks.back());
  ASSERT_EQ(cache.held_bytes(), 50 * 120u);
  for (std::uint64_t n = 1; n <= 110; ++n) ASSERT_TRUE(queue.push(bare.space(), *bare.thread, n));
  EXPECT_EQ(memory_of(bare, queue), 10 * 120u) << "eleven entries a block";
  EXPECT_EQ(cache.held_bytes(), 40 * 120u) << "the rest is still at hand";
  for (std::uint64_t n = 1; n <= 110; ++n) ASSERT_EQ(queue.pop(bare.space(), *bare.thread), n);
}

TEST(SegQueue, ItAnswersAsADequeDoes) {
  std::mt19937_64 random(1);
  for (int run = 0; run != 300; ++run) {
    std::vector<std::uint8_t> bytes(random() % 200);
    for (auto& b : bytes) b = static_cast<std::uint8_t>(random());
    ASSERT_EQ(run_queue_operations(bytes), "") << "run " << run;
  }
}

// Each entry is popped once, and those of one producer in their order.
TEST(SegQueue, ThreadsLoseAndDoubleNothing) {
  constexpr unsigned kProducers = 2, kConsumers = 2;
  constexpr std::uint64_t kEach = 60'000;
  BareCore bare(std::size_t{32} << 20);
  Queue queue;
  std::atomic<unsigned> producing{kProducers};
  std::atomic<unsigned> refused{0};
  std::vector<detail::Thread<Sync>*> states;
  for (unsigned i = 0; i != kProducers + kConsumers; ++i) states.push_back(&bare.new_thread());
  std::vector<std::vector<std::uint64_t>> got(kConsumers);
  std::vector<std::thread> threads;
  for (unsigned p = 0; p != kProducers; ++p) {
    threads.emplace_back([&, p] {
      for (std::uint64_t n = 1; n <= kEach; ++n) {
        const Guard guard(bare.space(), *states[p]);
        if (!queue.push(bare.space(), *states[p], std::uint64_t{p} << 32 | n)) ++refused;
      }
      --producing;
    });
  }
  for (unsigned c = 0; c != kConsumers; ++c) {
    threads.emplace_back([&, c] {
      auto& t = *states[kProducers + c];
      for (;;) {
        const bool over = producing == 0;
        const Guard guard(bare.space(), t);
        const std::uint64_t entry =
            queue.pop(bare.space(), t, c == 0 ? WhenEmpty::kRelease : WhenEmpty::kKeep);
        if (entry != 0) {
          got[c].push_back(entry);
        } else if (over) {
          break;
        }
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(refused, 0u);
  std::vector<std::vector<unsigned>> seen(kProducers, std::vector<unsigned>(kEach + 1));
  for (const auto& entries : got) {
    std::uint64_t last[kProducers] = {};
    for (const std::uint64_t entry : entries) {
      const auto p = entry >> 32;
      const auto n = entry & 0xFFFFFFFF;
      EXPECT_GT(n, last[p]) << "out of order";
      last[p] = n;
      ++seen[p][n];
    }
  }
  for (const auto& of_one : seen) {
    for (std::uint64_t n = 1; n <= kEach; ++n) ASSERT_EQ(of_one[n], 1u) << n;
  }
  EXPECT_EQ(queue.count(), 0u);
}

}  // namespace
}  // namespace tern::test
