// A file by itself: what it says, what it holds, and where it is damaged.
#include <tern/lock.h>
#include <tern/namespace.h>

#include <algorithm>
#include <map>
#include <vector>

#include "tests/persist/snapshot_fixture.h"

namespace tern::test {
namespace {

class SnapshotFile : public SnapshotTest {
 protected:
  SnapshotFile() {
    Options options = small_options(&clock);
    options.name = "of a test";
    const Store store = open_or_fail(options);
    for (unsigned i = 0; i != 3'000; ++i) EXPECT_TRUE(store.set(numbered("k", i), pattern(100, i)).ok());
    EXPECT_TRUE(store.set("ttl", "t", {.ttl = 5s}).ok());
    EXPECT_TRUE(store.set("idle", "i", {.idle = 100ms}).ok());
    const std::string_view tags[] = {"red", std::string_view("\0", 1)};
    EXPECT_TRUE(store.set("kept", "k", {.evictable = false, .tags = tags}).ok());
    before = contents_of(store);
    save_or_fail(store);
  }
  std::vector<SnapshotFault> findings(Result<void>& answer) {
    std::vector<SnapshotFault> found;
    answer = verify_snapshot(path, [&](const SnapshotFault& f) { found.push_back(f); }, &whole_entries);
    return found;
  }
  Contents before;
  std::uint64_t whole_entries = 0;
};

TEST_F(SnapshotFile, SaysWhatItIs) {
  const auto info = inspect_snapshot(path);
  ASSERT_TRUE(info.ok());
  EXPECT_EQ(info->format_version, 2u);
  EXPECT_EQ(info->generation, 1u);
  EXPECT_EQ(info->entries, 3'003u);
  EXPECT_EQ(info->file_bytes, std::filesystem::file_size(path));
  EXPECT_EQ(info->saved_at, kSavedAt);
  EXPECT_STREQ(info->name, "of a test");
  EXPECT_EQ(info->memory_bytes, 16 * kMiB);
  EXPECT_EQ(info->shards, 4u);
  EXPECT_EQ(inspect_snapshot(path + ".none", &fault).status(), Status::kNotFound);
  EXPECT_EQ(inspect_snapshot("", &fault).error(), (Error{Status::kInvalidArgument, Field::kPath}));
}

TEST_F(SnapshotFile, ShowsItsEntries) {
  Contents shown;
  const auto all = read_snapshot(path, [&](const SnapshotEntry& e) {
    Saved& s = shown[std::string(e.key)];
    s = {std::string(e.value), e.version, std::nullopt};
    if (e.expires_at) s.ttl = *e.expires_at - kSavedAt;
    EXPECT_EQ(e.idle.count() != 0, e.key == "idle");
    EXPECT_EQ(e.evictable, e.key != "kept");
    const std::vector<std::string_view> tags(e.tags.begin(), e.tags.end());
    EXPECT_EQ(tags, e.key != "kept" ? std::vector<std::string_view>{} : (std::vector<std::string_view>{"red", {"\0", 1}}));
    return true;
  });
  EXPECT_TRUE(*all);
  EXPECT_EQ(shown, before);
  unsigned left = 5;
  EXPECT_FALSE(*read_snapshot(path, [&](const SnapshotEntry&) { return --left != 0; }));
  EXPECT_EQ(left, 0u);
}

TEST_F(SnapshotTest, ShowsWhatIsALeaseOrALockAndWhatBelongsToOne) {
  const Store store = open_or_fail(small_options(&clock));
  const Namespace users = *store.ns("users", {});
  const LeaseId lease = store.lease(1h)->id();
  ASSERT_TRUE(store.set("member", "m", {.tags = std::span<const std::string_view>(), .lease = lease, .metadata = "about"}).ok());
  ASSERT_TRUE(users.set("member", "u", {.lease = lease}).ok());
  ASSERT_TRUE(store.set("\1lease\1of none", "plain").ok());
  Lock lock = *store.lock("door", {.lease = lease, .owner = "me"});
  Lock named = *users.lock("gate", {});
  save_or_fail(store);
  std::map<std::string, LeaseId> members;
  std::vector<LeaseId> leases;
  std::map<std::string, SnapshotEntry> locks;
  EXPECT_TRUE(*read_snapshot(path, [&](const SnapshotEntry& e) {
    if (e.made != nullptr) return true;
    if (e.kind == SnapshotEntry::Kind::kLease) leases.push_back(e.lease);
    if (e.kind == SnapshotEntry::Kind::kPlain) members[std::to_string(e.ns) + std::string(e.key)] = e.lease;
    if (e.kind == SnapshotEntry::Kind::kLock) {
      EXPECT_EQ(e.value, e.ns == 0 ? "me" : "");
      locks[std::string(e.key)] = {.version = e.version, .lease = e.lease};
    }
    return true;
  }));
  EXPECT_EQ(members, (std::map<std::string, LeaseId>{{"0member", lease}, {"1member", lease}, {"0\1lease\1of none", 0}}));
  std::sort(leases.begin(), leases.end());
  EXPECT_EQ(leases, (std::vector<LeaseId>{lease, named.lease()}));
  ASSERT_EQ(locks.size(), 2u);
  EXPECT_EQ(locks["door"].version, lock.token());
  EXPECT_EQ(locks["door"].lease, lease);
  EXPECT_EQ(locks["gate"].version, named.token());
  EXPECT_EQ(locks["gate"].lease, named.lease());
}

TEST_F(SnapshotFile, IsVerifiedBeyondTheFirstDamage) {
  Result<void> answer;
  EXPECT_TRUE(findings(answer).empty());
  EXPECT_TRUE(answer.ok());
  EXPECT_EQ(whole_entries, 3'003u);
  std::string bytes = bytes_of_file(path);
  bytes[5'000] ^= 4;
  bytes[5'000 + 100'000] ^= 4;
  write_file(path, bytes);
  const auto found = findings(answer);
  EXPECT_EQ(found.size(), 2u);
  EXPECT_EQ(answer.status(), Status::kCorrupt);
  EXPECT_EQ(found[0].offset, 4'096u);
  EXPECT_GT(found[1].offset, 50'000u);
  EXPECT_GT(whole_entries, 500u);
  EXPECT_LT(whole_entries, 3'003u);
  EXPECT_EQ(read_snapshot(path, [](const SnapshotEntry&) { return true; }, &fault).status(), Status::kCorrupt);
}

}  // namespace
}  // namespace tern::test
