// The door to the system: mapping, clock, randomness, threads, files, private memory.
#include "alloc/platform.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "alloc/private_memory.h"

namespace tern::alloc {
namespace {

TEST(Platform, ReservedMemoryIsAlignedZeroAndWritable) {
  for (const std::size_t alignment :
       {std::size_t{4096}, std::size_t{64} << 10, platform::kHugePageBytes}) {
    constexpr std::size_t kBytes = 3 << 20;
    auto* at = static_cast<std::byte*>(platform::reserve(kBytes, alignment));
    ASSERT_NE(at, nullptr);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(at) % alignment, 0u);
    for (std::size_t i = 0; i < kBytes; i += 64) ASSERT_EQ(at[i], std::byte{0});
    std::memset(at, 1, kBytes);
    EXPECT_TRUE(platform::decommit(at, kBytes));
    for (std::size_t i = 0; i < kBytes; i += 64) ASSERT_EQ(at[i], std::byte{0});
    at[5] = std::byte{7};
    EXPECT_TRUE(platform::populate(at, kBytes));
    EXPECT_EQ(at[5], std::byte{7});
    EXPECT_GE(platform::resident_bytes(at, kBytes), kBytes);
    platform::release(at, kBytes);
  }
}

TEST(Platform, AReservationThatCannotBeIsRefused) {
  EXPECT_EQ(platform::reserve(0, 4096), nullptr);
  EXPECT_EQ(platform::reserve(~std::size_t{0}, 4096), nullptr);
  EXPECT_EQ(platform::reserve(std::size_t{1} << 60, 4096), nullptr);
  platform::release(nullptr, 4096);
}

TEST(Platform, TheMonotonicClockDoesNotGoBack) {
  std::uint64_t last = platform::monotonic_ns();
  EXPECT_GT(last, 0u);
  for (int i = 0; i < 100'000; ++i) {
    const std::uint64_t now = platform::monotonic_ns();
    ASSERT_GE(now, last);
    last = now;
  }
}

TEST(Platform, TheWallClockIsInOurTime) {
  EXPECT_GT(platform::wall_ns(), 1'600'000'000ull * 1'000'000'000);
  EXPECT_LT(platform::wall_ns(), 4'000'000'000ull * 1'000'000'000);
}

TEST(Platform, RandomBytesFillTheWholeBuffer) {
  std::set<std::uint64_t> seen;
  for (int i = 0; i < 1000; ++i) {
    std::uint64_t word = 0;
    ASSERT_TRUE(platform::random_bytes(&word, sizeof word));
    seen.insert(word);
  }
  EXPECT_EQ(seen.size(), 1000u);
  std::vector<std::uint8_t> buffer(100'000, 0);
  ASSERT_TRUE(platform::random_bytes(buffer.data(), buffer.size()));
  int counts[256] = {};
  for (const std::uint8_t b : buffer) ++counts[b];
  for (const int count : counts) EXPECT_GT(count, 200);
  EXPECT_TRUE(platform::random_bytes(nullptr, 0));
}

TEST(Platform, ThreadsHaveNumbersAndCanBeBound) {
  EXPECT_GE(platform::hardware_threads(), 1u);
  std::uint64_t other = 0;
  bool bound = false;
  std::thread([&] {
    other = platform::thread_id();
    bound = platform::pin_thread(platform::hardware_threads() + 1);
  }).join();
  EXPECT_NE(other, platform::thread_id());
  EXPECT_TRUE(bound);
}

int fork_steps = 0;

TEST(Platform, AForkIsAnnouncedOnBothSides) {
  ASSERT_TRUE(platform::at_fork([] { fork_steps = 1; }, [] { fork_steps += 10; },
                                [] { fork_steps += 100; }));
  EXPECT_EXIT(std::exit(fork_steps), testing::ExitedWithCode(101), "");  // the child's side
  EXPECT_EQ(fork_steps, 11);
}

TEST(Platform, FilesKeepWhatIsWritten) {
  const std::string path = testing::TempDir() + "tern_platform_file", moved = path + "_moved";
  int error = -1;
  platform::File file = platform::open_file(path.c_str(), platform::OpenMode::kCreate, &error);
  ASSERT_TRUE(file.is_open());
  EXPECT_EQ(error, 0);
  EXPECT_EQ(platform::write_file(file, "abcdef", 6, 0).count, 6u);
  EXPECT_EQ(platform::write_file(file, "XY", 2, 2).count, 2u);
  EXPECT_EQ(platform::sync_file(file), 0);
  EXPECT_EQ(platform::file_size(file).count, 6u);
  EXPECT_EQ(platform::truncate_file(file, 5), 0);
  platform::close_file(file);
  EXPECT_FALSE(file.is_open());
  EXPECT_EQ(platform::rename_file(path.c_str(), moved.c_str()), 0);
  EXPECT_FALSE(platform::open_file(path.c_str(), platform::OpenMode::kRead, &error).is_open());
  EXPECT_EQ(error, ENOENT);
  file = platform::open_file(moved.c_str(), platform::OpenMode::kRead, &error);
  ASSERT_TRUE(file.is_open());
  char text[10] = {};
  EXPECT_EQ(platform::read_file(file, text, sizeof text, 1).count, 4u);
  EXPECT_STREQ(text, "bXYe");
  EXPECT_EQ(platform::write_file(file, "no", 2, 0).error, EBADF);
  platform::close_file(file);
  file = platform::open_file(testing::TempDir().c_str(), platform::OpenMode::kDirectory, &error);
  ASSERT_TRUE(file.is_open());
  EXPECT_EQ(platform::sync_file(file), 0);
  platform::close_file(file);
  EXPECT_EQ(platform::remove_file(moved.c_str()), 0);
  EXPECT_EQ(platform::remove_file(moved.c_str()), ENOENT);
}

TEST(PrivateMemory, BlocksAreAlignedAndCrossThreads) {
  std::vector<void*> blocks;
  for (const std::size_t bytes : {0, 1, 15, 16, 17, 100, 5000, 1 << 20}) {
    void* block = private_allocate(bytes);
    ASSERT_NE(block, nullptr);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(block) % 16, 0u);
    std::memset(block, 1, bytes);
    blocks.push_back(block);
    for (const std::size_t alignment : {8, 16, 64, 128, 4096}) {
      block = private_allocate_aligned(bytes, alignment);
      ASSERT_NE(block, nullptr);
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(block) % alignment, 0u);
      std::memset(block, 1, bytes);
      blocks.push_back(block);
    }
  }
  std::thread([&] {
    for (void* block : blocks) private_free(block);
  }).join();
  private_free(nullptr);
}

TEST(PrivateMemory, SizesThatOverflowAreRefused) {
  EXPECT_EQ(private_allocate_aligned(~std::size_t{0} - 8, 64), nullptr);
  EXPECT_EQ(PrivateAllocator<std::uint64_t>().allocate(std::size_t{1} << 61), nullptr);
  struct alignas(128) Wide {
    char bytes[128];
  };
  Wide* wide = PrivateAllocator<Wide>().allocate(3);
  ASSERT_NE(wide, nullptr);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(wide) % 128, 0u);
  PrivateAllocator<Wide>().deallocate(wide, 3);
  std::vector<int, PrivateAllocator<int>> numbers(1000, 7);
  EXPECT_EQ(numbers[999], 7);
}

}  // namespace
}  // namespace tern::alloc
