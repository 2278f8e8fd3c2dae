// The hash table's range at the front: which chunks are charged, and where huge pages pay.
//
// The table commits chunks (64 KiB, say) anywhere in its range. A huge page would make 2 MiB
// resident for the first of them; with one chunk in each of many units the resident set would pass
// the budget by far. So a unit of 2 MiB gets huge pages when it is touched first only while the
// memory that this wastes stays below a bound (1/16 of the budget over all units), and otherwise
// when the last of its chunks is committed. A table that fills its range from the front pays
// nothing.
#ifndef TERN_ALLOC_TABLE_RANGE_H_
#define TERN_ALLOC_TABLE_RANGE_H_

#include <cstddef>
#include <cstdint>
#include <initializer_list>

#include "alloc/platform.h"
#include "alloc/sync.h"

namespace tern::alloc {

// A unit of the table's range: pages charged, and whether it was given huge pages at its first
// touch.
struct TableUnit {
  static constexpr unsigned kPagesBits = 32, kHugeBits = 1, kSpareBits = 31;
  static_assert(kPagesBits + kHugeBits + kSpareBits == 64, "pages, mark and spare fill the word");
  std::uint64_t raw = 0;
  constexpr std::uint64_t pages() const { return raw & 0xFFFF'FFFFu; }
  constexpr bool huge() const { return (raw >> kPagesBits & 1) != 0; }
  static constexpr std::uint64_t huge_mark() { return std::uint64_t{1} << kPagesBits; }
};

template <class Sync>
class TableRange {
 public:
  using Word = typename Sync::template Atomic<std::uint64_t>;
  static constexpr std::size_t kUnitBytes = platform::kHugePageBytes;
  static constexpr std::uint64_t kUnitPages = kUnitBytes / platform::kPageBytes;

  static constexpr std::size_t units_of(std::size_t bytes) {
    return (bytes + kUnitBytes - 1) / kUnitBytes;
  }
  static constexpr std::size_t bytes_of(std::size_t bytes) {
    return units_of(bytes) * sizeof(Word);
  }

  void open(void* memory, std::byte* at, std::size_t bytes, bool huge) noexcept {
    units_ = static_cast<Word*>(memory);
    at_ = at;
    bytes_ = bytes;
    huge_ = huge;
    for (Word* account : {&pages_, &waste_, &asked_, &advised_})
      account->store(0, std::memory_order_relaxed);
  }

  // Notes a charge of `bytes` at `at`; the pages that become resident with it. `waste_max`: pages
  // that huge pages may make resident beyond what is charged.
  std::uint64_t commit(std::size_t at, std::size_t bytes, std::uint64_t waste_max) noexcept {
    std::uint64_t resident = 0;
    pages_.fetch_add(bytes / platform::kPageBytes, std::memory_order_relaxed);
    for_each_unit(at, bytes, [&](std::size_t u, std::uint64_t pages) {
      // Relaxed: accounts. Two first commits of one unit at once may count its huge page twice: an
      // estimate.
      const TableUnit before{units_[u].fetch_add(pages, std::memory_order_relaxed)};
      if (before.huge()) {
        waste_.fetch_sub(pages, std::memory_order_relaxed);
      } else if (!huge_ || !whole(u)) {
        resident += pages;
      } else if (before.pages() == 0 &&
                 waste_.load(std::memory_order_relaxed) + kUnitPages - pages <= waste_max) {
        units_[u].fetch_or(TableUnit::huge_mark(), std::memory_order_relaxed);
        waste_.fetch_add(kUnitPages - pages, std::memory_order_relaxed);
        ask_huge(u);
        resident += kUnitPages;
      } else {
        resident += pages;
        if (before.pages() < kUnitPages && before.pages() + pages >= kUnitPages) {
          ask_huge(u);
          platform::collapse_huge(at_ + u * kUnitBytes, kUnitBytes);
        }
      }
    });
    return resident;
  }

  // Takes a charge back whose pages nobody touched; the pages that count as resident no longer.
  std::uint64_t uncommit(std::size_t at, std::size_t bytes) noexcept {
    std::uint64_t resident = 0;
    pages_.fetch_sub(bytes / platform::kPageBytes, std::memory_order_relaxed);
    for_each_unit(at, bytes, [&](std::size_t u, std::uint64_t pages) {
      const TableUnit before{units_[u].fetch_sub(pages, std::memory_order_relaxed)};
      if (before.huge()) {
        waste_.fetch_add(pages, std::memory_order_relaxed);
      } else {
        resident += pages;
      }
    });
    return resident;
  }

  // At open: the front of the range was populated; its whole units count as resident from now on.
  std::uint64_t prefaulted(std::size_t bytes) noexcept {
    const std::size_t units = bytes / kUnitBytes;
    for (std::size_t u = 0; u < units; ++u)
      units_[u].store(TableUnit::huge_mark(), std::memory_order_relaxed);
    waste_.fetch_add(units * kUnitPages, std::memory_order_relaxed);
    return units * kUnitPages;
  }
  // At open: huge pages were granted for the front of the range.
  void note_advised(std::size_t bytes) noexcept {
    asked_.fetch_add(bytes, std::memory_order_relaxed);
    advised_.fetch_add(bytes, std::memory_order_relaxed);
  }

  std::byte* at() const noexcept { return at_; }
  std::size_t bytes() const noexcept { return bytes_; }
  std::uint64_t pages() const noexcept { return pages_.load(std::memory_order_relaxed); }
  std::size_t asked_bytes() const noexcept { return asked_.load(std::memory_order_relaxed); }
  std::size_t advised_bytes() const noexcept { return advised_.load(std::memory_order_relaxed); }

  // Quiescent: the sum over the units.
  std::uint64_t counted_pages() const noexcept {
    std::uint64_t sum = 0;
    for (std::size_t u = 0; u < units_of(bytes_); ++u) {
      sum += TableUnit{units_[u].load(std::memory_order_relaxed)}.pages();
    }
    return sum;
  }

 private:
  void ask_huge(std::size_t unit) noexcept {
    asked_.fetch_add(kUnitBytes, std::memory_order_relaxed);
    if (platform::advise_huge(at_ + unit * kUnitBytes, kUnitBytes)) {
      advised_.fetch_add(kUnitBytes, std::memory_order_relaxed);
    }
  }
  bool whole(std::size_t unit) const noexcept { return (unit + 1) * kUnitBytes <= bytes_; }

  template <class Fn>
  static void for_each_unit(std::size_t at, std::size_t bytes, Fn&& fn) {
    while (bytes > 0) {
      const std::size_t room = kUnitBytes - at % kUnitBytes;
      const std::size_t part = bytes < room ? bytes : room;
      fn(at / kUnitBytes, part / platform::kPageBytes);
      at += part;
      bytes -= part;
    }
  }

  Word* units_ = nullptr;
  std::byte* at_ = nullptr;
  std::size_t bytes_ = 0;
  bool huge_ = false;
  Word pages_{0};    // charged
  Word waste_{0};    // pages of units with huge pages that aren't charged
  Word asked_{0};    // bytes for which huge pages were asked
  Word advised_{0};  // ... and the kernel agreed
};

}  // namespace tern::alloc

#endif  // TERN_ALLOC_TABLE_RANGE_H_
