// What the tests of snapshots share: a folder of their own, and a store's contents as a value that can be compared.
#ifndef TERN_TESTS_PERSIST_SNAPSHOT_FIXTURE_H_
#define TERN_TESTS_PERSIST_SNAPSHOT_FIXTURE_H_

#include <gtest/gtest.h>
#include <tern/store.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <optional>
#include <ostream>
#include <string>
#include <thread>
#include <utility>

#include "tests/engine/api/store_fixture.h"

namespace tern::test {

struct Saved {
  std::string value;
  std::uint64_t version = 0;
  std::optional<milliseconds> ttl;
  std::string metadata{};
  friend bool operator==(const Saved&, const Saved&) = default;
};
inline void PrintTo(const Saved& s, std::ostream* out) {
  *out << s.value.size() << " bytes, version " << s.version;
  if (s.ttl) *out << ", " << s.ttl->count() << " ms";
  if (!s.metadata.empty()) *out << ", " << s.metadata.size() << " bytes of metadata";
}
using Contents = std::map<std::string, Saved>;

inline Contents contents_of(const Store& store) {
  Contents contents;
  auto view = store.view();
  EXPECT_TRUE(view.ok());
  const Result<bool> walked = view->for_each([&](const ViewEntry& e) {
    const bool is_new =
        contents.emplace(std::string(e.key), Saved{std::string(e.value), e.version, e.ttl, std::string(e.metadata)}).second;
    EXPECT_TRUE(is_new) << "twice";
    return true;
  });
  EXPECT_TRUE(walked.ok());
  return contents;
}

inline std::string bytes_of_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}
// In its place if it is there: some file systems wait for the disk when a file is cut to nothing and written anew.
inline void write_file(const std::filesystem::path& path, const std::string& bytes) {
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  if (!file.is_open()) file.open(path, std::ios::binary | std::ios::out);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  file.close();
  std::filesystem::resize_file(path, bytes.size());
}

// Where files of a few MiB need no disk, for tests that make thousands of them; the usual place where there is none.
inline std::filesystem::path folder_in_memory() {
  const std::filesystem::path memory = "/dev/shm";
  std::error_code error;
  const bool is_there = ::access(memory.c_str(), W_OK) == 0 && std::filesystem::space(memory, error).available >= (std::uint64_t{64} << 20);
  return is_there && !error ? memory : std::filesystem::path(testing::TempDir());
}

// A folder that is empty before each test and gone after it.
class Folder {
 public:
  explicit Folder(const std::string& name, const std::filesystem::path& in = testing::TempDir())
      : path_(in / ("tern-" + name + "-" + std::to_string(::getpid()))) {
    std::filesystem::remove_all(path_);
    std::filesystem::create_directories(path_);
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  const std::filesystem::path& path() const { return path_; }
  std::string file(const std::string& name = "world.tern") const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

// Waits for what a thread of the store's own does, however long that takes.
template <class Done>
void wait_for(Done done) {
  while (!done()) std::this_thread::sleep_for(milliseconds(1));
}

inline constexpr milliseconds kSavedAt{1'700'000'000'000};

class SnapshotTest : public testing::Test {
 protected:
  explicit SnapshotTest(const std::filesystem::path& in = testing::TempDir())
      : folder(testing::UnitTest::GetInstance()->current_test_info()->name(), in), path(folder.file()) {}

  SaveReport save_or_fail(const Store& store, SaveOptions options = {}) {
    options.fault = &fault;
    if (!options.wall_now) options.wall_now = kSavedAt;
    const Result<SaveReport> r = store.save(path, options);
    EXPECT_TRUE(r.ok()) << testing::PrintToString(r.error()) << ": " << fault.reason << " " << fault.system_error;
    return *r;
  }
  // At the moment of the save unless told otherwise.
  Result<Store> reopen(const Options& options, SnapshotOptions how = {}) {
    if (!how.wall_now) how.wall_now = kSavedAt;
    how.fault = &fault;
    how.report = &report;
    return Store::open(path, options, how);
  }
  Store reopen_or_fail(const Options& options, SnapshotOptions how = {}) {
    Result<Store> store = reopen(options, how);
    EXPECT_TRUE(store.ok()) << testing::PrintToString(store.error()) << ": " << fault.file << ": " << fault.offset
                            << ": " << fault.reason;
    return std::move(*store);
  }

  Folder folder;
  std::string path;
  ManualClock clock;
  SnapshotFault fault;
  OpenReport report;
};

}  // namespace tern::test

#endif  // TERN_TESTS_PERSIST_SNAPSHOT_FIXTURE_H_
