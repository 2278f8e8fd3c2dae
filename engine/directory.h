// Directory: which namespace has which number and which rules, kept in the table itself (names.h), and how one is made.
//
//   FF FFFF             -> how many there are, and how much of the budget their shares are in all (the totals)
//   FF FFFE number      -> name
//   FF FFFF name        -> number and rules
//
// open(name, rules)   known here? else totals -> does the table have the name? -> one batch, if the totals are still so:
//                     new totals, number -> name, name -> rules
//
// A namespace appears at one moment, or not at all, and never goes.
//
// 1. The totals are read before the name is looked for. So whoever is refused for want of a number or of a share is
//    refused rightly: when the totals were read, the name wasn't there. And what the batch finds unchanged, nobody has
//    made a namespace beside, this one neither.
// 2. What a name means is linked into memory (Names) by whoever reads it first, and never changes again.
// 3. A namespace's queues (shares.h) are made once, by who takes the slot's `share` from 0 to 1; with no memory for them
//    it goes back to 0, and who opens the namespace next makes them.
//
// Lock-free: a batch fails because another made a namespace, which happens 1,024 times at most.
//
// Door gives
//   Core<Sync>& core() const
//   Error get(std::string_view stored_key, char* out, std::size_t room, std::size_t& size) const    not_found: no such key
//   Error begin_write(Thread<Sync>*& t, std::string_view stored_key) const    before a batch, for each of its keys; outside of guards
#ifndef TERN_ENGINE_DIRECTORY_H_
#define TERN_ENGINE_DIRECTORY_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include <tern/options.h>
#include <tern/status.h>

#include "engine/batch_writer.h"
#include "engine/core.h"
#include "engine/names.h"

namespace tern::detail {

// Of a name: 0 version | 1 separator | 2 flags | 3 share | 4..5 number
struct RulesBytes {
  static constexpr std::size_t kBytes = 6;
  static constexpr char kVersion = 1;
  static constexpr unsigned kFoldsCase = 1, kChecksPaths = 2, kNormalisesPaths = 4;

  char bytes[kBytes];
  explicit RulesBytes(const NameRules& r) noexcept
      : bytes{kVersion, r.separator,
              static_cast<char>((r.fold_case ? kFoldsCase : 0) | (r.check_paths ? kChecksPaths : 0) |
                                (r.normalise_paths ? kNormalisesPaths : 0)),
              static_cast<char>(r.share_percent), static_cast<char>(r.number >> 8), static_cast<char>(r.number & 0xFF)} {}
  std::string_view view() const noexcept { return {bytes, kBytes}; }

  // False: no such bytes were written here.
  static bool read(std::string_view bytes, std::string_view name, NameRules& out) noexcept {
    if (bytes.size() != kBytes || bytes[0] != kVersion || name.size() > NameRules::kNameBytesMax) return false;
    const auto flags = static_cast<unsigned char>(bytes[2]);
    out.separator = bytes[1];
    out.fold_case = (flags & kFoldsCase) != 0;
    out.check_paths = (flags & kChecksPaths) != 0;
    out.normalise_paths = (flags & kNormalisesPaths) != 0;
    out.share_percent = static_cast<unsigned char>(bytes[3]);
    out.number = static_cast<unsigned>(static_cast<unsigned char>(bytes[4])) << 8 | static_cast<unsigned char>(bytes[5]);
    out.set_name(name);
    return out.number != 0 && out.number <= kNamesMax && out.share_percent <= 100;
  }
};

// 0 version | 1..2 count | 3 percent
struct NameTotals {
  static constexpr std::size_t kBytes = 4;
  static constexpr char kVersion = 1;
  unsigned count = 0;
  unsigned percent = 0;

  void write(char* bytes) const noexcept {
    const char all[kBytes] = {kVersion, static_cast<char>(count >> 8), static_cast<char>(count & 0xFF), static_cast<char>(percent)};
    std::memcpy(bytes, all, kBytes);
  }
  static bool read(std::string_view bytes, NameTotals& out) noexcept {
    if (bytes.size() != kBytes || bytes[0] != kVersion) return false;
    out.count = static_cast<unsigned>(static_cast<unsigned char>(bytes[1])) << 8 | static_cast<unsigned char>(bytes[2]);
    out.percent = static_cast<unsigned char>(bytes[3]);
    return out.count <= kNamesMax && out.percent <= 100;
  }
};

// What an entry is to the directory: nothing; one that repeats or adds up what others say; or a namespace's name and rules.
enum class DirectoryPart : std::uint8_t { kNone, kOther, kRules };
constexpr DirectoryPart directory_part(std::string_view stored_key) noexcept {
  const unsigned whose = name_of(stored_key);
  if (whose == kNumbersName) return DirectoryPart::kOther;
  if (whose != kDirectoryName) return DirectoryPart::kNone;
  return stored_key.size() > kNameBytes ? DirectoryPart::kRules : DirectoryPart::kOther;
}

constexpr NamespaceOptions options_of(const NameRules& r) noexcept {
  return {r.separator, r.fold_case, r.check_paths, r.normalise_paths, r.share_percent};
}

// A key of the directory.
struct DirectoryKey {
  char bytes[kNameBytes + NameRules::kNameBytesMax];
  std::size_t size = kNameBytes;

