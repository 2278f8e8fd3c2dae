// R9: any bytes as a snapshot. An error with file, offset and reason, or a store that is whole; never the file changed.
#include <sys/stat.h>

#include <algorithm>
#include <cstddef>
#include <random>
#include <set>

#include "persist/codec.h"
#include "tests/persist/forged_file.h"
#include "tests/persist/snapshot_fixture.h"

namespace tern::test {
namespace {

class HostileFile : public SnapshotTest {
 protected:
  explicit HostileFile(SnapshotCodec codec = SnapshotCodec::kNone) : options(small_options(&clock)), is_packed(codec != SnapshotCodec::kNone) {
    options.memory_bytes = 4 * kMiB;
    const Store store = open_or_fail(options);
    EXPECT_TRUE(store.set("a", "1").ok());
    EXPECT_TRUE(store.set("b", "", {.ttl = 10s}).ok());
    EXPECT_TRUE(store.set("c", "3", {.idle = 10s}).ok());
    EXPECT_TRUE(store.set(pattern(255), "long key").ok());
    EXPECT_TRUE(store.set("d", pattern(100), {.evictable = false}).ok());
    const std::string_view tags[] = {"t", "tag"};
    EXPECT_TRUE(store.set("e", "5", {.tags = tags}).ok());
    EXPECT_TRUE(store.set("f", "6", {.tags = tags, .metadata = "about f"}).ok());
    if (is_packed) {  // and of a version that has nothing more
      EXPECT_TRUE(store.set("f", std::string(600, 'f')).ok());
    }
    save_or_fail(store, {.codec = codec});
    bytes = bytes_of_file(path);
    before = contents_of(store);
  }

  // What opening these bytes answers; a store that comes of them is whole.
  Error open_bytes(const std::string& what) {
    write_file(path, what);
    return open_path();
  }
  Error open_path() {
    Result<Store> store = reopen(options, {.own = false});
    if (!store) {
      EXPECT_NE(fault.reason[0], 0);
      EXPECT_EQ(std::string(fault.file), path);
      return store.error();
    }
    EXPECT_TRUE(whole(*store));
    return {};
  }

  void flip_every_bit(bool one_a_byte);
  void cut_everywhere();
  void forge(unsigned rounds, unsigned reasons_wanted);

