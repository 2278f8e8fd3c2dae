// The one door to RE2. What it throws for want of memory can't be caught here (the library has no exceptions): an
// expression is short and its automaton bounded, as mimalloc and the system's malloc are everywhere outside budgets.
#include <tern/regex.h>

#include <new>
#include <string>
#include <utility>

#include "engine/regex_set.h"

#if defined(TERN_HAS_RE2)
#include <re2/re2.h>
#include <re2/set.h>

#include <vector>
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

struct RegexSet::Program {
  Program() : set(options(), re2::RE2::ANCHOR_BOTH) {}
  static re2::RE2::Options options() {
    re2::RE2::Options o;
    o.set_encoding(re2::RE2::Options::EncodingLatin1);
    o.set_log_errors(false);
    o.set_dot_nl(true);
    o.set_never_capture(true);
    o.set_max_mem(std::int64_t{64} << 20);
    return o;
  }
  re2::RE2::Set set;
  std::vector<int> numbers;
  std::string text;
};

namespace {

void put_byte(std::string& to, char c) {
  static const char* const digits = "0123456789ABCDEF";
  const auto b = static_cast<unsigned char>(c);
  to += "\\x";
  to += digits[b >> 4];
  to += digits[b & 15];
}

// `i` is at the [ of a set that Pattern::compile took, and behind its ] afterwards. A set that isn't inverted keeps the
// separator if it lists it: that is too wide.
void put_set(std::string& to, std::string_view glob, std::size_t& i, char separator) {
  to += '[';
  ++i;
  const bool inverted = glob[i] == '!' || glob[i] == '^';
  if (inverted) {
    ++i;
    to += '^';
    put_byte(to, separator);
  }
  for (const std::size_t first = i; glob[i] != ']' || i == first; ++i) {
    if (glob[i] == '\\') ++i;
    put_byte(to, glob[i]);
    if (i + 2 >= glob.size() || glob[i + 1] != '-' || glob[i + 2] == ']') continue;
    i += 2;
    if (glob[i] == '\\') ++i;
    to += '-';
    put_byte(to, glob[i]);
  }
  to += ']';
}

void put_glob(std::string& to, std::string_view glob, char separator) {
  unsigned depth = 0;
  for (std::size_t i = 0; i != glob.size(); ++i) {
    const char c = glob[i];
    if (c == '*' && i + 1 != glob.size() && glob[i + 1] == '*') {
      while (i + 1 != glob.size() && glob[i + 1] == '*') ++i;
      to += ".*";
    } else if (c == '*' || c == '?') {
      to += "[^";
      put_byte(to, separator);
      to += c == '*' ? "]*" : "]";
    } else if (c == '[') {
      put_set(to, glob, i, separator);
    } else if (c == '{') {
      ++depth;
      to += "(?:";
    } else if (c == ',' && depth != 0) {
      to += '|';
    } else if (c == '}') {
      --depth;
      to += ')';
    } else {
      if (c == '\\') ++i;
      put_byte(to, glob[i]);
    }
  }
}

}  // namespace

bool RegexSet::open() noexcept {
  delete program_;
  program_ = new (std::nothrow) Program;
  return program_ != nullptr;
}
bool RegexSet::add_regex(std::string_view text, bool fold_case) noexcept {
  program_->text.assign(fold_case ? "(?i:" : "(?:");
  program_->text.append(text).append(")");
  return program_->set.Add(program_->text, nullptr) >= 0;
}
bool RegexSet::add_glob(std::string_view text, char separator, bool fold_case) noexcept {
  program_->text.assign(fold_case ? "(?i:" : "(?:");
  put_glob(program_->text, text, separator);
  program_->text.append(")");
  return program_->set.Add(program_->text, nullptr) >= 0;
}
bool RegexSet::compile() noexcept { return program_->set.Compile(); }
bool RegexSet::run(std::string_view key) noexcept {
  re2::RE2::Set::ErrorInfo error{};
  const bool some = program_->set.Match(re2::StringPiece(key.data(), key.size()), &program_->numbers, &error);
  numbers_ = program_->numbers.data();
  count_ = some ? static_cast<unsigned>(program_->numbers.size()) : 0;
  return some || error.kind == re2::RE2::Set::kNoError;
}
RegexSet::~RegexSet() { delete program_; }

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

namespace detail {
struct RegexSet::Program {};
RegexSet::~RegexSet() = default;
bool RegexSet::open() noexcept { return false; }
bool RegexSet::add_regex(std::string_view, bool) noexcept { return false; }
bool RegexSet::add_glob(std::string_view, char, bool) noexcept { return false; }
bool RegexSet::compile() noexcept { return false; }
bool RegexSet::run(std::string_view) noexcept { return false; }
}  // namespace detail

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