  static DirectoryKey of_totals() noexcept { return {kDirectoryName, {}}; }
  static DirectoryKey of(std::string_view name) noexcept { return {kDirectoryName, name}; }
  static DirectoryKey of(unsigned number) noexcept { return {kNumbersName, std::string_view(NameMark(number).bytes + 1, 2)}; }
  std::string_view view() const noexcept { return {bytes, size}; }

 private:
  DirectoryKey(unsigned whose, std::string_view key) noexcept : size(kNameBytes + key.size()) {
    std::memcpy(bytes, NameMark(whose).bytes, kNameBytes);
    if (!key.empty()) std::memcpy(bytes + kNameBytes, key.data(), key.size());
  }
};

template <class Sync, class Door>
class Directory {
 public:
  using Slot = typename Names<Sync>::Slot;

  explicit Directory(const Door& door) noexcept : door_(door) {}

  struct Opened {
    const NameRules* rules = nullptr;  // null: `error` says why
    Error error{};
  };
  // The namespace that is called so, made with `wanted` (but for number and name) if there is none. Others' rules are
  // answered as they are. 1 to 63 bytes.
  Opened open(std::string_view name, const NameRules& wanted) noexcept {
    if (const Error e = load(); e.status != Status::kOk) return {nullptr, e};
    if (const NameRules* const known = names().find_named(name)) return finish(*known);
    for (;;) {
      Made made(name, wanted);
      if (planted<Sync>(Mutant::kNameLookedForFirst)) {
        if (const Opened there = learn(name); there.error.status != Status::kNotFound) return there;
      }
      if (const Error e = read_totals(made); e.status != Status::kOk) return {nullptr, e};
      if (!planted<Sync>(Mutant::kNameLookedForFirst)) {
        if (const Opened there = learn(name); there.error.status != Status::kNotFound) return there;
      }
      if (made.before.count == kNamesMax) return {nullptr, {Status::kTooLarge, Field::kNamespaces}};
      if (made.before.percent + wanted.share_percent > 100) return {nullptr, {Status::kOutOfRange, Field::kSharePercent}};
      Thread<Sync>* t = nullptr;
      for (const std::uint32_t i : {Made::kTotals, Made::kName, Made::kNumber}) {
        if (const Error e = door_.begin_write(t, made.key(i)); e.status != Status::kOk) return {nullptr, e};
      }
      using Writer = BatchWriter<Sync, Made>;
      const auto answer = Writer(door_.core(), *t, made).write();
      if (answer.what == Writer::Answer::kOutOfMemory) return {nullptr, {Status::kOutOfMemory, Field::kNone}};
      if (answer.what == Writer::Answer::kDone) return learn(name);
    }
  }

  // Those that a snapshot has brought are known, and their shares hold.
  Error load() noexcept {
    if (names().is_loaded()) return {};
    for (unsigned i = 1; i <= kNamesMax; ++i) {
      char name[NameRules::kNameBytesMax];
      std::size_t size = 0;
      const Error e = door_.get(DirectoryKey::of(i).view(), name, sizeof name, size);
      if (e.status == Status::kNotFound) break;  // numbers are given out one after the other
      if (e.status != Status::kOk) return e;
      if (size > sizeof name) return {Status::kCorrupt, Field::kName};
      const Opened known = learn({name, size});
      if (known.rules == nullptr && known.error.status != Status::kNotFound) return known.error;
    }
    names().set_loaded();
    return {};
  }

 private:
  // What BatchWriter reads.
  struct Made {
    enum : std::uint32_t { kIfTotals, kTotals, kName, kNumber, kCount };
    using Kind = BatchOperation::Kind;

    Made(std::string_view name, const NameRules& wanted) noexcept : rules(wanted), name_key(DirectoryKey::of(name)) {
      rules.set_name(name);
    }
    // `before` and `before_size` have been read.
    void fill() noexcept {
      rules.number = before.count + 1;
      NameTotals{before.count + 1, before.percent + rules.share_percent}.write(totals);
      number_key = DirectoryKey::of(rules.number);
    }

