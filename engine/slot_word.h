// SlotWord and Ctl: the eight words of a bucket, drawn to the bit, with the only transitions they may make.
//
//   bucket, one cache line:   slot[0] ... slot[6] | ctl
//
//   slot   63........48 47..46 45....40 39.......................0
//          tag16        state  gen6     offset of the record (granules of 8 bytes)
//   ctl    63     62    61..56 55....40 39.......................0
//          READY  INIT  0      bloom16  offset of the overflow bucket, 0: none
//
// Memory fresh from the system is zero, and zero is a meaning: a slot that nobody has initialised (UNINIT) and a
// control word that is neither INIT nor READY. So a new part of the table needs no fill. A tag is never 0 and never
// 0xFFFF: no match takes UNINIT (tag 0) or EMPTY (tag 0xFFFF) for a record.
//
// A word never comes back: a record's offset is published at most once in a slot (rule Q1), and `gen` and the state
// only add to that. Hence a compare-and-swap from a word that was read succeeds only if nothing happened between.
#ifndef TERN_ENGINE_SLOT_WORD_H_
#define TERN_ENGINE_SLOT_WORD_H_

#include <cstdint>

namespace tern::detail {

inline constexpr unsigned kOffsetBits = 40;
inline constexpr std::uint64_t kOffsetMask = (std::uint64_t{1} << kOffsetBits) - 1;

// How a 64-bit hash is spent: the top bits choose the shard, bits 33 to 47 are the tag, the low 32 the bucket. Fifteen
// bits and one to spare: 1 to 0x8000, never a vacant word's tag, without a branch (16 bits with two values replaced
// cost five instructions more; a false match is met once in 4,700 lookups instead of 9,400).
constexpr std::uint16_t tag_of(std::uint64_t hash) noexcept {
  return static_cast<std::uint16_t>((hash >> 33 & 0x7FFF) + 1);
}
static_assert(tag_of(0) == 1 && tag_of(~std::uint64_t{0}) == 0x8000);

class SlotWord {
 public:
  enum class State : std::uint8_t {
    kVacant = 0,     // UNINIT or EMPTY
    kTentative = 1,  // an insert under way: not yet part of the map, may be finished or killed by anyone
    kLive = 2,
    kFrozen = 3,     // still current, but on its way to the bucket that a split opens: nobody may replace it here
  };

  static constexpr unsigned kTagShift = 48;
  static constexpr unsigned kStateShift = 46;
  static constexpr unsigned kGenShift = 40;
  static_assert(16 + 2 + 6 + kOffsetBits == 64, "tag, state, generation and offset fill the word");
  static_assert(kGenShift == kOffsetBits, "offset is the low field");

  constexpr explicit SlotWord(std::uint64_t word) noexcept : word_(word) {}
  static constexpr SlotWord uninit() noexcept { return SlotWord(0); }
  static constexpr SlotWord empty() noexcept { return SlotWord(std::uint64_t{0xFFFF} << kTagShift); }
  static constexpr SlotWord tentative(std::uint16_t tag, unsigned gen, std::uint64_t offset) noexcept {
    return SlotWord(std::uint64_t{tag} << kTagShift | std::uint64_t{1} << kStateShift |
                    std::uint64_t{gen & 63} << kGenShift | offset);
  }

  constexpr std::uint64_t word() const noexcept { return word_; }
  constexpr std::uint16_t tag() const noexcept { return static_cast<std::uint16_t>(word_ >> kTagShift); }
  constexpr State state() const noexcept { return static_cast<State>(word_ >> kStateShift & 3); }
  constexpr unsigned gen() const noexcept { return static_cast<unsigned>(word_ >> kGenShift & 63); }
  constexpr std::uint64_t offset() const noexcept { return word_ & kOffsetMask; }

  constexpr bool is_uninit() const noexcept { return word_ == 0; }
  constexpr bool is_empty() const noexcept { return word_ == empty().word_; }
  constexpr bool is_tentative() const noexcept { return state() == State::kTentative; }
  constexpr bool is_live() const noexcept { return state() == State::kLive; }
  constexpr bool is_frozen() const noexcept { return state() == State::kFrozen; }
  // LIVE or FROZEN, and the tag's: one comparison of the word's upper end.
  static constexpr unsigned kCurrentShift = kStateShift + 1;
  static constexpr std::uint64_t current_of(std::uint16_t tag) noexcept { return std::uint64_t{tag} << 1 | 1; }
  constexpr bool is_current_of(std::uint16_t tag) const noexcept { return word_ >> kCurrentShift == current_of(tag); }
  // The same from the hash, in three instructions.
  static constexpr std::uint64_t current_of_hash(std::uint64_t hash) noexcept { return (hash >> 32 & 0xFFFE) + 3; }
  constexpr bool is_current_of_hash(std::uint64_t hash) const noexcept {
    return word_ >> kCurrentShift == current_of_hash(hash);
  }
  // LIVE, and the tag's.
  constexpr bool is_live_of_hash(std::uint64_t hash) const noexcept {
    return word_ >> kStateShift == current_of_hash(hash) << 1;
  }
  // Part of the map: LIVE or FROZEN.
  constexpr bool is_current() const noexcept { return (word_ >> kStateShift & 2) != 0; }

