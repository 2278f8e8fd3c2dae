// Names: how the keys of all namespaces lie in one table, and what each namespace has of it.
//
//   key of the default namespace          the key itself
//     one that begins with the byte FF    FF 0000 key
//   key of namespace number i             FF iiii key           1 <= i <= 1,024, the high byte first
//   whose number i is                     FF FFFE iiii          -> its name
//   the namespace that is called so       FF FFFF name          -> its number and rules (directory.h)
//   how many there are                    FF FFFF
//   a lease                               FF FFFD id           (lease_key.h)
//   a lock of namespace i, 0 the default  FF 8000+i its name   (locks.h)
//
// Everything below the public face knows these *stored* keys alone. A key that doesn't begin with FF, which no text in UTF-8
// does, is stored as it is, so a store without namespaces pays one comparison a call. The order of bytes is kept within each
// namespace, and the default one lies before FF 0001, so a scan of any of them is one range. What is in the directory is in
// the table like other entries, never evicted, and so goes into snapshots by itself.
//
// What a namespace has is counted where its entries are: by whoever wins the swap that changes a key's meaning. Slots of
// namespaces are private memory (320 bytes each, and 8 KiB for the first), made when a namespace is opened or an entry of it
// comes from a snapshot; they live as long as the store.
//
// Edges
//   name   linking the directory of slots, a slot, a namespace's rules / following them
#ifndef TERN_ENGINE_NAMES_H_
#define TERN_ENGINE_NAMES_H_

#include <cstddef>
#include <cstdint>
#include <new>
#include <string_view>

#include "alloc/private_memory.h"
#include "alloc/sync.h"

namespace tern::detail {

inline constexpr unsigned char kNameMark = 0xFF;
inline constexpr std::size_t kNameBytes = 3;  // before a key that is stored with its namespace
inline constexpr unsigned kNamesMax = 1'024;

// Whose a stored key is.
inline constexpr unsigned kDefaultName = 0;
inline constexpr unsigned kLocksName = 0x8000;  // and up to kLocksName + kNamesMax
inline constexpr unsigned kLeasesName = 0xFFFD;
inline constexpr unsigned kNumbersName = 0xFFFE;
inline constexpr unsigned kDirectoryName = 0xFFFF;
inline constexpr unsigned kAnyName = 0x1'0000;  // where somebody asks: it doesn't matter

// No stored key is empty.
constexpr bool is_named(std::string_view stored) noexcept {
  return static_cast<unsigned char>(*stored.data()) == kNameMark;
}
constexpr unsigned name_of(std::string_view stored) noexcept {
  if (!is_named(stored)) return kDefaultName;
  if (stored.size() <= kNameBytes) return kDirectoryName;  // no key of anybody's
  return static_cast<unsigned>(static_cast<unsigned char>(stored[1])) << 8 | static_cast<unsigned char>(stored[2]);
}
constexpr bool is_lock(std::string_view stored) noexcept {
  const unsigned name = name_of(stored);
  return name >= kLocksName && name <= kLocksName + kNamesMax;
}
// By whose clear it goes.
constexpr unsigned cleared_with(std::string_view stored) noexcept {
  const unsigned name = name_of(stored);
  return name == kLeasesName ? kDefaultName : is_lock(stored) ? name - kLocksName : name;
}
// As its owner knows it.
constexpr std::string_view own_key(std::string_view stored) noexcept {
  return is_named(stored) ? stored.substr(stored.size() < kNameBytes ? stored.size() : kNameBytes) : stored;
}
struct NameMark {
  char bytes[kNameBytes];
  constexpr explicit NameMark(unsigned name) noexcept
      : bytes{static_cast<char>(kNameMark), static_cast<char>(name >> 8), static_cast<char>(name & 0xFF)} {}
  constexpr operator std::string_view() const noexcept { return {bytes, kNameBytes}; }
};

// What a namespace asks of its keys and may have; fixed when it is made.
struct NameRules {
  static constexpr std::size_t kNameBytesMax = 63;
  unsigned number = 0;
  char separator = '.';
  bool fold_case = false;
  bool check_paths = false;
  bool normalise_paths = false;
  unsigned share_percent = 0;
  std::uint8_t name_size = 0;
  char name[kNameBytesMax] = {};

  std::string_view name_view() const noexcept { return {name, name_size}; }
  void set_name(std::string_view of) noexcept {
    name_size = static_cast<std::uint8_t>(of.size());
    for (std::size_t i = 0; i != of.size(); ++i) name[i] = of[i];
  }
};

template <class Sync>
class Names {
 public:
  using Word = typename Sync::template Atomic<std::uint64_t>;

  struct alignas(64) Slot {
    static constexpr unsigned kStripes = 4;
    Word rules{};  // a NameRules of private memory; 0: only counted so far
    Word entries{};
    Word bytes{};
    Word evicted{};
    Word share{};  // 1: its queues are somebody's to make, or made (directory.h)
    // Shared out among threads, so that reads of one namespace seldom meet.
    struct alignas(64) Reads {
      Word hits{};
      Word misses{};
    };
    Reads reads[kStripes];

