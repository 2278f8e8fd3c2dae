// The file of a store in shared memory whose process is gone, changed anywhere: attached, walked, verified, written. The first byte
// chooses what the input is: the file's first bytes, or changes to a good one, closed in order or as it lay in the middle of its life,
// whose header's checksum is then made right. A change is an operation and a place among the words that hold anything:
//
//   byte, place 2    the word's byte is set
//   bit, place 2     one bit of it is turned
//   word, place 2    it becomes another word of the file: an offset that leads to another record, another's stamp
#include <tern/store.h>
#include <unistd.h>

#include <bit>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "persist/arena_file.h"

namespace {

using namespace tern;
using namespace std::chrono_literals;

void check(bool right, const char* what, const char* more = "") {
  if (right) return;
  std::fprintf(stderr, "%s %s\n", what, more);
  std::abort();
}

// On a tmpfs where there is one. Gone with the process.
class SharedFolder {
 public:
  SharedFolder() {
    const std::filesystem::path shared = "/dev/shm";
    std::error_code ignored;
    const bool has_room = ::access(shared.c_str(), W_OK) == 0 && std::filesystem::space(shared, ignored).available >= (64u << 20);
    path_ = (has_room ? shared : std::filesystem::temp_directory_path()) / ("tern-attach-fuzz-" + std::to_string(::getpid()));
    std::filesystem::create_directories(path_);
  }
  ~SharedFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::string file(const char* name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

Options small_options() {
  Options options;
  options.memory_bytes = std::size_t{4} << 20;
  options.shard_count = 2;
  options.eviction = false;
  options.maintenance = Maintenance::kTick;
  return options;
}

// A dead file: its words that aren't zero, and where they lie.
struct Image {
  std::uint64_t bytes = 0;
  std::uint64_t entries = 0;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> words;

  Image(const std::string& path, std::uint64_t count) : entries(count) {
    std::ifstream file(path, std::ios::binary);
    bytes = std::filesystem::file_size(path);
    std::vector<char> all(bytes);
    check(file.read(all.data(), static_cast<std::streamsize>(bytes)).good(), "a good file that can't be read");
    for (std::uint64_t at = 0; at + 8 <= bytes; at += 8) {
      std::uint64_t word = 0;
      std::memcpy(&word, all.data() + at, 8);
      if (word != 0) words.emplace_back(at, word);
    }
  }
  // Pages that hold nothing stay holes, as they were.
  void write(const std::string& path, const std::vector<std::pair<std::uint64_t, std::uint64_t>>& changed) const {
    std::FILE* const file = std::fopen(path.c_str(), "wb");
    check(file != nullptr && ::ftruncate(::fileno(file), static_cast<off_t>(bytes)) == 0, "no file");
    char page[4096];
    for (std::size_t i = 0; i != changed.size();) {
      const std::uint64_t at = changed[i].first / sizeof page * sizeof page;
      std::memset(page, 0, sizeof page);
      for (; i != changed.size() && changed[i].first - at < sizeof page; ++i) {
        std::memcpy(page + (changed[i].first - at), &changed[i].second, 8);
      }
      check(::pwrite(::fileno(file), page, sizeof page, static_cast<off_t>(at)) == static_cast<ssize_t>(sizeof page), "no room");
    }
    std::fclose(file);
  }
};

// Everything that an entry can be, and, if it isn't closed, what is half done: versions below others, tombs that a view needs,
// a removal of many whose sweep has yet to come, buckets that were just split.
Image good_image(const SharedFolder& folder, bool is_closed) {
  const std::string path = folder.file("good");
  Options options = small_options();
  std::optional<Image> lives;
  std::uint64_t entries = 0;
  {
    const Result<Store> store = Store::attach(path, options);
    check(store.ok(), "no store to begin with");
    const auto set = [&](const std::string& key, const std::string& value, SetOptions o = {}) {
      check(store->set(key, value, o).ok(), "a set of the good file's was refused");
    };
    for (unsigned i = 0; i != 60; ++i) set("key" + std::to_string(i), std::string(i, 'v'));
    const std::string_view tags[] = {"tag", "other"};
    set("tagged", "value", {.tags = tags});
    set("metadata", "value", {.metadata = "beside it"});
    set("ttl", "value", {.ttl = 1h});
    set("idle", "value", {.idle = 1h});
    set(std::string(300, 'k'), "long key");
    set("extent", std::string(100'000, 'x'));
    check(store->del("key3").ok(), "a removal");
    const Result<View> view = store->view();
    check(view.ok(), "a view");
    for (unsigned i = 5; i != 20; ++i) set("key" + std::to_string(i), "younger than the view");
    check(store->del("key21").ok() && store->del_prefix("key4").ok() && store->del_tag("other").ok(), "removals");
    WriteBatch batch;
    batch.set("key22", "of a batch");
    batch.set("of a batch", "too");
    check(store->write(batch).ok(), "a batch");
    const Result<View> now = store->view();
    check(now.ok(), "another view");
    entries = *now->size();
    if (!is_closed) lives.emplace(path, entries);
  }
  if (is_closed) lives.emplace(path, entries);
  std::filesystem::remove(path);
  return *lives;
}

void reseal(std::vector<std::pair<std::uint64_t, std::uint64_t>>& words) {
  persist::ArenaHeader h{};
  char bytes[sizeof h] = {};
  for (const auto& [at, word] : words) {
    if (at + 8 <= sizeof h) std::memcpy(bytes + at, &word, 8);
  }
  std::memcpy(&h, bytes, sizeof h);
  const std::uint64_t sum = h.sum();
  for (auto& [at, word] : words) {
    if (at == offsetof(persist::ArenaHeader, checksum)) word = sum;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const SharedFolder folder;
  static const std::string path = folder.file("store");
  static const Image good[] = {good_image(folder, true), good_image(folder, false)};
  if (size == 0) return 0;
  const unsigned kind = *data++;
  --size;
  const Image& image = good[kind % 2];
  auto words = image.words;
  if (kind % 8 >= 6) {
    // The file begins with these, in the place of what it had; one of them with a checksum that fits.
    const std::size_t count = std::min<std::size_t>(size / 8, words.size());
    for (std::size_t i = 0; i != count; ++i) std::memcpy(&words[i].second, data + 8 * i, 8);
    if (kind % 8 == 6) reseal(words);
  } else {
    for (; size >= 4; data += 4, size -= 4) {
      auto& word = words[(std::size_t{data[1]} << 8 | data[2]) % words.size()].second;
      switch (data[0] % 8) {
        default: {
          const unsigned shift = data[0] / 8 % 8 * 8;
          word = (word & ~(std::uint64_t{0xff} << shift)) | std::uint64_t{data[3]} << shift;
          break;
        }
        case 1:
        case 2: word ^= std::uint64_t{1} << data[3] % 64; break;
        case 3: word = image.words[(std::size_t{data[0]} / 8 << 8 | data[3]) % image.words.size()].second; break;
        case 4: word = words[(std::size_t{data[3]} << 8 | data[2]) % words.size()].second; break;
      }
    }
    reseal(words);
  }
  const bool is_good = words == image.words;
  image.write(path, words);
  SnapshotFault fault;
  AttachReport report;
  {
    const Result<Store> store = Store::attach(path, small_options(), {.threads = 1 + kind / 8 % 2, .report = &report, .fault = &fault});
    check(!is_good || (store.ok() && report.entries == image.entries), "a good file isn't taken as it is:", fault.reason);
    if (!store) {
      check(fault.reason[0] != 0, "an error without a reason");
      const Status s = store.status();
      check(s == Status::kCorrupt || s == Status::kUnsupported || s == Status::kOutOfRange ||
                store.error() == Error{Status::kInvalidArgument, Field::kClock},
            "another error than what the file is:", fault.reason);
      // What was there is there still.
      const std::uint64_t now = std::filesystem::file_size(path);
      check(now == image.bytes, "a file that was refused was changed");
      return 0;
    }
    check(report.found, "a file that is there wasn't found");
    check(store->verify().ok(), "a store that isn't whole");
    std::uint64_t count = 0, version_max = 0;
    {
      const Result<View> view = store->view();
      check(view.ok(), "a view");
      const auto walked = view->for_each([&](const ViewEntry& e) {
        ++count;
        version_max = std::max(version_max, e.version);
        const auto hit = store->get_entry(e.key);
        check(hit.found() && hit->value.view() == e.value && hit->version == e.version, "an entry that isn't found by its key");
        return true;
      });
      check(walked.ok() && *walked, "a walk");
    }
    check(count == report.entries, "another number of entries than was told");
    const auto written = store->set("written", "value");
    check(written.ok() ? *written > version_max : written.status() == Status::kOutOfMemory, "a write that isn't the last");
    check(store->del_tag("tag").ok() && store->del_prefix("key").ok() && store->verify().ok(), "tags that can't be told");
  }
  // What it has made of it is a good file.
  const Result<Store> again = Store::attach(path, small_options(), {.report = &report, .fault = &fault});
  check((again.ok() && report.was_closed) || again.status() == Status::kOutOfRange, "its own file can't be attached:", fault.reason);
  check(!again.ok() || again->verify().ok(), "a second life that isn't whole");
  return 0;
}
