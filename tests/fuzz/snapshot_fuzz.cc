// A snapshot made of any bytes: opened, walked, verified. The first byte chooses what they are: a whole file, a block with
// a header and checksums that fit, plain or packed, or changes to a good file, plain or packed, whose checksums are then made right; and whether it is copied
// or serves at once.
#include <sys/mman.h>
#include <tern/store.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "persist/codec.h"
#include "tests/persist/forged_file.h"

namespace {

using namespace tern;

std::string good_file(persist::Codec codec) {
  std::string block;
  for (unsigned i = 0; i != 4; ++i) {
    const std::string key(i == 3 ? 300 : i + 1, static_cast<char>('a' + i));
    persist::FileRecord r;
    r.key = key;
    r.value = "value";
    r.version = i + 1;
    r.has_deadline = i % 2 != 0;
    r.deadline_wall_ms = r.has_deadline ? 2'000'000'000'000 : 0;
    if (i == 2) r.tags = std::string_view("\x09\0\3tag\2a\0", 9);
    if (i == 3) r.tags = std::string_view("\x0f\x80\3tag\2a\0meta\4\0", 15);
    r.span = i == 1 ? detail::Span::idle(1'000) : detail::Span();
    block += test::record_bytes(r);
  }
  persist::Packer packer;
  const std::uint64_t bytes = persist::is_built_in(codec) && packer.prepare(codec) ? packer.pack(block.data(), block.size()) : 0;
  if (bytes == 0) return test::file_around(block, 4);
  return test::file_around({packer.packed(), bytes}, 4, codec, block.size());
}

void check(bool right, const char* what) {
  if (right) return;
  std::fprintf(stderr, "%s\n", what);
  std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const int file = ::memfd_create("snapshot", 0);
  static const std::string path = "/proc/self/fd/" + std::to_string(file);
  static const std::string good[] = {good_file(persist::Codec::kNone), good_file(persist::Codec::kLz4), good_file(persist::Codec::kZstd)};
  if (size == 0) return 0;
  const unsigned kind = *data++;
  std::string bytes(reinterpret_cast<const char*>(data), --size);
  if (kind % 4 == 1) {
    // Some of them packed, to what the first two bytes say.
    const bool is_packed = kind % 8 == 5 && bytes.size() > 10;
    if (is_packed) {
      const std::uint64_t unpacked = (std::uint64_t{static_cast<std::uint8_t>(bytes[0])} << 8 | static_cast<std::uint8_t>(bytes[1])) * 8;
      const auto codec = kind % 16 == 5 ? persist::Codec::kLz4 : persist::Codec::kZstd;
      bytes = test::file_around(std::string_view(bytes).substr(2), 1 + kind / 8, codec, unpacked);
    } else {
      bytes = test::file_around(bytes, 1 + kind / 8);
    }
  } else if (kind % 4 != 0) {
    std::string changed = good[kind % 4 == 3 ? 1 + kind / 4 % 2 : 0];
    for (std::size_t i = 0; i + 3 <= bytes.size(); i += 3) {
      const auto high = static_cast<std::uint8_t>(bytes[i]), low = static_cast<std::uint8_t>(bytes[i + 1]);
      // The header's fields and what is behind it; not the zeros between.
      std::size_t at = (std::size_t{high} << 8 | low) % (changed.size() - 3'840);
      if (at >= 256) at += 3'840;
      changed[at] = bytes[i + 2];
    }
    bytes = changed;
    test::reseal(bytes);
  }
  check(::ftruncate(file, 0) == 0 && ::pwrite(file, bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()), "no file");
  Options options;
  options.memory_bytes = std::size_t{4} << 20;
  options.maintenance = Maintenance::kTick;
  SnapshotFault fault;
  OpenReport report;
  const bool copy = kind < 128;
  const auto store = Store::open(path, options, {.own = false, .copy = copy, .wall_now = std::chrono::milliseconds(1'000), .report = &report, .fault = &fault});
  if (!store) {
    check(fault.reason[0] != 0, "an error without a reason");
    return 0;
  }
  if (!copy) {
    // One key's block, then all of them; damage is met on the way.
    const auto hit = store->get("a");
    const auto all = store->view();
    check(!hit.failed() || !all.ok(), "a block that is damaged for one call and not for all");
    if (!all.ok()) {
      check(all.status() == Status::kCorrupt || all.status() == Status::kOutOfRange, "another error than damage");
      return 0;
    }
    check(store->verify().ok(), "a store that isn't whole");
    return 0;
  }
  check(store->verify().ok(), "a store that isn't whole");
  const auto view = store->view();
  check(view.ok() && *view->size() == report.entries, "another number of entries than was told");
  check(store->del_tag("tag").ok() && store->verify().ok(), "tags that can't be told");
  check(store->set("a", "written").ok() && store->get("a").found(), "a store that can't be written");
  return 0;
}