    const NameRules* rules_or_null() const noexcept {
      return reinterpret_cast<const NameRules*>(rules.load(std::memory_order_acquire));  // [name] acquire
    }
    // Counted by many, who removes an entry perhaps before who brought it: a sum may be below nothing for a moment.
    static std::uint64_t figure(const Word& sum) noexcept {
      const auto now = static_cast<std::int64_t>(sum.load(std::memory_order_relaxed));  // a figure
      return now > 0 ? static_cast<std::uint64_t>(now) : 0;
    }
  };

  Names() = default;
  Names(const Names&) = delete;
  Names& operator=(const Names&) = delete;
  ~Names() {
    Word* const all = directory();
    if (all == nullptr) return;
    for (unsigned i = 1; i <= kNamesMax; ++i) {
      Slot* const slot = find(i);
      if (slot == nullptr) continue;
      alloc::private_free(const_cast<NameRules*>(slot->rules_or_null()));
      alloc::private_free(slot);
    }
    alloc::private_free(all);
  }

  // Null: nobody has met the namespace yet.
  Slot* find(unsigned number) const noexcept {
    Word* const all = directory();
    if (all == nullptr || number == 0 || number > kNamesMax) return nullptr;
    return reinterpret_cast<Slot*>(all[number].load(std::memory_order_acquire));  // [name] acquire
  }
  // Made if need be; null: no memory. 1 <= number <= kNamesMax.
  [[gnu::noinline]] Slot* find_or_add(unsigned number) noexcept {
    Word* all = directory();
    if (all == nullptr) {
      void* memory = alloc::private_allocate((kNamesMax + 1) * sizeof(Word));
      if (memory == nullptr) return nullptr;
      all = static_cast<Word*>(memory);
      for (unsigned i = 0; i <= kNamesMax; ++i) new (all + i) Word(0);
      all = reinterpret_cast<Word*>(link(directory_, memory));
    }
    if (Slot* const slot = find(number)) return slot;
    void* memory = alloc::private_allocate_aligned(sizeof(Slot), alignof(Slot));
    if (memory == nullptr) return nullptr;
    new (memory) Slot{};
    return reinterpret_cast<Slot*>(link(all[number], memory));
  }
  // Those of `rules`, or of who came first. Null: no memory.
  const NameRules* describe(const NameRules& rules) noexcept {
    Slot* const slot = find_or_add(rules.number);
    if (slot == nullptr) return nullptr;
    if (const NameRules* there = slot->rules_or_null()) return there;
    void* memory = alloc::private_allocate(sizeof(NameRules));
    if (memory == nullptr) return nullptr;
    new (memory) NameRules(rules);
    return reinterpret_cast<const NameRules*>(link(slot->rules, memory));
  }
  // Null: nobody has met it yet.
  const NameRules* find_named(std::string_view name) const noexcept {
    const NameRules* found = nullptr;
    for_each([&](unsigned, const Slot& slot) {
      const NameRules* const r = slot.rules_or_null();
      if (r != nullptr && r->name_view() == name) found = r;
    });
    return found;
  }
  bool any() const noexcept { return directory() != nullptr; }
  // fn(unsigned number, Slot&)
  template <class Fn>
  void for_each(Fn&& fn) const noexcept {
    if (directory() == nullptr) return;
    for (unsigned i = 1; i <= kNamesMax; ++i) {
      if (Slot* const slot = find(i)) fn(i, *slot);
    }
  }

  // Whether what a snapshot has brought is known (directory.h).
  bool is_loaded() const noexcept { return loaded_.load(std::memory_order_acquire) != 0; }  // [name] acquire
  void set_loaded() noexcept { loaded_.store(1, std::memory_order_release); }               // [name] release

  // What stands for the key has changed: by so many entries and bytes of the budget. By whoever made the change.
  [[gnu::noinline]] void count(std::string_view stored, std::uint64_t entries, std::uint64_t bytes) noexcept {
    Slot* const slot = find(name_of(stored));
    if (slot == nullptr) return;
    slot->entries.fetch_add(entries, std::memory_order_relaxed);  // figures
    slot->bytes.fetch_add(bytes, std::memory_order_relaxed);      // as above
  }
  void count_evicted(std::string_view stored) noexcept {
    if (Slot* const slot = find(name_of(stored))) slot->evicted.fetch_add(1, std::memory_order_relaxed);  // a figure
  }

 private:
  Word* directory() const noexcept {
    return reinterpret_cast<Word*>(directory_.load(std::memory_order_acquire));  // [name] acquire
  }
  // `memory` if nothing was there; else it is freed. What is there now.
  static std::uint64_t link(Word& place, void* memory) noexcept {
    std::uint64_t there = 0;
    const auto own = reinterpret_cast<std::uint64_t>(memory);
    if (planted<Sync>(Mutant::kNameLinkedByStore)) {
      place.store(own, std::memory_order_release);  // [name] release
      return own;
    }
    if (place.compare_exchange_strong(there, own, std::memory_order_acq_rel)) return own;  // [name] acq_rel
    alloc::private_free(memory);
    return there;
  }

  Word directory_{};
  Word loaded_{};
};

}  // namespace tern::detail

#endif  // TERN_ENGINE_NAMES_H_
