// PatternProgram: a glob as an automaton whose states are the bits of a few words.
//
// Each element of the pattern that takes a byte (a literal, ?, a set, a star) is a position; so are the start (0) and
// the end (the last). A state is the set of positions that wait for the next byte. For a byte c:
//
//   m = waiting & takes[c]                           the positions that take it
//   waiting = (m & next) << 1 | (m & star)           what follows them: the next position, or the star itself
//   waiting |= (waiting & skip) << 1                 a star that waits may also be passed over
//   waiting |= follow[p] for each p in m & branching where what follows isn't only the next: at braces
//
// and the key matches if the end waits after its last byte. There is one rule less than in an automaton with empty
// moves: what follows a position is closed under passing over stars when the pattern is compiled, and an alternative
// of n elements is n positions, so {a,b}{c,d}... grows by addition, not by multiplication. Stars are the only loops,
// and each is a loop of one position.
//
// Limits and cost: 1 KiB of pattern, hence at most 1,026 positions, 17 words. A byte costs words x (4 + branching
// positions that take it) operations, so a key is linear in its length whatever the pattern is. A byte's class
// (class_of) finds its row of `takes`; bytes that no element tells apart share one.
//
// Sources: Glushkov, "The abstract theory of automata" (Russian Mathematical Surveys 16, 1961) for positions and what
// follows them; Baeza-Yates and Gonnet, "A new approach to text searching" (CACM 35(10), 1992), and Navarro and
// Raffinot, "Flexible Pattern Matching in Strings" (2002), chapters 4 and 5, for the bits. Rejected: a
// backtracking matcher (a*a*a*b takes a power of the key's length), and a DFA that is built while it is asked (its memory
// grows, and threads need a lock or a copy each; RE2's takes twice the time on keys of 20 bytes).
#ifndef TERN_ENGINE_PATTERN_H_
#define TERN_ENGINE_PATTERN_H_

#include <tern/pattern.h>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace tern::detail {

// Counts nothing; the tests pass one that does.
struct NoSteps {
  void add(std::uint64_t) noexcept {}
};

// In one block of private memory: the words below follow the object, then the literal start.
class alignas(std::uint64_t) PatternProgram {
 public:
  static constexpr unsigned kPositionsMax = Pattern::kBytesMax + 2;
  static constexpr unsigned kWordsMax = (kPositionsMax + 63) / 64;

  // Null: `error` says why.
  static PatternProgram* compile(std::string_view text, const PatternOptions& options, Error& error) noexcept;
  static void destroy(PatternProgram* program) noexcept;

  template <class Steps = NoSteps>
  bool matches(std::string_view key, Steps&& steps = {}) const noexcept {
    if (key.size() < literal_bytes_ || std::memcmp(key.data(), literal(), literal_bytes_) != 0) return false;
    key.remove_prefix(literal_bytes_);
    return words_ == 1 ? match_word(key, steps) : match_words(key, steps);
  }

  std::string_view literal_start() const noexcept { return {literal(), literal_bytes_}; }
  bool is_literal() const noexcept { return is_literal_; }
  unsigned words() const noexcept { return words_; }
  unsigned branching() const noexcept { return branching_; }

 private:
  friend class PatternCompiler;
  PatternProgram() = default;

  // Rows of words_ words each.
  enum Row : unsigned { kStart, kEnd, kNext, kStar, kSkip, kBranching, kSure, kRows };
  const std::uint64_t* row(std::size_t r) const noexcept { return rows() + r * words_; }
  const std::uint64_t* rows() const noexcept { return reinterpret_cast<const std::uint64_t*>(this + 1); }
  std::uint64_t* rows() noexcept { return reinterpret_cast<std::uint64_t*>(this + 1); }
  // A class has one row of positions that take it; where all fit into one word, one for each way they go on from there.
  enum Way : unsigned { kOne, kTwo, kSame, kBranch, kWays };
  static constexpr unsigned rows_of_class(unsigned words) noexcept { return words == 1 ? unsigned{kWays} : 1; }
  const std::uint64_t* takes(unsigned char c) const noexcept { return row(kRows + class_of_[c]); }
  const std::uint64_t* follow(unsigned rank) const noexcept { return row(follow_row_ + rank); }
  const char* literal() const noexcept { return reinterpret_cast<const char*>(row(follow_row_ + branching_)); }

