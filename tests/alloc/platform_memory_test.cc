// The container's memory, from files that a test writes: both versions of control groups, groups
// without a bound, bounds further up, files that are missing or say nothing.
#include "alloc/platform_memory.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "alloc/platform.h"

namespace tern::alloc {
namespace {

namespace fs = std::filesystem;
using platform::GroupMemory;

class GroupFiles : public testing::Test {
 protected:
  GroupFiles() {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    root_ = fs::path(testing::TempDir()) / (std::string("tern_groups_") + test->name());
    fs::remove_all(root_);
    fs::create_directories(root_);
  }
  ~GroupFiles() override { fs::remove_all(root_); }
  void write(const std::string& path, const std::string& text) {
    fs::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << text;
  }
  bool read(GroupMemory& out) {
    return platform::read_group_memory(out, (root_ / "fs").c_str(), (root_ / "self").c_str());
  }
  fs::path root_;
};

TEST_F(GroupFiles, Version2) {
  write("self", "0::/a/b\n");
  write("fs/a/b/memory.current", "1000000\n");
  write("fs/a/b/memory.max", "4000000\n");
  write("fs/a/b/memory.stat", "anon 5\nactive_file 7\ninactive_file 300000\n");
  write("fs/a/b/memory.pressure", "some avg10=12.50 avg60=0.00 avg300=0.00 total=1\nfull avg10=1.00\n");
  GroupMemory m;
  ASSERT_TRUE(read(m));
  EXPECT_EQ(m.used_bytes, 700'000u);
  EXPECT_EQ(m.limit_bytes, 4'000'000u);
  EXPECT_EQ(m.stalled_permille, 125u);
}

TEST_F(GroupFiles, TheGroupAboveMayBeTheTighter) {
  write("self", "0::/a/b\n");
  write("fs/a/b/memory.current", "1000\n");
  write("fs/a/b/memory.max", "max\n");
  write("fs/a/memory.current", "1900\n");
  write("fs/a/memory.max", "2000\n");
  write("fs/memory.current", "2000\n");
  write("fs/memory.max", "900000\n");
  GroupMemory m;
  ASSERT_TRUE(read(m));
  EXPECT_EQ(m.used_bytes, 1900u);
  EXPECT_EQ(m.limit_bytes, 2000u);
}

TEST_F(GroupFiles, ARootOfItsOwn) {
  write("self", "0::/\n");
  write("fs/memory.current", "5\n");
  write("fs/memory.max", "10\n");
  GroupMemory m;
  ASSERT_TRUE(read(m));
  EXPECT_EQ(m.limit_bytes, 10u);
}

TEST_F(GroupFiles, Version1) {
  write("self", "12:cpu,cpuacct:/x\n7:memory:/docker/1\n");
  write("fs/memory/docker/1/memory.usage_in_bytes", "500\n");
  write("fs/memory/docker/1/memory.limit_in_bytes", "600\n");
  write("fs/memory/docker/1/memory.stat", "inactive_file 1\ntotal_inactive_file 100\n");
  GroupMemory m;
  ASSERT_TRUE(read(m));
  EXPECT_EQ(m.used_bytes, 400u);
  EXPECT_EQ(m.limit_bytes, 600u);
}

TEST_F(GroupFiles, NothingKnown) {
  GroupMemory m;
  EXPECT_FALSE(read(m)) << "no file at all";
  for (const char* self : {"", "\n", "garbage", "0:", "0::", "0::/nowhere\n", ":::::\n\n:\n"}) {
    write("self", self);
    EXPECT_FALSE(read(m)) << self;
  }
  write("self", "0::/a\n7:memory:/b\n");
  write("fs/a/memory.current", "1\n");
  write("fs/a/memory.max", "max\n");
  write("fs/memory/b/memory.usage_in_bytes", "1\n");
  write("fs/memory/b/memory.limit_in_bytes", "9223372036854771712\n");
  EXPECT_FALSE(read(m)) << "no bound";
  write("fs/a/memory.max", "");
  EXPECT_FALSE(read(m));
  write("self", "0::/" + std::string(3'000, 'x') + "\n");
  EXPECT_FALSE(read(m)) << "a path that is too long";
}

TEST_F(GroupFiles, AnyReadMayFail) {
  write("self", "0::/a\n");
  write("fs/a/memory.current", "1\n");
  write("fs/a/memory.max", "10\n");
  platform::FaultPlan plan;
  plan.sites = platform::site_bit(platform::Site::kOpen) | platform::site_bit(platform::Site::kRead);
  std::uint64_t calls = 0;
  for (std::uint64_t n = 0; n <= calls; ++n) {  // 0: none, to count them
    plan.fail_at = n;
    plan.calls = 0;
    const platform::FaultScope scope(plan);
    GroupMemory m;
    if (read(m)) {
      EXPECT_EQ(m.limit_bytes, 10u);
    } else {
      EXPECT_NE(n, 0u);
    }
    if (n == 0) calls = plan.calls.load();
  }
  EXPECT_GT(calls, 5u);
}

TEST(GroupMemoryOfThisProcess, IsReadOrNot) {
  GroupMemory m;
  if (platform::read_group_memory(m)) {
    EXPECT_GT(m.limit_bytes, 0u);
  }
}

}  // namespace
}  // namespace tern::alloc