  Options options;
  const bool is_packed;
  std::string bytes;
  Contents before;
};

void HostileFile::flip_every_bit(bool one_a_byte) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  const auto put = [&](std::size_t at, char c) {
    file.seekp(static_cast<std::streamoff>(at));
    file.put(c);
    file.flush();
  };
  std::size_t flips = 0;
  for (std::size_t at = 0; at != bytes.size(); ++at) {
    for (unsigned bit = 0; bit != 8; ++bit) {
      if (one_a_byte && bit != at % 8) continue;
      put(at, static_cast<char>(bytes[at] ^ 1 << bit));
      const Error e = open_path();
      EXPECT_TRUE(e.status == Status::kCorrupt || (e.status == Status::kUnsupported && at >= 8 && at < 12))
          << "byte " << at << " bit " << bit << ": " << testing::PrintToString(e);
      ++flips;
    }
    put(at, bytes[at]);
  }
  EXPECT_EQ(bytes_of_file(path), bytes);
  EXPECT_EQ(open_path(), Error{});
  EXPECT_GE(flips, one_a_byte ? 4'000u : 37'000u);
}
TEST_F(HostileFile, EveryFlippedBitIsNoticed) { flip_every_bit(kSanitized); }

void HostileFile::cut_everywhere() {
  for (std::size_t size = bytes.size(); size-- != 0;) {
    std::filesystem::resize_file(path, size);
    EXPECT_EQ(open_path(), (Error{Status::kCorrupt, Field::kPath})) << size;
  }
  for (const std::size_t more : {1u, 8u, 4'096u}) {
    EXPECT_EQ(open_bytes(bytes + std::string(more, '\0')), (Error{Status::kCorrupt, Field::kPath}));
  }
}
TEST_F(HostileFile, EveryTruncationIsNoticed) { cut_everywhere(); }

TEST_F(HostileFile, ABlockInAnothersPlaceIsNoticed) {
  const Store store = open_or_fail(options);
  for (unsigned i = 0; i != 5'000; ++i) ASSERT_TRUE(store.set(numbered("k", i), "v").ok());
  save_or_fail(store, {.keep = 1});
  std::string swapped = bytes_of_file(path);
  const persist::Header h = header_of(swapped);
  ASSERT_GE(h.block_count, 2u);
  persist::BlockEntry b[2];
  char* entries = swapped.data() + h.directory_at + h.shard_count * sizeof(persist::ShardEntry);
  std::memcpy(b, entries, sizeof b);
  // Two of equal length by force: the first bytes of each.
  const std::size_t n = std::min(b[0].bytes, b[1].bytes);
  std::swap_ranges(swapped.begin() + static_cast<std::ptrdiff_t>(b[0].at), swapped.begin() + static_cast<std::ptrdiff_t>(b[0].at + n),
                   swapped.begin() + static_cast<std::ptrdiff_t>(b[1].at));
  EXPECT_EQ(open_bytes(swapped), (Error{Status::kCorrupt, Field::kPath}));
  EXPECT_EQ(fault.offset, b[0].at);
}

void HostileFile::forge(unsigned rounds, unsigned reasons_wanted) {
  std::mt19937_64 random(5);
  unsigned accepted = 0;
  std::set<std::string> reasons;
  const persist::Header h = header_of(bytes);
  for (unsigned round = 0; round != rounds; ++round) {
    std::string forged = bytes;
    for (unsigned n = 0; n <= random() % 3; ++n) {
      // Header, directory and blocks alike, by bytes and by words.
      std::size_t at = 0;
      switch (random() % 4) {
        case 0: at = random() % 256; break;
        case 1: at = h.directory_at + random() % h.directory_bytes; break;
        default: at = persist::kHeaderBytes + random() % (h.directory_at - persist::kHeaderBytes); break;
      }
      const std::uint64_t few[] = {0, 1, 7, 8, 255, 4'096, 0x7FFF'FFFF, ~std::uint64_t{0}, std::uint64_t{1} << 63, forged.size()};
      std::uint64_t word = few[random() % std::size(few)];
      if (random() % 2 == 0) {
        std::memcpy(&word, forged.data() + at / 8 * 8, 8);
        word ^= std::uint64_t{1} << random() % 64;
      }
      std::memcpy(forged.data() + at / 8 * 8, &word, random() % 2 == 0 ? 8 : 4);
    }
    reseal(forged);
    const Error e = open_bytes(forged);
    accepted += e.status == Status::kOk;
    if (e.status != Status::kOk) {
      reasons.insert(fault.reason);
      EXPECT_TRUE(e.status == Status::kCorrupt || e.status == Status::kUnsupported || e.status == Status::kInvalidArgument ||
                  e.status == Status::kOutOfRange)
          << testing::PrintToString(e) << " " << fault.reason;
    }
    if (round % 100 == 0) {
      EXPECT_EQ(bytes_of_file(path), forged);
    }
  }
  EXPECT_GT(accepted, 0u) << "changes of values and times make another good file";
  EXPECT_GE(reasons.size(), reasons_wanted) << "as many of the checks were met";
  if (is_packed) {
    EXPECT_TRUE(reasons.contains("a packed block can't be unpacked to its size"));
  }
}
TEST_F(HostileFile, WithItsChecksumsMadeRightIsStillLookedThrough) {
  forge(quick_or_long(kSanitized ? 1'500u : 6'000u, 200'000u), 20);
}

// The same of a file whose block is packed.
class HostilePackedFile : public HostileFile, public testing::WithParamInterface<SnapshotCodec> {
 protected:
  HostilePackedFile() : HostileFile(has_codec(GetParam()) ? GetParam() : SnapshotCodec::kNone) {}
  void SetUp() override {
    if (!has_codec(GetParam())) GTEST_SKIP() << "built without it; PackedByWhatThisBuildHasNotIsRefused has that";
    const Result<SnapshotInfo> info = inspect_snapshot(path);
    ASSERT_TRUE(info.ok() && info->packed_blocks == 1 && info->codec == GetParam());
  }
};
INSTANTIATE_TEST_SUITE_P(Each, HostilePackedFile, testing::Values(SnapshotCodec::kLz4, SnapshotCodec::kZstd));

TEST_P(HostilePackedFile, EveryFlippedBitIsNoticed) { flip_every_bit(true); }
TEST_P(HostilePackedFile, EveryTruncationIsNoticed) { cut_everywhere(); }
TEST_P(HostilePackedFile, WithItsChecksumsMadeRightIsStillLookedThrough) {
  forge(quick_or_long(kSanitized ? 1'000u : 3'000u, 200'000u), 15);
}

TEST_P(HostilePackedFile, OfAnOlderVersionIsDamaged) {
  persist::Header h = header_of(bytes);
  --h.format_version;
  std::string old = bytes;
  std::memcpy(old.data(), &h, sizeof h);
  reseal(old);
  EXPECT_EQ(open_bytes(old), (Error{Status::kCorrupt, Field::kPath}));
  EXPECT_STREQ(fault.reason, "a block is packed in a way that this version doesn't know");
}

// What this build can't unpack isn't damage, and the generation before doesn't stand in for it.
TEST_F(HostileFile, PackedByWhatThisBuildHasNotIsRefused) {
  persist::FileRecord r;
  r.key = "k";
  r.version = 1;
  const std::string record = record_bytes(r);
  for (const persist::Codec codec : {persist::Codec::kLz4, persist::Codec::kZstd}) {
    const std::string packed = file_around(record, 1, codec, record.size() + 8);
    if (has_codec(static_cast<SnapshotCodec>(codec))) {
      EXPECT_EQ(open_bytes(packed), (Error{Status::kCorrupt, Field::kPath}));
      continue;
    }
    write_file(path + ".1", bytes);
    EXPECT_EQ(open_bytes(packed), (Error{Status::kUnsupported, Field::kCodec}));
    std::filesystem::remove(path + ".1");
  }
  EXPECT_EQ(open_bytes(file_around(record, 1, static_cast<persist::Codec>(3), record.size() + 8)), (Error{Status::kCorrupt, Field::kPath}));
}

// Frames that Zstd's own calls would take: empty ones beside it, and a block's bytes that are fewer than it says.
TEST_F(HostileFile, ZstdIsOneFrame) {
  if (!has_codec(SnapshotCodec::kZstd)) GTEST_SKIP() << "built without it; PackedByWhatThisBuildHasNotIsRefused has that";
  persist::FileRecord r;
  r.key = "k";
  r.version = 1;
  const std::string value(500, 'v');
  r.value = value;
  const std::string record = record_bytes(r);
  persist::Packer packer;
  ASSERT_TRUE(packer.prepare(persist::Codec::kZstd));
  const std::uint64_t made = packer.pack(record.data(), record.size());
  ASSERT_NE(made, 0u);
  std::uint32_t length = 0;
  std::memcpy(&length, packer.packed(), sizeof length);
  const std::string frame(packer.packed() + sizeof length, length);
  const auto open_frame = [&](const std::string& bytes_of_it, std::uint64_t plain_bytes) {
    const auto bytes_there = static_cast<std::uint32_t>(bytes_of_it.size());
    std::string block(reinterpret_cast<const char*>(&bytes_there), sizeof bytes_there);
    block += bytes_of_it;
    block.resize((block.size() + 7) / 8 * 8);
    return open_bytes(file_around(block, 1, persist::Codec::kZstd, plain_bytes)).status;
  };
  // (The record's key isn't hashed to the file's one shard and block by chance: both hold everything.)
  EXPECT_EQ(open_frame(frame, record.size()), Status::kOk);
  const std::string skippable("\x50\x2A\x4D\x18\0\0\0\0", 8);
  EXPECT_EQ(open_frame(skippable + frame, record.size()), Status::kCorrupt);
  EXPECT_EQ(open_frame(frame + skippable, record.size()), Status::kCorrupt);
  EXPECT_EQ(open_frame(frame + frame, 2 * record.size()), Status::kCorrupt);
  EXPECT_EQ(open_frame(frame, record.size() + 8), Status::kCorrupt);
  EXPECT_EQ(open_frame(frame, record.size() - 8), Status::kCorrupt);
  EXPECT_EQ(open_frame(frame.substr(0, frame.size() - 1), record.size()), Status::kCorrupt);
  EXPECT_EQ(open_frame("", record.size()), Status::kCorrupt);
}

TEST_F(HostileFile, AnythingAtAll) {
  std::mt19937_64 random(9);
  for (unsigned round = 0; round != 500; ++round) {
    std::string junk(random() % 9'000, '\0');
    for (char& c : junk) c = static_cast<char>(random());
    if (round % 2 == 0 && junk.size() > 16) std::memcpy(junk.data(), bytes.data(), 16);
    EXPECT_EQ(open_bytes(junk), (Error{Status::kCorrupt, Field::kPath}));
  }
}

TEST_F(HostileFile, OfANewerVersionIsRefusedAndTheOlderGenerationIsNotTakenForIt) {
  persist::Header h = header_of(bytes);
  h.format_version = persist::kFormatVersion + 1;
  std::string newer = bytes;
  std::memcpy(newer.data(), &h, sizeof h);
  write_file(path + ".1", bytes);
  EXPECT_EQ(open_bytes(newer), (Error{Status::kUnsupported, Field::kPath}));
  EXPECT_NE(std::string(fault.reason).find("newer version"), std::string::npos);
}

TEST_F(HostileFile, AKeyTwiceIsDamage) {
  persist::FileRecord r;
  r.key = "k";
  r.value = "v";
  r.version = 1;
  EXPECT_EQ(open_bytes(file_around(record_bytes(r), 1)), Error{});
  EXPECT_EQ(open_bytes(file_around(record_bytes(r) + record_bytes(r), 2)), (Error{Status::kCorrupt, Field::kPath}));
  EXPECT_STREQ(fault.reason, "a key is there twice");
  EXPECT_EQ(open_bytes(file_around(record_bytes(r), 2)), (Error{Status::kCorrupt, Field::kPath}));
}

TEST_F(HostileFile, TagsThatNoSetMakesAreDamage) {
  const auto with_tags = [&](std::string block) {
    persist::FileRecord r;
    r.key = "k";
    r.value = "v";
    r.version = 1;
    r.tags = block;
    return record_bytes(r);
  };
  const auto block = [](std::string tags) {
    const auto size = static_cast<std::uint16_t>(tags.size() + 2);
    tags.insert(0, reinterpret_cast<const char*>(&size), 2);
    return tags;
  };
  EXPECT_EQ(open_bytes(file_around(with_tags(block("\1a")), 1)), Error{});
  std::string many;
  for (unsigned i = 0; i != 16; ++i) many += "\1a";
  EXPECT_EQ(open_bytes(file_around(with_tags(block(many)), 1)), Error{});
  std::string long_tags;
  for (unsigned i = 0; i != 5; ++i) (long_tags += '\xff').append(255, 'b');
  const std::string bad[] = {block(""), block(std::string("\0", 1)), block("\2a"), block("\1a\1"), block(many + "\1a"), block(long_tags),
                             std::string("\0\0\1a", 4), std::string("\xff\xff\1a", 4), std::string("\1\0\1a", 4)};
  for (const std::string& b : bad) {
    EXPECT_EQ(open_bytes(file_around(with_tags(b), 1)), (Error{Status::kCorrupt, Field::kPath})) << testing::PrintToString(b);
  }
  // In a file of the version that had none, the bit says nothing.
  std::string old = file_around(with_tags(block("\1a")), 1);
  persist::Header h = header_of(old);
  h.format_version = 1;
  std::memcpy(old.data(), &h, sizeof h);
  reseal(old);
  EXPECT_EQ(open_bytes(old), (Error{Status::kCorrupt, Field::kPath}));
  EXPECT_STREQ(fault.reason, "a record's lengths have bits that a file has not");
}

TEST_F(HostileFile, MetadataThatNoSetMakesAreDamage) {
  const auto with_block = [&](const std::string& block, std::string_view value = "v") {
    persist::FileRecord r;
    r.key = "k";
    r.value = value;
    r.version = 1;
    r.tags = block;
    return record_bytes(r);
  };
  const auto number = [](std::size_t n) {
    const auto word = static_cast<std::uint16_t>(n);
    return std::string(reinterpret_cast<const char*>(&word), 2);
  };
  // Tags, then so many bytes of metadata, which say that they are `said`; the block is `more` bytes longer than it says.
  const auto block = [&](const std::string& tags, std::size_t metadata, std::size_t said, std::size_t more = 0) {
    const std::size_t size = 2 + tags.size() + metadata + 2;
    return number(0x8000 | (size - more)) + tags + std::string(metadata, 'm') + number(said);
  };
  const std::string lease("\0\1\0\0\0\0\0\0\0", 9);
  for (const std::string& good : {block("", 1, 1), block("\1a", 4'096, 4'096), block(lease, 9, 9), block(lease + "\1a", 9, 9)}) {
    EXPECT_EQ(open_bytes(file_around(with_block(good), 1)), Error{}) << good.size();
  }
  const std::string bad[] = {
      block("", 0, 0),         block("\1a", 0, 0),      block("\1a", 5, 0),      block("", 4'097, 4'097), block("\1a", 3, 2),
      block("\1a", 3, 4),      block("\1a", 3, 6),      block("\1a", 3, 0xFFFF), block("\2a", 3, 3),      block("", 5, 5, 1),
      block("", 12, 3),        block(lease.substr(0, 8), 9, 9), number(0x8002),   number(0x8004) + number(0),
      number(0x2000 | 5) + "m" + number(1), number(0x4000 | 5) + "m" + number(1), number(0xA000 | 5) + "m" + number(1), number(5) + "m" + number(1),
  };
  for (const std::string& b : bad) {
    EXPECT_EQ(open_bytes(file_around(with_block(b), 1)), (Error{Status::kCorrupt, Field::kPath})) << testing::PrintToString(b.substr(0, 20));
  }
  // In a file of a version that had none, they are none.
  for (std::uint32_t version : {2u, 3u, 4u}) {
    std::string old = file_around(with_block(block("", 3, 3)), 1);
    persist::Header h = header_of(old);
    h.format_version = version;
    std::memcpy(old.data(), &h, sizeof h);
    reseal(old);
    EXPECT_EQ(open_bytes(old), (Error{Status::kCorrupt, Field::kPath})) << version;
    EXPECT_STREQ(fault.reason, "a record's tags are none");
  }
}

TEST_F(HostileFile, ADeadlineAtTheEndOfTimeIsOne) {
  persist::FileRecord r;
  r.key = "k";
  r.version = 1;
  r.has_deadline = true;
  r.deadline_wall_ms = detail::Deadline::kNever - 1;
  write_file(path, file_around(record_bytes(r), 1));
  const Store store = reopen_or_fail(options, {.own = false, .wall_now = 1ms});
  EXPECT_TRUE(store.get("k").found());
  EXPECT_TRUE(whole(store));
}

TEST_F(HostileFile, WhatIsNoFileIsAnError) {
  std::filesystem::remove(path);
  std::filesystem::create_directory(path);
  EXPECT_FALSE(reopen(options).ok());
  std::filesystem::remove(path);
  std::filesystem::create_symlink("/dev/zero", path);
  EXPECT_EQ(reopen(options, {.own = false}).status(), Status::kCorrupt);
  std::filesystem::remove(path);
  std::filesystem::create_symlink(path, path);
  EXPECT_EQ(reopen(options, {.own = false}).status(), Status::kIo);
  std::filesystem::remove(path);
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  EXPECT_EQ(reopen(options, {.own = false}).status(), Status::kCorrupt) << "and doesn't wait for a writer";
}

}  // namespace
}  // namespace tern::test
