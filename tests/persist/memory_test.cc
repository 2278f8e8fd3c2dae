// R9: how much memory a save and an open take beside what the store holds: the process's resident pages at their highest.
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "persist/codec.h"
#include "tests/persist/forged_file.h"
#include "tests/persist/snapshot_fixture.h"

namespace tern::test {
namespace {

std::uint64_t status_bytes(const std::string& field) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.rfind(field + ":", 0) == 0) return std::strtoull(line.c_str() + field.size() + 1, nullptr, 10) << 10;
  }
  ADD_FAILURE() << "the system doesn't say " << field;
  return 0;
}
// By how much the resident pages rose at most, above `before`.
template <class Work>
std::uint64_t peak_of(Work work, std::uint64_t before = status_bytes("VmRSS")) {
  std::ofstream clear("/proc/self/clear_refs");
  clear << "5" << std::flush;  // VmHWM begins anew
  EXPECT_TRUE(clear.good());
  work();
  const std::uint64_t high = status_bytes("VmHWM");
  return high > before ? high - before : 0;
}
// Sanitizers' shadow of a store with such a budget, and what they keep of freed memory.
constexpr std::uint64_t of_sanitizers(std::uint64_t budget) { return kSanitized ? budget / 8 + 256 * kMiB : 0; }

class SnapshotMemory : public SnapshotTest {
 protected:
  SnapshotMemory() : options(small_options()) {
    options.memory_bytes = 512 * kMiB;
    options.eviction = false;
    options.huge_pages = false;  // pages are counted as they are touched
  }
  // 16 MiB in small ones and as many in four long ones.
  void fill(Store& store) {
    for (unsigned i = 0; i != kEntries; ++i) ASSERT_TRUE(store.set(numbered("k", i), pattern(150, i)).ok());
    for (unsigned i = 0; i != 4; ++i) ASSERT_TRUE(store.set(numbered("long", i), pattern(4 * kMiB, i)).ok());
  }
  static constexpr unsigned kEntries = 100'000;
  Options options;
};

// persist/README.md, "Memory": 1.6 MiB a thread, 1.6 more to pack, 112 bytes a block.
TEST_F(SnapshotMemory, OfASaveIsAFewBlocksAThread) {
  Store store = open_or_fail(options);
  fill(store);
  // What one has taken, the next may use: all above what it was before the first, the least first.
  const std::uint64_t before = status_bytes("VmRSS");
  for (const unsigned threads : {1u, 4u}) {
    for (const SnapshotCodec codec : {SnapshotCodec::kNone, SnapshotCodec::kLz4, SnapshotCodec::kZstd}) {
      if (!has_codec(codec)) continue;
      const std::uint64_t peak = peak_of([&] { save_or_fail(store, {.keep = 1, .threads = threads, .codec = codec}); }, before);
      const std::uint64_t most = (codec == SnapshotCodec::kNone ? 16 : 32) * threads * kMiB / 10 + 2 * kMiB;
      EXPECT_LE(peak, most + of_sanitizers(options.memory_bytes)) << threads << " threads, codec " << static_cast<int>(codec);
      std::printf("save, %u threads, codec %d: %.1f MiB\n", threads, static_cast<int>(codec), static_cast<double>(peak) / kMiB);
    }
  }
}

TEST_F(SnapshotMemory, OfAnOpenIsTheContentsAndABoundedRest) {
  std::uint64_t plain_bytes = 0;
  for (const SnapshotCodec codec : {SnapshotCodec::kNone, SnapshotCodec::kLz4, SnapshotCodec::kZstd}) {
    if (!has_codec(codec)) continue;
    {
      Store store = open_or_fail(options);
      fill(store);
      save_or_fail(store, {.codec = codec});
    }
    if (codec == SnapshotCodec::kNone) plain_bytes = std::filesystem::file_size(path);
    for (const bool copy : {true, false}) {
      const std::uint64_t peak = peak_of([&] {
        const Store store = reopen_or_fail(options, {.copy = copy, .threads = 4});
        EXPECT_TRUE(store.view().ok());  // has them all
        EXPECT_EQ(store.stats().entries, kEntries + 4);
      });
      // Of a packed file: what it is without that.
      EXPECT_LE(peak, plain_bytes + 64 * kMiB + of_sanitizers(options.memory_bytes)) << "codec " << static_cast<int>(codec) << ", copy " << copy;
      std::printf("open, codec %d, copy %d: %.1f MiB of %.1f\n", static_cast<int>(codec), copy, static_cast<double>(peak) / kMiB,
                  static_cast<double>(std::filesystem::file_size(path)) / kMiB);
    }
  }
}

// A file of a few KiB whose directory says that it holds as many entries as can be said: packed blocks of 8 bytes that are to be
// 1 MiB of the shortest records each. Its checksums are right.
TEST_F(SnapshotMemory, OfAnOpenThatIsLiedToIsBounded) {
  constexpr std::uint64_t kBlocks = 1'000;
  constexpr std::uint32_t kRecords = persist::kPackedPlainMax / detail::kRecordHeaderBytes;
  for (const persist::Codec codec : {persist::Codec::kLz4, persist::Codec::kZstd}) {
    if (!has_codec(static_cast<SnapshotCodec>(codec))) continue;
    std::string file = file_around(std::string(8 * kBlocks, '\0'), 1, codec, 16);
    file.resize(persist::kHeaderBytes + 8 * kBlocks);
    persist::Header h = header_of(file);
    h.entries = kBlocks * kRecords;
    h.block_count = kBlocks;
    h.directory_bytes = sizeof(persist::ShardEntry) + kBlocks * sizeof(persist::BlockEntry);
    h.file_bytes = h.directory_at + h.directory_bytes;
    std::memcpy(file.data(), &h, sizeof h);
    const persist::ShardEntry s{h.entries, 0, 0, kBlocks};
    file.append(reinterpret_cast<const char*>(&s), sizeof s);
    for (std::uint64_t i = 0; i != kBlocks; ++i) {
      const persist::BlockEntry b{persist::kHeaderBytes + 8 * i, 8, persist::kPackedPlainMax, i, ~std::uint64_t{0}, 0, kRecords,
                                  static_cast<std::uint32_t>(codec)};
      file.append(reinterpret_cast<const char*>(&b), sizeof b);
    }
    reseal(file);
    write_file(path, file);
    options.memory_bytes = std::size_t{4} << 30;
    for (const bool copy : {true, false}) {
      Error answer;
      const std::uint64_t peak = peak_of([&] {
        const Result<Store> store = reopen(options, {.own = false, .copy = copy});
        answer = !store ? store.error() : store->get("k").error();
      });
      EXPECT_EQ(answer, (Error{Status::kCorrupt, Field::kPath})) << "copy " << copy;
      EXPECT_LE(peak, file.size() + 64 * kMiB + of_sanitizers(options.memory_bytes)) << "copy " << copy;
      std::printf("open of a lie of %zu KiB, codec %d, copy %d: %.1f MiB\n", file.size() >> 10, static_cast<int>(codec), copy,
                  static_cast<double>(peak) / kMiB);
    }
  }
}

}  // namespace
}  // namespace tern::test
