// Regex: which keys a regular expression stands for. By RE2, so that no expression takes longer than its key is long;
// a build without it answers `unsupported`.
#ifndef TERN_REGEX_H_
#define TERN_REGEX_H_

#include <tern/result.h>
#include <tern/status.h>

#include <cstddef>
#include <string_view>

namespace tern {

namespace detail {
class RegexProgram;
}

struct RegexOptions {
  bool fold_case = false;  // ASCII letters match in both cases
};

// Movable, immutable: any number of threads may ask one at once. One that is default-made or moved from matches
// nothing. Its memory (at most 8 MiB, a few KiB for what people write) is outside any store's budget.
//
// Syntax: RE2's, over bytes: `.` is any one byte, a line feed too, and a character of more than one byte is a sequence
// of bytes. The whole key must match; .* at either end says otherwise.
class TERN_API Regex {
 public:
  static constexpr std::size_t kBytesMax = 1024;

  Regex() noexcept = default;
  Regex(Regex&& other) noexcept : program_(other.program_) { other.program_ = nullptr; }
  Regex& operator=(Regex&& other) noexcept;
  Regex(const Regex&) = delete;
  Regex& operator=(const Regex&) = delete;
  ~Regex();

  // True: this build has RE2.
  static bool supported() noexcept;

  // invalid_argument with Field::kRegex and Error::position, the byte of `text` where what is malformed begins; or 0 for
  // an expression that would need more memory than it may. too_large: more than kBytesMax bytes. unsupported.
  // out_of_memory.
  static Result<Regex> compile(std::string_view text, const RegexOptions& options = {}) noexcept;

  // Linear in the key. Takes a lock of its own for a moment when it meets a key unlike those before (RE2 builds its
  // automaton while it is used); memory is allocated then.
  bool matches(std::string_view key) const noexcept;

  // Matching keys lie from first() to last(), both included, in the order of bytes: what an ordered scan has to look at.
  // Without a last key, is_bounded() is false, first() is empty and any key may match.
  bool is_bounded() const noexcept;
  std::string_view first() const noexcept;
  std::string_view last() const noexcept;

 private:
  explicit Regex(detail::RegexProgram* program) noexcept : program_(program) {}

  detail::RegexProgram* program_ = nullptr;
};

}  // namespace tern

#endif  // TERN_REGEX_H_