    std::uint32_t count() const noexcept { return kCount; }
    std::string_view key(std::uint32_t i) const noexcept {
      return i == kName ? name_key.view() : i == kNumber ? number_key.view() : totals_key.view();
    }
    bool all_plain() const noexcept { return false; }
    bool plain(std::uint32_t) const noexcept { return false; }
    void read_plain(std::uint32_t, Kind&, std::string_view&) const noexcept {}
    void read(std::uint32_t i, BatchOperation& out) const noexcept {
      out = {};
      if (i == kIfTotals) {
        out.kind = Kind::kRequire;
        out.require = before_size == 0 ? BatchCondition::Kind::kAbsent : BatchCondition::Kind::kValue;
        out.value = {before_bytes, before_size};
        if (planted<Sync>(Mutant::kNameTotalsUnasked)) {
          out.require = BatchCondition::Kind::kAbsent;
          out.negated = before_size != 0;
        }
        return;
      }
      out.terms.keep = true;
      out.value = i == kTotals ? std::string_view(totals, NameTotals::kBytes) : i == kName ? rules_bytes() : rules.name_view();
    }
    void tell(std::uint32_t, std::uint64_t) noexcept {}

    NameRules rules;
    NameTotals before;
    char before_bytes[NameTotals::kBytes] = {};
    std::size_t before_size = 0;

   private:
    std::string_view rules_bytes() const noexcept {
      value = RulesBytes(rules);
      return value.view();
    }
    DirectoryKey totals_key = DirectoryKey::of_totals(), name_key, number_key = DirectoryKey::of_totals();
    char totals[NameTotals::kBytes] = {};
    mutable RulesBytes value{NameRules()};
  };

  Names<Sync>& names() const noexcept { return door_.core().space.names; }

  Error read_totals(Made& made) const noexcept {
    std::size_t size = 0;
    const Error e = door_.get(DirectoryKey::of_totals().view(), made.before_bytes, sizeof made.before_bytes, size);
    if (e.status == Status::kOk) {
      if (size > sizeof made.before_bytes || !NameTotals::read({made.before_bytes, size}, made.before)) {
        return {Status::kCorrupt, Field::kNamespaces};
      }
      made.before_size = size;
    } else if (e.status != Status::kNotFound) {
      return e;
    } else {
      // The first, or a file of before there were totals: all of its namespaces are known.
      names().for_each([&](unsigned number, const Slot& slot) {
        const NameRules* const r = slot.rules_or_null();
        if (r == nullptr) return;
        made.before.count = number;
        made.before.percent += r->share_percent;
      });
    }
    made.fill();
    return {};
  }
  // What the table says of the name; not_found: nothing.
  Opened learn(std::string_view name) noexcept {
    char bytes[RulesBytes::kBytes];
    std::size_t size = 0;
    const Error e = door_.get(DirectoryKey::of(name).view(), bytes, sizeof bytes, size);
    if (e.status != Status::kOk) return {nullptr, e};
    NameRules rules;
    if (size > sizeof bytes || !RulesBytes::read({bytes, size}, name, rules)) return {nullptr, {Status::kCorrupt, Field::kName}};
    const NameRules* const known = names().describe(rules);
    if (known == nullptr) return {nullptr, {Status::kOutOfMemory, Field::kNone}};
    return finish(*known);
  }
  // Its queues are there, or it needs none.
  Opened finish(const NameRules& rules) noexcept {
    const Opened done{&rules, {}};
    if (rules.share_percent == 0 || !door_.core().evicts) return done;
    Slot& slot = *names().find(rules.number);
    if (slot.share.load(std::memory_order_acquire) != 0) return done;  // [name] acquire
    if (!planted<Sync>(Mutant::kShareGivenTwice)) {
      if (slot.share.exchange(1, std::memory_order_acq_rel) != 0) return done;  // [name] acq_rel
    }
    if (door_.core().eviction.add_share(slot, rules.number, rules.share_percent)) {
      if (planted<Sync>(Mutant::kShareGivenTwice)) slot.share.store(1, std::memory_order_release);  // [name] release
      return done;
    }
    slot.share.store(0, std::memory_order_release);  // [name] release
    return {nullptr, {Status::kOutOfMemory, Field::kNone}};
  }

  Door door_;
};

}  // namespace tern::detail

#endif  // TERN_ENGINE_DIRECTORY_H_
