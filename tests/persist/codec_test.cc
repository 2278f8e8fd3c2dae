// Packed blocks: what was saved packed comes back, whatever its sizes; who can't pack says so before anything is written.
#include <random>

#include "tests/persist/snapshot_fixture.h"

namespace tern::test {
namespace {

class PackedSnapshot : public SnapshotTest, public testing::WithParamInterface<SnapshotCodec> {
 protected:
  PackedSnapshot() : options(small_options(&clock)) { options.memory_bytes = 32 * kMiB; }
  void SetUp() override {
    if (!has_codec(codec)) GTEST_SKIP() << "built without it; WhoCantPackSaysSo has that";
  }
  const SnapshotCodec codec = GetParam();
  SnapshotInfo info() {
    const Result<SnapshotInfo> i = inspect_snapshot(path, &fault);
    EXPECT_TRUE(i.ok()) << fault.reason;
    return *i;
  }
  Options options;
};

INSTANTIATE_TEST_SUITE_P(Each, PackedSnapshot, testing::Values(SnapshotCodec::kLz4, SnapshotCodec::kZstd));

TEST_P(PackedSnapshot, ComesBackWhateverItsSizes) {
  std::mt19937_64 random(3);
  const Store store = open_or_fail(options);
  const std::size_t longest[] = {40, 1'000, 16 << 10, 200 << 10, (1 << 20) - 200, 1 << 20, (1 << 20) + 50'000};
  for (unsigned i = 0; i != 2'000; ++i) {
    const std::size_t size = i < std::size(longest) ? longest[i] : random() % (i % 100 == 0 ? 30'000 : 300);
    std::string value = pattern(size, i);
    if (i % 3 == 1) {  // nothing packs it
      for (char& c : value) c = static_cast<char>(random());
    }
    SetOptions how;
    if (i % 5 == 0) how.ttl = std::chrono::seconds(1 + i);
    const std::string_view tags[] = {"t"};
    if (i % 7 == 0) how.tags = tags;
    ASSERT_TRUE(store.set(numbered("key", i), value, how).ok());
  }
  const Contents before = contents_of(store);
  save_or_fail(store);
  const SnapshotInfo plain = info();
  EXPECT_EQ(plain.format_version, 2u) << "whoever knows no packed blocks can read it";
  EXPECT_EQ(plain.packed_blocks, 0u);
  for (const unsigned threads : {1u, 3u}) {
    save_or_fail(store, {.threads = threads, .codec = codec});
    const SnapshotInfo packed = info();
    EXPECT_EQ(packed.format_version, codec == SnapshotCodec::kLz4 ? 3u : 4u);
    EXPECT_EQ(packed.codec, codec);
    EXPECT_GT(packed.packed_blocks, 0u);
    EXPECT_LT(packed.packed_blocks, packed.blocks) << "what isn't worth it stays plain";
    EXPECT_EQ(packed.plain_bytes, plain.plain_bytes);
    EXPECT_LT(packed.file_bytes, plain.file_bytes);
    std::uint64_t entries = 0;
    EXPECT_TRUE(verify_snapshot(path, [](const SnapshotFault& f) { ADD_FAILURE() << f.reason; }, &entries).ok());
    EXPECT_EQ(entries, before.size());
    for (const bool copy : {true, false}) {
      const Store again = reopen_or_fail(options, {.own = false, .copy = copy});
      EXPECT_TRUE(again.get(numbered("key", 3)).found());
      EXPECT_EQ(contents_of(again), before);
      EXPECT_TRUE(whole(again));
    }
  }
}

TEST_P(PackedSnapshot, OfWhatCantBePackedIsPlainBlocksAndGood) {
  const Store store = open_or_fail(options);
  save_or_fail(store, {.codec = codec});
  EXPECT_EQ(info().entries, 0u);
  std::mt19937_64 random(4);
  std::string value(100'000, '\0');
  for (char& c : value) c = static_cast<char>(random());
  ASSERT_TRUE(store.set("k", value).ok());
  save_or_fail(store, {.codec = codec});
  EXPECT_EQ(info().packed_blocks, 0u);
  EXPECT_EQ(reopen_or_fail(options, {.own = false}).get("k")->view(), value);
}

TEST_F(SnapshotTest, WhoCantPackSaysSo) {
  const Store store = open_or_fail(small_options(&clock));
  ASSERT_TRUE(store.set("k", "v").ok());
  EXPECT_TRUE(has_codec(SnapshotCodec::kNone));
  const auto another = static_cast<SnapshotCodec>(3);
  EXPECT_FALSE(has_codec(another));
  EXPECT_EQ(store.save(path, {.codec = another}).error(), (Error{Status::kInvalidArgument, Field::kCodec}));
  EXPECT_EQ(store.save_periodically(path, {.codec = another}).error(), (Error{Status::kInvalidArgument, Field::kCodec}));
  for (const SnapshotCodec codec : {SnapshotCodec::kLz4, SnapshotCodec::kZstd}) {
    if (has_codec(codec)) continue;
    EXPECT_EQ(store.save(path, {.codec = codec}).error(), (Error{Status::kUnsupported, Field::kCodec}));
  }
  EXPECT_FALSE(std::filesystem::exists(path));
}

}  // namespace
}  // namespace tern::test
