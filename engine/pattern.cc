// The compiler of globs, and the public face of the automaton in engine/pattern.h.
#include "engine/pattern.h"

#include <new>
#include <utility>

#include "alloc/private_memory.h"

namespace tern {
namespace detail {
namespace {

constexpr bool is_letter(unsigned char c) noexcept {
  const unsigned char lower = c | 0x20;
  return lower >= 'a' && lower <= 'z';
}

// Which bytes an element takes.
struct ByteSet {
  std::uint64_t bits[4] = {};

  void add(unsigned char c) noexcept { bits[c >> 6] |= std::uint64_t{1} << (c & 63); }
  void remove(unsigned char c) noexcept { bits[c >> 6] &= ~(std::uint64_t{1} << (c & 63)); }
  bool has(unsigned char c) const noexcept { return (bits[c >> 6] >> (c & 63) & 1) != 0; }
  void flip() noexcept {
    for (std::uint64_t& b : bits) b = ~b;
  }
  void fold_case() noexcept {
    for (unsigned c = 'a'; c <= 'z'; ++c) {
      if (has(static_cast<unsigned char>(c)) || has(static_cast<unsigned char>(c ^ 0x20))) {
        add(static_cast<unsigned char>(c));
        add(static_cast<unsigned char>(c ^ 0x20));
      }
    }
  }
  // The only byte that it takes, or -1.
  int only() const noexcept {
    int found = -1;
    for (int i = 0; i != 4; ++i) {
      if (bits[i] == 0) continue;
      if (found >= 0 || (bits[i] & (bits[i] - 1)) != 0) return -1;
      found = i * 64 + std::countr_zero(bits[i]);
    }
    return found;
  }
};

// Zeroed words of private memory.
class Words {
 public:
  explicit Words(std::size_t count) noexcept
      : words_(static_cast<std::uint64_t*>(alloc::private_allocate(count * sizeof(std::uint64_t)))) {
    if (words_ != nullptr) std::memset(words_, 0, count * sizeof(std::uint64_t));
  }
  Words(const Words&) = delete;
  Words& operator=(const Words&) = delete;
  ~Words() { alloc::private_free(words_); }
  std::uint64_t* get() const noexcept { return words_; }

 private:
  std::uint64_t* words_;
};

bool bit(const std::uint64_t* words, unsigned i) noexcept { return (words[i >> 6] >> (i & 63) & 1) != 0; }
void set_bit(std::uint64_t* words, unsigned i) noexcept { words[i >> 6] |= std::uint64_t{1} << (i & 63); }

}  // namespace

// One pass over the text. `ends` are the positions after which the text read so far may end; a new position follows
// each of them. A brace remembers the ends before it, where each alternative begins, and gathers those of the
// alternatives.
class PatternCompiler {
 public:
  PatternCompiler(std::string_view text, const PatternOptions& options) noexcept
      : text_(text), options_(options), words_((positions_bound() + 63) / 64), sets_(positions_bound() * 4),
        follow_(std::size_t{positions_bound()} * words_), stars_(words_),
        ends_((std::size_t{opened_bound()} * 2 + 1) * words_) {}

  PatternProgram* compile(Error& error) noexcept {
    error = {Status::kOutOfMemory, Field::kPattern};
    if (sets_.get() == nullptr || follow_.get() == nullptr || stars_.get() == nullptr || ends_.get() == nullptr) {
      return nullptr;
    }
    if (const Error e = parse(); e.status != Status::kOk) {
      error = e;
      return nullptr;
    }
    add(ByteSet{}, false);  // the end takes nothing
    return build();
  }

 private:
  unsigned positions_bound() const noexcept { return static_cast<unsigned>(text_.size()) + 2; }
  unsigned opened_bound() const noexcept {
    unsigned count = 0;
    for (const char c : text_) count += c == '{';
    return count;
  }

  static Error at(std::size_t position) noexcept {
    return {Status::kInvalidArgument, Field::kPattern, static_cast<std::uint16_t>(position)};
  }

