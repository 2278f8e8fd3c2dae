// Pattern: which keys a glob stands for, compiled once and asked for many keys.
//
//   *        any run of bytes without the separator, also none
//   **       any run of bytes, also none (three and more stars mean the same)
//   ?        one byte that isn't the separator
//   [abc]    one of these bytes; [a-z] a range; [!a] or [^a] any other byte; never the separator, whatever is listed.
//            A ] that comes first, and a - that comes first or last, stand for themselves
//   {a,b}    one of these patterns, which may hold everything above and below; {a,} is an optional a
//   \x       x itself, in a set too
//
// Everything else stands for itself, bytes of no text and the separator included. The whole key must match. So
// `app.*.port` takes one segment in the middle, `app.config.**` what is below app.config and not app.config itself.
#ifndef TERN_PATTERN_H_
#define TERN_PATTERN_H_

#include <tern/result.h>
#include <tern/status.h>

#include <cstddef>
#include <string_view>

namespace tern {

namespace detail {
class PatternProgram;
}

struct PatternOptions {
  char separator = '.';    // no ASCII letter, and none of * ? [ ] { } , \ ! ^ -
  bool fold_case = false;  // ASCII letters match in both cases
};

// Movable, immutable: any number of threads may ask one at once. One that is default-made or moved from matches
// nothing. Its memory (about half a KiB for a short pattern, 300 KiB at most) is outside any store's budget.
class TERN_API Pattern {
 public:
  static constexpr std::size_t kBytesMax = 1024;

  Pattern() noexcept = default;
  Pattern(Pattern&& other) noexcept : program_(other.program_) { other.program_ = nullptr; }
  Pattern& operator=(Pattern&& other) noexcept;
  Pattern(const Pattern&) = delete;
  Pattern& operator=(const Pattern&) = delete;
  ~Pattern();

  // invalid_argument with Field::kPattern and Error::position, the byte of `text` that is to blame: a bracket or brace
  // that is never closed (where it was opened), a } that closes nothing, a \ at the end, a range that runs backwards, a
  // named class like [:alpha:], which isn't known here. With Field::kSeparator: the options. too_large: more than
  // kBytesMax bytes. out_of_memory. Takes microseconds, a few milliseconds at worst.
  static Result<Pattern> compile(std::string_view text, const PatternOptions& options = {}) noexcept;

  // Linear in the key for every pattern: at most (bytes of the key) x (bytes of the pattern)^2 / 64 simple steps, and
  // one word operation or two for each byte of the key where the pattern has no braces and up to 62 elements. Wait-free.
  bool matches(std::string_view key) const noexcept;

  // What every matching key begins with; the keys of an ordered scan that have to be looked at. May be empty.
  std::string_view literal_start() const noexcept;
  // The literal start is the only key that matches.
  bool is_literal() const noexcept;

 private:
  explicit Pattern(detail::PatternProgram* program) noexcept : program_(program) {}

  detail::PatternProgram* program_ = nullptr;
};

}  // namespace tern

#endif  // TERN_PATTERN_H_