  template <class Steps>
  bool match_word(std::string_view key, Steps& steps) const noexcept {
    const std::uint64_t branching = *row(kBranching), sure = *row(kSure);
    std::uint64_t waiting = *row(kStart);
    for (const char byte : key) {
      if ((waiting & sure) != 0) return true;
      // From one byte to the next four operations that depend on each other: what the general form does one after the
      // other is split by where it goes.
      const std::uint64_t* to = row(kRows + std::size_t{class_of_[static_cast<unsigned char>(byte)]} * kWays);
      std::uint64_t rest = waiting & to[kBranch];
      waiting = (waiting & to[kOne]) << 1 | (waiting & to[kTwo]) << 2 | (waiting & to[kSame]);
      steps.add(1);
      for (; rest != 0; rest &= rest - 1) {
        waiting |= *follow(static_cast<unsigned>(std::popcount(branching & (rest ^ (rest - 1)) >> 1)));
        steps.add(1);
      }
      if (waiting == 0) return false;
    }
    return (waiting & *row(kEnd)) != 0;
  }

  template <class Steps>
  bool match_words(std::string_view key, Steps& steps) const noexcept {
    std::uint64_t waiting[kWordsMax];
    std::uint64_t m[kWordsMax];
    std::memcpy(waiting, row(kStart), words_ * sizeof(std::uint64_t));
    const std::uint64_t *next = row(kNext), *star = row(kStar), *skip = row(kSkip), *branching = row(kBranching);
    for (const char byte : key) {
      const std::uint64_t* take = takes(static_cast<unsigned char>(byte));
      std::uint64_t any = 0;
      std::uint64_t sure = 0;
      for (unsigned i = 0; i != words_; ++i) {
        sure |= waiting[i] & row(kSure)[i];
        any |= m[i] = waiting[i] & take[i];
      }
      steps.add(words_);
      if (sure != 0) return true;
      if (any == 0) return false;
      std::uint64_t carry = 0;       // from word to word: of the next position,
      std::uint64_t skip_carry = 0;  // and of the one behind a star
      for (unsigned i = 0; i != words_; ++i) {
        const std::uint64_t to = m[i] & next[i];
        std::uint64_t w = to << 1 | carry | (m[i] & star[i]);
        carry = to >> 63;
        const std::uint64_t over = w & skip[i];
        w |= over << 1 | skip_carry;
        skip_carry = over >> 63;
        waiting[i] = w;
      }
      unsigned before = 0;  // branching positions of the words already seen
      for (unsigned i = 0; i != words_; ++i) {
        for (std::uint64_t rest = m[i] & branching[i]; rest != 0; rest &= rest - 1) {
          const std::uint64_t* f =
              follow(before + static_cast<unsigned>(std::popcount(branching[i] & (rest ^ (rest - 1)) >> 1)));
          for (unsigned j = 0; j != words_; ++j) waiting[j] |= f[j];
          steps.add(words_);
        }
        before += static_cast<unsigned>(std::popcount(branching[i]));
      }
    }
    std::uint64_t ended = 0;
    for (unsigned i = 0; i != words_; ++i) ended |= waiting[i] & row(kEnd)[i];
    return ended != 0;
  }

  std::uint16_t words_ = 0;
  std::uint16_t follow_row_ = 0;
  std::uint16_t branching_ = 0;
  std::uint16_t literal_bytes_ = 0;
  bool is_literal_ = false;
  std::uint8_t class_of_[256] = {};
};
static_assert(sizeof(PatternProgram) % sizeof(std::uint64_t) == 0, "rows of words follow the object");

}  // namespace tern::detail

#endif  // TERN_ENGINE_PATTERN_H_
