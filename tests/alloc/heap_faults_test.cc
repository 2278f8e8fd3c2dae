// Whatever the system refuses, at whichever call: an error comes back, nothing has changed, and the
// heap goes on.
#include <gtest/gtest.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "alloc/heap.h"
#include "alloc/private_memory.h"

namespace tern::alloc {
namespace {

using platform::FaultPlan;
using platform::FaultScope;
using platform::Site;

constexpr std::size_t kMiB = 1 << 20;

// A heap's life, tolerant of refusals. False: open refused.
bool live(bool prefault) {
  HeapOptions options;
  options.memory_bytes = 6 * kMiB;
  options.memory_bytes_max = 8 * kMiB;
  options.table_bytes_max = 4 * kMiB;
  options.prefault = prefault;
  Heap heap;
  const Error error = heap.open(options);
  if (error != Error::kNone) {
    EXPECT_EQ(error, Error::kOutOfMemory);
    return false;
  }
  Heap::Cache cache;
  std::vector<Offset> blocks;
  const auto fill = [&](std::size_t bytes) {
    int refused = 0;
    while (refused < 3) {
      const Offset block = heap.allocate(cache, bytes);
      if (block == 0) {
        ++refused;
        continue;
      }
      std::memset(heap.at(block), 1, bytes);
      blocks.push_back(block);
    }
  };
  fill(2000);
  EXPECT_GT(blocks.size() * 2048, 5 * kMiB);  // one refused magazine costs nothing but the call
  Heap::Cache other;
  for (std::size_t i = 0; i < blocks.size(); ++i) heap.free(i % 2 ? cache : other, blocks[i]);
  blocks.clear();
  heap.release_cache(other);
  heap.release_cache(cache);
  // The table takes memory that blocks have made resident: something has to be given back to the
  // system.
  EXPECT_TRUE(heap.commit_table(0, 2 * kMiB));
  EXPECT_TRUE(heap.commit_table(2 * kMiB, kMiB));
  std::memset(heap.table(), 1, 3 * kMiB);
  fill(100);
  for (const Offset block : blocks) heap.free(cache, block);
  blocks.clear();
  heap.release_cache(cache);
  heap.resize(5 * kMiB);
  EXPECT_TRUE(heap.verify());
  const Stats stats = heap.stats();
  EXPECT_LE(stats.used_bytes, stats.limit_bytes);
  return true;
}

class HeapFaults : public testing::TestWithParam<bool> {};

TEST_P(HeapFaults, EveryCallThatCanFailMayFail) {
  FaultPlan count;
  {
    FaultScope scope(count);
    ASSERT_TRUE(live(GetParam()));
  }
  const std::uint64_t calls = count.calls;
  ASSERT_GT(calls, 4u);
  std::uint64_t refused = 0;
  for (std::uint64_t n = 1; n <= calls; ++n) {
    FaultPlan plan;
    plan.fail_at = n;
    FaultScope scope(plan);
    refused += !live(GetParam());
    ASSERT_EQ(plan.failed, 1u) << n;
  }
  std::printf("%llu calls, each failed once; open refused %llu times\n",
              static_cast<unsigned long long>(calls), static_cast<unsigned long long>(refused));
  EXPECT_GT(refused, 0u);
  EXPECT_LT(refused, calls);
}

TEST_P(HeapFaults, EverythingFromTheNthCallOnMayFail) {
  FaultPlan count;
  {
    FaultScope scope(count);
    ASSERT_TRUE(live(GetParam()));
  }
  for (std::uint64_t n = 1; n <= count.calls; ++n) {
    FaultPlan plan;
    // Advice and giving back: the caches' private memory would leave nothing to look at.
    plan.sites = platform::site_bit(Site::kDecommit) | platform::site_bit(Site::kAdviseHuge) |
                 platform::site_bit(Site::kReserve) | platform::site_bit(Site::kPopulate);
    plan.fail_at = n;
    plan.fail_count = ~std::uint64_t{0};
    FaultScope scope(plan);
    live(GetParam());
  }
}

INSTANTIATE_TEST_SUITE_P(Options, HeapFaults, testing::Bool(),
                         [](const auto& test) { return test.param ? "Prefaulted" : "OnDemand"; });

TEST(HeapFaults, WithoutPrivateMemoryAllocateRefusesAndFreeWorks) {
  Heap heap;
  HeapOptions options;
  options.memory_bytes = 4 * kMiB;
  ASSERT_EQ(heap.open(options), Error::kNone);
  Heap::Cache cache, empty;
  std::vector<Offset> blocks;
  for (int i = 0; i < 1000; ++i) blocks.push_back(heap.allocate(cache, 100));
  const std::size_t free_before = heap.stats().classes[class_of(100)].blocks_free;
  {
    FaultPlan plan;
    plan.sites = platform::site_bit(Site::kPrivateAllocate);
    plan.fail_at = 1;
    plan.fail_count = ~std::uint64_t{0};
    FaultScope scope(plan);
    EXPECT_EQ(heap.allocate(empty, 100), 0u);
    for (const Offset block : blocks) heap.free(empty, block);
    EXPECT_GT(plan.failed, 1000u);
  }
  EXPECT_EQ(empty.held_bytes(), 0u);
  EXPECT_EQ(heap.stats().classes[class_of(100)].blocks_free, free_before + 1000);
  EXPECT_NE(heap.allocate(empty, 100), 0u);
  EXPECT_TRUE(heap.verify());
}

TEST(PlatformFaults, EachSiteReportsItsError) {
  const auto fail_first = [](Site site, int error, auto&& call) {
    FaultPlan plan;
    plan.sites = platform::site_bit(site);
    plan.fail_at = 1;
    plan.error = error;
    FaultScope scope(plan);
    call();
    EXPECT_EQ(plan.failed, 1u) << static_cast<int>(site);
  };
  char buffer[16] = {};
  const std::string path = testing::TempDir() + "tern_platform_faults";
  int error = 0;
  platform::File file = platform::open_file(path.c_str(), platform::OpenMode::kCreate, &error);
  ASSERT_EQ(error, 0);
  fail_first(Site::kOpen, EMFILE, [&] {
    int refused = 0;
    EXPECT_FALSE(platform::open_file(path.c_str(), platform::OpenMode::kRead, &refused).is_open());
    EXPECT_EQ(refused, EMFILE);
  });
  fail_first(Site::kWrite, ENOSPC,
             [&] { EXPECT_EQ(platform::write_file(file, buffer, 1, 0).error, ENOSPC); });
  EXPECT_EQ(platform::file_size(file).count, 0u);
  fail_first(Site::kRead, 0,
             [&] { EXPECT_EQ(platform::read_file(file, buffer, 1, 0).error, EIO); });
  fail_first(Site::kSync, 0, [&] { EXPECT_EQ(platform::sync_file(file), EIO); });
  fail_first(Site::kTruncate, 0, [&] { EXPECT_EQ(platform::truncate_file(file, 10), EIO); });
  fail_first(Site::kFileSize, 0, [&] { EXPECT_EQ(platform::file_size(file).error, EIO); });
  fail_first(Site::kRename, EXDEV,
             [&] { EXPECT_EQ(platform::rename_file(path.c_str(), (path + "2").c_str()), EXDEV); });
  fail_first(Site::kRemove, 0, [&] { EXPECT_EQ(platform::remove_file(path.c_str()), EIO); });
  fail_first(Site::kLock, 0, [&] { EXPECT_EQ(platform::lock_file(file), EIO); });
  fail_first(Site::kWriteback, 0, [&] { platform::begin_writeback(file, 0, 1); });
  fail_first(Site::kRandom, 0,
             [&] { EXPECT_FALSE(platform::random_bytes(buffer, sizeof buffer)); });
  fail_first(Site::kPinThread, 0, [&] { EXPECT_FALSE(platform::pin_thread(0)); });
  fail_first(Site::kAtFork, 0, [&] { EXPECT_FALSE(platform::at_fork(nullptr, nullptr, nullptr)); });
  fail_first(Site::kReserve, 0, [&] { EXPECT_EQ(platform::reserve(4096, 4096), nullptr); });
  void* memory = platform::reserve(4096, 4096);
  ASSERT_NE(memory, nullptr);
  fail_first(Site::kDecommit, 0, [&] { EXPECT_FALSE(platform::decommit(memory, 4096)); });
  fail_first(Site::kAdviseHuge, 0, [&] { EXPECT_FALSE(platform::advise_huge(memory, 4096)); });
  fail_first(Site::kPopulate, 0, [&] { EXPECT_FALSE(platform::populate(memory, 4096)); });
  platform::release(memory, 4096);
  fail_first(Site::kPrivateAllocate, 0, [&] { EXPECT_EQ(private_allocate(10), nullptr); });
  fail_first(Site::kPrivateAllocate, 0,
             [&] { EXPECT_EQ(private_allocate_aligned(10, 64), nullptr); });
  fail_first(Site::kPrivateAllocate, 0,
             [&] { EXPECT_EQ(PrivateAllocator<int>().allocate(3), nullptr); });
  platform::close_file(file);
  EXPECT_EQ(platform::remove_file(path.c_str()), 0);
}

}  // namespace
}  // namespace tern::alloc