  std::uint64_t* follow(unsigned p) const noexcept { return follow_.get() + std::size_t{p} * words_; }
  ByteSet set_of(unsigned p) const noexcept {
    ByteSet s;
    std::memcpy(s.bits, sets_.get() + std::size_t{p} * 4, sizeof s.bits);
    return s;
  }
  // Three rows a level of braces: the ends here, and of the innermost open brace the ends before it and the gathered.
  std::uint64_t* ends() const noexcept { return ends_.get(); }
  std::uint64_t* before() const noexcept { return ends_.get() + (std::size_t{depth_} * 2 - 1) * words_; }
  std::uint64_t* gathered() const noexcept { return ends_.get() + std::size_t{depth_} * 2 * words_; }
  void copy(std::uint64_t* to, const std::uint64_t* from) const noexcept {
    std::memcpy(to, from, words_ * sizeof(std::uint64_t));
  }

  void add(const ByteSet& takes, bool is_star) noexcept {
    const unsigned p = count_++;
    std::memcpy(sets_.get() + std::size_t{p} * 4, takes.bits, sizeof takes.bits);
    for (unsigned i = 0; i != words_; ++i) {
      for (std::uint64_t rest = ends()[i]; rest != 0; rest &= rest - 1) {
        set_bit(follow(i * 64 + static_cast<unsigned>(std::countr_zero(rest))), p);
      }
    }
    if (is_star) {
      set_bit(follow(p), p);
      set_bit(stars_.get(), p);
    } else {
      std::memset(ends(), 0, words_ * sizeof(std::uint64_t));
    }
    set_bit(ends(), p);
  }

  Error parse() noexcept {
    set_bit(ends(), 0);
    count_ = 1;
    std::uint16_t opened[Pattern::kBytesMax];
    for (std::size_t i = 0; i < text_.size(); ++i) {
      ByteSet takes;
      switch (text_[i]) {
        case '*': {
          const std::size_t first = i;
          while (i + 1 < text_.size() && text_[i + 1] == '*') ++i;
          takes.flip();
          if (i == first) takes.remove(separator());
          add(takes, true);
          continue;
        }
        case '?':
          takes.flip();
          takes.remove(separator());
          break;
        case '[':
          if (const Error e = parse_set(i, takes); e.status != Status::kOk) return e;
          break;
        case '{':
          opened[depth_++] = static_cast<std::uint16_t>(i);
          copy(before(), ends());
          std::memset(gathered(), 0, words_ * sizeof(std::uint64_t));
          continue;
        case ',':
          if (depth_ == 0) {
            takes.add(',');
            break;
          }
          for (unsigned w = 0; w != words_; ++w) gathered()[w] |= ends()[w];
          copy(ends(), before());
          continue;
        case '}':
          if (depth_ == 0) return at(i);
          for (unsigned w = 0; w != words_; ++w) ends()[w] |= gathered()[w];
          --depth_;
          continue;
        case '\\':
          if (i + 1 == text_.size()) return at(i);
          takes.add(static_cast<unsigned char>(text_[++i]));
          break;
        default:
          takes.add(static_cast<unsigned char>(text_[i]));
          break;
      }
      if (options_.fold_case) takes.fold_case();
      add(takes, false);
    }
    return depth_ == 0 ? Error{} : at(opened[depth_ - 1]);
  }

  // `i` is at the [, and at the ] afterwards. What it takes is complete but for folding, which must come before the
  // inversion and is done here.
  Error parse_set(std::size_t& i, ByteSet& takes) const noexcept {
    const std::size_t open = i++;
    const bool inverted = i < text_.size() && (text_[i] == '!' || text_[i] == '^');
    if (inverted) ++i;
    const std::size_t first = i;
    for (;; ++i) {
      if (i >= text_.size()) return at(open);
      if (text_[i] == ']' && i != first) break;
      const std::size_t low_at = i;
      if (text_[i] == '[' && i + 1 < text_.size() && (text_[i + 1] == ':' || text_[i + 1] == '.' || text_[i + 1] == '=')) {
        return at(i);
      }
      if (text_[i] == '\\' && ++i == text_.size()) return at(i - 1);
      const auto low = static_cast<unsigned char>(text_[i]);
      auto high = low;
      if (i + 2 < text_.size() && text_[i + 1] == '-' && text_[i + 2] != ']') {
        i += 2;
        if (text_[i] == '\\' && ++i == text_.size()) return at(i - 1);
        high = static_cast<unsigned char>(text_[i]);
        if (high < low) return at(low_at);
      }
      for (unsigned c = low; c <= high; ++c) takes.add(static_cast<unsigned char>(c));
    }
    if (options_.fold_case) takes.fold_case();
    if (inverted) takes.flip();
    takes.remove(separator());
    return {};
  }

