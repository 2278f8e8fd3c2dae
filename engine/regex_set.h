// RegexSet: many expressions asked about one key in one pass over it (RE2::Set). What it answers may be too much for globs, whose
// translation is wider where RE2's words are: whoever asks looks at each answer again.
#ifndef TERN_ENGINE_REGEX_SET_H_
#define TERN_ENGINE_REGEX_SET_H_

#include <cstdint>
#include <string_view>

namespace tern::detail {

class RegexSet {
 public:
  RegexSet() noexcept = default;
  RegexSet(const RegexSet&) = delete;
  RegexSet& operator=(const RegexSet&) = delete;
  ~RegexSet();

  // Nothing is in it. False: this build has no RE2, or there is no memory.
  bool open() noexcept;
  // In order: the first is number 0. Texts that Regex::compile or Pattern::compile took. False: this one can't be in a set.
  bool add_regex(std::string_view text, bool fold_case) noexcept;
  bool add_glob(std::string_view text, char separator, bool fold_case) noexcept;
  // Once, after the last. False: together they need more memory than they may.
  bool compile() noexcept;

  // fn(number) for each that may match. False, and nothing was called: the automaton ran out of its memory for this key.
  template <class Fn>
  bool match(std::string_view key, Fn&& fn) noexcept {
    if (!run(key)) return false;
    for (unsigned i = 0; i != count_; ++i) fn(numbers_[i]);
    return true;
  }

 private:
  struct Program;
  bool run(std::string_view key) noexcept;

  Program* program_ = nullptr;
  const int* numbers_ = nullptr;  // of the last run
  unsigned count_ = 0;
};

}  // namespace tern::detail

#endif  // TERN_ENGINE_REGEX_SET_H_