  // The transitions. Each keeps tag and (but for `reborn`) generation; `replaced` and `reborn` name another record.
  constexpr SlotWord validated() const noexcept { return with(State::kLive); }  // TENT -> LIVE
  constexpr SlotWord frozen() const noexcept { return with(State::kFrozen); }   // LIVE -> FROZEN
  constexpr SlotWord moved() const noexcept { return with(State::kLive); }      // FROZEN at p -> LIVE at q
  constexpr SlotWord replaced(std::uint64_t offset) const noexcept {            // LIVE -> LIVE
    return SlotWord((word_ & ~kOffsetMask) | offset);
  }

  // LIVE -> LIVE where a new incarnation of the key begins: what named the old one names nothing any more.
  constexpr SlotWord reborn(unsigned gen, std::uint64_t offset) const noexcept {
    return SlotWord((word_ & ~(kOffsetMask | std::uint64_t{63} << kGenShift)) | std::uint64_t{gen & 63} << kGenShift |
                    offset);
  }

  friend constexpr bool operator==(SlotWord a, SlotWord b) noexcept { return a.word_ == b.word_; }

 private:
  constexpr SlotWord with(State state) const noexcept {
    return SlotWord((word_ & ~(std::uint64_t{3} << kStateShift)) | std::uint64_t(state) << kStateShift);
  }
  std::uint64_t word_;
};

static_assert(SlotWord::uninit().tag() == 0 && SlotWord::empty().tag() == 0xFFFF,
              "the two vacant words carry the two tags that no key has");
static_assert(!SlotWord::uninit().is_current() && !SlotWord::empty().is_current() &&
                  !SlotWord::uninit().is_tentative() && !SlotWord::empty().is_tentative(),
              "vacant words are no entries");

static_assert(SlotWord(SlotWord::tentative(7, 0, 1).validated()).is_current_of(7) &&
                  !SlotWord::tentative(7, 0, 1).is_current_of(7),
              "the state's upper bit is next to the tag");

static_assert(SlotWord::current_of_hash(0) == SlotWord::current_of(tag_of(0)) &&
                  SlotWord::current_of_hash(0x1234567890ABCDEF) == SlotWord::current_of(tag_of(0x1234567890ABCDEF)) &&
                  SlotWord::current_of_hash(~std::uint64_t{0}) == SlotWord::current_of(tag_of(~std::uint64_t{0})),
              "twice the tag and one");

class Ctl {
 public:
  static constexpr std::uint64_t kReady = std::uint64_t{1} << 63;
  static constexpr std::uint64_t kInit = std::uint64_t{1} << 62;
  static constexpr unsigned kBloomShift = 40;
  static_assert(kBloomShift == kOffsetBits && kBloomShift + 16 + 6 + 2 == 64, "the fields fill the word");

  constexpr explicit Ctl(std::uint64_t word) noexcept : word_(word) {}
  static constexpr Ctl fresh() noexcept { return Ctl(kInit | kReady); }  // of a first bucket or an overflow bucket
  // What a split gives its target: initialised, not ready, with the overflow that it needs.
  static constexpr Ctl split_target(std::uint64_t overflow, std::uint16_t bloom) noexcept {
    return Ctl(kInit | std::uint64_t{bloom} << kBloomShift | overflow);
  }

  constexpr std::uint64_t word() const noexcept { return word_; }
  constexpr bool ready() const noexcept { return (word_ & kReady) != 0; }
  constexpr bool initialised() const noexcept { return (word_ & kInit) != 0; }
  constexpr std::uint64_t overflow() const noexcept { return word_ & kOffsetMask; }
  constexpr bool may_overflow(std::uint16_t tag) const noexcept { return (word_ & bloom_bit(tag)) != 0; }
  static constexpr std::uint16_t bloom_of(std::uint16_t tag) noexcept {
    return static_cast<std::uint16_t>(1u << (tag & 15));
  }

  constexpr Ctl made_ready() const noexcept { return Ctl(word_ | kReady); }
  constexpr Ctl with_overflow(std::uint64_t offset) const noexcept { return Ctl(word_ | offset); }  // from none
  constexpr Ctl with_tag(std::uint16_t tag) const noexcept { return Ctl(word_ | bloom_bit(tag)); }

  friend constexpr bool operator==(Ctl a, Ctl b) noexcept { return a.word_ == b.word_; }

 private:
  static constexpr std::uint64_t bloom_bit(std::uint16_t tag) noexcept {
    return std::uint64_t{bloom_of(tag)} << kBloomShift;
  }
  std::uint64_t word_;
};

static_assert(!Ctl(0).ready() && !Ctl(0).initialised() && Ctl(0).overflow() == 0,
              "zero-filled memory decodes as not initialised, not ready, no chain");

}  // namespace tern::detail

#endif  // TERN_ENGINE_SLOT_WORD_H_