  unsigned char separator() const noexcept { return static_cast<unsigned char>(options_.separator); }

  // What one step of the word operations makes of {p}; where that isn't follow(p), p is branching.
  bool is_branching(unsigned p) const noexcept {
    const std::uint64_t* f = follow(p);
    std::uint64_t step[PatternProgram::kWordsMax] = {};
    const auto pass = [&](unsigned q) {
      set_bit(step, q);
      if (skips(q)) set_bit(step, q + 1);
    };
    if (has_next(p)) pass(p + 1);
    if (bit(stars_.get(), p)) pass(p);
    for (unsigned i = 0; i != words_; ++i) {
      if (step[i] != f[i]) return true;
    }
    return false;
  }
  bool has_next(unsigned p) const noexcept { return p + 1 < count_ && bit(follow(p), p + 1); }
  bool skips(unsigned p) const noexcept { return bit(stars_.get(), p) && has_next(p); }

  // Bytes that all positions treat alike are one class. Answers the number of classes; a byte that stands for each.
  unsigned classify(std::uint8_t* class_of, unsigned char* byte_of) const noexcept {
    // Refinement: each position's set splits the classes that it cuts through.
    unsigned classes = 1;
    std::memset(class_of, 0, 256);
    for (unsigned p = 1; p != count_; ++p) {
      const ByteSet s = set_of(p);
      bool has[256] = {};
      bool lacks[256] = {};
      for (unsigned c = 0; c != 256; ++c) (s.has(static_cast<unsigned char>(c)) ? has : lacks)[class_of[c]] = true;
      std::uint8_t split[256];
      const unsigned old = classes;
      for (unsigned k = 0; k != old; ++k) split[k] = static_cast<std::uint8_t>(has[k] && lacks[k] ? classes++ : k);
      for (unsigned c = 0; c != 256; ++c) {
        if (s.has(static_cast<unsigned char>(c))) class_of[c] = split[class_of[c]];
      }
    }
    for (unsigned c = 256; c-- != 0;) byte_of[class_of[c]] = static_cast<unsigned char>(c);
    return classes;
  }

