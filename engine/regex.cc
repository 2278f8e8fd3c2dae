// The one door to RE2. What it throws for want of memory can't be caught here (the library has no exceptions): an
// expression is short and its automaton bounded, as mimalloc and the system's malloc are everywhere outside budgets.
#include <tern/regex.h>

#include <new>
#include <string>
#include <utility>

#if defined(TERN_HAS_RE2)
#include <re2/re2.h>
#endif

namespace tern {

#if defined(TERN_HAS_RE2)
namespace detail {

class RegexProgram {
 public:
  RegexProgram(std::string_view text, const RegexOptions& options) : re_(re2::StringPiece(text.data(), text.size()), options_of(options)) {
    is_bounded_ = re_.ok() && re_.PossibleMatchRange(&first_, &last_, kRangeBytes);
    if (!is_bounded_) first_.clear(), last_.clear();
  }

  bool ok() const noexcept { return re_.ok(); }
  // Where the argument of RE2's complaint stands in the text.
  Error error(std::string_view text) const {
    const std::string& arg = re_.error_arg();
    const std::size_t at = arg.empty() || arg == text ? 0 : text.find(arg);
    return {Status::kInvalidArgument, Field::kRegex, static_cast<std::uint16_t>(at == std::string_view::npos ? 0 : at)};
  }
  bool matches(std::string_view key) const {
    return re_.Match(re2::StringPiece(key.data(), key.size()), 0, key.size(), re2::RE2::ANCHOR_BOTH, nullptr, 0);
  }

  bool is_bounded() const noexcept { return is_bounded_; }
  std::string_view first() const noexcept { return first_; }
  std::string_view last() const noexcept { return last_; }

 private:
  // Longer bounds would narrow a scan no further in practice.
  static constexpr int kRangeBytes = 64;

  static re2::RE2::Options options_of(const RegexOptions& options) {
    re2::RE2::Options o;
    o.set_encoding(re2::RE2::Options::EncodingLatin1);
    o.set_log_errors(false);
    o.set_dot_nl(true);
    o.set_never_capture(true);
    o.set_case_sensitive(!options.fold_case);
    return o;
  }

  re2::RE2 re_;
  std::string first_, last_;
  bool is_bounded_ = false;
};

}  // namespace detail

bool Regex::supported() noexcept { return true; }

Result<Regex> Regex::compile(std::string_view text, const RegexOptions& options) noexcept {
  if (text.size() > kBytesMax) return {Status::kTooLarge, Field::kRegex};
  auto* program = new (std::nothrow) detail::RegexProgram(text, options);
  if (program == nullptr) return {Status::kOutOfMemory, Field::kRegex};
  Regex regex(program);  // and frees it
  if (!program->ok()) return program->error(text);
  return regex;
}

Regex& Regex::operator=(Regex&& other) noexcept {
  if (this != &other) {
    delete program_;
    program_ = std::exchange(other.program_, nullptr);
  }
  return *this;
}

Regex::~Regex() { delete program_; }

bool Regex::matches(std::string_view key) const noexcept { return program_ != nullptr && program_->matches(key); }
bool Regex::is_bounded() const noexcept { return program_ != nullptr && program_->is_bounded(); }
std::string_view Regex::first() const noexcept { return program_ != nullptr ? program_->first() : std::string_view(); }
std::string_view Regex::last() const noexcept { return program_ != nullptr ? program_->last() : std::string_view(); }

#else

bool Regex::supported() noexcept { return false; }
Result<Regex> Regex::compile(std::string_view, const RegexOptions&) noexcept { return {Status::kUnsupported, Field::kRegex}; }
Regex& Regex::operator=(Regex&& other) noexcept {
  program_ = std::exchange(other.program_, nullptr);
  return *this;
}
Regex::~Regex() = default;
bool Regex::matches(std::string_view) const noexcept { return false; }
bool Regex::is_bounded() const noexcept { return false; }
std::string_view Regex::first() const noexcept { return {}; }
std::string_view Regex::last() const noexcept { return {}; }

#endif

}  // namespace tern