  PatternProgram* build() noexcept {
    const unsigned end = count_ - 1;
    const unsigned words = (count_ + 63) / 64;
    unsigned char byte_of[256];
    std::uint8_t class_of[256];
    const unsigned classes = classify(class_of, byte_of);
    // The literal start: as long as one position alone waits, and takes one byte alone.
    unsigned char literal[Pattern::kBytesMax];
    unsigned literal_bytes = 0;
    unsigned state = 0;
    while (!bit(stars_.get(), state)) {
      const unsigned q = state + 1;
      if (q == count_ || !alone(follow(state), q) || set_of(q).only() < 0) break;
      literal[literal_bytes++] = static_cast<unsigned char>(set_of(q).only());
      state = q;
    }
    unsigned branching = 0;
    for (unsigned p = 0; p != count_; ++p) branching += is_branching(p);
    const unsigned follow_row = PatternProgram::kRows + classes * PatternProgram::rows_of_class(words);
    const std::size_t bytes = sizeof(PatternProgram) +
                              std::size_t{follow_row + branching} * words * sizeof(std::uint64_t) +
                              literal_bytes;
    void* memory = alloc::private_allocate(bytes);
    if (memory == nullptr) return nullptr;
    std::memset(memory, 0, bytes);
    auto* program = new (memory) PatternProgram;
    program->words_ = static_cast<std::uint16_t>(words);
    program->follow_row_ = static_cast<std::uint16_t>(follow_row);
    program->branching_ = static_cast<std::uint16_t>(branching);
    program->literal_bytes_ = static_cast<std::uint16_t>(literal_bytes);
    program->is_literal_ = state + 1 == end && alone(follow(state), end);
    std::memcpy(program->class_of_, class_of, sizeof class_of);
    const auto row = [&](unsigned r) { return program->rows() + std::size_t{r} * words; };
    using P = PatternProgram;
    std::memcpy(row(P::kStart), follow(state), words * sizeof(std::uint64_t));
    set_bit(row(P::kEnd), end);
    unsigned rank = 0;
    for (unsigned p = 0; p != count_; ++p) {
      if (skips(p)) set_bit(row(P::kSkip), p);
      // A ** after which the pattern may end: whatever follows matches.
      if (bit(stars_.get(), p) && bit(follow(p), end) && set_of(p).has(separator())) set_bit(row(P::kSure), p);
      if (is_branching(p)) {
        set_bit(row(P::kBranching), p);
        std::memcpy(row(follow_row + rank++), follow(p), words * sizeof(std::uint64_t));
      } else {
        if (has_next(p)) set_bit(row(P::kNext), p);
        if (bit(stars_.get(), p)) set_bit(row(P::kStar), p);
      }
      for (unsigned k = 0; k != classes; ++k) {
        if (!set_of(p).has(byte_of[k])) continue;
        if (words != 1) {
          set_bit(row(P::kRows + k), p);
          continue;
        }
        const auto way = [&](P::Way w) { set_bit(row(P::kRows + k * P::kWays + w), p); };
        if (is_branching(p)) {
          way(P::kBranch);
          continue;
        }
        if (has_next(p)) way(P::kOne);
        if (has_next(p) && skips(p + 1)) way(P::kTwo);
        if (bit(stars_.get(), p)) way(P::kSame);
      }
    }
    std::memcpy(row(follow_row + branching), literal, literal_bytes);
    return program;
  }

  bool alone(const std::uint64_t* words, unsigned p) const noexcept {
    for (unsigned i = 0; i != words_; ++i) {
      if (words[i] != (i == p >> 6 ? std::uint64_t{1} << (p & 63) : 0)) return false;
    }
    return true;
  }

  std::string_view text_;
  PatternOptions options_;
  unsigned words_;
  unsigned count_ = 0;  // positions, the start included
  unsigned depth_ = 0;
  Words sets_, follow_, stars_, ends_;
};

PatternProgram* PatternProgram::compile(std::string_view text, const PatternOptions& options, Error& error) noexcept {
  constexpr std::string_view kMeaningful = "*?[]{},\\!^-";
  if (kMeaningful.find(options.separator) != std::string_view::npos ||
      is_letter(static_cast<unsigned char>(options.separator))) {
    error = {Status::kInvalidArgument, Field::kSeparator};
    return nullptr;
  }
  if (text.size() > Pattern::kBytesMax) {
    error = {Status::kTooLarge, Field::kPattern};
    return nullptr;
  }
  return PatternCompiler(text, options).compile(error);
}

void PatternProgram::destroy(PatternProgram* program) noexcept { alloc::private_free(program); }

}  // namespace detail

Pattern& Pattern::operator=(Pattern&& other) noexcept {
  if (this != &other) {
    detail::PatternProgram::destroy(program_);
    program_ = std::exchange(other.program_, nullptr);
  }
  return *this;
}

Pattern::~Pattern() { detail::PatternProgram::destroy(program_); }

Result<Pattern> Pattern::compile(std::string_view text, const PatternOptions& options) noexcept {
  Error error;
  detail::PatternProgram* program = detail::PatternProgram::compile(text, options, error);
  if (program == nullptr) return error;
  return Pattern(program);
}

bool Pattern::matches(std::string_view key) const noexcept { return program_ != nullptr && program_->matches(key); }

std::string_view Pattern::literal_start() const noexcept {
  return program_ == nullptr ? std::string_view() : program_->literal_start();
}

bool Pattern::is_literal() const noexcept { return program_ != nullptr && program_->is_literal(); }

}  // namespace tern
